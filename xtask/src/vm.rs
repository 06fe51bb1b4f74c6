//! `cargo xtask vm`: the tests of the package `tests` on Debian's kernels, in QEMU.

mod apt;
mod arch;
mod console;
mod elf;
mod guest;
mod initramfs;
mod kernel;
mod modules;
// The first process of the VM, which is built for its architecture, has the same file.
#[expect(unreachable_pub, reason = "the file is written for the crate `tests`")]
#[path = "../../tests/src/vm.rs"]
mod plan;
mod qemu;
mod report;
mod target;

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::Instant,
};

use anyhow::{Context as _, Result};

pub(crate) use self::{arch::Arch, target::CROSS_PACKAGES};
use self::{
    guest::{Choice, Guest},
    kernel::{Kernel, Release},
    report::Row,
    target::Target,
};
use crate::cmd;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Debian releases whose kernels to test
    #[arg(value_enum, value_name = "KERNEL", default_values_t = Release::ALL)]
    kernels: Vec<Release>,
    /// Architecture of the VM
    #[arg(long, value_enum, default_value_t = Arch::X86_64)]
    arch: Arch,
    /// Backends for the tracer to use, one run each; the default is the tracer's own choice
    #[arg(long, value_name = "BACKEND", value_delimiter = ',')]
    backend: Vec<String>,
    /// Only tests whose names contain this
    #[arg(long, value_name = "FILTER")]
    test: Option<String>,
    /// Mount tracefs; without, the tracer has to
    #[arg(long)]
    tracefs: bool,
    /// VMs at a time; the default is one for each two processors
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Keep each initramfs, and say how to boot it
    #[arg(long)]
    keep: bool,
}

/// One boot.
struct Job<'a> {
    kernel: &'a Kernel,
    backend: Option<&'a str>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    qemu::check(args.arch)?;
    let cache = cache()?;
    let (kernels, target) = fetch(&cache, args)?;
    let guest = Guest::build(&target)?;
    let backends: Vec<Option<&str>> = match &args.backend[..] {
        [] => vec![None],
        names => names.iter().map(|name| Some(&**name)).collect(),
    };
    let jobs = kernels.iter().flat_map(|kernel| {
        backends.iter().map(move |backend| Job {
            kernel,
            backend: *backend,
        })
    });
    let queue: Mutex<VecDeque<Job>> = Mutex::new(jobs.collect());
    let next = || queue.lock().ok()?.pop_front();
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or_else(default_jobs).max(1) {
            scope.spawn(|| {
                while let Some(job) = next() {
                    let row = boot(&job, &guest, args, &cache);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push(row);
                    }
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap_or_default();
    cmd::say(&report::table(&rows));
    let passed = rows.len() == kernels.len() * backends.len() && rows.iter().all(Row::passed);
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// An emulated VM with two processors keeps two busy.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get() / 2)
}

/// The folder of kernels and logs, outside the tree: it outlives a clone.
fn cache() -> Result<PathBuf> {
    let folder = match std::env::var_os("XDG_CACHE_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir()
            .context("neither XDG_CACHE_HOME nor HOME is set")?
            .join(".cache"),
    };
    let folder = folder.join("conntracer");
    fs::create_dir_all(folder.join("logs"))
        .with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

fn fetch(cache: &Path, args: &Args) -> Result<(Vec<Kernel>, Target)> {
    // One at a time, whatever else runs: apt locks its lists, and fails if it cannot.
    let lock = cache.join("lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock().context("cannot lock the cache")?;
    let fetch = |release: &Release| Kernel::fetch(cache, *release, args.arch);
    let kernels = args.kernels.iter().map(fetch).collect::<Result<_>>()?;
    Ok((kernels, Target::new(cache, args.arch)?))
}

fn boot(job: &Job<'_>, guest: &Guest, args: &Args, cache: &Path) -> Row {
    let kernel = job.kernel;
    let mut words = vec![kernel.release.name(), args.arch.name()];
    words.extend(job.backend);
    let name = words.join("-");
    let begin = Instant::now();
    let log = cache.join("logs").join(format!("{name}.log"));
    let choice = Choice {
        backend: job.backend,
        filter: args.test.as_deref(),
        tracefs: args.tracefs,
    };
    let attempt = || -> Result<console::Console> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let initramfs = if args.keep {
            cache.join(format!("{name}.initramfs"))
        } else {
            folder.path().join("initramfs")
        };
        guest.write(kernel, choice, &initramfs)?;
        let qemu = || qemu::command(kernel, args.arch, &initramfs);
        if args.keep {
            cmd::say(&format!("{name}: {}", cmd::shell(&qemu())));
        }
        let news = |text: &str| cmd::say(&format!("{name}: {text}"));
        let console = qemu::boot(qemu(), &log, news)?;
        // QEMU's own fault, met on Linux 7 with some processors: not on any real machine.
        if console
            .panic()
            .is_some_and(|text| text.contains("double fault"))
        {
            news("booting again after a double fault");
            return qemu::boot(qemu(), &log, news);
        }
        Ok(console)
    };
    let result = attempt();
    Row {
        name,
        version: kernel.version.clone(),
        time: begin.elapsed(),
        log,
        result,
    }
}
