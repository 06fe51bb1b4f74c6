//! Processes that start others, each of which connects once.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use rustix::process::{Pid, getppid, setsid};

use super::counted::{Counted, exchange};
use super::crew::{Crew, again, words};
use super::fork::{Child, well};
use super::report::say;
use crate::truth::{Line, Member};

/// Bytes each way.
const BYTES: usize = 700;

/// Children at a time.
const AT_A_TIME: u32 = 25;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ChildrenArgs {
    /// How many.
    #[arg(long, default_value_t = 20)]
    children: u32,
    /// How they come to be.
    #[arg(long, default_value = "fork")]
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// They are copies of this process.
    Fork,
    /// They are, and then execute another program.
    Exec,
    /// They share its memory until they execute another program, as `posix_spawn` has it.
    Spawn,
    /// They are children of children that have ended, in sessions of their own.
    Daemon,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct OnceArgs {
    /// Where to; without, to itself.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Send so many bytes and close, whether or not they arrive.
    #[arg(long)]
    abandon: Option<usize>,
    /// A number to be known by, also to whoever reads command lines.
    #[arg(long)]
    number: Option<u32>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct TreeArgs {
    /// How many generations.
    #[arg(long, default_value_t = 3)]
    depth: u32,
}

/// Starts them, and serves each. Those that execute a program name themselves by their number.
pub(super) fn run(args: &ChildrenArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut left = args.children;
    while left > 0 {
        let now = left.min(AT_A_TIME);
        let children: Vec<_> = (left - now..left)
            .map(|number| Started::start(args.how, address, number))
            .collect::<anyhow::Result<_>>()?;
        for _ in 0..now {
            let mut socket = Counted::accept(&listener)?;
            ensure!(
                socket.skip(BYTES)? && socket.send_all(BYTES)?,
                "a child ended early"
            );
            // The child closes first.
            socket.drain()?;
            say(&Line::Server(socket.close("orderly")))?;
        }
        for child in children {
            child.wait()?;
        }
        left -= now;
    }
    Ok(())
}

enum Started {
    Forked(Child),
    Spawned(std::process::Child),
}

impl Started {
    fn start(how: How, address: SocketAddr, number: u32) -> anyhow::Result<Self> {
        let line = words(&format!(
            "connect-once --address {address} --number {number}"
        ));
        Ok(match how {
            How::Fork => Self::Forked(Child::start(None, || connect(address))?),
            How::Exec => Self::Forked(Child::start(None, || {
                Err(again(&line, Vec::new())?.exec().into())
            })?),
            How::Spawn => {
                let mut command = Command::new(std::env::current_exe()?);
                Self::Spawned(command.args(line).spawn()?)
            }
            How::Daemon => Self::Forked(Child::start(None, || leave_behind(address))?),
        })
    }

    fn wait(self) -> anyhow::Result<()> {
        match self {
            Self::Forked(child) => child.wait(well),
            Self::Spawned(mut child) => {
                let status = child.wait()?;
                ensure!(status.success(), "a child failed: {status}");
                Ok(())
            }
        }
    }
}

/// Leaves a child behind that connects once this process is gone.
fn leave_behind(address: SocketAddr) -> anyhow::Result<()> {
    let parent = rustix::process::getpid();
    // SAFETY: this process has no other thread.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("fork"),
        0 => {
            setsid()?;
            while getppid() == Some(parent) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            connect(address)
        }
        _ => Ok(()),
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<()> {
    let mut socket = Counted::connect(address)?;
    ensure!(
        socket.send_all(BYTES)? && socket.skip(BYTES)?,
        "the server ended early"
    );
    say(&Line::Client(socket.close("orderly")))
}

/// Connects once, in a process of its own.
pub(super) fn once(args: &OnceArgs) -> anyhow::Result<()> {
    if let Some(number) = args.number {
        name(&number.to_string(), rustix::process::getpid())?;
    }
    match (args.address, args.abandon) {
        (Some(address), Some(bytes)) => {
            let mut socket = Counted::connect(address)?;
            ensure!(socket.send_all(bytes)?, "the server reset the connection");
            say(&Line::Client(socket.close("orderly")))
        }
        (Some(address), None) => connect(address),
        (None, _) => connect_to_itself(),
    }
}

pub(super) fn pair() -> anyhow::Result<[Counted; 2]> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = Counted::connect(listener.local_addr()?)?;
    Ok([client, Counted::accept(&listener)?])
}

fn close([client, server]: [Counted; 2]) -> anyhow::Result<()> {
    say(&Line::Client(client.close("orderly")))?;
    say(&Line::Server(server.close("orderly")))
}

fn connect_to_itself() -> anyhow::Result<()> {
    let [mut client, mut server] = pair()?;
    exchange(&mut client, &mut server, BYTES)?;
    close([client, server])
}

/// A process, its child, that one's child and so on, each with a connection to itself. When a line comes
/// on standard input, each uses that, makes another one, and starts a further child that connects.
pub(super) fn tree(args: &TreeArgs) -> anyhow::Result<()> {
    name("tree", rustix::process::getpid())?;
    let [mut client, mut server] = pair()?;
    exchange(&mut client, &mut server, BYTES)?;
    let mut crew = Crew::new();
    if args.depth > 1 {
        crew.start(&format!("tree --depth {}", args.depth - 1), Vec::new())?;
        crew.relay(|line| *line == Line::Ready {})?;
    } else {
        say(&Line::Ready {})?;
    }
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody said go");
    crew.go()?;
    // What they carried before is not of the run.
    for end in [&mut client, &mut server] {
        (end.tx, end.rx) = (0, 0);
    }
    exchange(&mut client, &mut server, 2 * BYTES)?;
    close([client, server])?;
    connect_to_itself()?;
    let status = Command::new(std::env::current_exe()?)
        .arg("connect-once")
        .status()?;
    if !status.success() {
        bail!("a child failed: {status}");
    }
    crew.finish()
}

pub(super) fn name(duty: &str, pid: Pid) -> anyhow::Result<()> {
    say(&Line::Process(Member {
        duty: duty.to_owned(),
        pid: pid.as_raw_pid().cast_unsigned(),
    }))
}

/// Connects to itself, and leaves a child behind that does so, too, once nobody writes to the FIFO any
/// more.
pub(super) fn linger(args: &LingerArgs) -> anyhow::Result<()> {
    name("command", rustix::process::getpid())?;
    connect_to_itself()?;
    // SAFETY: this process has no other thread.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("fork"),
        0 => {
            name("descendant", rustix::process::getpid())?;
            std::io::copy(&mut std::fs::File::open(&args.fifo)?, &mut std::io::sink())?;
            connect_to_itself()
        }
        _ => Ok(()),
    }
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct LingerArgs {
    /// What it waits for.
    #[arg(long)]
    fifo: std::path::PathBuf,
}
