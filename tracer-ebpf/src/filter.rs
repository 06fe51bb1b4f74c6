//! Feeds `tracer_common::filter` from the maps. A test that is off costs nothing: the filter is
//! read-only data, so the verifier removes its code.

use tracer_common::{
    connection::{Connection, flags},
    filter::{Facts, Filter, IdKey, Sets, Verdict, port_bit, test},
    flow::Flow,
};

use crate::{
    kernel::Socket,
    maps::{FILTER, IDS, LOCAL_PORTS, REMOTE_PORTS},
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
}

/// Judges a connection that is about to get an entry with these flags. The owner of an outbound one
/// is running.
#[inline(always)]
pub fn judge_birth(sock: impl Socket, flags: u32, netns: u32) -> Verdict {
    let filter = FILTER.load();
    if !filter.is_active() {
        return Verdict::Keep;
    }
    let inbound = flags & flags::INBOUND != 0;
    let owner = if inbound || flags & flags::PRE_EXISTING != 0 {
        NOBODY
    } else {
        running()
    };
    judge_socket(&filter, sock, inbound, owner, netns)
}

/// Judges an undecided connection by what is known of it now.
#[inline(always)]
pub fn judge(sock: impl Socket, connection: &Connection) -> Verdict {
    let filter = FILTER.load();
    filter.verdict(&facts(connection, route(&filter, sock)), &Maps)
}

/// Judges an undecided connection at its end: without a route it never was on the loopback device.
#[inline(always)]
pub fn judge_end(connection: &Connection) -> Verdict {
    FILTER
        .load()
        .verdict(&facts(connection, Some(false)), &Maps)
}

#[inline(always)]
fn facts(connection: &Connection, loopback_route: Option<bool>) -> Facts<'_> {
    Facts {
        flow: &connection.flow,
        inbound: connection.is(flags::INBOUND),
        tgid: connection.owner.tgid,
        uid: connection.owner.uid,
        netns: connection.netns,
        loopback_route,
    }
}

#[inline(always)]
fn route(filter: &Filter, sock: impl Socket) -> Option<bool> {
    if filter.tests & test::NO_LOOPBACK != 0 {
        sock.loopback_route()
    } else {
        None
    }
}

/// Whether an outbound attempt without a table entry would have been traced, by tests that could
/// not be decided before it had its port and route. Its owner is not known here.
#[inline(always)]
pub fn was_undecided(sock: impl Socket) -> bool {
    let filter = FILTER.load();
    if filter.tests & (test::LOCAL_PORT | test::NO_LOOPBACK) == 0 {
        return false;
    }
    judge_socket(&filter, sock, false, NOBODY, sock.netns()) == Verdict::Keep
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
    if !accepted && filter.tests & (test::PID | test::UID) != 0 {
        return false;
    }
    judge_socket(&filter, sock, sock.is_passive(), running(), sock.netns()) == Verdict::Keep
}

/// Process id and uid of an owner that is not known.
const NOBODY: (u32, u32) = (0, 0);

/// Process id and uid of the running task.
#[inline(always)]
fn running() -> (u32, u32) {
    (task::current_tgid(), task::current_uid())
}

/// Judges a socket that has no entry, by itself and what the hook knows of it.
#[inline(always)]
fn judge_socket(
    filter: &Filter,
    sock: impl Socket,
    inbound: bool,
    (tgid, uid): (u32, u32),
    netns: u32,
) -> Verdict {
    let mut flow = Flow::default();
    sock.read_flow(&mut flow);
    let facts = Facts {
        flow: &flow,
        inbound,
        tgid,
        uid,
        netns,
        loopback_route: route(filter, sock),
    };
    filter.verdict(&facts, &Maps)
}
