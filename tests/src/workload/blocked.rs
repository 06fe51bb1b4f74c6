//! Many tasks that wait for a connection on one listener, each for one.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context as _, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SocketFlags, accept, accept_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::Pid;

use super::asleep::serve_from_sleep;
use super::counted::Counted;
use super::crew::{Crew, FIRST_FD};
use super::report::say;
use super::{BlockedArgs, failed};
use crate::truth::Line;

/// Where it listens.
const PORT: u16 = 7012;

/// Threads of the client process.
const CLIENTS: u32 = 4;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ServerArgs {
    #[arg(long)]
    tasks: u32,
    #[arg(long)]
    poll: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ClientArgs {
    /// How many connections, one for each waiting task.
    #[arg(long)]
    connections: u32,
    /// How many more, which find no task any more.
    #[arg(long)]
    surplus: u32,
}

pub(super) fn run(args: &BlockedArgs) -> anyhow::Result<()> {
    raise_limit_of_files()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    // Longer than the queue can get, so that no handshake is ever dropped.
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(args.poll)?;
    let mut crew = Crew::new();
    let poll = if args.poll { " --poll" } else { "" };
    let mut before = 0;
    for index in 0..args.processes {
        let after = args.tasks * (index + 1) / args.processes;
        let line = format!("blocked-server --tasks {}{poll}", after - before);
        crew.start(&line, vec![listener.try_clone()?.into()])?;
        before = after;
    }
    let mut missing = args.processes;
    crew.relay(|line| {
        missing -= u32::from(matches!(line, Line::Process(_)));
        missing == 0
    })?;
    let line = format!(
        "blocked-client --connections {} --surplus {}",
        args.tasks, args.surplus
    );
    crew.start(&line, Vec::new())?;
    if args.gate {
        say(&Line::Ready {})?;
        let mut line = String::new();
        ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody said go");
    }
    crew.go()?;
    // The surplus waits in the listener's queue until all are done.
    crew.finish()
}

/// Names itself when all its tasks wait.
pub(super) fn server(args: &ServerArgs) -> anyhow::Result<()> {
    // SAFETY: the parent mapped the listener to this number, and nothing else here knows it.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(FIRST_FD) });
    let listener = Arc::new(listener);
    let (sender, threads) = channel();
    // Not scoped: after a failure nobody waits for those that wait for a connection.
    let tasks = (0..args.tasks).map(|number| {
        let (listener, poll, sender) = (Arc::clone(&listener), args.poll, sender.clone());
        std::thread::spawn(move || serve(&listener, number, poll, &sender))
    });
    serve_from_sleep(tasks.collect(), &threads, waiting_calls(args.poll))
}

fn waiting_calls(poll: bool) -> &'static [libc::c_long] {
    if !poll {
        return &[libc::SYS_accept, libc::SYS_accept4];
    }
    // aarch64 has ppoll only.
    #[cfg(target_arch = "x86_64")]
    return &[libc::SYS_ppoll, libc::SYS_poll];
    #[cfg(not(target_arch = "x86_64"))]
    &[libc::SYS_ppoll]
}

/// Takes one connection, reads it to its end, answers and closes.
fn serve(
    listener: &TcpListener,
    number: u32,
    poll: bool,
    announce: &Sender<Pid>,
) -> anyhow::Result<()> {
    announce.send(rustix::thread::gettid())?;
    let accepted = match (poll, number % 2) {
        (true, _) => accept_when_there_is_one(listener)?,
        (false, 0) => accept(listener)?,
        (false, _) => accept_with(listener, SocketFlags::CLOEXEC)?,
    };
    let stream = TcpStream::from(accepted);
    stream.set_nonblocking(false)?;
    let remote = stream.peer_addr()?;
    let mut socket = Counted::new(stream, remote)?;
    socket.drain()?;
    let answer = answer(usize::try_from(socket.rx)?);
    ensure!(socket.send_all(answer)?, "the client reset the connection");
    say(&Line::Server(socket.close("orderly")))
}

/// Every connection wakes every task, and all but one find that another was faster.
fn accept_when_there_is_one(listener: &TcpListener) -> anyhow::Result<OwnedFd> {
    loop {
        poll(&mut [PollFd::new(listener, PollFlags::IN)], None)?;
        match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(accepted) => return Ok(accepted),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens all connections, then uses one after the other, on each of several threads.
pub(super) fn client(args: &ClientArgs) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody said go");
    std::thread::scope(|scope| {
        let threads = (0..CLIENTS).map(|thread| {
            scope.spawn(move || {
                let numbers = (thread..args.connections).step_by(CLIENTS as usize);
                let open = numbers.map(|number| Ok((number, Counted::connect(address)?)));
                let open: Vec<_> = open.collect::<std::io::Result<_>>()?;
                open.into_iter()
                    .try_for_each(|(number, socket)| ask(number, socket))
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a client thread panicked"))
    })?;
    // Every task has answered, so none is left for these.
    for _ in 0..args.surplus {
        let client = failed::connect_in_vain(address, parent_id())?;
        say(&Line::Client(client.close("never_accepted")))?;
    }
    Ok(())
}

fn ask(number: u32, mut socket: Counted) -> anyhow::Result<()> {
    let question = number as usize * 7 % 1999 + 1;
    ensure!(
        socket.send_all(question)?,
        "the server reset the connection"
    );
    socket.stream().shutdown(Shutdown::Write)?;
    socket.drain()?;
    ensure!(
        socket.rx == answer(question) as u64,
        "{} bytes came for {question}",
        socket.rx
    );
    say(&Line::Client(socket.close("orderly")))
}

/// Bytes of the answer to a question.
fn answer(question: usize) -> usize {
    2 * question + 1
}

/// Each child costs two pipes, each connection a descriptor; children inherit the limit.
pub(super) fn raise_limit_of_files() -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")
}
