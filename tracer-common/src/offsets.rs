//! Where the running kernel keeps the fields we read. Only `struct sock_common` is the same on
//! every kernel; the rest is looked up in BTF at start and frozen into the object.

/// "Not looked up": so far outside any object that a read with it fails instead of lying.
pub const POISON: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident),+ $(,)?) => {
        /// Byte offsets, one `u32` a field, in the object's read-only data.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct Offsets {
            $($(#[$doc])* pub $field: u32,)+
        }

        impl Offsets {
            /// Nothing looked up.
            pub const POISONED: Self = Self { $($field: POISON,)+ };

            /// Names of the fields that are still not looked up.
            pub fn missing(&self) -> impl Iterator<Item = &'static str> {
                [$((stringify!($field), self.$field)),+]
                    .into_iter()
                    .filter(|(_, value)| *value == POISON)
                    .map(|(name, _)| name)
            }
        }
    };
}

offsets! {
    /// `sock_common.skc_flags`
    sk_flags,
    /// `sock.sk_protocol`
    sk_protocol,
    /// `sock.sk_type`
    sk_type,
    /// `sock.sk_err`
    sk_err,
    /// `sock.sk_shutdown`
    sk_shutdown,
    /// `sock.sk_socket`
    sk_socket,
    /// `sock.sk_dst_cache`
    sk_dst_cache,
    /// `dst_entry.dev`
    dst_dev,
    /// `net_device.flags`
    dev_flags,
    /// `net_device.name`
    dev_name,
    /// `inet_sock.inet_sport`
    inet_sport,
    /// `inet_sock.mc_index`
    mc_index,
    /// `inet_sock.pinet6`
    pinet6,
    /// `ipv6_pinfo.mcast_oif`
    mcast_oif,
    /// `inet_connection_sock.icsk_ulp_ops`
    ulp_ops,
    /// `tcp_ulp_ops.name`
    ulp_name,
    /// `mptcp_sock.first`
    first_subflow,
    /// `tcp_sock.bytes_acked`
    bytes_acked,
    /// `tcp_sock.bytes_received`
    bytes_received,
    /// `tcp_sock.write_seq`
    write_seq,
    /// `tcp_sock.snd_una`
    snd_una,
    /// `tcp_sock.rcv_nxt`
    rcv_nxt,
    /// `tcp_sock.copied_seq`
    copied_seq,
    /// `tcp_sock.srtt_us`
    srtt_us,
    /// `tcp_sock.total_retrans`
    total_retrans,
    /// `tcp_sock.segs_out`
    segs_out,
    /// `tcp_sock.segs_in`
    segs_in,
    /// `tcp_sock.bytes_sent`
    bytes_sent,
    /// `tcp_sock.tcp_header_len`
    tcp_header_len,
    /// `net.ns.inum`
    net_inum,
    /// `net.ipv4.ip_local_ports.range`
    net_local_ports,
    /// `task_struct.group_leader`
    task_leader,
    /// `task_struct.comm`
    task_comm,
    /// `task_struct.start_boottime`
    task_start,
    /// `task_struct.flags`
    task_flags,
    /// `task_struct.tgid`
    task_tgid,
    /// `task_struct.pid`
    task_pid,
    /// `task_struct.cred`
    task_cred,
    /// `cred.euid`
    cred_euid,
    /// `task_struct.cgroups`
    task_cgroups,
    /// `css_set.dfl_cgrp`
    css_cgroup,
    /// `cgroup.kn`
    cgroup_kn,
    /// `cgroup.self.parent`
    cgroup_parent,
    /// `kernfs_node.id`
    kn_id,
    /// `task_struct.files`
    task_files,
    /// `files_struct.fdt`
    files_fdt,
    /// `fdtable.max_fds`
    fdt_max_fds,
    /// `fdtable.fd`
    fdt_fd,
    /// `file.private_data`
    file_private,
    /// `file.f_inode`
    file_inode,
    /// `inode.i_mode`
    inode_mode,
    /// `socket.file`
    socket_file,
    /// `socket.sk`
    socket_sk,
    /// `task_struct.real_parent`
    task_parent,
    /// `task_struct.self_exec_id`
    task_exec_id,
    /// `task_struct.thread_pid`
    task_thread_pid,
    /// `pid.level`
    pid_level,
    /// `pid.numbers`
    pid_numbers,
    /// `task_struct.mm`
    task_mm,
    /// `mm_struct.arg_start`
    mm_arg_start,
    /// `mm_struct.arg_end`
    mm_arg_end,
    /// `mm_struct.exe_file`
    mm_exe_file,
    /// `file.f_path.mnt`
    file_mnt,
    /// `file.f_path.dentry`
    file_dentry,
    /// `dentry.d_parent`
    dentry_parent,
    /// `dentry.d_name.name`
    dentry_name,
    /// `vfsmount.mnt_root`
    mnt_root,
    /// `mount.mnt`
    mount_mnt,
    /// `mount.mnt_parent`
    mount_parent,
    /// `mount.mnt_mountpoint`
    mount_point,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poisoned_field_is_named() {
        let mut offsets = Offsets::POISONED;
        assert_eq!(offsets.missing().count(), size_of::<Offsets>() / 4);
        offsets.sk_err = 284;
        assert!(!offsets.missing().any(|name| name == "sk_err"));
        assert!(offsets.missing().any(|name| name == "sk_protocol"));
    }
}
