//! The fake targets here obey the test through channels, so no test depends on timing: a patience
//! of zero means "must not wait", [`FOREVER`] means "must not need to".

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use super::*;

const FOREVER: Duration = Duration::from_mins(1);

/// Takes one order per call: how many bytes to accept, or an error. Reports what it accepted.
struct Puppet {
    called: Sender<()>,
    orders: Receiver<io::Result<usize>>,
    accepted: Arc<Mutex<Vec<u8>>>,
}

struct Strings {
    called: Receiver<()>,
    orders: Sender<io::Result<usize>>,
    accepted: Arc<Mutex<Vec<u8>>>,
}

impl Write for Puppet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.called.send(());
        let order = self.orders.recv().unwrap_or(Ok(usize::MAX))?;
        let taken = &bytes[..order.min(bytes.len())];
        self.accepted.lock().unwrap().extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Strings {
    fn wait_for_a_call(&self) {
        self.called.recv_timeout(FOREVER).unwrap();
    }

    fn order(&self, order: io::Result<usize>) {
        self.orders.send(order).unwrap();
    }

    fn accepted(&self) -> Vec<u8> {
        self.accepted.lock().unwrap().clone()
    }
}

fn puppet() -> (Puppet, Strings) {
    let (called, heard) = channel();
    let (orders, obeyed) = channel();
    let accepted = Arc::<Mutex<Vec<u8>>>::default();
    (
        Puppet {
            called,
            orders: obeyed,
            accepted: Arc::clone(&accepted),
        },
        Strings {
            called: heard,
            orders,
            accepted,
        },
    )
}

fn wait_for_the_end(output: &Output) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(FOREVER, output.ended()).await.unwrap() });
}

#[test]
fn everything_is_written_in_order_before_finish_returns() {
    let (target, strings) = puppet();
    let Strings {
        orders, accepted, ..
    } = strings;
    drop(orders);
    let output = Output::start(target, 1 << 20);
    let mut expected = String::new();
    for number in 0..1000 {
        let line = format!("{number}\n");
        expected.push_str(&line);
        output.push(line.into(), 1);
    }
    assert!(matches!(output.finish(FOREVER), Finished::Flushed));
    assert_eq!(accepted.lock().unwrap().as_slice(), expected.as_bytes());
}

#[test]
fn a_stalled_consumer_costs_only_what_does_not_fit() {
    let (target, strings) = puppet();
    let output = Output::start(target, 10);
    output.push(Bytes::from_static(b"aaaa"), 2);
    strings.wait_for_a_call();
    // "aaaa" is in the writer's hands and still counts against the capacity.
    output.push(Bytes::from_static(b"bbbb"), 3);
    output.push(Bytes::from_static(b"ccc"), 100);
    output.push(Bytes::from_static(b"dd"), 1);
    output.push(Bytes::from_static(b"e"), 1000);
    assert_eq!(output.dropped(), 1100);
    assert!(matches!(output.state(), State::Running));
    assert!(matches!(
        output.finish(Duration::ZERO),
        Finished::Stalled { records: 6 }
    ));
    assert_eq!(strings.accepted(), b"");
}

#[test]
fn room_comes_back_when_the_consumer_wakes_up() {
    let (target, strings) = puppet();
    let output = Output::start(target, 4);
    output.push(Bytes::from_static(b"aaaa"), 1);
    strings.wait_for_a_call();
    output.push(Bytes::from_static(b"b"), 1);
    assert_eq!(output.dropped(), 1);
    strings.order(Ok(1));
    strings.wait_for_a_call();
    strings.order(Ok(3));
    // The chunk counts as written only after its last byte: wait for the next one to get through.
    while output.shared.lock().bytes > 0 {
        std::thread::yield_now();
    }
    output.push(Bytes::from_static(b"cc"), 1);
    strings.order(Ok(2));
    assert!(matches!(output.finish(FOREVER), Finished::Flushed));
    assert_eq!(strings.accepted(), b"aaaacc");
}

#[test]
fn who_waits_for_room_gets_it_when_a_chunk_is_taken() {
    let (target, strings) = puppet();
    let output = Output::start(target, 4);
    output.push(Bytes::from_static(b"aaaa"), 1);
    strings.wait_for_a_call();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let none = tokio::time::timeout(Duration::ZERO, output.room(1)).await;
        assert!(none.is_err(), "the consumer has taken nothing yet");
        let (room, ()) = tokio::join!(tokio::time::timeout(FOREVER, output.room(4)), async {
            strings.order(Ok(4));
        });
        room.unwrap();
    });
    output.push(Bytes::from_static(b"bbbb"), 1);
    assert_eq!(output.dropped(), 0);
}

