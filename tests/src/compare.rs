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
struct Facts {
    local: SocketAddr,
    remote: SocketAddr,
    inbound: bool,
    v6_socket: bool,
    owner: Option<u32>,
    users: Vec<Share>,
    /// Bytes that belong to none of the users.
    unattributed: (u64, u64),
    tx: u64,
    rx: u64,
}

impl Facts {
    fn of_end(inbound: bool, end: &End) -> Self {
        let sum = |bytes: fn(&Share) -> u64| end.users.iter().map(bytes).sum::<u64>();
        Self {
            local: end.local,
            remote: end.remote,
            inbound,
            v6_socket: end.v6_socket,
            owner: end.owner_pid,
            users: end.users.clone(),
            unattributed: (
                end.tx - sum(|share| share.tx),
                end.rx - sum(|share| share.rx),
            ),
            tx: end.tx,
            rx: end.rx,
        }
    }

    fn of_record(record: &Value) -> Self {
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
        *balance.entry(Facts::of_end(inbound, end)).or_default() += 1;
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
    let mut lives: HashMap<&str, Vec<&str>> = HashMap::new();
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
        lives.entry(id).or_default().push(event);
    }
    for (id, life) in &lives {
        let count = |event| life.iter().filter(|seen| **seen == event).count();
        let ends = count("close") + count("open_at_exit") + count("failed");
        let last = life.last().expect("a life has events");
        let outbound = count("open") == 1 && life[0] == "open" && count("accept") == 0;
        let inbound = count("open") == 0 && count("accept") <= 1 && count("established") == 0;
        let once = count("established") <= 1 && count("ended") <= 1;
        assert!(
            ends == 1 && ["close", "open_at_exit", "failed"].contains(last),
            "{id} does not end once: {life:?}"
        );
        assert!(
            (outbound || inbound) && once,
            "{id} is out of order: {life:?}"
        );
    }
}
