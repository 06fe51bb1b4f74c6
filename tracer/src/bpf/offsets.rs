//! Finds, in the running kernel's BTF, the fields that the programs read.

use std::fmt;

use tracer_common::offsets::Offsets;

use super::btf::{Btf, BtfError, Kind, Member, Struct};

/// What the programs read a field as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    U8,
    U16,
    U32,
    U64,
    Pointer,
    /// `char[16]`
    Name,
    /// Of how many of what, others say.
    Array,
    /// `int[2]`, or since 6.8 both in one.
    PortRange,
    Struct,
}

impl Shape {
    fn fits(self, member: Member) -> bool {
        let (kind, size) = match self {
            Self::PortRange if member.kind == Kind::Int => (Kind::Int, 4),
            Self::PortRange => (Kind::Array, 8),
            Self::U8 => (Kind::Int, 1),
            Self::U16 => (Kind::Int, 2),
            Self::U32 => (Kind::Int, 4),
            Self::U64 => (Kind::Int, 8),
            Self::Pointer => (Kind::Pointer, 8),
            Self::Name => (Kind::Array, 16),
            Self::Array => (Kind::Array, member.size),
            Self::Struct => (Kind::Struct, member.size),
        };
        member.kind == kind && member.size == size
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "a 1-byte integer",
            Self::U16 => "a 2-byte integer",
            Self::U32 => "a 4-byte integer",
            Self::U64 => "an 8-byte integer",
            Self::Pointer => "a pointer",
            Self::Name => "a 16-byte array",
            Self::Array => "an array",
            Self::PortRange => "an 8-byte array, or a 4-byte integer",
            Self::Struct => "a struct",
        })
    }
}

/// A field that moves between kernels.
struct Field {
    name: &'static str,
    structure: &'static str,
    /// Its path, by the newest name first.
    paths: &'static [&'static str],
    shape: Shape,
    slot: fn(&mut Offsets) -> &mut u32,
}

macro_rules! fields {
    ($($field:ident: $shape:ident = $structure:literal, $($path:literal)|+;)+) => {
        const FIELDS: &[Field] = &[$(Field {
            name: stringify!($field),
            structure: $structure,
            paths: &[$($path),+],
            shape: Shape::$shape,
            slot: |offsets| &mut offsets.$field,
        }),+];

        // A field of `Offsets` without a row does not compile.
        const _: fn(&Offsets) = |Offsets { $($field: _),+ }| ();
    };
}

fields! {
    sk_flags: U64 = "sock", "__sk_common.skc_flags";
    sk_protocol: U16 = "sock", "sk_protocol";
    sk_type: U16 = "sock", "sk_type";
    sk_err: U32 = "sock", "sk_err";
    sk_shutdown: U8 = "sock", "sk_shutdown";
    sk_socket: Pointer = "sock", "sk_socket";
    sk_dst_cache: Pointer = "sock", "sk_dst_cache";
    dst_dev: Pointer = "dst_entry", "dev" | "dev_rcu";
    dev_flags: U32 = "net_device", "flags";
    dev_name: Name = "net_device", "name";
    inet_sport: U16 = "inet_sock", "inet_sport";
    mc_index: U32 = "inet_sock", "mc_index";
    pinet6: Pointer = "inet_sock", "pinet6";
    mcast_oif: U32 = "ipv6_pinfo", "mcast_oif";
    ulp_ops: Pointer = "inet_connection_sock", "icsk_ulp_ops";
    ulp_name: Name = "tcp_ulp_ops", "name";
    first_subflow: Pointer = "mptcp_sock", "first";
    bytes_acked: U64 = "tcp_sock", "bytes_acked";
    bytes_received: U64 = "tcp_sock", "bytes_received";
    write_seq: U32 = "tcp_sock", "write_seq";
    snd_una: U32 = "tcp_sock", "snd_una";
    rcv_nxt: U32 = "tcp_sock", "rcv_nxt";
    copied_seq: U32 = "tcp_sock", "copied_seq";
    srtt_us: U32 = "tcp_sock", "srtt_us";
    total_retrans: U32 = "tcp_sock", "total_retrans";
    segs_out: U32 = "tcp_sock", "segs_out";
    segs_in: U32 = "tcp_sock", "segs_in";
    bytes_sent: U64 = "tcp_sock", "bytes_sent";
    tcp_header_len: U16 = "tcp_sock", "tcp_header_len";
    net_inum: U32 = "net", "ns.inum";
    net_local_ports: PortRange = "net", "ipv4.ip_local_ports.range";
    task_leader: Pointer = "task_struct", "group_leader";
    task_comm: Name = "task_struct", "comm";
    task_start: U64 = "task_struct", "start_boottime" | "real_start_time";
    task_flags: U32 = "task_struct", "flags";
    task_tgid: U32 = "task_struct", "tgid";
    task_pid: U32 = "task_struct", "pid";
    task_cred: Pointer = "task_struct", "cred";
    cred_euid: U32 = "cred", "euid.val";
    task_cgroups: Pointer = "task_struct", "cgroups";
    css_cgroup: Pointer = "css_set", "dfl_cgrp";
    cgroup_kn: Pointer = "cgroup", "kn";
    cgroup_parent: Pointer = "cgroup", "self.parent";
    kn_id: U64 = "kernfs_node", "id";
    task_files: Pointer = "task_struct", "files";
    files_fdt: Pointer = "files_struct", "fdt";
    fdt_max_fds: U32 = "fdtable", "max_fds";
    fdt_fd: Pointer = "fdtable", "fd";
    file_private: Pointer = "file", "private_data";
    file_inode: Pointer = "file", "f_inode";
    inode_mode: U16 = "inode", "i_mode";
    socket_file: Pointer = "socket", "file";
    socket_sk: Pointer = "socket", "sk";
    task_parent: Pointer = "task_struct", "real_parent";
    task_exec_id: U64 = "task_struct", "self_exec_id";
    task_thread_pid: Pointer = "task_struct", "thread_pid";
    pid_level: U32 = "pid", "level";
    pid_numbers: Array = "pid", "numbers";
    task_mm: Pointer = "task_struct", "mm";
    mm_arg_start: U64 = "mm_struct", "arg_start";
    mm_arg_end: U64 = "mm_struct", "arg_end";
    mm_exe_file: Pointer = "mm_struct", "exe_file";
    file_mnt: Pointer = "file", "f_path.mnt";
    file_dentry: Pointer = "file", "f_path.dentry";
    dentry_parent: Pointer = "dentry", "d_parent";
    dentry_name: Pointer = "dentry", "d_name.name";
    mnt_root: Pointer = "vfsmount", "mnt_root";
    mount_mnt: Struct = "mount", "mnt";
    mount_parent: Pointer = "mount", "mnt_parent";
    mount_point: Pointer = "mount", "mnt_mountpoint";
}

