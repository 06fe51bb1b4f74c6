//! Installing Debian packages on this machine.

use anyhow::Result;

use crate::cmd;

/// Installs packages, if need be with fresh package lists.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let install = || {
        let options = ["install", "--yes", "--no-install-recommends"];
        apt_get(&[&options, packages].concat())
    };
    if install().is_ok() {
        return Ok(());
    }
    cmd::say("trying again with fresh package lists");
    apt_get(&["update"])?;
    install()
}

fn apt_get(args: &[&str]) -> Result<()> {
    // Through env(1), as sudo drops variables.
    let mut apt = cmd::as_root("env", "installing packages")?;
    cmd::run(
        apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
            .args(args),
    )
}
