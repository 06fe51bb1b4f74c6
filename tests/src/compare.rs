//! Records against truth.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::tracer::Finished;
use crate::truth::{End, Share, Truth};

/// How many differences of each kind are shown.
const SHOWN: usize = 10;

/// What a workload and a record both know of one end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Facts {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) inbound: bool,
    pub(crate) v6_socket: bool,
    pub(crate) owner: Option<u32>,
    pub(crate) users: Vec<Share>,
    /// Bytes that belong to none of the users.
    pub(crate) unattributed: (u64, u64),
    pub(crate) tx: u64,
    pub(crate) rx: u64,
}

impl Facts {
    /// `seen`: whether this tracer sees who sends, and who receives.
    pub(crate) fn of_end(inbound: bool, end: &End, seen: (bool, bool)) -> Self {
        let mut users = end.users.clone();
        for share in &mut users {
            share.tx = if seen.0 { share.tx } else { 0 };
            share.rx = if seen.1 { share.rx } else { 0 };
        }
        users.retain(|share| share.tx + share.rx > 0);
        let sum = |bytes: fn(&Share) -> u64| users.iter().map(bytes).sum::<u64>();
        Self {
            local: end.local,
            remote: end.remote,
            inbound,
            v6_socket: end.v6_socket,
            owner: end.owner_pid,
            unattributed: (
                end.tx - sum(|share| share.tx),
                end.rx - sum(|share| share.rx),
            ),
            users,
            tx: end.tx,
            rx: end.rx,
        }
    }

    pub(crate) fn of_record(record: &Value) -> Self {
        let v6 = Value::from("ipv6");
        let users = record["users"].as_array().into_iter().flatten();
        let users = users.map(|user| Share {
            pid: pid(user).expect("a user without a pid"),
            tx: number(&user["tx"]),
            rx: number(&user["rx"]),
        });
        let mut users: Vec<_> = users.filter(|share| share.tx + share.rx > 0).collect();
        users.sort();
        let bytes = &record["bytes"];
        Self {
            local: address(&record["local"]),
            remote: address(&record["remote"]),
            inbound: record["direction"] == "inbound",
            v6_socket: record["family"] == v6 || record["socket_family"] == v6,
            owner: pid(&record["process"]),
            users,
            unattributed: (
                number(&bytes["unattributed_tx"]),
                number(&bytes["unattributed_rx"]),
            ),
            tx: number(&bytes["tx"]),
            rx: number(&bytes["rx"]),
        }
    }
}

/// Address and port of an endpoint; port 0 if it has none.
pub fn address(endpoint: &Value) -> SocketAddr {
    let ip = endpoint["ip"].as_str().expect("an address");
    let ip: IpAddr = ip.parse().unwrap_or_else(|error| panic!("{error}: {ip}"));
    SocketAddr::new(ip, number(&endpoint["port"]).try_into().expect("a port"))
}

/// A number that may be absent, which counts as 0.
pub fn number(value: &Value) -> u64 {
    if value.is_null() {
        0
    } else {
        value.as_u64().unwrap_or_else(|| panic!("a count: {value}"))
    }
}

fn pid(process: &Value) -> Option<u32> {
    process["pid"]
        .as_u64()
        .map(|pid| pid.try_into().expect("a process id"))
}

/// The last record of each connection: `close` and `open_at_exit`.
pub fn finals(finished: &Finished) -> Vec<&Value> {
    let last = |event: &Value| event == "close" || event == "open_at_exit";
    finished
        .records
        .iter()
        .filter(|record| last(&record["event"]))
        .collect()
}

/// Checks that the final records and the ends of `truth` are equal, one to one.
pub fn assert_equal<'a>(finished: &Finished, truth: impl Iterator<Item = (bool, &'a End)>) {
    let mut balance: BTreeMap<Facts, i64> = BTreeMap::new();
    let mut ends = 0;
    for (inbound, end) in truth {
        ends += 1;
        let facts = Facts::of_end(inbound, end, finished.sees_users());
        *balance.entry(facts).or_default() += 1;
    }
    let finals = finals(finished);
    for record in &finals {
        *balance.entry(Facts::of_record(record)).or_default() -= 1;
    }
    balance.retain(|_, count| *count != 0);
    if balance.is_empty() {
        return;
    }
    let missing: i64 = balance.values().filter(|count| **count > 0).sum();
    let mut text = format!(
        "{missing} of {ends} ends are not in the {} records\n",
        finals.len()
    );
    for (title, wanted) in [("happened:", true), ("recorded:", false)] {
        let _ = writeln!(text, "{title}");
        let rows = balance.iter().filter(|(_, count)| (**count > 0) == wanted);
        for (facts, _) in rows.take(SHOWN) {
            let _ = writeln!(text, "  {facts:?}");
        }
    }
    let differing = |record: &&&Value| {
        balance
            .get(&Facts::of_record(record))
            .is_some_and(|count| *count < 0)
    };
    for record in finals.iter().filter(|record| differing(record)).take(3) {
        let _ = writeln!(text, "in full: {record}");
    }
    let _ = writeln!(
        text,
        "loss: {}\nthe tracer said: {}",
        finished.summary["loss"], finished.stderr
    );
    panic!("{text}");
}

