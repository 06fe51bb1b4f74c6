//! What a tracer that runs keeps: entries of its kernel maps, and memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData, MapInfo};
use tracer_common::connection::{Connection, ConnectionKey};
use tracer_common::folded::{FoldedKey, FoldedTotals};
use tracer_common::users::{UserKey, UserTotals};

use crate::harness::PATIENCE;

const CONNECTION: usize = size_of::<Connection>();

/// Entries of the maps that grow with connections, by the name of the map. The process `pid` has
/// them open.
pub fn entries(pid: u32) -> BTreeMap<String, usize> {
    let mut entries = BTreeMap::new();
    for id in map_ids(pid) {
        let info = MapInfo::from_id(id).expect("a map of the tracer");
        let name = info.name_as_str().expect("a name").to_owned();
        let number = match name.as_str() {
            "CONNECTIONS" => count::<{ size_of::<u64>() }, CONNECTION>(id),
            "PENDING" => count::<{ size_of::<ConnectionKey>() }, CONNECTION>(id),
            "USERS" => count::<{ size_of::<UserKey>() }, { size_of::<UserTotals>() }>(id),
            "FOLDED" => count::<{ size_of::<FoldedKey>() }, { size_of::<FoldedTotals>() }>(id),
            _ => continue,
        };
        entries.insert(name, number);
    }
    assert_eq!(entries.len(), 4, "the maps of process {pid}: {entries:?}");
    entries
}

/// Waits until the maps are empty: some entries go when the tracer has read them.
pub fn wait_until_empty(pid: u32) {
    let since = Instant::now();
    loop {
        let entries = entries(pid);
        if entries.values().all(|number| *number == 0) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "entries stay: {entries:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.expect("its memory").trim().trim_end_matches(" kB");
    kibibytes.parse::<u64>().expect("a number") * 1024
}

fn map_ids(pid: u32) -> BTreeSet<u32> {
    let infos = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the open files");
    infos
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .filter_map(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix("map_id:"))?;
            id.trim().parse().ok()
        })
        .collect()
}

fn count<const KEY: usize, const VALUE: usize>(id: u32) -> usize {
    let map = Map::HashMap(MapData::from_id(id).expect("a map of the tracer"));
    let map = HashMap::<_, [u8; KEY], [u8; VALUE]>::try_from(map).expect("key and value sizes");
    map.keys().filter(Result::is_ok).count()
}
