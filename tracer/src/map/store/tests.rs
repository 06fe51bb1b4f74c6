use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use hashbrown::HashMap;
use tempfile::TempDir;

use super::*;
use crate::map::view::samples::{NOON, imported, inbound, map, outbound, uses};

const MINUTE: i64 = 60_000_000_000;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> Store {
    Store::open(path, Limits::default()).unwrap()
}

fn delta(relations: &[(Relation, Uses)]) -> Delta {
    let mut delta = Delta::new(usize::MAX);
    for (relation, uses) in relations {
        delta.note(relation.clone(), *uses);
    }
    delta
}

fn sorted(map: &Map) -> Vec<(Relation, Uses)> {
    let mut relations = map.relations.clone();
    relations.sort_by(|(one, _), (other, _)| one.cmp(other));
    relations
}

fn peer(number: u32) -> Relation {
    inbound(
        "10.0.0.5:80",
        &std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).to_string(),
        "nginx",
    )
}

#[test]
fn what_is_saved_is_read_again_and_adds_up_over_runs() {
    let folder = folder();
    let path = folder.path().join("map");
    for _ in 0..3 {
        let mut store = open(&path);
        store.merge(&delta(&map().relations), NOON).unwrap();
    }
    let mut expected = map();
    for (_, uses) in &mut expected.relations {
        let once = *uses;
        *uses += once;
        *uses += once;
    }
    assert_eq!(sorted(&read(&path).unwrap()), sorted(&expected));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_store_adds_as_memory_does() {
    let mut store = Store::in_memory(Limits::default()).unwrap();
    let mut expected: HashMap<Relation, Uses> = HashMap::new();
    for round in 0..50_u64 {
        let mut uses = uses(round % 7);
        uses.first_seen.0 -= i64::try_from(round % 11).unwrap() * MINUTE;
        uses.pid = (round % 3 > 0).then_some(u32::try_from(round).unwrap());
        uses.tx = if round == 40 { u64::MAX / 2 } else { round };
        let relation = peer(u32::try_from(round % 4).unwrap());
        store
            .merge(&delta(&[(relation.clone(), uses)]), NOON)
            .unwrap();
        expected
            .entry(relation)
            .and_modify(|sum| {
                *sum += uses;
                sum.tx = sum.tx.min(u64::MAX / 2);
            })
            .or_insert(uses);
    }
    let stored: HashMap<_, _> = store.read().unwrap().relations.into_iter().collect();
    assert_eq!(stored, expected);
}

#[test]
fn a_second_writer_is_refused_and_told_of_the_first() {
    let folder = folder();
    let path = folder.path().join("map");
    let first = open(&path);
    let error = Store::open(&path, Limits::default()).unwrap_err();
    let holder = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    drop(first);
    open(&path);
}

#[test]
fn a_reader_sees_what_was_saved_while_the_writer_goes_on() {
    let folder = folder();
    let path = folder.path().join("map");
    let mut store = open(&path);
    for number in 1..5 {
        store
            .merge(&delta(&[(peer(number), uses(1))]), NOON)
            .unwrap();
        // As another process would.
        let reader = open::reader(&path).unwrap();
        let map = rows::read(&reader).unwrap();
        assert_eq!(map.relations.len(), number as usize);
    }
}

/// Files that are no map of ours, each with a word of what is said.
fn strangers(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let path = |name: &str| folder.join(name);
    std::fs::write(path("text"), "who talks to whom\n").unwrap();
    std::fs::write(path("long"), "x".repeat(5000)).unwrap();
    std::fs::write(path("cut header"), b"SQLite format 3\0half").unwrap();
    let other = Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE mine (x)").unwrap();
    drop(other);
    let sound = path("sound");
    let mut store = open(&sound);
    let many: Vec<_> = (0..2000).map(|number| (peer(number), uses(1))).collect();
    store.merge(&delta(&many), NOON).unwrap();
    drop(store);
    let bytes = std::fs::read(&sound).unwrap();
    let newer = Connection::open(&sound).unwrap();
    newer
        .execute_batch("PRAGMA journal_mode = DELETE; PRAGMA user_version = 2")
        .unwrap();
    drop(newer);
    std::fs::rename(&sound, path("newer")).unwrap();
    std::fs::write(path("half"), &bytes[..bytes.len() / 2]).unwrap();
    let mut garbled = bytes.clone();
    for byte in &mut garbled[4096..] {
        *byte ^= 0x55;
    }
    std::fs::write(path("garbled"), garbled).unwrap();
    vec![
        (path("text"), "not a map"),
        (path("long"), "not a map"),
        (path("cut header"), "not a map"),
        (path("other"), "not a map"),
        (path("newer"), "version 2"),
        (path("half"), "damaged"),
        (path("garbled"), "damaged"),
    ]
}

#[test]
fn what_is_no_sound_map_of_ours_is_refused_and_never_changed() {
    let folder = folder();
    for (path, word) in strangers(folder.path()) {
        let before = std::fs::read(&path).unwrap();
        let errors = [
            Store::open(&path, Limits::default()).unwrap_err(),
            read(&path).unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.contains(word), "{}: {text}", path.display());
        }
        assert!(
            before == std::fs::read(&path).unwrap(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let target = path("target");
    drop(open(&target));
    symlink(&target, path("link")).unwrap();
    for (path, word) in [
        (path("link"), "symbolic link"),
        (folder.path().to_owned(), "not a regular file"),
        (path("no/map"), "folder does not exist"),
        ("/dev/null".into(), "not a regular file"),
        ("/".into(), "not a regular file"),
    ] {
        for error in [
            Store::open(&path, Limits::default()).unwrap_err(),
            read(&path).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains(word), "{}: {text}", path.display());
        }
    }
    let missing = read(&path("none")).unwrap_err().to_string();
    assert!(
        missing.contains("does not exist; a run with --state"),
        "{missing}"
    );
    // A folder that is a symbolic link is one of the administrator's.
    symlink(folder.path(), path("folder")).unwrap();
    assert!(read(&path("folder/target")).is_ok());
}

#[test]
fn an_empty_file_is_a_new_map_and_no_map_to_read() {
    let folder = folder();
    let path = folder.path().join("map");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(read(&path), Err(StoreError::NotAMap(_))));
    drop(open(&path));
    assert!(read(&path).unwrap().relations.is_empty());
}

#[test]
fn a_full_disk_is_an_error_and_the_same_save_works_when_there_is_room() {
    let folder = folder();
    let path = folder.path().join("map");
    let mut store = open(&path);
    store.merge(&delta(&[(peer(0), uses(1))]), NOON).unwrap();
    let limit = |store: &Store, pages: u32| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        let _: i64 = store
            .connection
            .query_row(&sql, [], |row| row.get(0))
            .unwrap();
    };
    limit(&store, 8);
    let many: Vec<_> = (0..5000).map(|number| (peer(number), uses(1))).collect();
    let many = delta(&many);
    for _ in 0..2 {
        let error = store.merge(&many, NOON).unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error}");
    }
    assert_eq!(store.read().unwrap().relations.len(), 1);
    limit(&store, 100_000);
    store.merge(&many, NOON).unwrap();
    assert_eq!(store.read().unwrap().relations.len(), 5000);
    assert_eq!(store.relations, 5000);
}

