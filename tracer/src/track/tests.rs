use tracer_common::connection::{Task, TcpCounters};
use tracer_common::tcp_state::{ESTABLISHED, FIN_WAIT2, LAST_ACK};

use super::*;
use crate::record::{ClosedBy, EventKind as Kind};

const KEY: ConnectionKey = ConnectionKey {
    sk: 0xffff_8880_0000_1000,
    birth_ns: 1_000,
};

fn track() -> Track {
    Track::new(Identity::new("boot", &[7; 16]), "host".into(), true)
}

fn task(tgid: u32) -> Task {
    Task {
        tgid,
        tid: tgid,
        uid: 33,
        start_ns: 5,
        name: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
        ..Task::default()
    }
}

/// An outbound attempt whose SYN was sent.
fn attempt() -> Connection {
    let mut connection = Connection {
        birth_ns: KEY.birth_ns,
        owner: task(10),
        netns: 4,
        ..Connection::EMPTY
    };
    connection.flow.remote_ip[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 2]);
    connection.flow.remote_port = 443;
    connection.flow.socket_family = 2;
    connection
}

fn established() -> Connection {
    let mut connection = attempt();
    connection.flow.local_port = 20_000;
    connection.established_ns = 1_500;
    connection
}

fn closed() -> Connection {
    Connection {
        closed_ns: 9_000,
        owner_tx: 100,
        owner_rx: 70,
        closer: Closer {
            tgid: 11,
            ..Closer::NOBODY
        },
        tcp: TcpCounters {
            bytes_acked: 102,
            bytes_received: 71,
            srtt_us: 80,
            ..TcpCounters::default()
        },
        state_before_close: u32::from(FIN_WAIT2),
        flags: flags::HAS_COUNTERS | flags::FIN_RECEIVED,
        ..established()
    }
}

fn released() -> Connection {
    let mut connection = closed();
    connection.flags |= flags::RELEASED;
    connection
}

fn accepted() -> Connection {
    Connection {
        flags: flags::INBOUND,
        established_ns: 1_000,
        accepted_ns: 1_200,
        ..attempt()
    }
}

fn kinds(records: &[Record]) -> Vec<Kind> {
    records.iter().map(|record| record.event).collect()
}

#[test]
fn every_stage_is_told_once_in_order() {
    let (mut track, mut out) = (track(), Vec::new());
    for state in [
        attempt(),
        established(),
        established(),
        closed(),
        released(),
    ] {
        track.news(KEY, &state, &[], &mut out);
    }
    assert_eq!(
        kinds(&out),
        [Kind::Open, Kind::Established, Kind::Ended, Kind::Close]
    );
    assert_eq!(track.live(), 0);
    assert_eq!(out[0].local.port, None, "the port was not chosen yet");
    assert_eq!(out[1].latency_ns, Some(500));
    assert_eq!(out[1].local.port, Some(20_000));
}

#[test]
fn one_state_tells_everything_that_was_missed() {
    let (mut track, mut out) = (track(), Vec::new());
    track.news(KEY, &released(), &[], &mut out);
    assert_eq!(
        kinds(&out),
        [Kind::Open, Kind::Established, Kind::Ended, Kind::Close]
    );
    let times: Vec<u64> = out.iter().map(|record| record.mono_ns).collect();
    assert_eq!(times, [1_000, 1_500, 9_000, 9_000]);
}

#[test]
fn an_accept_has_its_process_and_its_time_in_the_queue() {
    let (mut track, mut out) = (track(), Vec::new());
    let queued = Connection {
        owner: Task::default(),
        accepted_ns: 0,
        ..accepted()
    };
    track.news(KEY, &queued, &[], &mut out);
    assert_eq!(kinds(&out), [], "nobody accepted yet");
    track.news(KEY, &accepted(), &[], &mut out);
    assert_eq!(kinds(&out), [Kind::Accept]);
    assert_eq!(out[0].queue_ns, Some(200));
    assert_eq!(out[0].process.as_ref().map(|process| process.pid), Some(10));
    assert_eq!(out[0].direction, Direction::Inbound);
}

