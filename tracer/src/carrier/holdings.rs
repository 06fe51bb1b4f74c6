//! Which terminals and pipes a process holds open, and which end of them.

use std::collections::HashSet;

use crate::fdinfo::FdInfo;

/// Descriptors of one process that are looked at, lowest first. What carries a terminal or reads
/// a pipe has it early; a server with a million connections must not stall the tracer.
const MAX_FDS: usize = 1024;

/// Something that output goes through.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    /// A pseudo-terminal: `N` of `/dev/pts/N`.
    Terminal(u32),
    /// A pipe or FIFO, by what `/proc/PID/fd/N` points to: `pipe:[INODE]`, or a path.
    Pipe(String),
}

/// How a process gets what is written to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// It writes it.
    Itself,
    /// It holds the other side of a terminal.
    Terminal,
    /// It can read a pipe.
    Pipe,
}

/// The open descriptors of a process that may be terminals or pipes.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pid: u32,
    links: Vec<(u32, String)>,
}

impl Holdings {
    /// Of process `pid`, with those that are one of `known` whatever their name. Nothing if the
    /// process is gone or another user's.
    pub(super) fn read(pid: u32, known: &HashSet<Channel>) -> Self {
        let folder = std::fs::read_dir(format!("/proc/{pid}/fd"));
        let links = folder
            .into_iter()
            .flatten()
            .take(MAX_FDS)
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let link = std::fs::read_link(entry.path())
                    .ok()?
                    .into_os_string()
                    .into_string()
                    .ok()?;
                let fd = entry.file_name().to_str()?.parse().ok()?;
                let wanted = link.starts_with("pipe:[")
                    || terminal_of(&link).is_some()
                    || is_multiplexer(&link)
                    || known.contains(&Channel::Pipe(link.clone()));
                wanted.then_some((fd, link))
            });
        Self {
            pid,
            links: links.collect(),
        }
    }

    /// Whether the process gets what is written to one of `channels`.
    pub(super) fn receives(&self, channels: &HashSet<Channel>) -> Option<Via> {
        self.links.iter().find_map(|(fd, link)| {
            if is_multiplexer(link) {
                let terminal = Channel::Terminal(self.info(*fd)?.tty_index?);
                return channels.contains(&terminal).then_some(Via::Terminal);
            }
            let reads = || self.info(*fd).is_some_and(|info| info.reads());
            (channels.contains(&Channel::Pipe(link.clone())) && reads()).then_some(Via::Pipe)
        })
    }

    /// Where the process may pass it on to: terminals that it uses, and pipes that are its
    /// standard output or error.
    pub(super) fn passes_on(&self) -> impl Iterator<Item = Channel> {
        self.links
            .iter()
            .filter_map(|(fd, link)| match terminal_of(link) {
                Some(terminal) => Some(Channel::Terminal(terminal)),
                None => ((1..=2).contains(fd) && link.starts_with("pipe:["))
                    .then(|| Channel::Pipe(link.clone())),
            })
    }

    fn info(&self, fd: u32) -> Option<FdInfo> {
        let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", self.pid)).ok()?;
        FdInfo::parse(&text)
    }
}

/// The number of a terminal's slave side.
fn terminal_of(link: &str) -> Option<u32> {
    link.strip_prefix("/dev/pts/")?.parse().ok()
}

/// Whether it is a master side: `/dev/ptmx`, `/dev/pts/ptmx`, or one of these in a container.
fn is_multiplexer(link: &str) -> bool {
    link.ends_with("/ptmx")
}