#[test]
fn a_file_that_cannot_be_written_is_read_all_the_same() {
    let folder = folder();
    let path = folder.path().join("map");
    let mut store = open(&path);
    store.merge(&delta(&map().relations), NOON).unwrap();
    drop(store);
    assert!(open::is_complete(&path), "a writer leaves one file");
    let connection = open::open_immutable(&path).unwrap();
    assert_eq!(rows::read(&connection).unwrap().relations.len(), 9);
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert_eq!(read(&path).unwrap().relations.len(), 9);
}

#[test]
fn the_longest_not_seen_make_room_and_are_counted() {
    let limits = Limits {
        max_relations: 32,
        forget: None,
    };
    let mut store = Store::in_memory(limits).unwrap();
    for number in 0..40 {
        let mut uses = uses(2);
        uses.last_seen.0 = NOON.0 + i64::from(number) * MINUTE;
        store.merge(&delta(&[(peer(number), uses)]), NOON).unwrap();
        assert!(store.relations <= 32);
    }
    let map = store.read().unwrap();
    assert_eq!(map.relations.len() as u64, store.relations);
    let forgotten = map.forgotten;
    assert_eq!(forgotten.capped_relations + store.relations, 40);
    assert_eq!(forgotten.capped_connections, 2 * forgotten.capped_relations);
    let oldest = map.relations.iter().map(|(relation, _)| relation).min();
    let first_kept = u32::try_from(forgotten.capped_relations).unwrap();
    assert_eq!(oldest, Some(&peer(first_kept)));
}

#[test]
fn a_save_beyond_the_limit_keeps_what_fits() {
    let limits = Limits {
        max_relations: 10,
        forget: None,
    };
    let mut store = Store::in_memory(limits).unwrap();
    let many: Vec<_> = (0..100).map(|number| (peer(number), uses(1))).collect();
    store.merge(&delta(&many), NOON).unwrap();
    assert_eq!(store.relations, 10);
    assert_eq!(store.read().unwrap().forgotten.capped_relations, 90);
}

#[test]
fn old_relations_are_forgotten_and_counted_but_not_twice() {
    let limits = Limits {
        forget: Some(Duration::from_mins(10)),
        ..Limits::default()
    };
    let mut store = Store::in_memory(limits).unwrap();
    store.merge(&delta(&[(peer(1), uses(3))]), NOON).unwrap();
    store
        .merge(&delta(&[(outbound("10.0.0.9:1", "x"), uses(8))]), NOON)
        .unwrap();
    for (minutes, left) in [(5, 2), (13, 2), (14, 1), (18, 1), (30, 0), (40, 0)] {
        let now = WallTime(NOON.0 + minutes * MINUTE);
        store.merge(&Delta::new(1), now).unwrap();
        assert_eq!(store.relations, left, "{minutes}");
    }
    let forgotten = store.read().unwrap().forgotten;
    assert_eq!(
        (forgotten.aged_relations, forgotten.aged_connections),
        (2, 11)
    );
}

