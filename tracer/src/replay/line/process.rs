//! The owner in a line, and who that is. Pure.

use std::num::NonZeroU32;
use std::sync::Arc;

use compact_str::CompactString;

use super::{LineError, ProcessNameLine, Text, name, time};
use crate::names::tidy;
use crate::process::MAX_COMMAND;
use crate::record::{Container, Process, ProcessDetails};

/// Bytes of a path, or of all arguments, at most: `PATH_MAX` of the kernel's, or what is kept of a
/// command line, if each needs an escape of four.
const MAX_LONG: usize = 4 * MAX_COMMAND;

/// The runtimes of the schema.
const RUNTIMES: [&str; 4] = ["docker", "podman", "containerd", "cri-o"];

#[derive(serde::Deserialize)]
pub(super) struct ProcessLine<'a> {
    pid: NonZeroU32,
    tid: NonZeroU32,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    thread: Text<'a>,
    uid: u32,
    start_ns: u64,
    #[serde(borrow, default)]
    exe: Option<Text<'a>>,
    #[serde(borrow, default)]
    command: Vec<Text<'a>>,
    #[serde(default)]
    command_cut: bool,
    #[serde(borrow, default)]
    user: Option<Text<'a>>,
    #[serde(borrow, default)]
    parent: Option<ProcessNameLine<'a>>,
    #[serde(borrow, default)]
    started: Option<Text<'a>>,
    #[serde(borrow, default)]
    unit: Option<Text<'a>>,
    #[serde(borrow, default)]
    container: Option<ContainerLine<'a>>,
    #[serde(borrow, default)]
    pod_uid: Option<Text<'a>>,
    #[serde(default)]
    ns_pid: Option<NonZeroU32>,
}

#[derive(serde::Deserialize)]
struct ContainerLine<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    runtime: Option<Text<'a>>,
}

impl ProcessLine<'_> {
    pub(super) fn process(self) -> Result<Process, LineError> {
        let started = |text: Text<'_>| {
            time(&text.0).ok_or(LineError::Impossible(
                "a start of a process that is no time",
            ))
        };
        let long = |text: Text<'_>| path(&text.0);
        let short = |text: Text<'_>| name(&text.0);
        let details = ProcessDetails {
            exe: self.exe.map(long).transpose()?,
            command: command(&self.command)?,
            command_cut: self.command_cut,
            user: self.user.map(short).transpose()?,
            parent: self.parent.map(ProcessNameLine::name).transpose()?,
            started: self.started.map(started).transpose()?,
            unit: self.unit.map(long).transpose()?,
            container: self.container.map(ContainerLine::container).transpose()?,
            pod_uid: self.pod_uid.map(short).transpose()?,
            ns_pid: self.ns_pid.map(NonZeroU32::get),
        };
        let has_details = details != ProcessDetails::default();
        Ok(Process {
            pid: self.pid.get(),
            tid: self.tid.get(),
            name: name(&self.name.0)?,
            thread: name(&self.thread.0)?,
            uid: self.uid,
            start_ns: self.start_ns,
            details: has_details.then(|| Arc::new(details)),
        })
    }
}

impl ContainerLine<'_> {
    fn container(self) -> Result<Container, LineError> {
        let runtime = self
            .runtime
            .and_then(|runtime| RUNTIMES.into_iter().find(|known| *known == runtime.0));
        Ok(Container {
            id: name(&self.id.0)?,
            runtime,
        })
    }
}

/// A path.
pub(super) fn path(text: &str) -> Result<CompactString, LineError> {
    let path = (text.len() <= MAX_LONG).then(|| tidy(text));
    path.filter(|path| path.len() <= MAX_LONG)
        .ok_or(LineError::Impossible("a path longer than any can be"))
}

fn command(arguments: &[Text<'_>]) -> Result<Vec<CompactString>, LineError> {
    let too_long = LineError::Impossible("a command line longer than any record has");
    let all: usize = arguments.iter().map(|argument| argument.0.len()).sum();
    if all > MAX_LONG || arguments.len() > MAX_COMMAND {
        return Err(too_long);
    }
    let arguments = arguments.iter().map(|argument| tidy(&argument.0));
    let arguments: Vec<_> = arguments.collect();
    let all: usize = arguments.iter().map(CompactString::len).sum();
    if all > 4 * MAX_LONG {
        return Err(too_long);
    }
    Ok(arguments)
}