#[test]
fn nobody_waits_for_room_in_an_output_that_ended() {
    let (target, strings) = puppet();
    let output = Output::start(target, 4);
    output.push(Bytes::from_static(b"aaaa"), 1);
    strings.wait_for_a_call();
    strings.order(Err(ErrorKind::BrokenPipe.into()));
    wait_for_the_end(&output);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(FOREVER, output.room(4)).await })
        .unwrap();
}

#[test]
fn a_reader_that_left_ends_the_output_and_the_rest_is_counted() {
    let (target, strings) = puppet();
    let output = Output::start(target, 100);
    output.push(Bytes::from_static(b"aaaa"), 2);
    output.push(Bytes::from_static(b"bbbb"), 3);
    strings.order(Ok(4));
    strings.order(Err(ErrorKind::BrokenPipe.into()));
    wait_for_the_end(&output);
    assert!(matches!(output.state(), State::Closed));
    while !output.shared.lock().done {
        std::thread::yield_now();
    }
    output.push(Bytes::from_static(b"cc"), 7);
    assert_eq!(output.dropped(), 7);
    assert!(matches!(
        output.finish(Duration::ZERO),
        Finished::Closed { records: 3 }
    ));
}

#[test]
fn a_full_disk_is_a_failure_with_its_error() {
    let (target, strings) = puppet();
    let output = Output::start(target, 100);
    strings.order(Ok(1));
    strings.order(Err(ErrorKind::StorageFull.into()));
    output.push(Bytes::from_static(b"aaaa"), 2);
    wait_for_the_end(&output);
    assert!(matches!(output.state(), State::Failed(_)));
    match output.finish(FOREVER) {
        Finished::Failed { error, records: 2 } => assert_eq!(error.kind(), ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interrupted_or_briefly_full_target_is_tried_again() {
    let (target, strings) = puppet();
    let output = Output::start(target, 100);
    output.push(Bytes::from_static(b"aaaa"), 1);
    strings.order(Err(ErrorKind::Interrupted.into()));
    strings.order(Ok(2));
    strings.order(Err(ErrorKind::WouldBlock.into()));
    strings.order(Ok(2));
    assert!(matches!(output.finish(FOREVER), Finished::Flushed));
    assert_eq!(strings.accepted(), b"aaaa");
}

#[test]
fn a_target_that_takes_nothing_is_a_failure_not_a_loop() {
    let (target, strings) = puppet();
    let output = Output::start(target, 100);
    output.push(Bytes::from_static(b"aaaa"), 1);
    strings.order(Ok(0));
    assert!(matches!(
        output.finish(FOREVER),
        Finished::Failed { records: 1, .. }
    ));
}

#[test]
fn the_target_is_let_go_before_finish_returns() {
    let (target, strings) = puppet();
    let output = Output::start(target, 100);
    assert!(matches!(output.finish(FOREVER), Finished::Flushed));
    assert!(
        strings.orders.send(Ok(1)).is_err(),
        "the target still lives"
    );
}

#[test]
fn an_output_that_is_dropped_still_writes_what_it_accepted() {
    let (target, strings) = puppet();
    let output = Output::start(target, 100);
    output.push(Bytes::from_static(b"aaaa"), 1);
    drop(output);
    strings.wait_for_a_call();
    strings.order(Ok(4));
    // The channel closes when the thread has dropped the target.
    assert_eq!(
        strings.called.recv_timeout(FOREVER),
        Err(RecvTimeoutError::Disconnected)
    );
    assert_eq!(strings.accepted(), b"aaaa");
}

#[test]
fn a_real_pipe_without_reader_is_closed_and_a_full_device_fails() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Output::start(writer, 100);
    output.push(Bytes::from_static(b"aaaa"), 1);
    assert!(matches!(
        output.finish(FOREVER),
        Finished::Closed { records: 1 }
    ));

    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Output::start(full, 100);
    output.push(Bytes::from_static(b"aaaa"), 1);
    match output.finish(FOREVER) {
        Finished::Failed { error, records: 1 } => assert_eq!(error.kind(), ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
}