#[test]
fn a_close_carries_totals_and_who_moved_them() {
    let (mut track, mut out) = (track(), Vec::new());
    let mut state = released();
    (state.other_tx, state.other_rx) = (30, 0);
    state.tcp.bytes_acked = 142;
    let worker = UserKey {
        sk: KEY.sk,
        birth_ns: KEY.birth_ns,
        tgid: 12,
        reserved: 0,
    };
    let moved = UserTotals {
        tx: 30,
        ..UserTotals::EMPTY
    };
    track.news(KEY, &state, &[(worker, moved)], &mut out);
    let close = out.last().unwrap();
    let bytes = close.bytes.unwrap();
    assert_eq!(
        (bytes.tx, bytes.rx),
        (140, 70),
        "140 queued, of which the hooks saw 130"
    );
    assert_eq!(
        (bytes.unattributed_tx, bytes.unattributed_rx),
        (Some(10), Some(0))
    );
    let users: Vec<_> = close
        .users
        .iter()
        .map(|user| (user.pid, user.tx, user.rx))
        .collect();
    assert_eq!(users, [(10, 100, 70), (12, 30, 0)]);
    assert_eq!(close.closer.as_ref().map(|closer| closer.pid), Some(11));
    assert_eq!(close.closed_by, Some(ClosedBy::Local));
    assert_eq!(
        (close.duration_ns, close.rtt_us, close.reason),
        (Some(8_000), Some(80), None)
    );
}

#[test]
fn a_failed_attempt_is_one_failed_record_and_no_close() {
    let (mut track, mut out) = (track(), Vec::new());
    let refused = Connection {
        closed_ns: 1_700,
        error: 111,
        flags: flags::FAILED | flags::RELEASED | flags::HAS_COUNTERS,
        ..attempt()
    };
    track.news(KEY, &attempt(), &[], &mut out);
    track.news(KEY, &refused, &[], &mut out);
    assert_eq!(kinds(&out), [Kind::Open, Kind::Failed]);
    assert_eq!(
        (out[1].reason, out[1].latency_ns),
        (Some("refused"), Some(700))
    );
    assert_eq!(track.live(), 0);
}

#[test]
fn traffic_is_what_moved_since_the_last_record() {
    let (mut track, mut out) = (track(), Vec::new());
    let mut state = established();
    track.news(KEY, &state, &[], &mut out);
    out.clear();
    (state.owner_tx, state.other_rx) = (10, 4);
    track.traffic(KEY, &state, &[], 2_000, &mut out);
    track.traffic(KEY, &state, &[], 3_000, &mut out);
    state.owner_tx = 25;
    track.traffic(KEY, &state, &[], 4_000, &mut out);
    let deltas: Vec<_> = out
        .iter()
        .filter_map(|record| record.bytes)
        .map(|bytes| (bytes.tx, bytes.rx))
        .collect();
    assert_eq!(kinds(&out), [Kind::Traffic, Kind::Traffic]);
    assert_eq!(deltas, [(10, 4), (15, 0)]);
    assert_eq!(out[1].mono_ns, 4_000);
}

fn moved_by(record: &Record) -> Vec<(u32, u64, u64)> {
    let users = record.users.iter();
    users.map(|user| (user.pid, user.tx, user.rx)).collect()
}

