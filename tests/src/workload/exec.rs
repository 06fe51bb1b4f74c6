//! Processes that execute another program while they have connections.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;

use super::counted::{Counted, exchange};
use super::crew::{Crew, again, words};
use super::report::say;
use crate::truth::Line;

/// Where they listen, one after the other.
const PORT: u16 = 7023;

/// Bytes each way before; afterwards twice as many.
const BYTES: usize = 1111;

/// The second program's arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SecondArgs {
    /// Descriptor of the end that connected.
    #[arg(long)]
    client: RawFd,
    /// Descriptor of the end that accepted.
    #[arg(long)]
    server: RawFd,
}

/// In every second process a thread that is not the first one executes the program.
pub(super) fn run(processes: u32) -> anyhow::Result<()> {
    for number in 0..processes {
        let mut crew = Crew::new();
        crew.start(
            &format!("exec-first --connections {}", number % 2),
            Vec::new(),
        )?;
        crew.finish()?;
    }
    Ok(())
}

/// Is called `before-exec`, connects to itself, and becomes the second program.
pub(super) fn first(by_a_thread: bool) -> anyhow::Result<()> {
    rustix::thread::set_name(c"before-exec")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let mut client = Counted::connect(listener.local_addr()?)?;
    let mut server = Counted::accept(&listener)?;
    exchange(&mut client, &mut server, BYTES)?;
    for socket in [&client, &server] {
        rustix::io::fcntl_setfd(socket.stream(), rustix::io::FdFlags::empty())?;
    }
    let line = format!(
        "exec-second --client {} --server {}",
        client.stream().as_raw_fd(),
        server.stream().as_raw_fd()
    );
    let mut command = again(&words(&line), Vec::new())?;
    let error = if by_a_thread {
        std::thread::spawn(move || command.exec())
            .join()
            .map_err(|_| anyhow::anyhow!("the thread panicked"))?
    } else {
        command.exec()
    };
    Err(error.into())
}

pub(super) fn second(args: &SecondArgs) -> anyhow::Result<()> {
    let [mut client, mut server] = [inherited(args.client)?, inherited(args.server)?];
    exchange(&mut client, &mut server, 2 * BYTES)?;
    say(&Line::Client(client.close("orderly")))?;
    say(&Line::Server(server.close("orderly")))?;
    Ok(())
}

/// A socket that the first program left, with what it had moved.
fn inherited(fd: RawFd) -> anyhow::Result<Counted> {
    // SAFETY: the first program left it open for this one, and nothing else here knows it.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let remote = stream.peer_addr()?;
    let mut socket = Counted::new(stream, remote)?;
    (socket.tx, socket.rx) = (BYTES as u64, BYTES as u64);
    Ok(socket)
}
