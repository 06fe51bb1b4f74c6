//! What single system calls take: the same few calls again and again, in one task.
//!
//! In a VM that counts instructions a nanosecond is an instruction.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, connect, recv, send,
    socket,
};

use crate::peers::Times;
use crate::truth::now;

/// Calls between two looks at the clock; so many connections fit into the accept queue.
pub const BATCH: u32 = 32;
/// Bytes of each send and receive call.
const BYTES: usize = 64;

/// Measures `batches` batches of each call.
pub fn measure(batches: u32) -> Result<Times> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut times = Times::default();
    // The first ones fill caches.
    batch(&listener, &mut Times::default())?;
    for _ in 0..batches {
        batch(&listener, &mut times)?;
    }
    Ok(times)
}

fn batch(listener: &TcpListener, times: &mut Times) -> Result<()> {
    let SocketAddr::V4(address) = listener.local_addr()? else {
        unreachable!("bound to an IPv4 address")
    };
    let sockets = (0..BATCH).map(|_| socket(AddressFamily::INET, SocketType::STREAM, None));
    let clients = sockets.collect::<rustix::io::Result<Vec<OwnedFd>>>()?;
    let mut servers = Vec::with_capacity(clients.len());
    times.connect.push(timed(|| {
        clients
            .iter()
            .try_for_each(|client| connect(client, &address))
    })?);
    times.accept.push(timed(|| {
        for _ in &clients {
            // As Rust's own library does.
            servers.push(accept_with(listener, SocketFlags::CLOEXEC)?);
        }
        Ok(())
    })?);
    let client = TcpStream::from(clients[0].try_clone()?);
    client.set_nodelay(true)?;
    let mut bytes = [7; BYTES];
    times.send.push(timed(|| {
        (0..BATCH).try_for_each(|_| send(&client, &bytes, SendFlags::empty()).map(drop))
    })?);
    let mut received = 0;
    times.receive.push(timed(|| {
        for _ in 0..BATCH {
            received += recv(&servers[0], &mut bytes, RecvFlags::empty())?.0;
        }
        Ok(())
    })?);
    ensure!(received == BYTES * BATCH as usize, "{received} bytes came");
    drop(client);
    times.close_first.push(timed(|| {
        drop(clients);
        Ok(())
    })?);
    times.close_second.push(timed(|| {
        drop(servers);
        Ok(())
    })?);
    Ok(())
}

/// Nanoseconds for a call.
fn timed(calls: impl FnOnce() -> rustix::io::Result<()>) -> Result<u64> {
    let begin = now();
    calls().context("a call failed")?;
    Ok(now().saturating_sub(begin) / u64::from(BATCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_measured_in_every_batch() {
        let times = measure(3).unwrap();
        for batches in times.named().map(|(_, batches)| batches) {
            assert_eq!(batches.len(), 3);
            assert!(batches.iter().all(|ns| *ns > 0), "{times:?}");
        }
    }
}
