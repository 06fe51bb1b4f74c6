//! What is no map, or a damaged one.

use std::os::unix::fs::symlink;

use super::*;

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
