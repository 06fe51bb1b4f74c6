use super::*;
use crate::bpf::btf::builder::{Builder, Part};

/// A struct of an invented kernel: name, size, and members as (name, type, byte offset). A type
/// that begins with `:` is a bit-field of that width.
type Model = Vec<(&'static str, u32, Vec<(&'static str, &'static str, u32)>)>;

fn model() -> Model {
    // What is embedded comes before what embeds it.
    let parts = [around_tcp(), around_processes(), cgroups()];
    parts
        .into_iter()
        .chain([sockets(), tasks()])
        .flatten()
        .collect()
}

fn sockets() -> Model {
    vec![
        (
            "ns_common",
            24,
            vec![("ops", "ptr", 8), ("inum", "u32", 16)],
        ),
        (
            "sock_common",
            136,
            vec![
                ("skc_daddr", "u32", 0),
                ("skc_rcv_saddr", "u32", 4),
                ("skc_dport", "u16", 12),
                ("skc_num", "u16", 14),
                ("skc_family", "u16", 16),
                ("skc_state", "u8", 18),
                ("skc_net", "possible_net_t", 48),
                ("skc_v6_daddr", "in6_addr", 56),
                ("skc_v6_rcv_saddr", "in6_addr", 72),
                ("skc_flags", "u64", 96),
            ],
        ),
        (
            "sock",
            800,
            vec![
                ("__sk_common", "sock_common", 0),
                ("sk_err", "u32", 284),
                ("sk_socket", "ptr", 288),
                ("sk_shutdown", "u8", 581),
                ("sk_dst_cache", "ptr", 528),
                ("sk_type", "u16", 572),
                ("sk_protocol", "u16", 574),
            ],
        ),
        (
            "inet_sock",
            1000,
            vec![
                ("sk", "sock", 0),
                ("pinet6", "ptr", 760),
                ("inet_sport", "u16", 798),
                ("mc_index", "u32", 820),
            ],
        ),
        (
            "inet_connection_sock",
            1400,
            vec![("icsk_inet", "inet_sock", 0), ("icsk_ulp_ops", "ptr", 1072)],
        ),
        (
            "tcp_sock",
            2400,
            vec![
                ("inet_conn", "inet_connection_sock", 0),
                ("copied_seq", "u32", 1472),
                ("write_seq", "u32", 1636),
                ("rcv_nxt", "u32", 1712),
                ("snd_una", "u32", 1720),
                ("srtt_us", "u32", 1728),
                ("bytes_received", "u64", 1784),
                ("bytes_acked", "u64", 1840),
                ("total_retrans", "u32", 2216),
                ("segs_out", "u32", 1600),
                ("segs_in", "u32", 1792),
                ("bytes_sent", "u64", 1608),
                ("tcp_header_len", "u16", 1596),
            ],
        ),
        ("dst_entry", 136, vec![("dev", "ptr", 0)]),
        (
            "net_device",
            2496,
            vec![("flags", "u32", 176), ("name", "comm", 288)],
        ),
        ("local_ports", 16, vec![("range", "two ints", 4)]),
        (
            "netns_ipv4",
            900,
            vec![("ip_local_ports", "local_ports", 300)],
        ),
        (
            "net",
            4000,
            vec![("ns", "ns_common", 120), ("ipv4", "netns_ipv4", 800)],
        ),
    ]
}

fn tasks() -> Model {
    vec![
        (
            "task_struct",
            9000,
            vec![
                ("flags", "u32", 44),
                ("pid", "u32", 2464),
                ("tgid", "u32", 2468),
                ("group_leader", "ptr", 2496),
                ("start_boottime", "u64", 2784),
                ("real_parent", "ptr", 2480),
                ("self_exec_id", "u64", 3200),
                ("thread_pid", "ptr", 2560),
                ("mm", "ptr", 2300),
                ("comm", "comm", 2976),
                ("cred", "ptr", 2968),
                ("files", "ptr", 3048),
                ("cgroups", "ptr", 3300),
            ],
        ),
        ("kuid_t", 4, vec![("val", "u32", 0)]),
        ("cred", 184, vec![("euid", "kuid_t", 24)]),
        ("files_struct", 700, vec![("fdt", "ptr", 32)]),
        ("fdtable", 56, vec![("max_fds", "u32", 0), ("fd", "ptr", 8)]),
        (
            "file",
            184,
            vec![
                ("f_inode", "ptr", 32),
                ("private_data", "ptr", 24),
                ("f_path", "path", 64),
            ],
        ),
        ("inode", 616, vec![("i_mode", "u16", 4)]),
    ]
}

fn around_processes() -> Model {
    vec![
        ("path", 16, vec![("mnt", "ptr", 0), ("dentry", "ptr", 8)]),
        ("upid", 16, vec![("nr", "u32", 0), ("ns", "ptr", 8)]),
        (
            "pid",
            120,
            vec![("level", "u32", 4), ("numbers", "comm", 96)],
        ),
        (
            "mm_struct",
            1000,
            vec![
                ("arg_start", "u64", 288),
                ("arg_end", "u64", 296),
                ("exe_file", "ptr", 880),
            ],
        ),
        ("qstr", 16, vec![("name", "ptr", 8)]),
        (
            "dentry",
            192,
            vec![("d_parent", "ptr", 24), ("d_name", "qstr", 32)],
        ),
        ("vfsmount", 32, vec![("mnt_root", "ptr", 0)]),
        (
            "mount",
            320,
            vec![
                ("mnt_parent", "ptr", 16),
                ("mnt_mountpoint", "ptr", 24),
                ("mnt", "vfsmount", 32),
            ],
        ),
    ]
}

fn cgroups() -> Model {
    vec![
        ("css_set", 500, vec![("dfl_cgrp", "ptr", 136)]),
        ("cgroup_subsys_state", 200, vec![("parent", "ptr", 176)]),
        (
            "cgroup",
            2000,
            vec![("self", "cgroup_subsys_state", 0), ("kn", "ptr", 256)],
        ),
        ("kernfs_node", 128, vec![("id", "u64", 88)]),
    ]
}

fn around_tcp() -> Model {
    vec![
        (
            "socket",
            128,
            vec![("state", "u32", 0), ("file", "ptr", 16), ("sk", "ptr", 24)],
        ),
        ("in6_addr", 16, vec![("words", "comm", 0)]),
        ("possible_net_t", 8, vec![("net", "ptr", 0)]),
        ("ipv6_pinfo", 128, vec![("mcast_oif", "u32", 44)]),
        ("tcp_ulp_ops", 80, vec![("name", "comm", 56)]),
        (
            "mptcp_sock",
            2000,
            vec![("sk", "ptr", 0), ("first", "ptr", 1600)],
        ),
    ]
}

fn resolve_model(model: &Model) -> Result<Offsets, OffsetsError> {
    let mut btf = Builder::new();
    let char = btf.int("char", 1);
    let mut types = vec![("u8", char)];
    types.extend([("u16", 2), ("u32", 4), ("u64", 8)].map(|(name, size)| {
        let int = btf.int("an int", size);
        (name, btf.typedef(name, int))
    }));
    types.push(("ptr", btf.pointer(0)));
    types.push(("comm", btf.array(char, 16)));
    types.push(("two ints", btf.array(types[2].1, 2)));
    for (name, size, members) in model {
        let parts: Vec<Part<'_>> = members
            .iter()
            .map(|(member, ty, offset)| {
                let bits = ty.strip_prefix(':').map(|bits| bits.parse().unwrap());
                let ty = if bits.is_some() { "u32" } else { ty };
                let found = types.iter().find(|(name, _)| *name == ty);
                let (_, id) = found.unwrap_or_else(|| panic!("`{ty}` comes later"));
                (*member, *id, offset * 8, bits)
            })
            .collect();
        types.push((name, btf.structure(name, *size, &parts)));
    }
    resolve(&Btf::parse(&btf.bytes()).unwrap())
}

/// The model with the member's name, type or offset changed.
fn with(structure: &str, member: &str, change: (&'static str, &'static str, u32)) -> Model {
    let mut model = model();
    let (.., members) = model
        .iter_mut()
        .find(|(name, ..)| *name == structure)
        .unwrap();
    *members
        .iter_mut()
        .find(|(name, ..)| *name == member)
        .unwrap() = change;
    model
}

fn failures(model: &Model) -> Vec<(String, String)> {
    let error = resolve_model(model).unwrap_err();
    error
        .failures
        .into_iter()
        .map(|failure| (failure.field, failure.reason.to_string()))
        .collect()
}

#[test]
fn every_field_of_a_known_layout_is_found() {
    let offsets = resolve_model(&model()).unwrap();
    assert_eq!(offsets.missing().count(), 0);
    assert_eq!(offsets.sk_flags, 96);
    assert_eq!(offsets.sk_protocol, 574);
    assert_eq!(offsets.inet_sport, 798);
    assert_eq!(offsets.bytes_acked, 1840);
    assert_eq!(offsets.net_inum, 136);
    assert_eq!(offsets.net_local_ports, 800 + 300 + 4);
    assert_eq!(offsets.task_start, 2784);
    assert_eq!((offsets.fdt_max_fds, offsets.fdt_fd), (0, 8));
    assert_eq!((offsets.socket_file, offsets.socket_sk), (16, 24));
}

#[test]
fn a_field_is_found_under_its_other_name() {
    let older = with(
        "task_struct",
        "start_boottime",
        ("real_start_time", "u64", 2784),
    );
    assert_eq!(resolve_model(&older).unwrap().task_start, 2784);
    let newer = with("dst_entry", "dev", ("dev_rcu", "ptr", 8));
    assert_eq!(resolve_model(&newer).unwrap().dst_dev, 8);
    let newer = with("local_ports", "range", ("range", "u32", 0));
    assert_eq!(resolve_model(&newer).unwrap().net_local_ports, 800 + 300);
    let gone = with("task_struct", "start_boottime", ("start", "u64", 2784));
    let reason = "`struct task_struct` has no member `start_boottime`";
    assert_eq!(
        failures(&gone),
        [("task_start".to_owned(), reason.to_owned())]
    );
}

#[test]
fn a_protocol_that_is_a_bit_field_is_told() {
    let old = with("sock", "sk_protocol", ("sk_protocol", ":8", 572));
    let reason = "`sock.sk_protocol` is a bit-field, 8 wide at bit 4576";
    assert_eq!(
        failures(&old),
        [("sk_protocol".to_owned(), reason.to_owned())]
    );
}

#[test]
fn a_field_of_another_size_or_kind_is_told() {
    for (ty, reason) in [
        (
            "u64",
            "it is of kind Int and size 8 instead of a 4-byte integer",
        ),
        (
            "ptr",
            "it is of kind Pointer and size 8 instead of a 4-byte integer",
        ),
    ] {
        let changed = with("tcp_sock", "snd_una", ("snd_una", ty, 1720));
        assert_eq!(
            failures(&changed),
            [("snd_una".to_owned(), reason.to_owned())]
        );
    }
    let changed = with("sock", "sk_socket", ("sk_socket", "u64", 288));
    let reason = "it is of kind Int and size 8 instead of a pointer";
    assert_eq!(
        failures(&changed),
        [("sk_socket".to_owned(), reason.to_owned())]
    );
}

#[test]
fn a_moved_field_of_the_fixed_part_is_told() {
    let moved = with("sock_common", "skc_num", ("skc_num", "u16", 20));
    let reason = "it is at offset 20 with size 2 instead of at 14 with size 2";
    assert_eq!(
        failures(&moved),
        [("sock_common.skc_num".to_owned(), reason.to_owned())]
    );
    let grown = with("sock_common", "skc_state", ("skc_state", "u16", 18));
    let reason = "it is at offset 18 with size 2 instead of at 18 with size 1";
    assert_eq!(
        failures(&grown),
        [("sock_common.skc_state".to_owned(), reason.to_owned())]
    );
    let moved = with(
        "tcp_sock",
        "inet_conn",
        ("inet_conn", "inet_connection_sock", 8),
    );
    let reason = "it is at offset 8 with size 1400 instead of at 0";
    assert_eq!(
        failures(&moved),
        [("tcp_sock.inet_conn".to_owned(), reason.to_owned())]
    );
}

#[test]
fn a_kernel_without_ipv6_or_mptcp_is_fine() {
    let mut model = with("sock_common", "skc_v6_daddr", ("other", "u64", 104));
    let (.., members) = model
        .iter_mut()
        .find(|(name, ..)| *name == "sock_common")
        .unwrap();
    members.retain(|(name, ..)| *name != "skc_v6_rcv_saddr");
    model.retain(|(name, ..)| !["ipv6_pinfo", "mptcp_sock"].contains(name));
    assert_eq!(
        resolve_model(&model).map(|offsets| offsets.sk_flags),
        Ok(96)
    );
}

#[test]
fn a_kernel_that_does_not_show_who_a_process_is_is_fine_but_not_one_that_shows_it_otherwise() {
    let renamed = with("mm_struct", "exe_file", ("program", "ptr", 880));
    let offsets = resolve_model(&renamed).unwrap();
    assert_eq!(offsets.missing().collect::<Vec<_>>(), ["mm_exe_file"]);
    let narrow = with("mm_struct", "arg_start", ("arg_start", "u32", 288));
    assert_eq!(failures(&narrow)[0].0, "mm_arg_start");
}

#[test]
fn everything_that_failed_is_told_at_once() {
    let mut model = with("sock", "sk_err", ("sk_error", "u32", 284));
    model.retain(|(name, ..)| *name != "tcp_sock");
    assert_eq!(
        resolve_model(&model).unwrap_err().to_string(),
        "the running kernel's layout is not known to this version of conntracer: \
         sk_err (`struct sock` has no member `sk_err`); bytes_acked, bytes_received, write_seq, \
         snd_una, rcv_nxt, copied_seq, srtt_us, total_retrans, segs_out, segs_in, bytes_sent, \
         tcp_header_len, tcp_sock.inet_conn (this kernel has no `struct tcp_sock`). Use a newer \
         conntracer, or report this with the output of `uname -r`"
    );
    let empty = resolve_model(&Model::new()).unwrap_err();
    // Without types there is nothing that shows the optional ones either.
    let expected = FIELDS.len() - OPTIONAL.len() - DISPENSABLE.len() + FIXED.len();
    assert_eq!(empty.failures.len(), expected);
}

/// Where the kernel under test shows its BTF; none without `CONFIG_DEBUG_INFO_BTF`.
fn kernel_btf() -> Option<Vec<u8>> {
    std::fs::read(crate::bpf::btf::KERNEL_BTF).ok()
}

#[test]
fn the_running_kernel_is_known() {
    let Some(bytes) = kernel_btf() else { return };
    let btf = Btf::parse(&bytes).unwrap();
    let mut offsets = resolve(&btf).unwrap();
    assert_eq!(offsets.missing().count(), 0);
    let mut places: Vec<_> = FIELDS
        .iter()
        .map(|field| (field.structure, *(field.slot)(&mut offsets)))
        .collect();
    places.sort_unstable();
    assert!(
        places.windows(2).all(|pair| pair[0] != pair[1]),
        "two fields in one place"
    );
}

/// What `bpftool btf dump … format raw` says: the types, each followed by its members, indented.
fn printed_bits(dump: &str, structure: &str, member: &str) -> Option<u32> {
    let (_, rest) = dump.split_once(&format!("] STRUCT '{structure}' "))?;
    let member = format!("\t'{member}' ");
    let members = rest
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('\t'));
    let (_, bits) = members
        .into_iter()
        .find(|line| line.starts_with(&member))?
        .split_once("bits_offset=")?;
    bits.split_whitespace().next()?.parse().ok()
}

