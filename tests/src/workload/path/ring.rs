//! An `io_uring` whose calls wait for their result: with [`super::raw`] the only unsafe code of
//! the paths.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{DestinationSlot, Fd, Fixed, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode};
use rustix::net::addr::SocketAddrArg as _;

/// Number and size of the buffers of [`Ring::receive_many`]: more than it ever needs.
const BUFFERS: usize = 64;
const BUFFER: usize = 4096;

/// The group of those buffers.
const GROUP: u16 = 1;

pub(in crate::workload) struct Ring(IoUring);

/// A socket as the ring knows it.
#[derive(Clone, Copy)]
pub(in crate::workload) enum Handle<'a> {
    /// By a file descriptor.
    Plain(BorrowedFd<'a>),
    /// By a slot of the ring's own table.
    Direct(u32),
}

/// `$build` with the descriptor of a handle, of whichever type.
macro_rules! on {
    ($handle:expr, |$fd:ident| $build:expr) => {
        match $handle {
            Handle::Plain(fd) => {
                let $fd = Fd(fd.as_raw_fd());
                $build
            }
            Handle::Direct(slot) => {
                let $fd = Fixed(slot);
                $build
            }
        }
    };
}

impl Ring {
    pub(in crate::workload) fn new() -> io::Result<Self> {
        Ok(Self(IoUring::new(16)?))
    }

    /// With a kernel thread that takes requests without a system call.
    pub(super) fn polled() -> io::Result<Self> {
        Ok(Self(IoUring::builder().setup_sqpoll(1000).build(16)?))
    }

    /// Whether a polled ring takes ordinary descriptors.
    pub(super) fn polls_plain(&self) -> bool {
        self.0.params().is_feature_sqpoll_nonfixed()
    }

    /// Whether the kernel knows all of these operations.
    pub(super) fn knows(&self, operations: &[u8]) -> io::Result<bool> {
        let mut probe = Probe::new();
        self.0.submitter().register_probe(&mut probe)?;
        Ok(operations.iter().all(|code| probe.is_supported(*code)))
    }

    /// Fills slot 0 of a table of two direct descriptors; slot 1 stays free.
    pub(super) fn register(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.0.submitter().register_files(&[fd.as_raw_fd(), -1])
    }

    pub(in crate::workload) fn connect(
        &mut self,
        socket: Handle<'_>,
        address: SocketAddr,
    ) -> io::Result<()> {
        // SAFETY: the address stays where it is until the request is done: this waits for it.
        let result = unsafe {
            address.with_sockaddr(|place, length| {
                let place = place.cast();
                self.wait_for(&on!(socket, |fd| opcode::Connect::new(fd, place, length).build()))
            })
        };
        result.map(drop)
    }

