//! Processes whose names try to break what prints them.

use std::ffi::CString;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;

use super::counted::{Counted, exchange};
use super::crew::Crew;
use super::report::say;
use crate::truth::Line;

/// Where each listens, one after the other.
const PORT: u16 = 7012;

/// Bytes each way.
const BYTES: usize = 321;

pub(super) fn run(names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let mut crew = Crew::new();
        crew.start(&format!("named-child --name {name}"), Vec::new())?;
        crew.finish()?;
    }
    Ok(())
}

/// Takes the name, then connects to itself.
pub(super) fn child(names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let name = CString::new(bytes_of(name)?)?;
        rustix::thread::set_name(&name)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
        let mut client = Counted::connect(listener.local_addr()?)?;
        let mut server = Counted::accept(&listener)?;
        exchange(&mut client, &mut server, BYTES)?;
        say(&Line::Client(client.close("orderly")))?;
        say(&Line::Server(server.close("orderly")))?;
    }
    Ok(())
}

/// What these hexadecimal digits stand for.
pub(super) fn bytes_of(digits: &str) -> anyhow::Result<Vec<u8>> {
    let bytes = (0..digits.len()).step_by(2).map(|at| {
        let two = digits.get(at..at + 2).context("an odd number of digits")?;
        Ok(u8::from_str_radix(two, 16)?)
    });
    bytes.collect()
}
