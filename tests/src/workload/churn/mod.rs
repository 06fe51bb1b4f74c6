//! Many short connections between several client and several server processes.

mod client;
mod plan;
mod server;

use std::fmt::Write as _;
use std::io::BufRead as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use anyhow::ensure;

pub(super) use client::{ClientArgs, main as client};
pub(super) use server::{ServerArgs, main as server};

use super::ChurnArgs;
use super::crew::Crew;
use super::report::say;
use crate::truth::{Line, Member};

/// Port of the IPv4 listener.
const V4_PORT: u16 = 7014;

/// Port of the listener for both kinds of addresses.
const DUAL_PORT: u16 = 7015;

pub(super) fn run(args: &ChurnArgs) -> anyhow::Result<()> {
    let listeners = [listen((Ipv4Addr::UNSPECIFIED, V4_PORT).into())?, {
        listen((std::net::Ipv6Addr::UNSPECIFIED, DUAL_PORT).into())?
    }];
    let mut crew = Crew::new();
    let mut members = Vec::new();
    for _ in 0..args.servers {
        let fds = listeners.iter().map(|fd| fd.try_clone().map(OwnedFd::from));
        let pid = crew.start("churn-server", fds.collect::<Result<_, _>>()?)?;
        members.push(Member {
            duty: "server".into(),
            pid,
        });
    }
    drop(listeners);
    let mut first = 0;
    for index in 0..args.clients {
        let last = args.connections * (index + 1) / args.clients;
        let mut line = format!("churn-client --cpu {index} --first {first} --end {last}");
        if let Some(path) = &args.client_netns {
            write!(line, " --netns {}", path.display())?;
        }
        if let Some(address) = args.address {
            write!(line, " --address {address}")?;
        }
        if let Some(uid) = args.client_uid.filter(|_| index + 1 == args.clients) {
            write!(line, " --uid {uid}")?;
        }
        let pid = crew.start(&line, Vec::new())?;
        members.push(Member {
            duty: "client".into(),
            pid,
        });
        first = last;
    }
    if args.gate {
        for member in members {
            say(&Line::Process(member))?;
        }
        say(&Line::Ready {})?;
        let mut line = String::new();
        ensure!(
            std::io::stdin().lock().read_line(&mut line)? > 0,
            "nobody said go"
        );
    }
    crew.go()?;
    // The servers go on until every connection was served: a client may be done with one that
    // still waits in the accept queue.
    let mut missing = args.connections;
    crew.relay(|line| {
        missing -= u32::from(matches!(line, Line::Server(_)));
        missing == 0
    })?;
    crew.finish()
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // Longer than the queue can get, so that no handshake is ever dropped.
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
