//! A network namespace with nothing in it but loopback.

use std::fs::{File, read_to_string};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::harness::PATIENCE;

/// A network namespace; it goes away with the last process and descriptor in it.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Makes one and brings its loopback device up.
    pub fn new() -> Self {
        let thread = std::thread::spawn(|| {
            // SAFETY: only the thread's network namespace changes; no descriptor table is shared
            // anew and no other thread is concerned.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("making a network namespace");
            bring_loopback_up();
            Self::current()
        });
        thread
            .join()
            .expect("the thread that makes a network namespace")
    }

    /// The one that this thread is in.
    pub fn current() -> Self {
        Self {
            file: File::open("/proc/thread-self/ns/net").expect("opening the network namespace"),
        }
    }

    /// The inode number that `--netns` takes.
    pub fn inode(&self) -> String {
        self.file
            .metadata()
            .expect("the namespace's inode number")
            .ino()
            .to_string()
    }

    /// A path by which another process can enter it while this one lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Moves this thread into it.
    pub fn enter(&self) {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(self.file.as_fd(), kind).expect("entering a namespace");
    }

    /// Runs `inside` in a thread that has entered it; what that starts is in it, too.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                inside()
            });
            thread.join().expect("a thread inside a network namespace")
        })
    }

    /// Waits until no socket here that its application has closed is still saying goodbye: the
    /// kernel does that in its own time, and a tracer that stops before would rightly call such a
    /// connection open.
    pub fn wait_for_goodbyes(&self) {
        self.wait_for_none(is_goodbye, "a closed connection does not end");
    }

    /// Waits until no segment is on its way: all that was sent here is acknowledged, which the other
    /// side may do late.
    pub fn wait_for_acknowledgements(&self) {
        self.wait_for_none(is_unacknowledged, "what was sent is not acknowledged");
    }

    fn wait_for_none(&self, is_one: fn(&[&str]) -> bool, otherwise: &str) {
        let since = Instant::now();
        while self.run(|| any_socket(is_one)) {
            assert!(since.elapsed() < PATIENCE, "{otherwise}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Another handle on the same namespace.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            file: self.file.try_clone().expect("copying a descriptor"),
        }
    }

    /// Connects it with `other` by a pair of virtual Ethernet devices with these addresses.
    pub fn link(&self, address: Ipv4Addr, other: &Self, other_address: Ipv4Addr) {
        let peer_path = other.path();
        self.run(|| {
            ip("link add veth0 type veth peer name veth1");
            let path = peer_path.display();
            // iproute2 takes a path for a name when it starts with a slash.
            ip(&format!("link set veth1 netns {path}"));
            ip(&format!("addr add {address}/24 dev veth0"));
            ip("link set veth0 up");
        });
        other.run(|| {
            ip(&format!("addr add {other_address}/24 dev veth1"));
            ip("link set veth1 up");
        });
    }
}

/// Whether a socket has no descriptor and waits for the peer.
fn is_goodbye(fields: &[&str]) -> bool {
    // FIN_WAIT1, FIN_WAIT2, LAST_ACK, CLOSING.
    const WAITING: [&str; 4] = ["04", "05", "09", "0B"];
    // For the tracer a connection in TIME_WAIT is over, whatever its state was before.
    const TIME_WAIT_TIMER: &str = "03:";
    WAITING.contains(&fields[3]) && fields[9] == "0" && !fields[5].starts_with(TIME_WAIT_TIMER)
}

/// Whether an established socket has sent what is not acknowledged.
fn is_unacknowledged(fields: &[&str]) -> bool {
    const ESTABLISHED: &str = "01";
    fields[3] == ESTABLISHED && !fields[4].starts_with("00000000:")
}

/// Whether this thread's namespace has such a socket.
fn any_socket(is_one: fn(&[&str]) -> bool) -> bool {
    ["tcp", "tcp6"]
        .map(|table| read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default())
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .any(|line| is_one(&line.split_whitespace().collect::<Vec<_>>()))
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs the program `ip` with these arguments.
pub fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("running ip");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn bring_loopback_up() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        // It is signed on x86_64 and unsigned on aarch64.
        *slot = libc::c_char::from_ne_bytes([*byte]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = flags.try_into().expect("flags fit");
    // SAFETY: the request outlives the call, and SIOCSIFFLAGS takes an `ifreq`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    assert_eq!(
        result,
        0,
        "bringing lo up: {}",
        std::io::Error::last_os_error()
    );
}
