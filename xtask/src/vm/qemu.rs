//! Boots a kernel in QEMU and listens to its console.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    arch::Arch,
    console::{Console, kernel_message},
    kernel::Kernel,
};
use crate::cmd;

/// Emulated, a test may take minutes and say nothing.
const SILENCE: Duration = Duration::from_mins(10);

/// Whether QEMU is here; if not, says how to get it.
pub(crate) fn check(arch: Arch) -> Result<()> {
    let (program, package) = arch.qemu();
    if cmd::in_path(program).is_none() {
        bail!(
            "{program} is not installed: `apt-get install --no-install-recommends {package}`, or \
             `cargo xtask setup-vm`"
        );
    }
    Ok(())
}

/// The command that boots `kernel`.
pub(crate) fn command(kernel: &Kernel, arch: Arch, initramfs: &Path) -> Command {
    // Mitigations are against other programs on the same processor; emulated, they only take time.
    let mut qemu = without_processor(kernel, arch, initramfs, " mitigations=off");
    qemu.args(["-cpu", processor(kernel, arch), "-smp", "2"]);
    // Emulated by a thread each, a processor may go on running code that another one has patched
    // since (QEMU 7.2): it meets a breakpoint that is gone, for ever. Linux patches itself whenever
    // a tracepoint or a probe comes or goes.
    qemu.args(["-accel", "tcg,thread=single"]);
    qemu
}

/// The same with one processor, on whose clocks each instruction takes a nanosecond.
pub(crate) fn counting(kernel: &Kernel, arch: Arch, initramfs: &Path) -> Command {
    let mut qemu = without_processor(kernel, arch, initramfs, "");
    let mut processor = processor(kernel, arch).to_owned();
    if arch == Arch::X86_64 {
        // With these the kernel copies by one instruction that would count as one a byte.
        processor += ",-erms,-fsrm";
    }
    qemu.args(["-cpu", &processor, "-smp", "1"]);
    qemu.args(["-accel", "tcg,thread=single", "-icount", "shift=0"]);
    qemu
}

fn processor(kernel: &Kernel, arch: Arch) -> &'static str {
    // An emulated double fault comes with la57. A Linux 7 without cx16 has no socket storage;
    // older ones are more stable without.
    match arch {
        Arch::X86_64 if kernel.major() >= 7 => "max,-la57",
        Arch::X86_64 => "max,-la57,-cx16",
        Arch::Aarch64 => "max,pauth-impdef=on",
    }
}

/// With `more` on the kernel's command line, each word after a space.
fn without_processor(kernel: &Kernel, arch: Arch, initramfs: &Path, more: &str) -> Command {
    let (program, _) = arch.qemu();
    let mut qemu = Command::new(program);
    let (machine, console) = match arch {
        Arch::X86_64 => ("pc", "ttyS0"),
        Arch::Aarch64 => ("virt", "ttyAMA0"),
    };
    qemu.args(["-machine", machine, "-m", "2G"]);
    qemu.args(["-no-reboot", "-nic", "none"]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(&kernel.image);
    qemu.arg("-initrd").arg(initramfs);
    // Only errors of the kernel: its lines may break those of the tests.
    let mut line = format!("console={console} loglevel=4 oops=panic panic=-1 random.trust_cpu=on");
    // Emulated, what takes a moment takes half a minute: the kernel has to be as patient before it
    // speaks of a stall. One that hangs hangs for longer.
    line += " rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=60";
    line += more;
    qemu.arg("-append").arg(line);
    qemu
}

/// As [`boot`], for who has no use for a run with faults; `what` is said not to have come to its end
/// then.
pub(crate) fn boot_well(
    qemu: Command,
    log: &Path,
    limit: Duration,
    news: impl Fn(&str),
    what: &str,
) -> Result<Console> {
    let console = boot(qemu, log, limit, news)?;
    let faults = console.faults();
    if faults.is_empty() {
        return Ok(console);
    }
    let excerpts = console.excerpts().concat().join("\n");
    bail!(
        "{what} did not come to its end: {}\n{excerpts}\nThe whole console is in {}",
        faults.join("; "),
        log.display()
    )
}

/// Boots and listens until the end, or for `limit`; `news` gets what is worth a line on the
/// terminal.
pub(crate) fn boot(
    mut qemu: Command,
    log: &Path,
    limit: Duration,
    news: impl Fn(&str),
) -> Result<Console> {
    let mut log = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    writeln!(log, "$ {}", cmd::shell(&qemu))?;
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    qemu.stderr(log.try_clone()?);
    let child = qemu
        .spawn()
        .with_context(|| format!("cannot run `{}`", cmd::shell(&qemu)))?;
    let mut running = Running(child);
    let lines = listen(&mut running)?;
    let begin = Instant::now();
    let mut progress = begin;
    let mut console = Console::default();
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        let quiet = SILENCE.saturating_sub(progress.elapsed());
        let line = match lines.recv_timeout(left.min(quiet)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let how = if left < quiet {
                    format!("took more than {} minutes", limit.as_secs() / 60)
                } else {
                    format!("got nowhere for {} minutes", SILENCE.as_secs() / 60)
                };
                console.problems.push(format!("the VM hangs: it {how}"));
                return Ok(console);
            }
        };
        let text = String::from_utf8_lossy(&line);
        write!(log, "{:8.2} {text}", begin.elapsed().as_secs_f64())?;
        // A kernel that complains again and again may hang all the same.
        if kernel_message(&text).is_none() {
            progress = Instant::now();
        }
        if let Some(text) = console.take(&text) {
            news(&text);
        }
    }
    let status = running.0.wait().context("cannot wait for QEMU")?;
    if !status.success() {
        console.problems.push(format!("QEMU failed: {status}"));
    }
    Ok(console)
}

/// Lines of the console, with their ends, as they come.
fn listen(running: &mut Running) -> Result<mpsc::Receiver<Vec<u8>>> {
    let pipe = running.0.stdout.take().context("QEMU has no console")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            let read = pipe.read_until(b'\n', &mut line);
            if !read.is_ok_and(|length| length > 0) || sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(lines)
}

/// QEMU, which ends with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless the VM hangs.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
