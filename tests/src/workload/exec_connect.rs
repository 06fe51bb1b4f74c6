//! Programs that connect once and are gone, each with a command line of its own.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStringExt as _;

use anyhow::ensure;

use super::counted::Counted;
use super::crew::{again, words};
use super::named::bytes_of;
use super::report::say;
use crate::truth::{Line, Member};

/// Where they connect to.
const PORT: u16 = 7037;

const BYTES: usize = 17;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ExecConnectArgs {
    /// How many programs, one after the other.
    #[arg(long, default_value_t = 6)]
    connections: u32,
    /// Each has an argument that is so many bytes longer than that of the one before.
    #[arg(long, default_value_t = 0)]
    grow: usize,
    /// Bytes of that argument of the first.
    #[arg(long, default_value_t = 0)]
    padding: usize,
    /// Another argument of each, in hexadecimal digits.
    #[arg(long = "argument")]
    arguments: Vec<String>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ChildArgs {
    #[arg(long)]
    remote: SocketAddr,
    /// Of no use but to whoever reads command lines, like the rest.
    #[arg(long)]
    number: u32,
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// Names itself `parent`, and each program by its number.
pub(super) fn run(args: &ExecConnectArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let remote = listener.local_addr()?;
    let name = |duty: String, pid| say(&Line::Process(Member { duty, pid }));
    name("parent".to_owned(), std::process::id())?;
    let arguments = args.arguments.iter().map(|digits| bytes_of(digits));
    let arguments = arguments.collect::<anyhow::Result<Vec<_>>>()?;
    let mut padding = args.padding;
    for number in 0..args.connections {
        let line = format!("exec-connect-child --remote {remote} --number {number} --");
        let mut command = again(&words(&line), Vec::new())?;
        command.arg("x".repeat(padding));
        command.args(arguments.iter().cloned().map(OsString::from_vec));
        padding += args.grow;
        let mut child = command.spawn()?;
        name(number.to_string(), child.id())?;
        let mut server = Counted::accept(&listener)?;
        server.drain()?;
        let status = child.wait()?;
        ensure!(status.success(), "program {number} failed: {status}");
        say(&Line::Server(server.close("orderly")))?;
    }
    Ok(())
}

pub(super) fn child(args: &ChildArgs) -> anyhow::Result<()> {
    let mut client = Counted::connect(args.remote)?;
    ensure!(
        client.send_all(BYTES)?,
        "the server reset the connection of program {} with {} arguments",
        args.number,
        args.rest.len()
    );
    say(&Line::Client(client.close("orderly")))
}
