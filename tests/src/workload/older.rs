//! Connections that are used, wait at the gate, and are used again: older than who starts meanwhile.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd as _, OwnedFd};

use anyhow::ensure;

use super::blocked::raise_limit_of_files;
use super::counted::Counted;
use super::crew::{Crew, FIRST_FD};
use super::report::say;
use crate::truth::Line;

/// Where it listens.
const PORT: u16 = 7021;

/// Bytes of question and answer on connection `number`, before the gate and behind it.
fn sizes(number: u32, behind: bool) -> (usize, usize) {
    let number = number as usize;
    if behind {
        (1000 + 13 * (number % 997), 500 + 11 * (number % 991))
    } else {
        (100 + 7 * (number % 983), 50 + 3 * (number % 977))
    }
}

/// Every fifth connection is not used again.
fn is_used_again(number: u32) -> bool {
    number % 5 != 4
}

pub(super) fn run(connections: u32) -> anyhow::Result<()> {
    raise_limit_of_files()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let address = listener.local_addr()?;
    let mut crew = Crew::new();
    crew.start(
        &format!("older-server --connections {connections}"),
        vec![listener.into()],
    )?;
    let mut open = Vec::new();
    for number in 0..connections {
        let mut socket = Counted::new(TcpStream::connect(address)?, address)?;
        ask(&mut socket, sizes(number, false))?;
        say(&Line::Client(socket.end("before")))?;
        open.push(socket);
    }
    crew.relay_lines(connections)?;
    say(&Line::Ready {})?;
    std::io::stdin().read_line(&mut String::new())?;
    for (number, mut socket) in (0..).zip(open) {
        if is_used_again(number) {
            ask(&mut socket, sizes(number, true))?;
        }
        say(&Line::Client(socket.close("orderly")))?;
    }
    crew.finish()
}

fn ask(socket: &mut Counted, (question, answer): (usize, usize)) -> anyhow::Result<()> {
    ensure!(
        socket.send_all(question)?,
        "the server reset the connection"
    );
    ensure!(socket.skip(answer)?, "the server ended early");
    Ok(())
}

/// Waits in a receive call of the first connection while the gate is closed.
pub(super) fn server(connections: u32) -> anyhow::Result<()> {
    raise_limit_of_files()?;
    // SAFETY: the parent mapped the listener to this number, and nothing else here knows it.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(FIRST_FD) });
    let mut open = Vec::new();
    for number in 0..connections {
        let mut socket = Counted::accept(&listener)?;
        // The first one is waited for while a tracer starts.
        socket.stream().set_read_timeout(None)?;
        answer(&mut socket, sizes(number, false))?;
        say(&Line::Server(socket.end("before")))?;
        open.push(socket);
    }
    for (number, mut socket) in (0..).zip(open) {
        if is_used_again(number) {
            answer(&mut socket, sizes(number, true))?;
        }
        socket.drain()?;
        say(&Line::Server(socket.close("orderly")))?;
    }
    Ok(())
}

fn answer(socket: &mut Counted, (question, answer): (usize, usize)) -> anyhow::Result<()> {
    ensure!(socket.skip(question)?, "the client ended early");
    ensure!(socket.send_all(answer)?, "the client reset the connection");
    Ok(())
}
