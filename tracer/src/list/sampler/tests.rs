use super::*;
use crate::list::socket::Holder;
use crate::list::socket::samples::{connection, listener};
use crate::record::WallTime;

const AT: Moment = Moment {
    mono_ns: 5,
    time: WallTime(0),
};

fn sampler(tell: Tell) -> Sampler {
    Sampler::new(Identity::new("boot", &[1; 16]), "box".into(), tell)
}

/// Somebody's connection to port 80 here, which carried this much.
fn socket(tx: u64, rx: u64) -> Socket {
    Socket {
        direction: Some(Direction::Inbound),
        uid: Some(33),
        bytes: Some(Bytes {
            tx,
            rx,
            ..Bytes::default()
        }),
        holders: vec![Holder {
            pid: 4,
            name: "nginx".into(),
            start_ns: 70,
        }],
        ..connection("10.0.0.5:80", "10.0.0.9:1000")
    }
}

fn time_wait() -> Socket {
    Socket {
        state: State::TimeWait,
        inode: None,
        bytes: None,
        holders: Vec::new(),
        ..socket(0, 0)
    }
}

/// The records of readings: event, tx, rx.
fn told(sampler: &mut Sampler, readings: &[&[Socket]]) -> Vec<(EventKind, u64, u64)> {
    let mut out = Vec::new();
    for sockets in readings {
        sampler.take(sockets, AT, &mut out);
    }
    assert!(out.iter().all(|record| record.sampled));
    let bytes = |record: &Record| record.bytes.unwrap_or_default();
    out.iter()
        .map(|record| (record.event, bytes(record).tx, bytes(record).rx))
        .collect()
}

use EventKind::{Accept, Close, Traffic};

#[test]
fn a_connection_comes_moves_bytes_and_goes() {
    let mut sampler = sampler(Tell::News);
    let readings: [&[Socket]; 6] = [
        &[listener("0.0.0.0:80")],
        &[socket(0, 0)],
        &[socket(10, 1)],
        &[socket(10, 1)],
        &[socket(15, 1)],
        &[],
    ];
    let expected = [
        (Accept, 0, 0),
        (Traffic, 10, 1),
        (Traffic, 5, 0),
        (Close, 15, 1),
    ];
    assert_eq!(told(&mut sampler, &readings), expected);
    assert_eq!(sampler.rounds(), 6);
    assert!(sampler.seen.is_empty());
}

#[test]
fn what_was_there_before_is_older_and_so_are_its_bytes() {
    let mut sampler = sampler(Tell::News);
    let mut out = Vec::new();
    for sockets in [&[socket(100, 20)][..], &[socket(101, 22)], &[]] {
        sampler.take(sockets, AT, &mut out);
    }
    assert!(out.iter().all(|record| record.pre_existing));
    let last = out.last().unwrap();
    let bytes = last.bytes.unwrap();
    assert_eq!((last.event, bytes.tx, bytes.rx), (Close, 1, 2));
    assert_eq!((bytes.before_tx, bytes.before_rx), (Some(100), Some(20)));
    assert_eq!((last.users[0].pid, last.users[0].tx), (4, 1));
    // Over before the run: no part of it.
    let mut sampler = self::sampler(Tell::News);
    assert_eq!(
        told(&mut sampler, &[&[time_wait()], &[time_wait()], &[]]),
        []
    );
}

#[test]
fn goodbyes_are_the_end_and_told_once() {
    let orphan = Socket {
        state: State::FinWait2,
        inode: None,
        ..socket(7, 3)
    };
    let readings: [&[Socket]; 5] = [&[], &[socket(7, 0)], &[orphan], &[time_wait()], &[]];
    let expected = [(Accept, 0, 0), (Traffic, 7, 0), (Close, 7, 3)];
    assert_eq!(told(&mut sampler(Tell::News), &readings), expected);
    // The kernel remembers one that no reading saw alive.
    let readings: [&[Socket]; 3] = [&[], &[time_wait()], &[time_wait()]];
    let expected = [(Accept, 0, 0), (Close, 0, 0)];
    assert_eq!(told(&mut sampler(Tell::News), &readings), expected);
}

#[test]
fn the_same_ends_again_are_another_connection() {
    let again = Socket {
        inode: Some(8),
        ..socket(2, 0)
    };
    let directly: [&[Socket]; 3] = [&[], &[socket(5, 0)], std::slice::from_ref(&again)];
    let expected = [
        (Accept, 0, 0),
        (Traffic, 5, 0),
        (Close, 5, 0),
        (Accept, 0, 0),
        (Traffic, 2, 0),
    ];
    assert_eq!(told(&mut sampler(Tell::News), &directly), expected);
    let after_goodbye: [&[Socket]; 3] = [&[], &[time_wait()], &[again]];
    let expected = [
        (Accept, 0, 0),
        (Close, 0, 0),
        (Accept, 0, 0),
        (Traffic, 2, 0),
    ];
    assert_eq!(told(&mut sampler(Tell::News), &after_goodbye), expected);
}

#[test]
fn what_nobody_has_yet_is_no_connection() {
    let early = [State::SynSent, State::SynRecv, State::Close].map(|state| Socket {
        state,
        ..socket(0, 0)
    });
    let waiting = Socket {
        inode: None,
        holders: Vec::new(),
        ..socket(0, 9)
    };
    for socket in early.into_iter().chain([waiting]) {
        assert_eq!(told(&mut sampler(Tell::News), &[&[], &[socket]]), []);
    }
}

#[test]
fn sightings_are_told_each_time_and_count_once() {
    let readings: [&[Socket]; 3] = [&[socket(9, 9)], &[socket(9, 9)], &[socket(10, 9)]];
    let expected = [(Accept, 0, 0), (Traffic, 0, 0), (Traffic, 1, 0)];
    let mut sampler = sampler(Tell::Sightings);
    assert_eq!(told(&mut sampler, &readings), expected);
    let mut out = Vec::new();
    sampler.stop(AT, &mut out);
    assert_eq!((out.len(), out[0].event), (1, EventKind::OpenAtExit));
    assert!(!out[0].pre_existing);
}

#[test]
fn without_a_process_the_bytes_are_nobodys() {
    let unseen = |tx| Socket {
        holders: Vec::new(),
        ..socket(tx, 0)
    };
    let mut out = Vec::new();
    let mut sampler = sampler(Tell::News);
    for sockets in [&[][..], &[unseen(4)], &[]] {
        sampler.take(sockets, AT, &mut out);
    }
    let last = out.last().unwrap();
    assert!(last.process.is_none() && last.users.is_empty());
    assert_eq!(last.bytes.unwrap().unattributed_tx, Some(4));
}
