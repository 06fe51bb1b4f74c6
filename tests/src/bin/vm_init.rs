//! The first process of a test VM: runs the test binaries of the plan and powers off.
//!
//! `cargo xtask vm` reads the console.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, WaitOptions, setrlimit, wait};
use rustix::system::{RebootCommand, finit_module, reboot, sethostname};
use tests::vm::{PLAN, Plan, Said};

fn main() {
    // To a machine that people work on this would be harmful.
    if std::process::id() != 1 {
        say(&"this is the first process of a test VM; run `cargo xtask vm`");
        std::process::exit(2);
    }
    if let Err(error) = run() {
        say(&Said::Error(format!("{error:#}")));
    }
    rustix::fs::sync();
    let error = reboot(RebootCommand::PowerOff);
    // The kernel panics when we end, and the host sees it.
    say(&format_args!("powering off: {error:?}"));
}

fn run() -> Result<()> {
    mount_all()?;
    let plan = fs::read(PLAN).with_context(|| format!("cannot read {PLAN}"))?;
    let plan: Plan = serde_json::from_slice(&plan).context("the plan is not understood")?;
    if plan.tracefs {
        mount_at("tracefs", "/sys/kernel/tracing", "")?;
    }
    for module in &plan.modules {
        load(module).with_context(|| format!("cannot load the module {module}"))?;
    }
    limits()?;
    sethostname(b"vm").context("cannot set the host name")?;
    if let Some(arguments) = &plan.tracer {
        let (well, lines) = tracer(arguments, &plan)?;
        say(&Said::Tracer { well, lines });
        if !well {
            say(&Said::Done);
            return Ok(());
        }
    }
    for (name, path) in &plan.tests {
        say(&Said::Begin(name.clone()));
        let failure = test(path, &plan).with_context(|| format!("cannot run {path}"))?;
        say(&Said::End(name.clone(), failure));
    }
    say(&Said::Done);
    Ok(())
}

/// Runs the tracer; returns whether it ended well, and its lines on standard error.
fn tracer(arguments: &[String], plan: &Plan) -> Result<(bool, Vec<String>)> {
    const TRACER: &str = "/bin/conntracer";
    let output = Command::new(TRACER)
        .args(arguments)
        .env_clear()
        .envs(&plan.environment)
        .output()
        .with_context(|| format!("cannot run {TRACER}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().map(str::to_owned).collect();
    Ok((output.status.success(), lines))
}

/// Runs a test binary; returns how it ended, if not well.
fn test(path: &str, plan: &Plan) -> Result<Option<String>> {
    let child = Command::new(path)
        .args(&plan.arguments)
        .env_clear()
        .envs(&plan.environment)
        .current_dir("/tmp")
        .spawn()?;
    // The first process inherits all orphans, and has to wait for them, too.
    loop {
        let Some((pid, status)) = wait(WaitOptions::empty())? else {
            bail!("there is no child to wait for");
        };
        if pid.as_raw_nonzero().get().cast_unsigned() == child.id() {
            let well = status.exit_status() == Some(0);
            return Ok((!well).then(|| match status.terminating_signal() {
                Some(signal) => format!("signal {signal}"),
                None => format!("exit code {}", status.exit_status().unwrap_or(-1)),
            }));
        }
    }
}

/// Without tracefs: a tracer has to get along without it.
fn mount_all() -> Result<()> {
    mount_at("devtmpfs", "/dev", "")?;
    mount_at("devpts", "/dev/pts", "ptmxmode=0666")?;
    mount_at("proc", "/proc", "")?;
    mount_at("sysfs", "/sys", "")?;
    mount_at("bpf", "/sys/fs/bpf", "")?;
    mount_at("tmpfs", "/run", "mode=0755")?;
    mount_at("tmpfs", "/tmp", "mode=1777")?;
    // What udev does elsewhere.
    let ptmx = std::path::Path::new("/dev/ptmx");
    if !ptmx.exists() {
        std::os::unix::fs::symlink("pts/ptmx", ptmx)?;
    }
    std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd")?;
    Ok(())
}

fn mount_at(kind: &str, place: &str, options: &str) -> Result<()> {
    if !std::path::Path::new(place).exists() {
        fs::create_dir_all(place).with_context(|| format!("cannot create {place}"))?;
    }
    let options = std::ffi::CString::new(options)?;
    mount(kind, place, kind, MountFlags::empty(), options.as_c_str())
        .with_context(|| format!("cannot mount {kind} at {place}"))
}

fn load(module: &str) -> Result<()> {
    let file = File::open(module)?;
    Ok(finit_module(&file, c"", 0)?)
}

/// As systemd sets them; the kernel's own hard limit of 4,096 files is for no server.
fn limits() -> Result<()> {
    let files = Rlimit {
        current: Some(1024),
        maximum: Some(524_288),
    };
    setrlimit(Resource::Nofile, files).context("cannot set the limit of open files")
}

#[expect(clippy::print_stdout, reason = "the console is how the host listens")]
fn say(line: &dyn std::fmt::Display) {
    println!("{line}");
}