/// Fields that a kernel can be built without, each with the struct and the member that show it; the
/// programs never read them there.
const OPTIONAL: [(&str, &str, &str); 3] = [
    ("pinet6", "sock_common", "skc_v6_daddr"),
    ("mcast_oif", "sock_common", "skc_v6_daddr"),
    ("first_subflow", "mptcp_sock", "sk"),
];

/// Fields without which connections are traced, too: those by which the programs tell who a process
/// is, of which `/proc` may have what is not told, and those that save them work. They see that these
/// are not known.
const DISPENSABLE: [&str; 18] = [
    "net_local_ports",
    "task_parent",
    "task_exec_id",
    "task_thread_pid",
    "pid_level",
    "pid_numbers",
    "task_mm",
    "mm_arg_start",
    "mm_arg_end",
    "mm_exe_file",
    "file_mnt",
    "file_dentry",
    "dentry_parent",
    "dentry_name",
    "mnt_root",
    "mount_mnt",
    "mount_parent",
    "mount_point",
];

/// A field that the programs read at a fixed place.
struct Fixed {
    structure: &'static str,
    path: &'static str,
    offset: u32,
    size: Option<u32>,
    /// Not there in a kernel built without IPv6, which then never has to be read.
    optional: bool,
}

const fn common(path: &'static str, offset: u32, size: u32) -> Fixed {
    Fixed {
        structure: "sock_common",
        path,
        offset,
        size: Some(size),
        optional: false,
    }
}

/// `path` is the struct that a `structure` begins with, so that a pointer to one is one to both.
const fn base(structure: &'static str, path: &'static str) -> Fixed {
    Fixed {
        structure,
        path,
        offset: 0,
        size: None,
        optional: false,
    }
}

const FIXED: &[Fixed] = &[
    common("skc_daddr", 0, 4),
    common("skc_rcv_saddr", 4, 4),
    common("skc_dport", 12, 2),
    common("skc_num", 14, 2),
    common("skc_family", 16, 2),
    common("skc_state", 18, 1),
    common("skc_net", 48, 8),
    Fixed {
        optional: true,
        ..common("skc_v6_daddr", 56, 16)
    },
    Fixed {
        optional: true,
        ..common("skc_v6_rcv_saddr", 72, 16)
    },
    Fixed {
        structure: "socket",
        path: "state",
        offset: 0,
        size: Some(4),
        optional: false,
    },
    Fixed {
        structure: "upid",
        path: "nr",
        offset: 0,
        size: Some(4),
        optional: false,
    },
    // The last one: its place and size are those of the whole.
    Fixed {
        structure: "upid",
        path: "ns",
        offset: 8,
        size: Some(8),
        optional: false,
    },
    base("sock", "__sk_common"),
    base("inet_sock", "sk"),
    base("inet_connection_sock", "icsk_inet"),
    base("tcp_sock", "inet_conn"),
    // The parent of a cgroup is told as the parent of this.
    base("cgroup", "self"),
];

