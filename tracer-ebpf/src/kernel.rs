//! The only file that reads kernel memory: typed handles over raw kernel pointers.
//!
//! A read is a `bpf_probe_read_kernel`, which fails instead of faulting, so a handle may hold any
//! address; only [`TcpSock`] and [`TypedSock`] are read without, because the verifier knows what they
//! point at. Offsets come from [`OFFSETS`]; a field that was not looked up is so far away that the
//! read fails.

use core::{mem::offset_of, ptr};

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user,
    bpf_skc_to_tcp_sock,
};
use tracer_common::{
    connection::{NAME_LEN, TcpCounters},
    filter::chosen_ports,
    flow::{AF_INET, AF_INET6, Flow, v4_mapped},
    offsets::{Offsets, POISON},
    process::{MAX_COMPONENT, MAX_STEPS},
    wire::Wire,
};

use crate::maps::OFFSETS;

/// One offset, read on its own: loading the whole struct would copy it to the stack.
macro_rules! offset {
    ($field:ident) => {{
        let offsets = (&raw const OFFSETS).cast::<Offsets>();
        // SAFETY: `OFFSETS` is a live, initialised `Offsets` behind a transparent wrapper; volatile
        // because the loader writes it after compilation.
        unsafe { (&raw const (*offsets).$field).read_volatile() as usize }
    }};
}

/// The beginning of `struct sock_common`, fixed on every kernel (checked at start by the user side).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct SockHead {
    daddr: u32,
    rcv_saddr: u32,
    hash: u32,
    dport: u16,
    num: u16,
    family: u16,
    state: u8,
    bits: u8,
}

const SKC_DPORT: usize = 12;
const SKC_NUM: usize = 14;
const SKC_FAMILY: usize = 16;
const SKC_STATE: usize = 18;
const SKC_NET: usize = 48;
const SKC_V6_DADDR: usize = 56;
const SKC_V6_RCV_SADDR: usize = 72;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;
/// First member of `struct socket`, likewise fixed.
const SOCKET_STATE: usize = 0;
const SS_CONNECTING: u32 = 2;
const IFF_LOOPBACK: u32 = 8;
const SOCK_DONE: u64 = 1 << 1;
const SHUTDOWN_MASK: u8 = 3;
/// `struct upid`, likewise.
const UPID: usize = 16;
const UPID_NR: usize = 0;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The offset of a field that not every kernel has. The verifier must not see a typed pointer that
/// is moved by [`POISON`].
#[inline(always)]
fn known(offset: usize) -> Option<usize> {
    (offset != POISON as usize).then_some(offset)
}

#[inline(always)]
fn read_into<T>(base: *const u8, offset: usize, to: &mut T) -> bool {
    let at = base.wrapping_add(offset);
    // SAFETY: the helper checks the address itself, and writes `size_of::<T>()` bytes to `to`.
    unsafe {
        bpf_probe_read_kernel(ptr::from_mut(to).cast(), size_of::<T>() as u32, at.cast()) == 0
    }
}

#[inline(always)]
fn read<T: Copy + Default>(base: *const u8, offset: usize) -> Option<T> {
    let mut value = T::default();
    read_into(base, offset, &mut value).then_some(value)
}

/// Without a branch, which the verifier would follow both ways: a read that fails gives zeroes.
#[inline(always)]
fn or_zero<T: Copy + Default>(base: *const u8, offset: usize) -> T {
    let mut value = T::default();
    read_into(base, offset, &mut value);
    value
}

#[inline(always)]
fn read_pointer(base: *const u8, offset: usize) -> Option<*const u8> {
    let pointer: u64 = read(base, offset)?;
    (pointer != 0).then_some(pointer as *const u8)
}

/// Where a `connect` call wants to.
pub struct Destination {
    /// As in [`Flow`].
    pub ip: [u8; 16],
    pub port: u16,
}

impl Destination {
    /// Reads the kernel's copy of a `struct sockaddr *`.
    #[inline(always)]
    pub fn of_kernel(address: *const u8) -> Option<Self> {
        Self::read(|offset, to| {
            let at = address.wrapping_add(offset);
            // SAFETY: the helper checks the address itself, and writes `to`.
            unsafe {
                bpf_probe_read_kernel(to.as_mut_ptr().cast(), to.len() as u32, at.cast()) == 0
            }
        })
    }

