//! What a tracer that runs keeps: entries of its kernel maps, and memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData, MapInfo};
use tracer_common::connection::{Connection, ConnectionKey, flags};
use tracer_common::folded::{FoldedKey, FoldedTotals};
use tracer_common::users::{UserKey, UserTotals};
use zerocopy::FromBytes as _;

use crate::harness::PATIENCE;

const CONNECTION: usize = size_of::<Connection>();

/// Bytes of a mark that the kernel side leaves for a connection without an entry.
const MARK: usize = 32;

/// Entries that the kernel would not remove just then, which is no error: they are nobody's, and
/// the next socket at the same place takes them over.
const LEFT_OVER: usize = 4;

/// Waits until the maps are empty but for what is left over, which it returns: some entries go when
/// the tracer, process `pid`, has read them.
pub fn wait_until_empty(pid: u32) -> Vec<Connection> {
    let maps = maps(pid);
    let since = Instant::now();
    loop {
        let (left_over, live): (Vec<_>, Vec<_>) = connections(maps["CONNECTIONS"])
            .into_iter()
            .partition(|connection| connection.is(flags::RELEASED));
        let others = [
            count::<{ size_of::<ConnectionKey>() }, CONNECTION>(maps["PENDING"]),
            count::<{ size_of::<UserKey>() }, { size_of::<UserTotals>() }>(maps["USERS"]),
            count::<{ size_of::<FoldedKey>() }, { size_of::<FoldedTotals>() }>(maps["FOLDED"]),
            count::<{ size_of::<u64>() }, MARK>(maps["UNTRACKED"]),
        ];
        if live.is_empty() && left_over.len() <= LEFT_OVER && others == [0; 4] {
            return left_over;
        }
        assert!(
            since.elapsed() < PATIENCE,
            "what stays: {live:#?}, {left_over:#?}, {others:?} of pending, users, folded and untracked"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    status(&format!("/proc/{pid}/status"), "VmRSS") * 1024
}

/// The most of it that there was at any time so far.
pub fn most_resident_bytes(pid: u32) -> u64 {
    status(&format!("/proc/{pid}/status"), "VmHWM") * 1024
}

/// How often all threads of a process have waited so far.
pub fn waits(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    threads
        .map(|thread| {
            let path = thread.expect("a thread").path().join("status");
            status(&path.to_string_lossy(), "voluntary_ctxt_switches")
        })
        .sum()
}

/// A number in a `status` file of /proc, without its unit.
fn status(path: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(path).expect("a process");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.unwrap_or_else(|| panic!("{path} has no {field}"));
    let number = number.trim().trim_end_matches(" kB");
    number.parse().expect("a number")
}

/// The ids of the maps that a process has open, by their names.
fn maps(pid: u32) -> BTreeMap<String, u32> {
    let infos = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the open files");
    let ids: BTreeSet<u32> = infos
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .filter_map(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix("map_id:"))?;
            id.trim().parse().ok()
        })
        .collect();
    let name = |id| {
        let info = MapInfo::from_id(id).expect("a map of the tracer");
        info.name_as_str().unwrap_or_default().to_owned()
    };
    ids.into_iter().map(|id| (name(id), id)).collect()
}

fn map<const KEY: usize, const VALUE: usize>(id: u32) -> HashMap<MapData, [u8; KEY], [u8; VALUE]> {
    let map = Map::HashMap(MapData::from_id(id).expect("a map of the tracer"));
    HashMap::try_from(map).expect("key and value sizes")
}

fn connections(id: u32) -> Vec<Connection> {
    let entries = map::<{ size_of::<u64>() }, CONNECTION>(id);
    let values = entries.iter().filter_map(Result::ok);
    values
        .map(|(_, value)| Connection::read_from_bytes(&value).expect("its size"))
        .collect()
}

fn count<const KEY: usize, const VALUE: usize>(id: u32) -> usize {
    map::<KEY, VALUE>(id).keys().flatten().count()
}
