//! A server process: several threads on each of the shared listeners.

use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd};

use anyhow::{Context as _, ensure};
use rustix::event::{PollFd, PollFlags, poll};

use super::plan::{Ending, HEADER, Plan};
use crate::truth::{End, Line};
use crate::workload::counted::Counted;
use crate::workload::crew::FIRST_FD;
use crate::workload::report::say;

/// Threads on each listener.
const THREADS: usize = 3;

#[derive(clap::Args, Clone, Debug)]
pub(in crate::workload) struct ServerArgs {}

pub(in crate::workload) fn main(_: &ServerArgs) -> anyhow::Result<()> {
    // SAFETY: the parent mapped the listeners to these numbers, and nothing else here knows them.
    let listeners = [FIRST_FD, FIRST_FD + 1].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let listeners = listeners.map(TcpListener::from);
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody said go");
    std::thread::scope(|scope| {
        let threads = (0..2 * THREADS).map(|index| {
            let listener = &listeners[index % 2];
            scope.spawn(move || serve(listener))
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a server thread panicked"))
    })
}

/// Serves until standard input ends.
fn serve(listener: &TcpListener) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    loop {
        let mut fds = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(&stdin, PollFlags::IN),
        ];
        poll(&mut fds, None)?;
        if !fds[1].revents().is_empty() {
            return Ok(());
        }
        match listener.accept() {
            Ok((stream, remote)) => {
                let end = follow(Counted::new(stream, remote)?)
                    .with_context(|| format!("serving {remote}"))?;
                say(&Line::Server(end))?;
            }
            // Another thread was faster.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn follow(mut socket: Counted) -> anyhow::Result<End> {
    let mut header = [0; HEADER];
    if !socket.recv_exact(&mut header)? {
        return Ok(socket.close("silent"));
    }
    let plan = Plan::parse(&header).context("no header")?;
    let mut socket = socket.styled(plan.style());
    let (request, response) = (plan.request as usize, plan.response as usize);
    match plan.ending {
        Ending::ServerLeavesUnread => {
            ensure!(socket.skip(request / 2)?, "the request ended early");
            socket.wait(PollFlags::IN)?;
        }
        Ending::UnsentReset => {
            // Nothing is asked for: this waits for the reset.
            socket.wait(PollFlags::empty())?;
        }
        Ending::HalfClose => {
            socket.drain()?;
            ensure!(
                socket.send_all(response)?,
                "the client reset the connection"
            );
        }
        ending => {
            ensure!(socket.skip(request)?, "the request ended early");
            // A client that leaves the response unread may reset while it is sent.
            socket.send_all(response)?;
            match ending {
                Ending::ServerCloses | Ending::Download => {}
                Ending::ServerResets => socket.linger_zero()?,
                _ => socket.drain()?,
            }
        }
    }
    Ok(socket.close(plan.ending.name()))
}