    /// Reads the running task's own.
    #[inline(always)]
    pub fn of_caller(address: *const u8) -> Option<Self> {
        Self::read(|offset, to| {
            let at = address.wrapping_add(offset);
            // SAFETY: as above.
            unsafe { bpf_probe_read_user(to.as_mut_ptr().cast(), to.len() as u32, at.cast()) == 0 }
        })
    }

    /// Nothing for other families than IPv4 and IPv6.
    #[inline(always)]
    fn read(bytes: impl Fn(usize, &mut [u8]) -> bool) -> Option<Self> {
        const PORT: usize = 2;
        const V4: usize = 4;
        const V6: usize = 8;
        let mut family = [0; 2];
        let mut port = [0; 2];
        if !bytes(0, &mut family) || !bytes(PORT, &mut port) {
            return None;
        }
        let ip = match u16::from_ne_bytes(family) {
            AF_INET => {
                let mut ip = [0; 4];
                if !bytes(V4, &mut ip) {
                    return None;
                }
                v4_mapped(u32::from_ne_bytes(ip))
            }
            AF_INET6 => {
                let mut ip = [0; 16];
                if !bytes(V6, &mut ip) {
                    return None;
                }
                ip
            }
            _ => return None,
        };
        Some(Self {
            ip,
            port: u16::from_be_bytes(port),
        })
    }
}

/// Writes the text at `from`, memory of the kernel, up to its first NUL; the rest of `to` stays. The
/// kernel does not clear what is left of a longer name.
#[inline(always)]
pub fn read_text(from: *const u8, to: &mut [u8; NAME_LEN]) {
    // SAFETY: the helper checks the address itself, and writes at most `NAME_LEN` bytes to `to`.
    unsafe {
        bpf_probe_read_kernel_str(to.as_mut_ptr().cast(), NAME_LEN as u32, from.cast());
    }
}

/// A `struct net_device *`.
#[derive(Clone, Copy)]
pub struct Device(*const u8);

impl Device {
    /// Whether it is the loopback device.
    #[inline(always)]
    pub fn is_loopback(self) -> Option<bool> {
        Some(read::<u32>(self.0, offset!(dev_flags))? & IFF_LOOPBACK != 0)
    }

    /// Writes its name, as [`read_text`].
    #[inline(always)]
    pub fn read_name(self, name: &mut [u8; NAME_LEN]) {
        read_text(self.0.wrapping_add(offset!(dev_name)), name);
    }
}

/// A `struct cgroup *` of the cgroup v2 hierarchy.
#[derive(Clone, Copy)]
pub struct Cgroup(*const u8);

impl Cgroup {
    /// Its id.
    #[inline(always)]
    pub fn id(self) -> Option<u64> {
        let node = read_pointer(self.0, offset!(cgroup_kn))?;
        read(node, offset!(kn_id))
    }

    /// The one above it, as a pointer to its first member; `None` at the top.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        read_pointer(self.0, offset!(cgroup_parent)).map(Self)
    }
}

/// A TCP socket, or what may be one; see [`Sock`] and [`TcpSock`] for how it is read.
pub trait Socket: Copy {
    /// Its address.
    fn pointer(self) -> *const u8;

    /// The number at an offset of `struct tcp_sock`; 0 if it cannot be read.
    fn get<T: Copy + Default>(self, offset: usize) -> T;

    /// What every socket begins with.
    fn head(self) -> SockHead;

    /// Not typed: the verifier of some kernels would take the pointer for one that is never null.
    #[inline(always)]
    fn read_pointer(self, offset: usize) -> Option<*const u8> {
        read_pointer(self.pointer(), offset)
    }

    /// The pointer as a map key.
    #[inline(always)]
    fn key(self) -> u64 {
        self.pointer() as u64
    }

    /// An IPv4 or IPv6 TCP socket. MPTCP sockets (protocol 262) are not: their subflows are.
    #[inline(always)]
    fn is_tcp(self) -> bool {
        self.get::<u16>(offset!(sk_protocol)) == IPPROTO_TCP
            && matches!(self.get(SKC_FAMILY), AF_INET | AF_INET6)
    }

