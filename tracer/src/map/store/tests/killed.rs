//! SIGKILL at any moment.

use super::*;

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
        let name = "map::store::tests::killed::a_writer_that_will_be_killed";
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