#[test]
#[ignore = "needs bpftool (Debian package bpftool) and a kernel with BTF"]
fn bpftool_finds_the_running_kernels_fields_at_the_same_places() {
    let output = std::process::Command::new("bpftool")
        .args([
            "btf",
            "dump",
            "file",
            crate::bpf::btf::KERNEL_BTF,
            "format",
            "raw",
        ])
        .output()
        .unwrap();
    let dump = String::from_utf8(output.stdout).unwrap();
    let bytes = kernel_btf().unwrap();
    let mut offsets = resolve(&Btf::parse(&bytes).unwrap()).unwrap();
    let mut checked = 0;
    for field in FIELDS {
        let (structure, member) = match field.name {
            "sk_flags" => ("sock_common", "skc_flags"),
            _ => (field.structure, field.paths[0]),
        };
        // Members of nested structs are not printed under the outer one.
        if let Some(bits) = printed_bits(&dump, structure, member) {
            assert_eq!(*(field.slot)(&mut offsets) * 8, bits, "{}", field.name);
            checked += 1;
        }
    }
    let nested = printed_bits(&dump, "net", "ns").unwrap()
        + printed_bits(&dump, "ns_common", "inum").unwrap();
    assert_eq!(offsets.net_inum * 8, nested);
    assert!(
        checked > FIELDS.len() * 2 / 3,
        "only {checked} fields compared"
    );
}