    /// An MPTCP socket, which has others below it.
    #[inline(always)]
    fn is_mptcp(self) -> bool {
        self.get::<u16>(offset!(sk_protocol)) == IPPROTO_MPTCP
    }

    /// The first one below an MPTCP socket.
    #[inline(always)]
    fn first_subflow(self) -> Option<Sock> {
        let first = known(offset!(first_subflow))?;
        self.read_pointer(first).map(Sock)
    }

    /// Name of its upper-layer protocol, if it has one.
    #[inline(always)]
    fn ulp(self) -> Option<[u8; NAME_LEN]> {
        self.read_pointer(offset!(ulp_ops))
            .and_then(|ops| read(ops, offset!(ulp_name)))
    }

    /// Whether it has one.
    #[inline(always)]
    fn has_ulp(self) -> bool {
        self.read_pointer(offset!(ulp_ops)).is_some()
    }

    /// Whether it is below an MPTCP socket.
    #[inline(always)]
    fn is_subflow(self) -> bool {
        // Two words are compared with less ado than 16 bytes.
        self.ulp().is_some_and(|name| {
            u128::from_ne_bytes(name) == u128::from_ne_bytes(*b"mptcp\0\0\0\0\0\0\0\0\0\0\0")
        })
    }

    /// A `SOCK_STREAM` one; raw sockets can be of TCP's protocol, too.
    #[inline(always)]
    fn is_stream(self) -> bool {
        const SOCK_STREAM: u16 = 1;
        self.get::<u16>(offset!(sk_type)) == SOCK_STREAM
    }

    /// Whether it came from a listener. The kernel notes in such a socket through which device the
    /// SYN came, in a field for multicast that TCP cannot set otherwise.
    #[inline(always)]
    fn is_passive(self) -> bool {
        let device: u32 = if self.get::<u16>(SKC_FAMILY) == AF_INET6 {
            known(offset!(pinet6))
                .and_then(|at| self.read_pointer(at))
                .and_then(|ipv6| read(ipv6, known(offset!(mcast_oif))?))
                .unwrap_or_default()
        } else {
            self.get(offset!(mc_index))
        };
        device != 0
    }

    /// Addresses and ports, written where they are kept.
    #[inline(always)]
    fn read_flow(self, flow: &mut Flow) {
        let head = self.head();
        flow.local_port = head.num;
        flow.remote_port = u16::from_be(head.dport);
        flow.socket_family = head.family;
        flow.reserved = 0;
        if head.family == AF_INET6 {
            // Not typed: a kernel without IPv6 has other fields there.
            read_into(self.pointer(), SKC_V6_DADDR, &mut flow.remote_ip);
            read_into(self.pointer(), SKC_V6_RCV_SADDR, &mut flow.local_ip);
        } else {
            flow.remote_ip = v4_mapped(head.daddr);
            flow.local_ip = v4_mapped(head.rcv_saddr);
        }
    }

    /// `inet_sport`: the local port also after the end of TCP, which clears `skc_num`. A socket that
    /// connects again has that of the time before, until a port is chosen.
    #[inline(always)]
    fn source_port(self) -> u16 {
        u16::from_be(self.get(offset!(inet_sport)))
    }

    /// `skc_num`: the local port while the socket has one, else 0.
    #[inline(always)]
    fn local_port(self) -> u16 {
        self.get(SKC_NUM)
    }

    /// 0 without a peer.
    #[inline(always)]
    fn remote_port(self) -> u16 {
        u16::from_be(self.get(SKC_DPORT))
    }