/// Checks the process that closed each end: never a wrong one, and present where `known` says so.
pub fn assert_closers(finished: &Finished, truth: &Truth, known: impl Fn(&End) -> bool) {
    let mut closers: HashMap<_, Vec<_>> = HashMap::new();
    for record in finals(finished) {
        let facts = Facts::of_record(record);
        let key = (facts.inbound, facts.local, facts.remote);
        closers.entry(key).or_default().push(pid(&record["closer"]));
    }
    let mut wrong = Vec::new();
    for (inbound, end) in truth.ends() {
        let recorded = closers.get(&(inbound, end.local, end.remote));
        // The same addresses twice: which is which is not known.
        let Some([closer]) = recorded.map(Vec::as_slice) else {
            continue;
        };
        if *closer != end.closer_pid && (closer.is_some() || known(end)) {
            wrong.push(format!("closed by {closer:?}? {inbound} {end:?}"));
        }
    }
    let text = wrong
        .iter()
        .take(SHOWN)
        .fold(String::new(), |text, line| text + line + "\n");
    assert!(
        wrong.is_empty(),
        "{} closers are wrong:\n{text}",
        wrong.len()
    );
}

/// Checks the order of every connection's records: one beginning, one end, nothing after it, and
/// that no number was left out.
pub fn assert_whole_lives(finished: &Finished) {
    let mut lives: HashMap<(&str, bool), Vec<&str>> = HashMap::new();
    let mut moved: HashMap<&str, (u64, u64)> = HashMap::new();
    for (record, seq) in finished.records.iter().zip(1..) {
        assert_eq!(record["v"], 1, "{record}");
        assert_eq!(record["seq"], seq, "{record}");
        let id = record["id"]
            .as_str()
            .unwrap_or_else(|| panic!("no id: {record}"));
        let event = record["event"]
            .as_str()
            .unwrap_or_else(|| panic!("no event: {record}"));
        let (tx, rx) = (
            number(&record["bytes"]["tx"]),
            number(&record["bytes"]["rx"]),
        );
        let sums = moved.entry(id).or_default();
        match event {
            "traffic" => *sums = (sums.0 + tx, sums.1 + rx),
            "close" => assert!(sums.0 <= tx && sums.1 <= rx, "{sums:?} before {record}"),
            _ => {}
        }
        let is_inbound = record["direction"] == "inbound";
        lives.entry((id, is_inbound)).or_default().push(event);
    }
    for ((id, is_inbound), life) in &lives {
        let count = |event| life.iter().filter(|seen| **seen == event).count();
        let ends = count("close") + count("open_at_exit") + count("failed");
        let last = life.last().expect("a life has events");
        let outbound = count("open") == 1 && life[0] == "open" && count("accept") == 0;
        let inbound = count("open") == 0 && count("accept") <= 1 && count("established") == 0;
        let once = count("established") <= 1 && count("ended") <= 1;
        assert!(
            ends == 1 && ["close", "open_at_exit", "failed"].contains(last),
            "{id} does not end once: {life:?}{}",
            beside(finished, id)
        );
        assert!(
            (if *is_inbound { inbound } else { outbound }) && once,
            "{id} is out of order: {life:?}{}",
            beside(finished, id)
        );
    }
}

