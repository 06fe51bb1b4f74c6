//! `cargo xtask compare`: the same workloads under libbpf-tools and under conntracer, in a VM.

mod cell;
pub(crate) mod guest;
pub(crate) mod measure;
// The program in the VM has the same file.
#[expect(unreachable_pub, reason = "the file is written for the crate `tests`")]
#[path = "../../tests/src/peers.rs"]
pub(crate) mod plan;
pub(crate) mod rows;
mod scenes;
pub(crate) mod seen;
mod table;
pub(crate) mod tools;
#[expect(
    unreachable_pub,
    dead_code,
    reason = "the file is written for the crate `tests`"
)]
#[path = "../../tests/src/truth.rs"]
mod truth;

use std::{
    collections::HashMap, fmt::Write as _, fs, path::Path, process::ExitCode, time::Duration,
};

use anyhow::{Context as _, Result, bail};

use self::{
    plan::Outcome,
    scenes::{SCENES, Scene},
};
use crate::{
    cmd,
    vm::{Arch, cache, console::Console, kernel::Release, qemu, readme},
    workspace,
};

/// No comparison takes as long.
const LIMIT: Duration = Duration::from_mins(45);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The Debian release whose kernel to boot; the tools are of the same, or of the first that
    /// has them
    #[arg(value_enum, value_name = "KERNEL", default_value_t = Release::Bookworm)]
    kernel: Release,
    /// Architecture of the VM
    #[arg(long, value_enum, default_value_t = Arch::X86_64)]
    arch: Arch,
    /// Only these workloads, by their names in xtask/src/compare/scenes.rs
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    workload: Vec<String>,
    /// Write the README's table instead of printing it
    #[arg(long, conflicts_with = "workload")]
    write_readme: bool,
}

impl Args {
    fn scenes(&self) -> Result<Vec<&'static Scene>> {
        let known = |name: &String| SCENES.iter().any(|scene| scene.name == name);
        if let Some(name) = self.workload.iter().find(|name| !known(name)) {
            let names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
            bail!(
                "there is no workload {name}; there are {}",
                names.join(", ")
            );
        }
        let all = self.workload.is_empty();
        let chosen = |scene: &&Scene| all || self.workload.iter().any(|name| name == scene.name);
        Ok(SCENES.iter().filter(chosen).collect())
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let scenes = args.scenes()?;
    qemu::check(args.arch)?;
    let cache = cache()?;
    let (kernel, target, peers) = guest::fetch(&cache, args.kernel, args.arch)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let initramfs = folder.path().join("initramfs");
    guest::build(&target, &kernel, &peers, &scenes, &initramfs)?;
    let name = format!("compare-{}-{}", args.kernel.name(), args.arch.name());
    let logs = cache.join("logs");
    let console = qemu::boot_well(
        qemu::command(&kernel, args.arch, &initramfs),
        &logs.join(format!("{name}.log")),
        LIMIT,
        cmd::say,
        "the comparison",
    )?;
    let outcomes = outcomes(console)?;
    let raw = logs.join(&name);
    keep(&outcomes, &raw)?;
    cmd::say(&format!("what the tools printed is in {}", raw.display()));
    let table = table::table(&scenes, &outcomes, &kernel, &peers)?;
    conclude(args, &table)?;
    let mistakes = table::mistakes(&scenes, &outcomes)?;
    if mistakes.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    cmd::say(&format!("conntracer is wrong: {}", mistakes.join(", ")));
    Ok(ExitCode::FAILURE)
}

fn outcomes(console: Console) -> Result<HashMap<String, Outcome>> {
    let results = console.results.into_iter();
    let outcome = |(name, result)| {
        let outcome = serde_json::from_value(result);
        let outcome = outcome.with_context(|| format!("the result of {name} is not understood"))?;
        Ok((name, outcome))
    };
    results.map(outcome).collect()
}

/// Writes what the workloads said and the tools printed, one file a run.
fn keep(outcomes: &HashMap<String, Outcome>, folder: &Path) -> Result<()> {
    let why = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(why)?;
    for (name, outcome) in outcomes {
        let mut text = String::new();
        let refusal = outcome
            .refusal
            .iter()
            .map(|why| format!("not ready: {why}"));
        let truth = outcome.truth.iter().map(|line| format!("truth: {line}"));
        let output = outcome.output.iter().cloned();
        let summary = Some(&outcome.summary).filter(|summary| !summary.is_null());
        let summary = summary.map(|summary| format!("summary: {summary}"));
        for line in refusal.chain(truth).chain(output).chain(summary) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        let file = folder.join(format!("{}.txt", name.replace(' ', "-")));
        fs::write(file, text).with_context(why)?;
    }
    Ok(())
}

/// Prints the table, or writes it to the README.
fn conclude(args: &Args, table: &str) -> Result<()> {
    let path = workspace::root()?.join("README.md");
    let text = fs::read_to_string(&path).context("cannot read README.md")?;
    if args.write_readme {
        let text = readme::with_section(&text, table::SECTION, table)?;
        fs::write(&path, text).context("cannot write README.md")?;
        cmd::say("README.md is written");
        return Ok(());
    }
    cmd::say(&format!("\n{table}"));
    if args.workload.is_empty() {
        // No failure: others' numbers are not the same in each run.
        let same = readme::section(&text, table::SECTION)? == table;
        cmd::say(if same {
            "README.md has this table"
        } else {
            "README.md has another table; `cargo xtask compare --write-readme` writes it"
        });
    }
    Ok(())
}
