//! Live cost on this machine: loads with and without a tracer, in interleaved pairs.

use anyhow::{Result, bail};

use super::section::Section;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pairs of slices for each load and tracer
    #[arg(long, value_name = "N", default_value_t = 15)]
    pairs: usize,
}

pub(crate) fn run(args: &Args) -> Result<Section> {
    bail!("{} pairs: to be measured", args.pairs)
}
