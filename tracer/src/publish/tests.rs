//! The fake consumer takes a chunk when the test says so. Where patience must end, time stands
//! still and is moved on by waiting, so no test depends on how fast it runs.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::sink::json::Json;

struct Consumer(Receiver<()>);

impl Write for Consumer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without the other end it takes everything.
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream whose queue holds four bytes.
fn stream() -> (Stream, Sender<()>) {
    let (take, taken) = channel();
    let output = Output::start(Consumer(taken), 4);
    (Stream::new(Box::new(Json), output), take)
}

fn chunk() -> Bytes {
    Bytes::from_static(b"abcd")
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_waits_and_is_not_dropped() {
    let (mut stream, take) = stream();
    stream.offer(chunk(), 1);
    assert!(stream.backlog.is_empty());
    stream.offer(chunk(), 1);
    stream.offer(chunk(), 1);
    assert_eq!((stream.backlog.len(), stream.output.dropped()), (2, 0));
    take.send(()).unwrap();
    stream.output.room(4).await;
    stream.hand_over(true);
    assert_eq!((stream.backlog.len(), stream.output.dropped()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_then_nobody_waits_until_the_consumer_has_caught_up() {
    let (mut stream, take) = stream();
    stream.offer(chunk(), 1);
    stream.offer(chunk(), 10);
    assert!(!stream.room().await, "nothing was taken");
    stream.hand_over(false);
    assert_eq!((stream.backlog.len(), stream.output.dropped()), (0, 10));
    stream.offer(chunk(), 100);
    assert_eq!(
        (stream.backlog.len(), stream.output.dropped()),
        (0, 110),
        "a stalled consumer is not waited for again"
    );
    take.send(()).unwrap();
    stream.output.room(4).await;
    stream.offer(chunk(), 1);
    stream.offer(chunk(), 1);
    assert_eq!(
        (stream.backlog.len(), stream.output.dropped()),
        (1, 110),
        "one that has caught up is"
    );
}

#[tokio::test(start_paused = true)]
async fn patience_is_one_budget_however_many_chunks_wait() {
    let (mut stream, take) = stream();
    for _ in 0..50 {
        stream.offer(chunk(), 1);
    }
    // Half of the patience goes by with every chunk that is taken.
    tokio::spawn(async move {
        while take.send(()).is_ok() {
            tokio::time::sleep(PATIENCE / 2).await;
        }
    });
    let since = Instant::now();
    while !stream.backlog.is_empty() {
        let room = stream.room().await;
        stream.hand_over(room);
    }
    assert!(since.elapsed() <= PATIENCE * 2);
    assert!(stream.output.dropped() > 40);
}

#[tokio::test]
async fn the_end_writes_what_waits() {
    let (mut stream, take) = stream();
    for _ in 0..3 {
        stream.offer(chunk(), 1);
    }
    drop(take);
    let mut stop = Stop::listen(true).unwrap();
    let end = stream.finish(&mut stop).await;
    assert_eq!(end.dropped, 0);
    assert!(matches!(end.finished, Some(Finished::Flushed)));
}

#[tokio::test(start_paused = true)]
async fn the_end_counts_what_a_dead_consumer_did_not_take() {
    let (mut stream, _take) = stream();
    for _ in 0..3 {
        stream.offer(chunk(), 5);
    }
    let mut stop = Stop::listen(true).unwrap();
    let end = stream.finish(&mut stop).await;
    assert_eq!(end.dropped, 15);
    assert!(matches!(end.finished, Some(Finished::Stalled { .. })));
}
