use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;

/// Between fork and exec a child has every descriptor of this process, those of other tests too;
/// a search at that moment would follow them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A real process that waits for input, until the test ends.
struct Running(Child);

impl Running {
    fn start(program: &str, stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Self {
        let mut command = Command::new(program);
        command.stdin(stdin).stdout(stdout).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Read and write side.
fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

/// Master and slave side.
fn terminal() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let no_controlling_terminal = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags(no_controlling_terminal)
        .open(path)
        .unwrap();
    (master, slave.into())
}

/// Of output to `fd`, without the launcher of the test run, which is whatever it is.
fn carriers_of(fd: &OwnedFd) -> Carriers {
    let mut carriers = Carriers::of(&[fd.as_fd()]);
    carriers.launcher = None;
    carriers.refresh();
    carriers
}

#[test]
fn we_carry_our_own_output() {
    let _alone = alone();
    assert!(Carriers::detect().is_carrier(std::process::id()));
    let file: OwnedFd = tempfile::tempfile().unwrap().into();
    assert_eq!(
        carriers_of(&file).via(std::process::id(), None),
        Some(Via::Itself)
    );
}

#[test]
fn who_reads_our_pipe_carries_it_and_who_writes_to_it_does_not() {
    let _alone = alone();
    let (reader, writer) = pipe();
    let (idle, _kept_open) = pipe();
    let other_writer = Running::start("cat", idle, writer.try_clone().unwrap());
    let cat = Running::start("cat", reader, Stdio::null());
    let mut carriers = carriers_of(&writer);
    assert_eq!(carriers.via(cat.pid(), None), Some(Via::Pipe));
    assert!(
        carriers.is_carrier(cat.pid()),
        "and so does the kept answer say"
    );
    assert!(!carriers.is_carrier(other_writer.pid()));
}

#[test]
fn a_reader_that_comes_later_is_seen() {
    let _alone = alone();
    let (reader, writer) = pipe();
    let mut carriers = carriers_of(&writer);
    let cat = Running::start("cat", reader, Stdio::null());
    assert_eq!(carriers.via(cat.pid(), None), Some(Via::Pipe));
}

#[test]
fn who_reads_our_fifo_carries_it() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    let writer: OwnedFd = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap()
        .into();
    let cat = Running::start("cat", File::open(&path).unwrap(), Stdio::null());
    let mut carriers = carriers_of(&writer);
    assert_eq!(carriers.via(cat.pid(), None), Some(Via::Pipe));
}

#[test]
fn who_holds_the_other_side_of_our_terminal_carries_it() {
    let _alone = alone();
    let (master, slave) = terminal();
    let (other_master, _other_slave) = terminal();
    let holder = Running::start("cat", master, Stdio::null());
    let other = Running::start("cat", other_master, Stdio::null());
    let (idle, _kept_open) = pipe();
    let neighbour = Running::start("cat", idle, slave.try_clone().unwrap());
    let mut carriers = carriers_of(&slave);
    assert_eq!(carriers.via(holder.pid(), None), Some(Via::Terminal));
    assert!(
        !carriers.is_carrier(other.pid()),
        "it holds another terminal"
    );
    assert!(
        !carriers.is_carrier(neighbour.pid()),
        "it writes to the same terminal"
    );
}

#[test]
fn a_terminal_inside_a_terminal_is_followed_to_the_outer_holder() {
    let _alone = alone();
    let (inner_master, inner_slave) = terminal();
    let (outer_master, outer_slave) = terminal();
    let sudo = Running::start("cat", inner_master, outer_slave);
    let sshd = Running::start("cat", outer_master, Stdio::null());
    let mut carriers = carriers_of(&inner_slave);
    assert_eq!(carriers.via(sudo.pid(), None), Some(Via::Terminal));
    assert_eq!(carriers.via(sshd.pid(), None), Some(Via::Terminal));
}

#[test]
fn a_pipeline_is_followed_to_its_end() {
    let _alone = alone();
    let (first_reader, first_writer) = pipe();
    let (second_reader, second_writer) = pipe();
    let (master, slave) = terminal();
    let stages = [
        Running::start("cat", first_reader, second_writer),
        Running::start("cat", second_reader, slave),
        Running::start("cat", master, Stdio::null()),
    ];
    let mut carriers = carriers_of(&first_writer);
    let seen = stages
        .each_ref()
        .map(|stage| carriers.via(stage.pid(), None));
    assert_eq!(
        seen,
        [Some(Via::Pipe), Some(Via::Pipe), Some(Via::Terminal)]
    );
}

#[test]
fn a_later_stage_is_seen_after_a_refresh() {
    let _alone = alone();
    let (first_reader, first_writer) = pipe();
    let (second_reader, second_writer) = pipe();
    let mut carriers = carriers_of(&first_writer);
    let _tee = Running::start("cat", first_reader, second_writer);
    let ssh = Running::start("cat", second_reader, Stdio::null());
    assert!(!carriers.is_carrier(ssh.pid()));
    carriers.refresh();
    assert!(carriers.is_carrier(ssh.pid()));
}

#[test]
fn a_start_time_tells_processes_of_the_same_id_apart() {
    let _alone = alone();
    let (reader, writer) = pipe();
    let cat = Running::start("cat", reader, Stdio::null());
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let start_ns = Stat::read(cat.pid()).unwrap().start * tick + tick - 1;
    let mut carriers = carriers_of(&writer);
    assert_eq!(carriers.via(cat.pid(), Some(start_ns + tick)), None);
    assert_eq!(carriers.via(cat.pid(), Some(start_ns)), Some(Via::Pipe));
    let pid = cat.pid();
    drop(cat);
    assert_eq!(
        carriers.via(pid, Some(start_ns)),
        Some(Via::Pipe),
        "the kept answer"
    );
    assert!(!carriers.is_carrier(pid), "gone");
}

#[test]
fn the_launcher_is_a_carrier_by_identity() {
    let _alone = alone();
    let (idle, _kept_open) = pipe();
    let parent = Running::start("cat", idle, Stdio::null());
    let file: OwnedFd = tempfile::tempfile().unwrap().into();
    let mut carriers = carriers_of(&file);
    assert!(!carriers.is_carrier(parent.pid()));
    let start = Stat::read(parent.pid()).unwrap().start;
    carriers.launcher = Some((parent.pid(), start));
    assert_eq!(carriers.via(parent.pid(), None), Some(Via::Terminal));
}

#[test]
fn kept_answers_are_bounded() {
    let _alone = alone();
    let (_reader, writer) = pipe();
    let mut carriers = carriers_of(&writer);
    for number in 0..=2 * MAX_CACHED as u64 {
        carriers.remember((1, number), None);
        assert!(carriers.cache.len() <= MAX_CACHED);
    }
    assert!(carriers.cache.contains_key(&(1, 2 * MAX_CACHED as u64)));
}