    /// Connects, or gives up after a while and leaves the socket as it is.
    pub(in crate::workload) fn connect_within(
        &mut self,
        socket: Handle<'_>,
        address: SocketAddr,
        limit: Duration,
    ) -> io::Result<()> {
        const CONNECT: u64 = 1;
        let limit = Timespec::from(limit);
        // SAFETY: the address and the limit stay where they are until both requests are done: this
        // waits for them.
        let completions = unsafe {
            address.with_sockaddr(|place, length| {
                let place = place.cast();
                let entry = on!(socket, |fd| opcode::Connect::new(fd, place, length).build());
                let linked = entry.flags(Flags::IO_LINK).user_data(CONNECT);
                self.start(&linked);
                self.start(&opcode::LinkTimeout::new(&raw const limit).build());
                [self.next(), self.next()]
            })
        };
        let connect = completions
            .iter()
            .find(|completion| completion.user_data() == CONNECT);
        result(connect.expect("one of two")).map(drop)
    }

    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let (listener, nowhere) = (Fd(listener.as_raw_fd()), ptr::null_mut());
        let entry = opcode::Accept::new(listener, nowhere, ptr::null_mut()).build();
        // SAFETY: the request points to nothing.
        let fd = unsafe { self.wait_for(&entry) }?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) })
    }

    /// Accepts into slot 1; returns the peer.
    pub(super) fn accept_direct(&mut self, listener: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        let mut peer = MaybeUninit::<libc::sockaddr_in>::zeroed();
        let mut length = libc::socklen_t::try_from(size_of_val(&peer)).expect("a small size");
        let listener = Fd(listener.as_raw_fd());
        let slot = DestinationSlot::try_from_slot_target(1).expect("a small slot");
        let entry = opcode::Accept::new(listener, peer.as_mut_ptr().cast(), &raw mut length)
            .file_index(Some(slot))
            .build();
        // SAFETY: `peer` and `length` live until the request is done: this waits for it.
        unsafe { self.wait_for(&entry) }?;
        // SAFETY: all zeroes is a valid address, and so is what the kernel wrote.
        let peer = unsafe { peer.assume_init() };
        let ip = std::net::Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr));
        Ok((ip, u16::from_be(peer.sin_port)).into())
    }

    pub(super) fn send(&mut self, socket: Handle<'_>, data: &[u8]) -> io::Result<usize> {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let entry = on!(socket, |fd| opcode::Send::new(fd, data.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL)
            .build());
        // SAFETY: `data` lives until the request is done: this waits for it.
        let sent = unsafe { self.wait_for(&entry) }?;
        Ok(sent as usize)
    }

    pub(super) fn receive(&mut self, socket: Handle<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let entry = on!(socket, |fd| opcode::Recv::new(
            fd,
            buffer.as_mut_ptr(),
            length
        )
        .build());
        // SAFETY: `buffer` lives until the request is done: this waits for it.
        let received = unsafe { self.wait_for(&entry) }?;
        Ok(received as usize)
    }

    /// Closes the descriptor in a slot.
    pub(super) fn close_direct(&mut self, slot: u32) -> io::Result<()> {
        // SAFETY: the request points to nothing.
        unsafe { self.wait_for(&opcode::Close::new(Fixed(slot)).build()) }.map(drop)
    }

    /// Starts to accept again and again; each connection comes from [`Ring::next_accepted`].
    pub(super) fn accept_many(&mut self, listener: BorrowedFd<'_>) {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build();
        // SAFETY: the request points to nothing.
        unsafe { self.start(&entry) };
    }

    /// The next result of [`Ring::accept_many`].
    pub(super) fn next_accepted(&mut self) -> io::Result<OwnedFd> {
        let fd = result(&self.next())?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) })
    }

    /// Receives again and again by one request until the stream ends; returns how many bytes came.
    pub(super) fn receive_many(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // The kernel may use the buffers as long as the ring is there, which ends at some time
        // after its descriptor is closed: they are never freed.
        let buffers = vec![0; BUFFERS * BUFFER].leak();
        let size = i32::try_from(BUFFER).expect("a small size");
        let count = u16::try_from(BUFFERS).expect("a small count");
        let provide = opcode::ProvideBuffers::new(buffers.as_mut_ptr(), size, count, GROUP, 0);
        // SAFETY: the buffers live for ever, and nothing else here uses them.
        unsafe { self.wait_for(&provide.build()) }?;
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build();
        // SAFETY: the request points to nothing but the buffers.
        unsafe { self.start(&entry) };
        let mut done = 0;
        loop {
            let completion = self.next();
            done += result(&completion)? as usize;
            if !cqueue::more(completion.flags()) {
                return Ok(done);
            }
        }
    }

    /// Starts a request and waits for its result, while no other is under way.
    ///
    /// # Safety
    /// What `entry` points to lives until this returns.
    unsafe fn wait_for(&mut self, entry: &Entry) -> io::Result<u32> {
        // SAFETY: as above; this returns after the request is done.
        unsafe { self.start(entry) };
        result(&self.next())
    }

    /// Queues a request, which the next wait submits.
    ///
    /// # Safety
    /// What `entry` points to lives until the request is done.
    unsafe fn start(&mut self, entry: &Entry) {
        // SAFETY: as above.
        let pushed = unsafe { self.0.submission().push(entry) };
        pushed.expect("room for a request");
    }

    fn next(&mut self) -> cqueue::Entry {
        loop {
            if let Some(completion) = self.0.completion().next() {
                return completion;
            }
            match self.0.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    // The kernel may still use the caller's memory: there is no way back.
                    std::process::abort()
                }
                _ => {}
            }
        }
    }
}

fn result(completion: &cqueue::Entry) -> io::Result<u32> {
    let result = completion.result();
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
