//! A client process: several threads, each one connection after the other.

use std::net::{Ipv4Addr, Shutdown};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use rustix::event::PollFlags;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::thread::{CpuSet, LinkNameSpaceType, Uid, move_into_link_name_space};

use super::plan::{Ending, Plan};
use crate::truth::Line;
use crate::workload::counted::Counted;
use crate::workload::report::say;

const THREADS: u32 = 3;

#[derive(clap::Args, Clone, Debug)]
pub(in crate::workload) struct ClientArgs {
    /// Run on one processor, chosen by this number.
    #[arg(long)]
    cpu: usize,
    /// Number of the first connection.
    #[arg(long)]
    first: u32,
    /// Number after the last connection.
    #[arg(long)]
    end: u32,
    /// User id to take.
    #[arg(long)]
    uid: Option<u32>,
    /// Network namespace to enter.
    #[arg(long)]
    netns: Option<PathBuf>,
    /// IPv4 address to connect to instead of all kinds of loopback addresses.
    #[arg(long)]
    address: Option<Ipv4Addr>,
}

pub(in crate::workload) fn main(args: &ClientArgs) -> anyhow::Result<()> {
    stay_on_processor(args.cpu)?;
    if let Some(path) = &args.netns {
        let file = std::fs::File::open(path)?;
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(LinkNameSpaceType::Network),
        )?;
    }
    if let Some(uid) = args.uid.map(Uid::from_raw) {
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody said go");
    std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| {
            scope.spawn(move || {
                for number in (args.first + thread..args.end).step_by(THREADS as usize) {
                    let plan = Plan::numbered(number);
                    let end = follow(plan, args.address).with_context(|| format!("{plan:?}"))?;
                    say(&Line::Client(end))?;
                }
                Ok(())
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a client thread panicked"))
    })
}

/// With all its packets from one processor, none of them overtakes another, so that a reset can
/// never get ahead of the handshake it follows.
fn stay_on_processor(number: usize) -> anyhow::Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect();
    let mut chosen = CpuSet::new();
    chosen.set(processors[number % processors.len()]);
    Ok(rustix::thread::sched_setaffinity(None, &chosen)?)
}

fn follow(plan: Plan, only: Option<Ipv4Addr>) -> anyhow::Result<crate::truth::End> {
    let mut socket = Counted::connect(plan.address(only))?.styled(plan.style());
    let (request, response) = (plan.request as usize, plan.response as usize);
    match plan.ending {
        Ending::Silent => {}
        Ending::ResetAtOnce => socket.linger_zero()?,
        Ending::UnsentReset => {
            set_socket_send_buffer_size(socket.stream(), 16 * 1024)?;
            ensure!(
                socket.send_header(&plan.header(), 0)?,
                "reset before the header"
            );
            fill(&mut socket)?;
            socket.linger_zero()?;
        }
        ending => {
            socket.send_header(&plan.header(), request)?;
            match ending {
                Ending::ClientLeavesUnread => {
                    socket.wait(PollFlags::IN)?;
                }
                Ending::HalfClose => {
                    socket.stream().shutdown(Shutdown::Write)?;
                    socket.drain()?;
                }
                Ending::ServerCloses
                | Ending::ServerResets
                | Ending::ServerLeavesUnread
                | Ending::Download => socket.drain()?,
                _ => ensure!(socket.skip(response)?, "the response ended early"),
            }
            if ending == Ending::ClientResets {
                socket.linger_zero()?;
            }
        }
    }
    Ok(socket.close(plan.ending.name()))
}

/// Sends until nothing more fits.
fn fill(socket: &mut Counted) -> anyhow::Result<()> {
    socket.stream().set_nonblocking(true)?;
    loop {
        match socket.send_some(usize::MAX) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