    /// The lowest and the highest port that the kernel chooses from, in its network namespace.
    #[inline(always)]
    fn chosen_ports(self) -> Option<(u16, u16)> {
        let net = self.read_pointer(SKC_NET)?;
        read(net, known(offset!(net_local_ports))?).map(chosen_ports)
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    fn netns(self) -> u32 {
        self.read_pointer(SKC_NET)
            .and_then(|net| read(net, offset!(net_inum)))
            .unwrap_or_default()
    }

    /// `sk_err`: what the next call on the socket will return.
    #[inline(always)]
    fn error(self) -> u32 {
        self.get(offset!(sk_err))
    }

    /// Whether the peer's FIN has arrived.
    #[inline(always)]
    fn fin_received(self) -> bool {
        self.get::<u64>(offset!(sk_flags)) & SOCK_DONE != 0
    }

    /// Whether `close` was called or TCP ended.
    #[inline(always)]
    fn is_shut_down(self) -> bool {
        self.get::<u8>(offset!(sk_shutdown)) == SHUTDOWN_MASK
    }

    /// Whether an application still holds the socket.
    #[inline(always)]
    fn is_held(self) -> bool {
        self.read_pointer(offset!(sk_socket)).is_some()
    }

    /// The device through which the socket's route leaves; `None` without a route.
    #[inline(always)]
    fn device(self) -> Option<Device> {
        let dst = self.read_pointer(offset!(sk_dst_cache))?;
        read_pointer(dst, offset!(dst_dev)).map(Device)
    }

    /// `struct tcp_sock`'s counters, written where they are kept.
    #[inline(always)]
    fn read_counters(self, tcp: &mut TcpCounters) {
        const SRTT_SHIFT: u32 = 3;
        tcp.bytes_acked = self.get(offset!(bytes_acked));
        tcp.bytes_received = self.get(offset!(bytes_received));
        tcp.write_seq = self.get(offset!(write_seq));
        tcp.snd_una = self.get(offset!(snd_una));
        tcp.rcv_nxt = self.get(offset!(rcv_nxt));
        tcp.copied_seq = self.get(offset!(copied_seq));
        tcp.srtt_us = self.get::<u32>(offset!(srtt_us)) >> SRTT_SHIFT;
        tcp.retransmits = self.retransmits();
    }

    /// What the socket sent and received so far, written where it is kept.
    #[inline(always)]
    fn read_wire(self, wire: &mut Wire) {
        wire.sent = self.get(offset!(bytes_sent));
        let fin = u64::from(self.fin_received());
        wire.received = self.bytes_received().saturating_sub(fin);
        wire.segments_out = self.get(offset!(segs_out));
        wire.segments_in = self.get(offset!(segs_in));
        wire.header = u32::from(self.get::<u16>(offset!(tcp_header_len)));
    }

    /// `tcp_sock.total_retrans`.
    #[inline(always)]
    fn retransmits(self) -> u32 {
        self.get(offset!(total_retrans))
    }

    /// TCP state.
    #[inline(always)]
    fn state(self) -> u8 {
        self.get(SKC_STATE)
    }

    /// `tcp_sock.write_seq`.
    #[inline(always)]
    fn write_seq(self) -> u32 {
        self.get(offset!(write_seq))
    }

    /// `tcp_sock.rcv_nxt`.
    #[inline(always)]
    fn rcv_nxt(self) -> u32 {
        self.get(offset!(rcv_nxt))
    }

    /// `tcp_sock.bytes_received`.
    #[inline(always)]
    fn bytes_received(self) -> u64 {
        self.get(offset!(bytes_received))
    }

    /// `tcp_sock.copied_seq`.
    #[inline(always)]
    fn copied_seq(self) -> u32 {
        self.get(offset!(copied_seq))
    }
}

/// A `struct sock *` that came as a number: each read is a checked copy.
#[derive(Clone, Copy)]
pub struct Sock(*const u8);

impl Sock {
    #[inline(always)]
    pub fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    /// The socket behind a `struct file *`, if it is one and is fully set up.
    #[inline(always)]
    pub fn of_file(file: *const u8) -> Option<Self> {
        let inode = read_pointer(file, offset!(file_inode))?;
        if read::<u16>(inode, offset!(inode_mode))? & S_IFMT != S_IFSOCK {
            return None;
        }
        let socket = read_pointer(file, offset!(file_private))?;
        // A socket's file points back at it; anything else with S_IFSOCK does not.
        if read_pointer(socket, offset!(socket_file))? != file {
            return None;
        }
        read_pointer(socket, offset!(socket_sk)).map(Self)
    }

