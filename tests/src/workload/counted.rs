//! A TCP socket that adds up what its calls return.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::truth::{End, Share, canonical};

/// How long any call may wait before the workload calls it a hang.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

const CHUNK: usize = 64 * 1024;
static PAYLOAD: [u8; CHUNK] = [0x5a; CHUNK];

/// Which calls move the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    /// read and write.
    #[default]
    Plain,
    /// readv and writev.
    Vectored,
    /// recv and send, with a look ahead before each recv.
    Peek,
    /// recv that waits for everything, send that announces more.
    Whole,
}

impl Style {
    /// One for each number.
    pub(super) fn numbered(number: u32) -> Self {
        [Self::Plain, Self::Vectored, Self::Peek, Self::Whole][number as usize % 4]
    }
}

/// A connected socket and its sums.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    style: Style,
    /// What TCP has carried for `tx`, where that is not the same.
    pub(super) wire_tx: Option<u64>,
    /// Sum of what send calls returned.
    pub(super) tx: u64,
    /// Sum of what receive calls returned.
    pub(super) rx: u64,
}

impl Counted {
    /// Connects to `remote`.
    pub(super) fn connect(remote: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(remote)?;
        Self::new(stream, remote)
    }

    /// Takes the next connection of `listener`.
    pub(super) fn accept(listener: &TcpListener) -> io::Result<Self> {
        let (stream, remote) = listener.accept()?;
        Self::new(stream, remote)
    }

    /// Takes over a connected socket whose peer is `remote`.
    pub(super) fn new(stream: TcpStream, remote: SocketAddr) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let local = stream.local_addr()?;
        Ok(Self {
            stream,
            local,
            remote,
            style: Style::default(),
            wire_tx: None,
            tx: 0,
            rx: 0,
        })
    }

    /// Chooses the calls.
    #[must_use]
    pub(super) fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The socket, for options.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends `length` bytes; false if the peer reset the connection before all were accepted.
    pub(super) fn send_all(&mut self, mut length: usize) -> io::Result<bool> {
        while length > 0 {
            let Some(sent) = tolerate(self.send_some(length))? else {
                return Ok(false);
            };
            length -= sent;
        }
        Ok(true)
    }

    /// Sends `header` itself, then `length` bytes.
    pub(super) fn send_header(&mut self, header: &[u8], length: usize) -> io::Result<bool> {
        let mut rest = header;
        while !rest.is_empty() {
            let Some(sent) = tolerate((&self.stream).write(rest))? else {
                return Ok(false);
            };
            self.tx += sent as u64;
            rest = &rest[sent..];
        }
        self.send_all(length)
    }

    /// One send call of at most `length` bytes.
    pub(super) fn send_some(&mut self, length: usize) -> io::Result<usize> {
        let sent = uninterrupted(|| self.send_once(length))?;
        self.tx += sent as u64;
        Ok(sent)
    }

    fn send_once(&self, length: usize) -> io::Result<usize> {
        let data = &PAYLOAD[..length.min(CHUNK)];
        let sent = match self.style {
            Style::Plain | Style::Peek => (&self.stream).write(data)?,
            Style::Vectored => {
                let (head, tail) = data.split_at(data.len() / 3);
                (&self.stream).write_vectored(&[IoSlice::new(head), IoSlice::new(tail)])?
            }
            Style::Whole => {
                let more = if length > CHUNK {
                    SendFlags::MORE
                } else {
                    SendFlags::empty()
                };
                send(&self.stream, data, more | SendFlags::NOSIGNAL)?
            }
        };
        Ok(sent)
    }

    /// Receives up to `buffer.len()` bytes; 0 is the end of the stream or a reset.
    pub(super) fn recv_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = uninterrupted(|| self.recv_once(buffer));
        let received = tolerate(result)?.unwrap_or(0);
        self.rx += received as u64;
        Ok(received)
    }

    fn recv_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.style {
            Style::Plain => (&self.stream).read(buffer),
            Style::Vectored => {
                let (head, tail) = buffer.split_at_mut(buffer.len() / 3);
                let parts = &mut [IoSliceMut::new(head), IoSliceMut::new(tail)];
                (&self.stream).read_vectored(parts)
            }
            Style::Peek => self
                .stream
                .peek(buffer)
                .and_then(|_| Ok(recv(&self.stream, buffer, RecvFlags::empty())?.0)),
            Style::Whole => recv(&self.stream, buffer, RecvFlags::WAITALL)
                .map(|(n, _)| n)
                .map_err(Into::into),
        }
    }

    /// Fills `buffer`; false if the stream ended before.
    pub(super) fn recv_exact(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.recv_some(&mut buffer[filled..])? {
                0 => return Ok(false),
                n => filled += n,
            }
        }
        Ok(true)
    }

    /// Receives `length` bytes and throws them away; false if the stream ended before.
    pub(super) fn skip(&mut self, mut length: usize) -> io::Result<bool> {
        let mut buffer = vec![0; length.min(CHUNK)];
        while length > 0 {
            let part = length.min(CHUNK);
            match self.recv_some(&mut buffer[..part])? {
                0 => return Ok(false),
                n => length -= n,
            }
        }
        Ok(true)
    }

    /// Receives until the stream ends.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        while self.recv_some(&mut buffer)? > 0 {}
        Ok(())
    }

    /// Waits until one of `events` (or an error or hang-up) is there.
    pub(super) fn wait(&self, events: PollFlags) -> io::Result<PollFlags> {
        let mut fds = [PollFd::new(&self.stream, events)];
        let timeout = Timespec {
            tv_sec: PATIENCE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        if retry_on_intr(|| poll(&mut fds, Some(&timeout)))? == 0 {
            return Err(hang());
        }
        Ok(fds[0].revents())
    }

    /// Makes close send a reset.
    pub(super) fn linger_zero(&self) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_linger(
            &self.stream,
            Some(Duration::ZERO),
        )?)
    }

    /// Closes the socket; this process connected or accepted it, and alone used it.
    pub(super) fn close(self, ending: &str) -> End {
        let mut end = self.end(ending);
        drop(self.stream);
        end.closer_pid = end.owner_pid;
        end
    }

    /// The end as it is now, still open.
    pub(super) fn end(&self, ending: &str) -> End {
        let end = own_end(self.local, self.remote, (self.tx, self.rx), ending);
        End {
            closer_pid: None,
            wire_tx: self.wire_tx,
            ..end
        }
    }
}