#[test]
fn imported_addresses_are_relations_of_their_own() {
    let folder = folder();
    let path = folder.path().join("map");
    let limits = Limits {
        max_relations: 12,
        forget: None,
    };
    let mut store = Store::open(&path, limits).unwrap();
    store.merge(&delta(&map().relations), NOON).unwrap();
    let host = Arc::from("box");
    let addresses =
        |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|ip| ip.parse().unwrap()).collect() };
    // One is there already, one is known by another source.
    let list = addresses(&["192.0.2.1", "9.0.0.1", "::ffff:10.1.1.1"]);
    assert_eq!(store.import(&list, &host, NOON).unwrap(), 2);
    assert_eq!(store.import(&list, &host, NOON).unwrap(), 0, "again");
    let error = store.import(&addresses(&["1.1.1.1", "1.1.1.2"]), &host, NOON);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("room for 1 more of these 2"), "{text}");
    let map = store.read().unwrap();
    assert_eq!(map.relations.len(), 11, "nothing of it was imported");
    let known: Vec<_> = map.relations.iter().map(|(relation, _)| relation).collect();
    assert!(known.contains(&&imported("10.1.1.1")));
}

#[test]
fn texts_that_others_wrote_are_escaped_and_ours_stay() {
    let folder = folder();
    let path = folder.path().join("map");
    let mut store = open(&path);
    let ours = crate::names::escape(b"a\\\x1b\xff\xe2\x80\xae\xcc\x81 \"x\"");
    store
        .merge(
            &delta(&[(inbound("1.1.1.1:1", "2.2.2.2", &ours), uses(1))]),
            NOON,
        )
        .unwrap();
    let map = store.read().unwrap();
    assert_eq!(map.relations[0].0.process.as_deref(), Some(&*ours));
    let sql = "UPDATE relation SET process = '\\' || char(27) || '[2J'";
    store.connection.execute(sql, []).unwrap();
    let map = store.read().unwrap();
    assert_eq!(map.relations[0].0.process.as_deref(), Some(r"\\\x1b[2J"));
    for wrong in [
        "peer = 'web'",
        "direction = 'up'",
        "port = 70000",
        "tx = -1",
        "tx = 'x'",
        "source = ''",
    ] {
        let sql = format!("UPDATE relation SET {wrong}");
        let saved = store.connection.unchecked_transaction().unwrap();
        saved.execute(&sql, []).unwrap();
        let error = store.read_inside(&saved).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn a_hint_of_the_holder_cannot_reach_the_terminal() {
    let folder = folder();
    let path = folder.path().join("map");
    let _first = open(&path);
    std::fs::write(lock::beside(&path, ".lock"), b"\x1b[2Jevil\nx").unwrap();
    let text = Store::open(&path, Limits::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains(r"\x1b[2Jevil;"), "{text}");
}

/// In a process of its own: saves one peer after the other, and says after each that it did.
#[test]
#[ignore = "a part of the next test"]
fn a_writer_that_will_be_killed() {
    let Some(path) = std::env::var_os("CONNTRACER_KILLED_MAP") else {
        return;
    };
    let mut store = open(path.as_ref());
    for number in 0.. {
        let relations: Vec<_> = (0..50)
            .map(|it| (peer(50 * number + it), uses(1)))
            .collect();
        store.merge(&delta(&relations), NOON).unwrap();
        crate::say::say(&format!("saved {}", store.relations));
    }
}

#[test]
fn a_writer_that_is_killed_loses_nothing_that_it_had_saved() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let folder = folder();
    let path = folder.path().join("map");
    let mut known = 0;
    for round in 0..12_u64 {
        let name = "map::store::tests::a_writer_that_will_be_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env("CONNTRACER_KILLED_MAP", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // At any moment, as far as the writer is concerned; the first before the file is complete.
        let mut saves = round * round / 3;
        while saves > 0 {
            let line = lines.next().unwrap().unwrap();
            if let Some(saved) = line.strip_prefix("saved ") {
                known = saved.parse().unwrap();
                saves -= 1;
            }
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(saved) = line.strip_prefix("saved ") {
                known = saved.parse().unwrap();
            }
        }
        if known == 0 {
            continue;
        }
        let kept = read(&path).unwrap().relations.len();
        assert!(kept >= known, "{kept} of {known}");
        assert_eq!(kept % 50, 0, "each save is whole");
    }
    assert!(known > 0);
    // And nobody holds it.
    open(&path);
}
