//! `cargo xtask vm`: the tests of the package `tests` on Debian's kernels, in QEMU.

pub(crate) mod apt;
mod arch;
pub(crate) mod console;
pub(crate) mod elf;
pub(crate) mod guest;
mod initramfs;
pub(crate) mod kernel;
pub(crate) mod matrix;
mod modules;
// The first process of the VM, which is built for its architecture, has the same file.
#[expect(unreachable_pub, reason = "the file is written for the crate `tests`")]
#[path = "../../tests/src/vm.rs"]
pub(crate) mod plan;
pub(crate) mod qemu;
pub(crate) mod readme;
mod report;
mod target;

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

pub(crate) use self::{
    arch::Arch,
    target::{CROSS_PACKAGES, Target, complete},
};
use self::{
    guest::{Choice, Guest},
    kernel::{Kernel, Release},
    matrix::Cell,
    report::Row,
};
use crate::{cmd, workspace};

/// No suite takes as long.
const LIMIT: Duration = Duration::from_mins(45);

#[derive(clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Args {
    /// Debian releases whose kernels to test; the default is all
    #[arg(value_enum, value_name = "KERNEL")]
    kernels: Vec<Release>,
    /// Architecture of the VM
    #[arg(long, value_enum, default_value_t = Arch::X86_64)]
    arch: Arch,
    /// Backends for the tracer to use, one run each; the default is the tracer's own choice, and
    /// of the matrix all
    #[arg(long, value_name = "BACKEND", value_delimiter = ',')]
    backend: Vec<String>,
    /// Only tests whose names contain this
    #[arg(long, value_name = "FILTER")]
    test: Option<String>,
    /// Only the tests that prove what the README's table of kernels says, which is compared
    #[arg(long, conflicts_with = "test")]
    matrix: bool,
    /// Write the README's table instead
    #[arg(long, requires = "matrix", conflicts_with_all = ["kernels", "backend"])]
    write_readme: bool,
    /// Mount tracefs; without, the tracer has to
    #[arg(long)]
    tracefs: bool,
    /// VMs at a time; the default is one for each two processors, but two on two
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

impl Args {
    fn kernels(&self) -> &[Release] {
        match &self.kernels[..] {
            [] if self.matrix => matrix::releases(self.arch),
            [] => &Release::ALL,
            chosen => chosen,
        }
    }

    fn backends(&self) -> Vec<Option<&str>> {
        match &self.backend[..] {
            [] if self.matrix => matrix::BACKENDS.map(Some).into(),
            [] => vec![None],
            names => names.iter().map(|name| Some(&**name)).collect(),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    qemu::check(args.arch)?;
    let cache = cache()?;
    let (kernels, target) = fetch(&cache, args)?;
    let guest = Guest::build(&target)?;
    let backends = args.backends();
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
    let whole = rows.len() == kernels.len() * backends.len();
    let passed = whole && rows.iter().all(Row::passed);
    let told = !args.matrix || conclude(&rows, args, &cache)?;
    Ok(if passed && told {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Compares what the matrix found with the README, or writes it there. Returns whether the README
/// is right.
fn conclude(rows: &[Row], args: &Args, cache: &Path) -> Result<bool> {
    let mut cells: Vec<&Cell> = rows.iter().filter_map(|row| row.cell.as_ref()).collect();
    let backend = |cell: &Cell| {
        matrix::BACKENDS
            .iter()
            .position(|name| *name == cell.backend)
    };
    cells.sort_by_key(|cell| (cell.release, backend(cell)));
    let results = cache
        .join("logs")
        .join(format!("matrix-{}.json", args.arch.name()));
    matrix::write(&cells, &results)?;
    cmd::say(&format!("\nresults in {}", results.display()));
    let path = workspace::root()?.join("README.md");
    let readme = fs::read_to_string(&path).context("cannot read README.md")?;
    if cells.len() < rows.len() || cells.iter().any(|cell| cell.is_unknown()) {
        cmd::say("README.md is not looked at: not all tests ran to their end");
        return Ok(false);
    }
    let whole = args.kernels.is_empty() && args.backend.is_empty();
    let table = readme::table(&cells);
    if args.write_readme {
        let text = readme::with_table(&readme, args.arch, &table)?;
        fs::write(&path, text).context("cannot write README.md")?;
        cmd::say("README.md is written");
        return Ok(true);
    }
    let wrong = if whole {
        !readme::has(&readme, args.arch, &table)?
    } else {
        !readme::missing(&readme, args.arch, &cells)?.is_empty()
    };
    if wrong {
        cmd::say(&format!(
            "README.md does not say what this run found (`cargo xtask vm --matrix --write-readme` \
             writes it):\n\n{table}"
        ));
    }
    Ok(!wrong)
}

/// An emulated VM with two processors can keep two busy, but often its tests wait: a machine with
/// two processors has time for two VMs.
fn default_jobs() -> usize {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (count / 2).max(count.min(2))
}

/// The folder of kernels and logs, outside the tree: it outlives a clone.
pub(crate) fn cache() -> Result<PathBuf> {
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

/// One at a time, whatever else runs: apt locks its lists, and fails if it cannot.
pub(crate) fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    lock.lock().context("cannot lock the cache")?;
    Ok(lock)
}

fn fetch(cache: &Path, args: &Args) -> Result<(Vec<Kernel>, Target)> {
    let _lock = lock(cache)?;
    let fetch = |release: &Release| Kernel::fetch(cache, *release, args.arch);
    let kernels = args.kernels().iter().map(fetch).collect::<Result<_>>()?;
    Ok((kernels, Target::new(cache, args.arch)?))
}

fn boot(job: &Job<'_>, guest: &Guest, args: &Args, cache: &Path) -> Row {
    let kernel = job.kernel;
    let mut words = vec![kernel.release.name(), args.arch.name()];
    words.extend(job.backend);
    let name = words.join("-");
    let begin = Instant::now();
    let log = cache.join("logs").join(format!("{name}.log"));
    let proofs = args.matrix.then(matrix::filter);
    let choice = Choice {
        backend: job.backend,
        filter: proofs.as_deref().or(args.test.as_deref()),
        introduced: args.matrix,
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
        let limit = if args.matrix { matrix::LIMIT } else { LIMIT };
        let boot = || qemu::boot(qemu(), &log, limit, news);
        let console = boot()?;
        if console.blames_emulator() {
            news("booting again: the emulator made a mistake");
            return boot();
        }
        Ok(console)
    };
    let result = attempt();
    let cell = match (&result, job.backend) {
        (Ok(console), Some(backend)) if args.matrix => {
            let version = &kernel.version;
            Some(Cell::new(
                args.arch,
                kernel.release,
                version,
                backend,
                console,
            ))
        }
        _ => None,
    };
    Row {
        name,
        version: kernel.version.clone(),
        time: begin.elapsed(),
        log,
        result,
        cell,
    }
}