    /// A TCP socket itself, or the first one below an MPTCP socket: that is the connection we know.
    #[inline(always)]
    pub fn of_tcp(self) -> Option<Self> {
        if self.is_tcp() {
            return Some(self);
        }
        self.is_mptcp().then(|| self.first_subflow()).flatten()
    }
}

impl Socket for Sock {
    #[inline(always)]
    fn pointer(self) -> *const u8 {
        self.0
    }

    #[inline(always)]
    fn get<T: Copy + Default>(self, offset: usize) -> T {
        or_zero(self.0, offset)
    }

    #[inline(always)]
    fn head(self) -> SockHead {
        or_zero(self.0, 0)
    }
}

/// A `struct tcp_sock *` that the verifier knows to be one: a read is a load.
#[derive(Clone, Copy)]
pub struct TcpSock(*const u8);

impl TcpSock {
    /// The argument of a typed hook itself, if it is of TCP, and more than the mark that stands for a
    /// connection in its first or last moments.
    #[inline(always)]
    pub fn of(argument: *const u8) -> Option<Self> {
        // SAFETY: the kernel calls with a live socket, which the helper looks at.
        let tcp = unsafe { bpf_skc_to_tcp_sock(argument.cast_mut().cast()) };
        (!tcp.is_null()).then_some(Self(tcp.cast_const().cast()))
    }
}

impl Socket for TcpSock {
    #[inline(always)]
    fn pointer(self) -> *const u8 {
        self.0
    }

    #[inline(always)]
    fn get<T: Copy + Default>(self, offset: usize) -> T {
        let Some(offset) = known(offset) else {
            return T::default();
        };
        // SAFETY: the socket lives as long as the hook, and the verifier refuses what is not of a
        // member.
        unsafe { self.0.add(offset).cast::<T>().read_volatile() }
    }

    #[inline(always)]
    fn head(self) -> SockHead {
        SockHead {
            daddr: self.get(offset_of!(SockHead, daddr)),
            rcv_saddr: self.get(offset_of!(SockHead, rcv_saddr)),
            dport: self.get(offset_of!(SockHead, dport)),
            num: self.get(offset_of!(SockHead, num)),
            family: self.get(offset_of!(SockHead, family)),
            ..SockHead::default()
        }
    }
}

/// A `struct sock *` as a typed hook was called with it, which costs nothing to read.
#[derive(Clone, Copy)]
pub struct TypedSock(*const u8);

impl TypedSock {
    /// The argument itself: the verifier follows it from there.
    #[inline(always)]
    pub fn new(argument: *const u8) -> Self {
        Self(argument)
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: usize) -> T {
        // SAFETY: the kernel calls with a live socket, and the verifier refuses an offset that is
        // not of a member.
        unsafe { self.0.add(offset).cast::<T>().read_volatile() }
    }

    /// As [`Socket::local_port`].
    #[inline(always)]
    pub fn local_port(self) -> u16 {
        self.read(SKC_NUM)
    }

    /// As [`Socket::remote_port`].
    #[inline(always)]
    pub fn remote_port(self) -> u16 {
        u16::from_be(self.read(SKC_DPORT))
    }

    /// As [`Socket::is_mptcp`].
    #[inline(always)]
    pub fn is_mptcp(self) -> bool {
        self.read::<u16>(offset!(sk_protocol)) == IPPROTO_MPTCP
    }

    /// For everything else.
    #[inline(always)]
    pub fn plain(self) -> Sock {
        Sock(self.0)
    }
}

/// A `struct task_struct *`.
#[derive(Clone, Copy)]
pub struct TaskStruct(*const u8);

impl TaskStruct {
    #[inline(always)]
    pub fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    /// The running one.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: no arguments; the pointer is only used through checked reads.
        Self(unsafe { bpf_get_current_task() } as *const u8)
    }

    /// Writes `comm` and start (boot time, nanoseconds) of the thread-group leader.
    #[inline(always)]
    pub fn read_leader(self, name: &mut [u8; NAME_LEN], start_ns: &mut u64) {
        if let Some(leader) = read_pointer(self.0, offset!(task_leader)) {
            read_into(leader, offset!(task_comm), name);
            read_into(leader, offset!(task_start), start_ns);
        }
    }

