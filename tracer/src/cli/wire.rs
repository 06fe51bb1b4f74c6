//! The option for what is on the wire.

use super::OUTPUT;

#[derive(clap::Args)]
pub(super) struct WireArgs {
    #[arg(long, help_heading = OUTPUT,
        help = "Also count segments, as the kernel does for each socket, and estimate wire bytes from \
                them: payload, what was sent again included, with TCP and IP headers. Default: only \
                application bytes.")]
    pub(super) wire: bool,
}