/// The records of this connection, and those that have its addresses, either way round.
fn beside(finished: &Finished, id: &str) -> String {
    let of_id = |record: &&Value| record["id"] == id;
    let Some(first) = finished.records.iter().find(of_id) else {
        return String::new();
    };
    let ends = |record: &Value| (record["local"].clone(), record["remote"].clone());
    let (local, remote) = ends(first);
    let wanted = [(local.clone(), remote.clone()), (remote, local)];
    let is_near = |record: &&Value| of_id(record) || wanted.contains(&ends(record));
    let lines = finished.records.iter().filter(is_near).take(4 * SHOWN);
    lines.fold(String::new(), |text, record| format!("{text}\n{record}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn end() -> End {
        End {
            local: "127.0.0.1:80".parse().unwrap(),
            remote: "127.0.0.1:40000".parse().unwrap(),
            v6_socket: true,
            owner_pid: Some(1),
            owner_uid: Some(0),
            users: vec![Share {
                pid: 2,
                tx: 5,
                rx: 6,
            }],
            closer_pid: Some(3),
            tx: 5,
            rx: 9,
            wire_tx: None,
            accepted: true,
            ending: "orderly".into(),
        }
    }

    fn record() -> Value {
        json!({
            "v": 1, "seq": 1, "id": "a", "event": "close", "direction": "inbound",
            "family": "ipv4", "socket_family": "ipv6",
            "local": {"ip": "127.0.0.1", "port": 80}, "remote": {"ip": "127.0.0.1", "port": 40000},
            "process": {"pid": 1}, "closer": {"pid": 3},
            "users": [{"pid": 1, "tx": 0, "rx": 0}, {"pid": 2, "tx": 5, "rx": 6}],
            "bytes": {"tx": 5, "rx": 9, "unattributed_rx": 3},
        })
    }

    fn finished(records: Vec<Value>) -> Finished {
        Finished {
            status: std::process::ExitStatus::default(),
            stdout: Vec::new(),
            stderr: String::new(),
            records,
            summary: serde_json::json!({"not_attached": []}),
        }
    }

    fn differs(records: Vec<Value>) -> bool {
        let (finished, end) = (finished(records), end());
        std::panic::catch_unwind(|| assert_equal(&finished, [(true, &end)].into_iter())).is_err()
    }

    #[test]
    fn an_equal_record_is_equal() {
        assert!(!differs(vec![record()]));
    }

    #[test]
    fn every_fact_is_compared_and_so_is_the_number_of_records() {
        assert!(differs(vec![]));
        assert!(differs(vec![record(), record()]));
        for (pointer, wrong) in [
            ("/direction", json!("outbound")),
            ("/socket_family", Value::Null),
            ("/local/ip", json!("127.0.0.2")),
            ("/local/port", json!(81)),
            ("/remote/port", json!(40_001)),
            ("/process/pid", json!(2)),
            ("/process", Value::Null),
            ("/users/1/pid", json!(1)),
            ("/users/1/tx", json!(4)),
            ("/users/1/rx", json!(7)),
            ("/users", Value::Null),
            ("/bytes/tx", json!(6)),
            ("/bytes/rx", json!(8)),
            ("/bytes/unattributed_rx", Value::Null),
        ] {
            let mut record = record();
            *record.pointer_mut(pointer).unwrap() = wrong;
            assert!(differs(vec![record]), "{pointer}");
        }
    }

    #[test]
    fn a_wrong_closer_is_found_and_a_missing_one_where_it_is_known() {
        let truth = Truth {
            servers: vec![end()],
            ..Truth::default()
        };
        let check = |closer: Value, known| {
            let mut record = record();
            record["closer"] = closer;
            let finished = finished(vec![record]);
            std::panic::catch_unwind(|| assert_closers(&finished, &truth, |_| known)).is_ok()
        };
        assert!(check(json!({"pid": 3}), true) && check(Value::Null, false));
        assert!(!check(json!({"pid": 1}), false) && !check(Value::Null, true));
    }

    #[test]
    fn a_life_has_one_beginning_and_one_end_in_order() {
        let life = |direction: &str, events: &[&str]| {
            let record = |(event, seq)| {
                let mut record = record();
                record["direction"] = direction.into();
                record["event"] = event;
                record["seq"] = seq;
                record
            };
            let events = events.iter().map(|event| Value::from(*event));
            let finished = finished(events.zip((1..).map(Value::from)).map(record).collect());
            std::panic::catch_unwind(|| assert_whole_lives(&finished)).is_ok()
        };
        assert!(life(
            "outbound",
            &["open", "established", "traffic", "ended", "close"]
        ));
        assert!(life("inbound", &["accept", "open_at_exit"]));
        assert!(life("inbound", &["close"]), "nobody accepted it");
        assert!(life("outbound", &["open", "failed"]));
        assert!(!life("outbound", &["open", "failed", "close"]));
        assert!(!life("outbound", &["close"]));
        assert!(!life("outbound", &["open", "established"]));
        assert!(!life("outbound", &["established", "open", "close"]));
        assert!(!life("inbound", &["close", "accept"]));
        assert!(!life("inbound", &["accept", "accept", "close"]));
    }
}
