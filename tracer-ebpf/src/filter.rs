//! Feeds `tracer_common::filter` from the maps. A test that is off costs nothing: the filter is
//! read-only data, so the verifier removes its code.

use aya_ebpf::maps::lpm_trie::Key;
use tracer_common::{
    connection::{Connection, NAME_LEN, flags},
    filter::{
        Facts, Filter, IdKey, NameKey, PrefixKey, Route, Sets, Verdict, name, port_bit, test,
    },
    flow::{Flow, halves},
};

use crate::{
    bits::{clear, set},
    follow,
    kernel::{self, Device, Socket, TaskStruct},
    maps::{CGROUPS, FILTER, IDS, LOCAL_PORTS, NAMES, PREFIXES, REMOTE_PORTS},
    task,
};

struct Maps;

impl Sets for Maps {
    #[inline(always)]
    fn has_local_port(&self, port: u16) -> bool {
        let (word, bit) = port_bit(port);
        LOCAL_PORTS.get(word).is_some_and(|bits| bits & bit != 0)
    }

    #[inline(always)]
    fn has_remote_port(&self, port: u16) -> bool {
        let (word, bit) = port_bit(port);
        REMOTE_PORTS.get(word).is_some_and(|bits| bits & bit != 0)
    }

    #[inline(always)]
    fn has_id(&self, set: u32, value: u32) -> bool {
        IDS.get_ptr(IdKey { set, value }).is_some()
    }

    #[inline(always)]
    fn has_prefix(&self, set: u32, ip: &[u8; 16]) -> bool {
        let (high, low) = halves(ip);
        is_in_prefix(set, high, low)
    }

    #[inline(always)]
    fn has_name(&self, set: u32, name: &[u8; NAME_LEN]) -> bool {
        is_named(set, name)
    }
}

// Not inlined, and so with a stack of their own for the key: there are several callers, some of them
// deep.

#[inline(never)]
fn is_in_prefix(set: u32, high: u64, low: u64) -> bool {
    let key = PrefixKey::of((high, low), set);
    // SAFETY: the same bytes, under the name that the map has for them.
    let key = unsafe { &*(&raw const key).cast::<Key<[u8; 20]>>() };
    PREFIXES.get(key).is_some()
}

#[inline(never)]
fn is_named(set: u32, name: &[u8; NAME_LEN]) -> bool {
    let mut key = NameKey {
        set,
        reserved: 0,
        name: [0; NAME_LEN],
    };
    kernel::read_text(name.as_ptr(), &mut key.name);
    NAMES.get_ptr(&key).is_some()
}

/// Levels of the cgroup tree that are looked at. Containers in containers have about ten.
const MAX_LEVELS: u32 = 32;

/// Whether the task's cgroup, or one above it, is in the set.
#[inline(never)]
fn is_in_cgroup(task: TaskStruct) -> bool {
    let mut next = task.cgroup();
    for _ in 0..MAX_LEVELS {
        let Some(cgroup) = next else { return false };
        if cgroup.id().is_some_and(|id| CGROUPS.get_ptr(id).is_some()) {
            return true;
        }
        next = cgroup.parent();
    }
    false
}

/// Notes of the process that becomes the owner what cannot be told later.
#[inline(always)]
pub fn note_cgroup(connection: &mut Connection, owner: impl FnOnce() -> TaskStruct) {
    if FILTER.load().tests & test::CGROUP == 0 {
        return;
    }
    if is_in_cgroup(owner()) {
        set::<{ flags::IN_CGROUP }>(connection);
    } else {
        clear::<{ flags::IN_CGROUP }>(connection);
    }
}

/// Whether ports alone tell that the filter does not want a connection, which spares the look-up in the
/// table: it has no entry, or one that nobody will be told of. 0 is a port that is not known.
#[inline(always)]
pub fn has_other_ports(local: u16, remote: impl FnOnce() -> u16) -> bool {
    FILTER.load().has_other_ports(local, remote, &Maps)
}

/// Whether an attempt that has no port yet cannot get one that the filter wants.
#[inline(always)]
fn will_have_another_port(filter: &Filter, sock: impl Socket) -> bool {
    filter.tests & test::LOCAL_PORT != 0
        && sock.local_port() == 0
        && sock
            .chosen_ports()
            .is_some_and(|range| filter.has_no_local_port_in(range))
}

/// Judges a connection that is about to get an entry with these flags. The owner of an outbound one
/// is running.
#[inline(always)]
pub fn judge_birth(sock: impl Socket, flags: u32) -> Verdict {
    let filter = FILTER.load();
    if !filter.is_active() {
        return Verdict::Keep;
    }
    let inbound = flags & flags::INBOUND != 0;
    let has_owner = !inbound && flags & flags::PRE_EXISTING == 0;
    if has_owner && will_have_another_port(&filter, sock) {
        return Verdict::Drop;
    }
    judge_socket(sock, sock.local_port(), inbound, has_owner)
}

