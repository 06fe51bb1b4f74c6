//! This host and this boot.

use std::fs::File;
use std::io::{self, Read};

use crate::identity::Identity;

/// The host's name, escaped like anything that others chose.
pub fn name() -> String {
    let uname = rustix::system::uname();
    crate::names::escape(uname.nodename().to_bytes()).to_string()
}

/// Changes with every boot; empty where /proc does not show it, which only makes ids of two boots
/// less different.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// What names connections of this boot, unlike in any other run.
pub fn identity() -> io::Result<Identity> {
    Ok(Identity::new(&boot_id(), &secret()?))
}

/// 16 random bytes.
fn secret() -> io::Result<[u8; 16]> {
    let mut secret = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    Ok(secret)
}
