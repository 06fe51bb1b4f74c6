//! How many instructions system calls take in a VM that counts them, with and without tracers.
//! Unlike times they are the same on a busy machine; they say nothing of caches and mispredicted
//! branches.

mod extra;
mod guest;
mod programs;

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use self::extra::{Table, Tool};
use super::section::Section;
use crate::{
    cmd,
    compare::{self, plan::Found},
    vm::{Arch, cache, console::Console, kernel::Release, qemu},
};

/// No VM takes as long.
const LIMIT: Duration = Duration::from_mins(45);

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The Debian release whose kernel to count on
    #[arg(long, value_enum, value_name = "KERNEL", default_value_t = Release::Trixie)]
    kernel: Release,
}

pub(crate) fn run(args: &Args) -> Result<Section> {
    let arch = Arch::X86_64;
    qemu::check(arch)?;
    let cache = cache()?;
    let (kernel, target, peers) = compare::guest::fetch(&cache, args.kernel, arch)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let initramfs = folder.path().join("initramfs");
    guest::build(&target, &kernel, &peers, &initramfs)?;
    let name = format!("instructions-{}-{}.log", args.kernel.name(), arch.name());
    let console = qemu::boot_well(
        qemu::counting(&kernel, arch, &initramfs),
        &cache.join("logs").join(name),
        LIMIT,
        |text| cmd::say(&format!("instructions: {text}")),
        "the VM",
    )?;
    let tools = tools(console)?;
    let table = Table::new(&tools)?;
    Ok(Section {
        name: "instructions",
        text: table.text(&kernel.version) + &programs::text(&tools),
        markdown: table.markdown(&kernel.version),
        json: json!({"kernel": kernel.version, "tools": tools}),
        sound: tools.iter().all(|tool| tool.refusal.is_none()),
    })
}

/// What the VM found out about each tool, in the order in which they ran.
fn tools(console: Console) -> Result<Vec<Tool>> {
    let mut tools: Vec<Tool> = Vec::new();
    for (subject, result) in console.results {
        let found = serde_json::from_value(result);
        let found = found.with_context(|| format!("the result of {subject} is not understood"))?;
        let name = subject.split('#').next().unwrap_or_default();
        let index = tools.iter().position(|tool| tool.name == name);
        let index = index.unwrap_or_else(|| {
            tools.push(Tool::named(name));
            tools.len() - 1
        });
        match found {
            Found::Times(times, programs) => {
                tools[index].rounds.push(times);
                tools[index].programs.extend(programs);
            }
            Found::Refusal(why) => tools[index].refusal = Some(why),
        }
    }
    Ok(tools)
}
