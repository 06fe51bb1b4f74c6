//! A process whose threads have names of their own.

use std::ffi::CStr;

use anyhow::anyhow;
use rustix::thread::{gettid, set_name};

use super::children::{name, pair};
use super::counted::exchange;
use super::report::say;
use crate::truth::Line;

/// Name of the process, which is that of its first thread.
pub const LEADER: &CStr = c"leader";
/// Name of the thread that connects and accepts.
pub const THREAD: &CStr = c"thread";

/// Bytes each way.
const BYTES: usize = 432;

/// Another thread than the first connects to itself, and names itself `thread`.
pub(super) fn run() -> anyhow::Result<()> {
    set_name(LEADER)?;
    let thread = std::thread::spawn(|| -> anyhow::Result<()> {
        set_name(THREAD)?;
        name("thread", gettid())?;
        let [mut client, mut server] = pair()?;
        exchange(&mut client, &mut server, BYTES)?;
        say(&Line::Client(client.close("orderly")))?;
        say(&Line::Server(server.close("orderly")))
    });
    thread.join().map_err(|_| anyhow!("the thread panicked"))?
}