#[test]
fn traffic_names_who_moved_it_from_when_that_is_not_the_owner_alone() {
    let (mut track, mut out) = (track(), Vec::new());
    let mut state = established();
    let worker = |tx, rx| {
        let key = UserKey {
            sk: KEY.sk,
            birth_ns: KEY.birth_ns,
            tgid: 20,
            reserved: 0,
        };
        (
            key,
            UserTotals {
                tx,
                rx,
                start_ns: 7,
                ..UserTotals::EMPTY
            },
        )
    };
    state.owner_tx = 10;
    track.traffic(KEY, &state, &[], 2_000, &mut out);
    (state.owner_tx, state.other_tx, state.other_rx) = (15, 100, 3);
    track.traffic(KEY, &state, &[worker(100, 3)], 3_000, &mut out);
    state.other_tx = 120;
    track.traffic(KEY, &state, &[worker(120, 3)], 4_000, &mut out);
    // Whose these are is found only later.
    state.other_rx = 13;
    track.traffic(KEY, &state, &[], 5_000, &mut out);
    state.owner_rx = 1;
    track.traffic(KEY, &state, &[worker(120, 13)], 6_000, &mut out);
    out.retain(|record| record.event == Kind::Traffic);
    let users: Vec<_> = out.iter().map(moved_by).collect();
    assert_eq!(
        users,
        [
            vec![],
            vec![(10, 5, 0), (20, 100, 3)],
            vec![(20, 20, 0)],
            vec![],
            vec![(10, 0, 1), (20, 0, 10)],
        ]
    );
    let unknown = |record: &Record| record.bytes.unwrap().unattributed_rx;
    let unknown: Vec<_> = out.iter().map(unknown).collect();
    assert_eq!(unknown, [None, None, None, Some(10), None]);
    assert_eq!(track.shared.len(), 1);
    track.open_at_exit(KEY, &state, &[], 7_000, &mut out);
    assert!(track.shared.is_empty());
}

#[test]
fn traffic_of_a_released_or_undecided_connection_is_nobodys_news() {
    let (mut track, mut out) = (track(), Vec::new());
    let undecided = Connection {
        owner_tx: 1,
        flags: flags::UNDECIDED,
        ..established()
    };
    track.traffic(KEY, &undecided, &[], 2_000, &mut out);
    track.traffic(KEY, &released(), &[], 2_000, &mut out);
    assert_eq!(kinds(&out), []);
}

#[test]
fn news_that_a_late_release_overtook_do_not_revive_it() {
    let (mut track, mut out) = (track(), Vec::new());
    track.late_release(KEY, &released(), &[], &mut out);
    let told = out.len();
    track.news(KEY, &established(), &[], &mut out);
    track.age_late_releases();
    track.news(KEY, &established(), &[], &mut out);
    assert_eq!((out.len(), track.live()), (told, 0));
    let reborn = ConnectionKey {
        birth_ns: 2_000,
        ..KEY
    };
    track.news(reborn, &attempt(), &[], &mut out);
    assert_eq!(
        out.len(),
        told + 1,
        "another connection on the same socket is its own"
    );
}

#[test]
fn what_is_open_at_the_end_is_told_with_its_totals() {
    let (mut track, mut out) = (track(), Vec::new());
    let state = Connection {
        owner_tx: 5,
        ..established()
    };
    track.open_at_exit(KEY, &state, &[], 8_000, &mut out);
    assert_eq!(
        kinds(&out),
        [Kind::Open, Kind::Established, Kind::OpenAtExit]
    );
    let last = &out[2];
    assert_eq!((last.duration_ns, last.bytes.unwrap().tx), (Some(7_000), 5));
    assert_eq!((last.closed_by, last.bytes.unwrap().unread), (None, None));
}

