//! Attempts that are given up here before there is an answer.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use anyhow::ensure;

use super::super::crew::{again, words};
use super::attempt::{How, Outcome, address};
use super::pending::wait_for_pending;
use crate::truth::{Span, now};

#[derive(clap::Args, Clone, Debug)]
pub(in crate::workload) struct VictimArgs {
    #[arg(long)]
    how: How,
    #[arg(long)]
    remote: SocketAddr,
}

/// Begins an attempt and has `give_up` end it.
pub(super) fn give_up(
    how: How,
    remote: SocketAddr,
    give_up: fn(OwnedFd) -> rustix::io::Result<()>,
) -> anyhow::Result<Outcome> {
    let socket = how.socket(remote)?;
    let began = how.begin(&socket, remote)?;
    let local = address(&socket)?;
    let from_ns = now();
    give_up(socket)?;
    wait_for_pending(remote, 0)?;
    Ok(Outcome {
        error: None,
        local,
        remote,
        owner_pid: std::process::id(),
        began,
        ended: Span {
            from_ns,
            to_ns: now(),
        },
    })
}

/// Has another process begin an attempt and kills it.
pub(super) fn kill(how: How, remote: SocketAddr) -> anyhow::Result<Outcome> {
    let line = format!("failed-victim --how {} --remote {remote}", how.name());
    let started_ns = now();
    let mut child = again(&words(&line), Vec::new())?
        .stdin(Stdio::piped())
        .spawn()?;
    let pending = wait_for_pending(remote, 1);
    let from_ns = now();
    child.kill()?;
    child.wait()?;
    // A request of an io_uring ends after its process.
    wait_for_pending(remote, 0)?;
    let began = Span {
        from_ns: started_ns,
        to_ns: from_ns,
    };
    Ok(Outcome {
        error: None,
        local: pending?.0.first().map(|port| (remote.ip(), *port).into()),
        remote,
        owner_pid: child.id(),
        began,
        ended: Span {
            from_ns,
            to_ns: now(),
        },
    })
}

/// The process that is killed.
pub(in crate::workload) fn victim(args: &VictimArgs) -> anyhow::Result<()> {
    let socket = args.how.socket(args.remote)?;
    if args.how == How::Nonblocking {
        args.how.begin(&socket, args.remote)?;
        std::io::stdin().read_line(&mut String::new())?;
    } else {
        args.how.connect(&socket, args.remote)?;
    }
    ensure!(false, "nobody killed this process");
    Ok(())
}