/// An end that this process alone opened, used (sent and received bytes) and closed.
pub(super) fn own_end(
    local: SocketAddr,
    remote: SocketAddr,
    (tx, rx): (u64, u64),
    ending: &str,
) -> End {
    let pid = std::process::id();
    let share = Share { pid, tx, rx };
    End {
        local: canonical(local),
        remote: canonical(remote),
        v6_socket: local.is_ipv6(),
        owner_pid: Some(pid),
        owner_uid: Some(rustix::process::geteuid().as_raw()),
        users: Some(share)
            .into_iter()
            .filter(|share| share.tx + share.rx > 0)
            .collect(),
        closer_pid: Some(pid),
        tx,
        rx,
        wire_tx: None,
        accepted: true,
        ending: ending.to_owned(),
    }
}

/// Calls again when something interrupted the call: `io_uring` and debuggers do that, and a socket
/// with a time limit does not resume by itself.
pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// `None` for a connection that the peer reset; a timeout becomes an error that says so.
fn tolerate(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(None),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(hang()),
            _ => Err(error),
        },
    }
}

fn hang() -> io::Error {
    let text = format!("nothing moved on a connection for {} s", PATIENCE.as_secs());
    io::Error::new(ErrorKind::TimedOut, text)
}

/// Moves `bytes` each way.
pub(super) fn exchange(
    client: &mut Counted,
    server: &mut Counted,
    bytes: usize,
) -> anyhow::Result<()> {
    ensure!(
        client.send_all(bytes)? && server.skip(bytes)?,
        "the connection broke"
    );
    ensure!(
        server.send_all(bytes)? && client.skip(bytes)?,
        "the connection broke"
    );
    Ok(())
}

/// Waits until `done`; if that does not come, fails with `otherwise`.
pub(super) fn wait_until(
    otherwise: &'static str,
    done: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let since = Instant::now();
    while !done()? {
        ensure!(since.elapsed() < PATIENCE, otherwise);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