    /// Writes `comm` of the thread-group leader.
    #[inline(always)]
    pub fn read_leader_name(self, name: &mut [u8; NAME_LEN]) {
        if let Some(leader) = read_pointer(self.0, offset!(task_leader)) {
            read_into(leader, offset!(task_comm), name);
        }
    }

    /// Start of its process (boot time, nanoseconds).
    #[inline(always)]
    pub fn process_start(self) -> u64 {
        read_pointer(self.0, offset!(task_leader))
            .map_or(0, |leader| or_zero(leader, offset!(task_start)))
    }

    /// The process that started its own, or who has it since that one ended.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        read_pointer(self.0, offset!(task_parent)).map(Self)
    }

    /// Whether it is a thread of the kernel itself, which works for whoever asked it to.
    #[inline(always)]
    pub fn is_kernel_thread(self) -> bool {
        const PF_KTHREAD: u32 = 0x0020_0000;
        or_zero::<u32>(self.0, offset!(task_flags)) & PF_KTHREAD != 0
    }

    /// Process id.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        or_zero(self.0, offset!(task_tgid))
    }

    /// Thread id.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        or_zero(self.0, offset!(task_pid))
    }

    /// Effective uid.
    #[inline(always)]
    pub fn uid(self) -> u32 {
        read_pointer(self.0, offset!(task_cred))
            .and_then(|cred| read(cred, offset!(cred_euid)))
            .unwrap_or_default()
    }

    /// Its cgroup v2.
    #[inline(always)]
    pub fn cgroup(self) -> Option<Cgroup> {
        let set = read_pointer(self.0, offset!(task_cgroups))?;
        read_pointer(set, offset!(css_cgroup)).map(Cgroup)
    }

    /// Writes `comm` of the thread.
    #[inline(always)]
    pub fn read_comm(self, name: &mut [u8; NAME_LEN]) {
        read_into(self.0, offset!(task_comm), name);
    }

    /// The socket behind descriptor `fd`, if it is one and is fully set up.
    #[inline(always)]
    pub fn socket(self, fd: u32) -> Option<Sock> {
        self.file(fd).and_then(Sock::of_file)
    }

    /// Whether a `connect` call on the socket behind descriptor `fd` began an attempt whose end no call
    /// has told the application yet. Says nothing about what is no socket.
    #[inline(always)]
    pub fn is_connecting(self, fd: u32) -> bool {
        self.file(fd)
            .and_then(|file| read_pointer(file, offset!(file_private)))
            .is_some_and(|socket| or_zero::<u32>(socket, SOCKET_STATE) == SS_CONNECTING)
    }

    /// The `struct file *` behind descriptor `fd`.
    #[inline(always)]
    fn file(self, fd: u32) -> Option<*const u8> {
        const POINTER: usize = size_of::<u64>();
        let files = read_pointer(self.0, offset!(task_files))?;
        let table = read_pointer(files, offset!(files_fdt))?;
        if fd >= read::<u32>(table, offset!(fdt_max_fds))? {
            return None;
        }
        let array = read_pointer(table, offset!(fdt_fd))?;
        read_pointer(array, fd as usize * POINTER)
    }

    /// Counts the programs that its process executed.
    #[inline(always)]
    pub fn exec_id(self) -> u32 {
        known(offset!(task_exec_id)).map_or(0, |at| or_zero::<u64>(self.0, at) as u32)
    }

    /// Writes the name of its parent's leader; returns the parent's process id.
    #[inline(always)]
    pub fn read_parent(self, name: &mut [u8; NAME_LEN]) -> u32 {
        let Some(parent) = self.parent() else {
            return 0;
        };
        parent.read_leader_name(name);
        parent.tgid()
    }

    /// How deep its pid namespace is below the initial one, and its process id there.
    #[inline(always)]
    pub fn namespaced(self) -> Option<(u32, u32)> {
        let leader = read_pointer(self.0, offset!(task_leader))?;
        let pid = read_pointer(leader, known(offset!(task_thread_pid))?)?;
        let level: u32 = read(pid, known(offset!(pid_level))?)?;
        let number = known(offset!(pid_numbers))? + level as usize * UPID + UPID_NR;
        Some((level, read(pid, number)?))
    }

    #[inline(always)]
    fn memory(self) -> Option<*const u8> {
        read_pointer(self.0, known(offset!(task_mm))?)
    }

    /// Where its command line is.
    #[inline(always)]
    pub fn command(self) -> Command {
        let place = || {
            let memory = self.memory()?;
            let start: u64 = read(memory, known(offset!(mm_arg_start))?)?;
            let end: u64 = read(memory, known(offset!(mm_arg_end))?)?;
            (start < end).then_some(Command { start, end })
        };
        place().unwrap_or(Command { start: 0, end: 0 })
    }

    /// Writes the path of the program that it executes, from `text[from]` on, last component first,
    /// each with its NUL; and its length, which is 0 if there is no room or it is too deep.
    ///
    /// # Safety
    /// `text` has room for `LAST` and [`MAX_COMPONENT`] bytes; all pointers are into a ring record.
    #[inline(always)]
    pub unsafe fn read_program<const LAST: usize>(
        self,
        text: *mut u8,
        from: *const u32,
        length: *mut u32,
    ) {
        // SAFETY: as the caller says. The end of what is written is kept there, because the verifier
        // takes what it reads from a record for any number: else each way through the loop, of which
        // there are very many, would be another one to it.
        unsafe {
            length.write_volatile(from.read_volatile());
            let whole = self.walk::<LAST>(text, length).is_some();
            let end = length.read_volatile();
            length.write_volatile(if whole { end - from.read_volatile() } else { 0 });
        }
    }

    /// # Safety
    /// As [`read_program`](Self::read_program).
    #[inline(always)]
    unsafe fn walk<const LAST: usize>(self, text: *mut u8, end: *mut u32) -> Option<()> {
        let file = read_pointer(self.memory()?, known(offset!(mm_exe_file))?)?;
        let mut mnt = read_pointer(file, known(offset!(file_mnt))?)?;
        let mut dentry = read_pointer(file, known(offset!(file_dentry))?)?;
        let in_mount = known(offset!(mount_mnt))?;
        for _ in 0..MAX_STEPS {
            let parent = read_pointer(dentry, known(offset!(dentry_parent))?)?;
            if parent == dentry || read_pointer(mnt, known(offset!(mnt_root))?)? == dentry {
                let mount = mnt.wrapping_sub(in_mount);
                let above = read_pointer(mount, known(offset!(mount_parent))?)?;
                if above == mount {
                    return Some(());
                }
                dentry = read_pointer(mount, known(offset!(mount_point))?)?;
                mnt = above.wrapping_add(in_mount);
                continue;
            }
            let name = read_pointer(dentry, known(offset!(dentry_name))?)?;
            // SAFETY: as the caller says; the helper checks the address of the name itself.
            unsafe {
                let at = end.read_volatile() as usize;
                if at >= LAST {
                    return None;
                }
                let to = text.add(end.read_volatile() as usize & (LAST - 1));
                let length = bpf_probe_read_kernel_str(to.cast(), MAX_COMPONENT, name.cast());
                if length <= 0 {
                    return None;
                }
                end.write_volatile((at.cast_signed() as i64 + length) as u32);
            }
            dentry = parent;
        }
        None
    }
}

/// Where a process keeps its command line.
#[derive(Clone, Copy)]
pub struct Command {
    start: u64,
    end: u64,
}

impl Command {
    /// Its bytes, a NUL after each argument.
    #[inline(always)]
    pub fn size(self) -> u32 {
        (self.end - self.start).min(u64::from(u32::MAX)) as u32
    }

    /// Writes its beginning, less than `most` bytes, and how many these are. The running task must be
    /// of the process.
    ///
    /// # Safety
    /// `text` has room for `most` bytes, a power of two; both pointers are into a ring record.
    #[inline(always)]
    pub unsafe fn read(self, text: *mut u8, length: *mut u32, most: u32) {
        // SAFETY: as the caller says, and the helper checks the address in the process. The length is
        // read back so that the compiler keeps the mask, by which the verifier knows the bound.
        unsafe {
            length.write_volatile(self.size().min(most - 1));
            let bytes = length.read_volatile() & (most - 1);
            if bpf_probe_read_user(text.cast(), bytes, self.start as *const _) != 0 {
                length.write_volatile(0);
            }
        }
    }
}