#[test]
fn a_call_names_its_caller_beside_the_owner() {
    let (mut track, mut out) = (track(), Vec::new());
    let io = Io {
        kind: tracer_common::event::kind::IO,
        send: 1,
        sk: KEY.sk,
        connection: established(),
        time_ns: 1_600,
        bytes: 9,
        tgid: 12,
        tid: 13,
        start_ns: 0,
        uid: 33,
        reserved: 0,
        name: [b'w', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    track.io(&io, &mut out);
    let last = out.last().unwrap();
    assert_eq!((last.event, last.bytes.unwrap().tx), (Kind::Io, 9));
    assert_eq!(last.process.as_ref().unwrap().pid, 10);
    assert_eq!((last.users[0].pid, last.users[0].name.as_str()), (12, "w"));
}

#[test]
fn a_mapped_address_is_ipv4_and_names_the_sockets_family() {
    let (mut track, mut out) = (track(), Vec::new());
    let mut state = attempt();
    state.flow.socket_family = AF_INET6;
    track.news(KEY, &state, &[], &mut out);
    assert_eq!(
        (out[0].family, out[0].socket_family),
        (Family::Ipv4, Some(Family::Ipv6))
    );
    assert_eq!(out[0].remote.ip.to_string(), "10.0.0.2");
}

#[test]
fn wall_times_follow_the_offset() {
    let (mut track, mut out) = (track(), Vec::new());
    track.set_wall_offset(1_700_000_000_000_000_000);
    track.news(KEY, &attempt(), &[], &mut out);
    assert_eq!(out[0].time.to_string(), "2023-11-14T22:13:20.000001000Z");
    assert_eq!(out[0].mono_ns, 1_000);
}

#[test]
fn a_reset_is_told_with_its_reason() {
    let (mut track, mut out) = (track(), Vec::new());
    let reset = Connection {
        error: 104,
        state_before_close: u32::from(ESTABLISHED),
        flags: flags::HAS_COUNTERS | flags::RELEASED,
        ..closed()
    };
    track.news(KEY, &reset, &[], &mut out);
    let close = out.last().unwrap();
    assert_eq!(
        (close.reason, close.closed_by),
        (Some("reset"), Some(ClosedBy::Remote))
    );
    out.clear();
    let orderly = Connection {
        state_before_close: u32::from(LAST_ACK),
        ..released()
    };
    track.news(ConnectionKey { sk: 1, ..KEY }, &orderly, &[], &mut out);
    assert_eq!(out.last().unwrap().closed_by, Some(ClosedBy::Remote));
}

#[test]
fn what_left_the_table_as_a_sum_is_forgotten() {
    let (mut track, mut out) = (track(), Vec::new());
    let other = ConnectionKey { sk: 2, birth_ns: 3 };
    let newer = ConnectionKey { sk: 3, birth_ns: 4 };
    track.news(KEY, &established(), &[], &mut out);
    track.news(other, &established(), &[], &mut out);
    track.start_sweep();
    track.in_table(&other);
    // Born behind the place of the sweep.
    track.news(newer, &established(), &[], &mut out);
    track.forget_vanished(&mut Vec::new());
    assert_eq!(track.live(), 2);
    out.clear();
    for key in [other, newer] {
        track.news(key, &established(), &[], &mut out);
    }
    assert!(out.is_empty(), "both are known still: {out:?}");
    track.news(KEY, &established(), &[], &mut out);
    assert_eq!(kinds(&out), [Kind::Open, Kind::Established]);
}

#[test]
fn a_socket_that_is_used_again_is_another_connection() {
    let (mut track, mut out) = (track(), Vec::new());
    let next = ConnectionKey {
        birth_ns: 20_000,
        ..KEY
    };
    let born_later = Connection {
        birth_ns: next.birth_ns,
        established_ns: 20_400,
        owner: task(12),
        owner_tx: 3,
        ..established()
    };
    track.news(KEY, &established(), &[], &mut out);
    track.news(next, &born_later, &[], &mut out);
    // The end of the first was late.
    track.late_release(KEY, &released(), &[], &mut out);
    track.open_at_exit(next, &born_later, &[], 30_000, &mut out);
    let of = |id| {
        let records = out.iter().filter(move |record| record.id == id);
        records.cloned().collect::<Vec<_>>()
    };
    let (first, second) = (out[0].id, out[2].id);
    assert_ne!(first, second);
    assert_eq!(
        kinds(&of(first)),
        [Kind::Open, Kind::Established, Kind::Ended, Kind::Close]
    );
    assert_eq!(
        kinds(&of(second)),
        [Kind::Open, Kind::Established, Kind::OpenAtExit]
    );
    let last = |id| of(id).pop().unwrap();
    assert_eq!(last(first).bytes.unwrap().tx, 100);
    assert_eq!(last(second).bytes.unwrap().tx, 3);
    assert_eq!(last(second).process.unwrap().pid, 12);
    assert_eq!(track.live(), 0);
}
