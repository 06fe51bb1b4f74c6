//! A command that says how it was started, and ends as it is told.

use std::collections::BTreeMap;

use anyhow::Context as _;
use rustix::process::{Signal, getgid, getgroups, getpid, getuid, kill_process};
use serde::{Deserialize, Serialize};

use crate::truth::Line;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ActArgs {
    /// Say how it was started: a [`Start`] in JSON.
    #[arg(long)]
    tell: bool,
    /// Say the number of each of these signals that comes, after a ready line; SIGTERM is the last.
    #[arg(long)]
    listen: bool,
    /// The signal to die of.
    #[arg(long)]
    die: Option<i32>,
    /// The exit code.
    #[arg(long, default_value_t = 0)]
    exit: i32,
}

/// How a process was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Its process id.
    pub pid: u32,
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
    /// Variables that say who the user is.
    pub environment: BTreeMap<String, String>,
    /// Open descriptors.
    pub descriptors: Vec<i32>,
    /// Lines of `/proc/self/status` on ids, signals and capabilities.
    pub status: BTreeMap<String, String>,
}

/// What it listens for.
const LISTENED: [i32; 8] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
];

pub(super) fn run(args: &ActArgs) -> anyhow::Result<()> {
    if args.tell {
        say(&start()?)?;
    }
    if args.listen {
        listen()?;
    }
    if let Some(signal) = args.die {
        let signal = Signal::from_named_raw(signal).context("no signal")?;
        kill_process(getpid(), signal)?;
    }
    std::process::exit(args.exit)
}

fn say(value: &impl Serialize) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(std::io::stdout().lock().write_all(&text)?)
}

fn start() -> anyhow::Result<Start> {
    let variable = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
    let folder = std::fs::read_dir("/proc/self/fd")?;
    let numbers = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // The one that reads the folder is gone.
    let is_open = |fd: &i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
    let mut descriptors: Vec<i32> = numbers.collect();
    descriptors.retain(is_open);
    descriptors.sort_unstable();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let fields = status.lines().filter_map(|line| line.split_once(":\t"));
    let told = ["Cap", "Sig", "Uid", "Gid", "NoNewPrivs"];
    Ok(Start {
        pid: std::process::id(),
        uid: getuid().as_raw(),
        gid: getgid().as_raw(),
        groups: getgroups()?
            .into_iter()
            .map(rustix::fs::Gid::as_raw)
            .collect(),
        environment: ["HOME", "USER", "LOGNAME"]
            .into_iter()
            .filter_map(variable)
            .collect(),
        descriptors,
        status: fields
            .filter(|(name, _)| told.iter().any(|start| name.starts_with(start)))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    })
}

fn listen() -> anyhow::Result<()> {
    // SAFETY: all zeroes is a valid set, and the calls fill it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in LISTENED {
        // SAFETY: the set is live, the number that of a signal.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: likewise; the old set is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    say(&Line::Ready {})?;
    loop {
        let mut signal = 0;
        // SAFETY: both are live.
        let error = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
        anyhow::ensure!(error == 0, "sigwait: {error}");
        say(&signal)?;
        if signal == libc::SIGTERM {
            return Ok(());
        }
    }
}