/// Judges an undecided connection by what is known of it now.
#[inline(always)]
pub fn judge(sock: impl Socket, connection: &Connection) -> Verdict {
    let filter = FILTER.load();
    filter.verdict(&facts(connection, route(&filter, sock)), &Maps)
}

/// Judges an undecided connection at its end: what has no route now never had one, or had it when it
/// could not be decided for another reason.
#[inline(always)]
pub fn judge_end(sock: impl Socket, connection: &Connection) -> Verdict {
    let filter = FILTER.load();
    let route = route(&filter, sock).unwrap_or(Route::NOWHERE);
    filter.verdict(&facts(connection, Some(route)), &Maps)
}

#[inline(always)]
fn facts(connection: &Connection, route: Option<Route>) -> Facts<'_> {
    Facts {
        flow: &connection.flow,
        inbound: connection.is(flags::INBOUND),
        tgid: connection.owner.tgid,
        uid: connection.owner.uid,
        followed: connection.is(flags::FOLLOWED),
        netns: connection.netns,
        name: &connection.owner.name,
        in_cgroup: connection.is(flags::IN_CGROUP),
        route,
    }
}

/// Where the socket's route leaves, as far as there is a test on it.
#[inline(always)]
fn route(filter: &Filter, sock: impl Socket) -> Option<Route> {
    if filter.tests & test::ROUTE == 0 {
        return None;
    }
    let device = sock.device()?;
    Some(Route {
        loopback: filter.tests & test::NO_LOOPBACK != 0 && device.is_loopback()?,
        chosen: filter.tests & test::INTERFACE != 0 && is_chosen(device),
    })
}

/// Whether a device's name is in the set. With a stack of its own, as above.
#[inline(never)]
fn is_chosen(device: Device) -> bool {
    let mut key = NameKey {
        set: name::INTERFACE,
        reserved: 0,
        name: [0; NAME_LEN],
    };
    device.read_name(&mut key.name);
    NAMES.get_ptr(&key).is_some()
}

/// Whether an outbound attempt without a table entry would have been traced, by tests that could
/// not be decided before it had its port and route. Its owner is not known here.
#[inline(always)]
pub fn was_undecided(sock: impl Socket) -> bool {
    let filter = FILTER.load();
    if filter.tests & (test::LOCAL_PORT | test::ROUTE) == 0 {
        return false;
    }
    judge_socket(sock, sock.source_port(), false, false) == Verdict::Keep
}

/// Whether a connection without a table entry would have been traced: one that the running task
/// just accepted, or (`accepted` false) any other. Of that one nobody knows the owner any more: with
/// a filter on it, it is not counted as missing.
#[inline(always)]
pub fn would_trace(sock: impl Socket, accepted: bool) -> bool {
    let filter = FILTER.load();
    if !filter.is_active() {
        return true;
    }
    if !accepted && filter.tests & test::OWNER != 0 {
        return false;
    }
    judge_socket(sock, sock.source_port(), sock.is_passive(), true) == Verdict::Keep
}

/// Judges a socket that has no entry, by itself and what the hook knows of it: whether the running
/// task is its owner, which is not known otherwise.
///
/// Not inlined: it needs much stack, and its callers are in deep chains of calls.
#[inline(never)]
fn judge_socket(sock: impl Socket, local_port: u16, inbound: bool, has_owner: bool) -> Verdict {
    let filter = FILTER.load();
    let mut flow = Flow::default();
    sock.read_flow(&mut flow);
    flow.local_port = local_port;
    let mut name = [0; NAME_LEN];
    let mut in_cgroup = false;
    let mut followed = false;
    let (mut tgid, mut uid) = (0, 0);
    if has_owner {
        (tgid, uid) = (task::current_tgid(), task::current_uid());
        if filter.tests & test::COMM != 0 {
            TaskStruct::current().read_leader_name(&mut name);
        }
        if filter.tests & test::CGROUP != 0 {
            in_cgroup = is_in_cgroup(TaskStruct::current());
        }
        followed = follow::is_on() && follow::is_running();
    }
    let facts = Facts {
        flow: &flow,
        inbound,
        tgid,
        uid,
        followed,
        netns: if filter.tests & test::NETNS != 0 {
            sock.netns()
        } else {
            0
        },
        name: &name,
        in_cgroup,
        route: route(&filter, sock),
    };
    filter.verdict(&facts, &Maps)
}