/// A field that is not where, or what, the programs need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its name in [`Offsets`], or as C has it for one at a fixed place.
    pub field: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It was not found.
    #[error(transparent)]
    NotFound(#[from] BtfError),
    /// It is of another size or kind than the programs read.
    #[error("it is of kind {kind:?} and size {size} instead of {expected}")]
    Shape {
        /// What it is here.
        kind: Kind,
        /// Bytes it has here.
        size: u32,
        /// What it should be.
        expected: String,
    },
    /// It is at another place than on every kernel we know.
    #[error("it is at offset {offset} with size {size} instead of at {expected}")]
    Moved {
        /// Where it is here.
        offset: u32,
        /// Bytes it has here.
        size: u32,
        /// Where, and how large, it should be.
        expected: String,
    },
}

/// Every field that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsError {
    /// At least one.
    pub failures: Vec<Failure>,
}

impl std::error::Error for OffsetsError {}

impl fmt::Display for OffsetsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the running kernel's layout is not known to this version of conntracer: ")?;
        let groups = self.failures.chunk_by(|a, b| a.reason == b.reason);
        for (index, group) in groups.enumerate() {
            let fields: Vec<_> = group.iter().map(|failure| failure.field.as_str()).collect();
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{} ({})", fields.join(", "), group[0].reason)?;
        }
        f.write_str(". Use a newer conntracer, or report this with the output of `uname -r`")
    }
}

/// Looks up every field of [`Offsets`] and checks that it is what the programs take it for, and
/// that the fields they read at fixed places are there. One pass over the BTF.
///
/// The error names everything that failed, not only the first.
pub fn resolve(btf: &Btf<'_>) -> Result<Offsets, OffsetsError> {
    let structs = Structs::find(btf);
    let mut offsets = Offsets::POISONED;
    let mut failures = Vec::new();
    let is_absent = |field: &Field| {
        let mut shown = OPTIONAL.iter().filter(|(name, ..)| *name == field.name);
        shown.any(|(_, structure, member)| structs.member(structure, member).is_err())
    };
    for field in FIELDS {
        if is_absent(field) {
            continue;
        }
        match locate(&structs, field) {
            Ok(offset) => *(field.slot)(&mut offsets) = offset,
            Err(Reason::NotFound(_)) if DISPENSABLE.contains(&field.name) => {}
            Err(reason) => failures.push(Failure {
                field: field.name.to_owned(),
                reason,
            }),
        }
    }
    for fixed in FIXED {
        if let Err(reason) = check(&structs, fixed) {
            let field = format!("{}.{}", fixed.structure, fixed.path);
            failures.push(Failure { field, reason });
        }
    }
    if failures.is_empty() {
        Ok(offsets)
    } else {
        Err(OffsetsError { failures })
    }
}

/// Every struct of the tables, by name.
struct Structs<'b> {
    names: Vec<&'static str>,
    found: Vec<Result<Struct<'b>, BtfError>>,
}

impl<'b> Structs<'b> {
    fn find(btf: &'b Btf<'_>) -> Self {
        let mut names: Vec<_> = FIELDS
            .iter()
            .map(|field| field.structure)
            .chain(FIXED.iter().map(|fixed| fixed.structure))
            .collect();
        names.sort_unstable();
        names.dedup();
        let found = btf.structs(&names);
        Self { names, found }
    }

    fn member(&self, structure: &str, path: &str) -> Result<Member, BtfError> {
        let found = self
            .names
            .binary_search(&structure)
            .ok()
            .and_then(|at| self.found.get(at));
        match found {
            Some(Ok(found)) => found.member(path),
            Some(Err(error)) => Err(error.clone()),
            None => Err(BtfError::NoStruct(structure.to_owned())),
        }
    }
}

fn locate(structs: &Structs<'_>, field: &Field) -> Result<u32, Reason> {
    let mut missing = None;
    for path in field.paths {
        let member = match structs.member(field.structure, path) {
            Err(error @ BtfError::NoMember { .. }) => {
                missing.get_or_insert(error);
                continue;
            }
            answer => answer?,
        };
        if field.shape.fits(member) {
            return Ok(member.offset);
        }
        let Member { kind, size, .. } = member;
        return Err(Reason::Shape {
            kind,
            size,
            expected: field.shape.to_string(),
        });
    }
    Err(missing
        .unwrap_or_else(|| BtfError::NoStruct(field.structure.to_owned()))
        .into())
}

fn check(structs: &Structs<'_>, fixed: &Fixed) -> Result<(), Reason> {
    let member = match structs.member(fixed.structure, fixed.path) {
        Err(BtfError::NoMember { .. }) if fixed.optional => return Ok(()),
        answer => answer?,
    };
    let Member { offset, size, .. } = member;
    if offset == fixed.offset && fixed.size.is_none_or(|expected| expected == size) {
        return Ok(());
    }
    let expected = match fixed.size {
        Some(size) => format!("{} with size {size}", fixed.offset),
        None => fixed.offset.to_string(),
    };
    Err(Reason::Moved {
        offset,
        size,
        expected,
    })
}

#[cfg(test)]
mod tests;
