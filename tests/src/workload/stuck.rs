//! Many tasks that wait in a receive or a send call, each on a connection of its own that was used
//! before: older than who starts meanwhile, and in the middle of a call.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::sync::mpsc::{Sender, channel};

use anyhow::ensure;
use clap::ValueEnum;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::thread::Pid;

use super::asleep::serve_from_sleep;
use super::blocked::raise_limit_of_files;
use super::counted::Counted;
use super::crew::{Crew, FIRST_FD};
use super::report::say;
use crate::truth::Line;

/// Where it listens.
const PORT: u16 = 7037;

/// Of each socket and direction: thousands of full ones have to fit into a small machine.
const BUFFER: usize = 8 * 1024;

/// What each end sends before anything else.
const FIRST: usize = 100;

/// Of a call that waits for all of it, what comes before the gate.
const HEAD: usize = 50;

/// More than all buffers on the way take.
const MUCH: usize = 200 * 1024;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct StuckArgs {
    /// In which call.
    #[arg(long)]
    call: Call,
    /// How many tasks.
    #[arg(long, default_value_t = 64)]
    tasks: u32,
    /// How many processes have these tasks as threads.
    #[arg(long, default_value_t = 4)]
    processes: u32,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ServerArgs {
    #[arg(long)]
    call: Call,
    #[arg(long)]
    tasks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Call {
    /// A receive call for which nothing has come.
    Receive,
    /// One that waits for more than has come.
    ReceiveAll,
    /// A send call, some of whose bytes fill all buffers.
    Send,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::ReceiveAll => "receive-all",
            Self::Send => "send",
        }
    }

    /// What the client sends before the gate beyond [`FIRST`].
    fn head(self) -> usize {
        if self == Self::ReceiveAll { HEAD } else { 0 }
    }

    /// What the task sends in the call that waits.
    fn much(self) -> usize {
        if self == Self::Send { MUCH } else { 0 }
    }
}

/// Bytes that the client of a connection sends behind the gate.
fn tail(number: usize) -> usize {
    1000 + 7 * number % 1999
}

/// The client end is this process.
pub(super) fn run(args: &StuckArgs) -> anyhow::Result<()> {
    raise_limit_of_files()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    rustix::net::listen(&listener, 4096)?;
    set_buffers(&listener)?;
    let address = listener.local_addr()?;
    let mut crew = Crew::new();
    let (call, name) = (args.call, args.call.name());
    let mut clients: Vec<Counted> = Vec::new();
    for index in 0..args.processes {
        let share = args.tasks * (index + 1) / args.processes - args.tasks * index / args.processes;
        let line = format!("stuck-server --call {name} --tasks {share}");
        crew.start(&line, vec![listener.try_clone()?.into()])?;
        for _ in 0..share {
            clients.push(client(address, call)?);
        }
        // An end before the gate for each task, and the process once all wait.
        crew.relay_lines(share + 1)?;
    }
    for client in &clients {
        say(&Line::Client(client.end("before")))?;
    }
    say(&Line::Ready {})?;
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody said go");
    for (number, mut client) in clients.into_iter().enumerate() {
        ensure!(
            client.send_all(tail(number))?,
            "the server reset the connection"
        );
        client.stream().shutdown(Shutdown::Write)?;
        client.drain()?;
        ensure!(
            client.rx == (FIRST + call.much() + FIRST) as u64,
            "{} bytes came",
            client.rx
        );
        say(&Line::Client(client.close("orderly")))?;
    }
    crew.finish()
}

fn client(address: SocketAddr, call: Call) -> anyhow::Result<Counted> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )?;
    set_buffers(&socket)?;
    rustix::net::connect(&socket, &address)?;
    let mut client = Counted::new(TcpStream::from(socket), address)?;
    ensure!(
        client.send_all(FIRST + call.head())?,
        "the server reset the connection"
    );
    ensure!(client.skip(FIRST)?, "the server ended early");
    Ok(client)
}

fn set_buffers(socket: &impl std::os::fd::AsFd) -> anyhow::Result<()> {
    sockopt::set_socket_recv_buffer_size(socket, BUFFER)?;
    Ok(sockopt::set_socket_send_buffer_size(socket, BUFFER)?)
}

/// Names itself when all its tasks wait.
pub(super) fn server(args: &ServerArgs) -> anyhow::Result<()> {
    // SAFETY: the parent mapped the listener to this number, and nothing else here knows it.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(FIRST_FD) });
    let (sender, threads) = channel();
    let mut tasks = Vec::new();
    for _ in 0..args.tasks {
        let mut socket = Counted::accept(&listener)?;
        // No time limit: who waits with one is woken by more than bytes.
        socket.stream().set_read_timeout(None)?;
        socket.stream().set_write_timeout(None)?;
        ensure!(socket.skip(FIRST)?, "the client ended early");
        ensure!(socket.send_all(FIRST)?, "the client reset the connection");
        say(&Line::Server(socket.end("before")))?;
        let (call, sender) = (args.call, sender.clone());
        tasks.push(std::thread::spawn(move || {
            wait_and_answer(socket, call, &sender)
        }));
    }
    let call = if args.call == Call::Send {
        libc::SYS_sendto
    } else {
        libc::SYS_recvfrom
    };
    serve_from_sleep(tasks, &threads, &[call])
}

/// One call that waits, then whatever is left.
fn wait_and_answer(mut socket: Counted, call: Call, announce: &Sender<Pid>) -> anyhow::Result<()> {
    announce.send(rustix::thread::gettid())?;
    match call {
        Call::Receive => socket.rx += receive(&socket, 4096, RecvFlags::empty())?,
        // It comes after the gate in one piece, of at least this size.
        Call::ReceiveAll => socket.rx += receive(&socket, HEAD + tail(0), RecvFlags::WAITALL)?,
        Call::Send => {
            let sent = send(socket.stream(), &vec![0x5a; MUCH], SendFlags::NOSIGNAL)?;
            ensure!(sent == MUCH, "the call sent {sent} only");
            socket.tx += sent as u64;
        }
    }
    socket.drain()?;
    ensure!(socket.send_all(FIRST)?, "the client reset the connection");
    say(&Line::Server(socket.close("orderly")))
}

fn receive(socket: &Counted, length: usize, flags: RecvFlags) -> anyhow::Result<u64> {
    let (received, _) = recv(socket.stream(), &mut vec![0; length], flags)?;
    ensure!(received > 0, "the client ended early");
    Ok(received as u64)
}
