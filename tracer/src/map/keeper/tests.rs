use std::path::Path;

use super::*;
use crate::map::options::{Format, Limits, Report, Shape, View};
use crate::map::store;
use crate::record::EventKind;
use crate::sink::samples;

fn options(state: &Path, report: Option<&Path>) -> Live {
    Live {
        state: Some(state.to_owned()),
        save_every: Duration::from_secs(30),
        limits: Limits::default(),
        report: report.map(|path| Report {
            path: path.to_owned(),
            append: false,
            every: Duration::from_secs(30),
            shape: Shape {
                format: Format::List,
                view: View::OneToMany,
            },
            loopback: false,
        }),
    }
}

#[tokio::test]
async fn the_end_saves_and_shows_what_came_last() {
    let folder = tempfile::tempdir().unwrap();
    let (state, report) = (folder.path().join("map"), folder.path().join("report"));
    let mut stop = Stop::listen(true).unwrap();
    let options = options(&state, Some(&report));
    let mut keeper = Keeper::start(&options, &PeerOptions::default())
        .unwrap()
        .unwrap();
    assert_eq!(std::fs::read_to_string(&report).unwrap(), "");
    keeper.add(&samples::inbound(EventKind::Accept));
    keeper.tick();
    assert_eq!(keeper.outstanding, 0, "nothing is due");
    let errors = keeper.finish(7, &mut stop).await;
    assert!(errors.is_empty(), "{errors:?}");
    let map = store::read(&state).unwrap();
    assert_eq!(map.relations.len(), 1);
    assert_eq!(map.forgotten.untraced_connections, 7);
    assert_eq!(std::fs::read_to_string(&report).unwrap(), "10.0.0.9\n");
}

#[tokio::test]
async fn a_save_is_made_when_it_is_due_and_not_before_the_last_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("map");
    let mut keeper = Keeper::start(&options(&state, None), &PeerOptions::default())
        .unwrap()
        .unwrap();
    keeper.add(&samples::inbound(EventKind::Accept));
    keeper.next_save = Instant::now();
    keeper.tick();
    assert_eq!(keeper.outstanding, 1);
    keeper.next_save = Instant::now();
    let done = keeper.done.recv().await.unwrap();
    assert!(done.save.is_none(), "{done:?}");
    keeper.outstanding -= 1;
    assert_eq!(store::read(&state).unwrap().relations.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_saved_is_kept_and_saved_later() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("map");
    let mut worker = Worker {
        saver: Saver::open(&state, Limits::default()).unwrap(),
        report: None,
        pending: Delta::new(MOST),
        report_failing: false,
    };
    let mut accumulator = Accumulator::new(Source::Traced, MOST);
    let mut job = |event| {
        let mut record = samples::inbound(event);
        record.bytes = Some(crate::record::Bytes {
            tx: 5,
            ..Default::default()
        });
        accumulator.add(&record);
        Job {
            delta: accumulator.delta.take(),
            now: WallTime(0),
            save: true,
            report: false,
        }
    };
    worker.saver.store.break_it(true);
    for event in [EventKind::Accept, EventKind::Traffic] {
        let done = worker.work(job(event));
        assert!(done.save.unwrap().starts_with("--state: "));
    }
    worker.saver.store.break_it(false);
    let done = worker.work(job(EventKind::Close));
    assert!(done.save.is_none(), "{done:?}");
    let map = worker.saver.store.read().unwrap();
    let (_, uses) = &map.relations[0];
    assert_eq!((uses.connections, uses.tx), (1, 5));
}

#[tokio::test]
async fn a_bad_place_is_known_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("map");
    let nowhere = folder.path().join("no/report");
    for (state, report, option) in [
        (&nowhere, None, "--state: "),
        (&state, Some(&*nowhere), "--report: "),
    ] {
        let error = Keeper::start(&options(state, report), &PeerOptions::default()).unwrap_err();
        assert!(error.to_string().starts_with(option), "{error}");
    }
}
