//! `cargo xtask bench`: what tracing costs. Each part measures in its own way and gives a section
//! of one report.

mod calm;
mod host;
mod instructions;
mod partner;
mod programs;
mod section;
mod stats;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use serde_json::{Map, Value};

use self::section::Section;
use crate::{cmd, vm::readme, workspace};

/// A way to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Throughput, CPU and memory of a load on this machine, with and without each tracer
    Host,
    /// Time of conntracer's programs in the kernel, beside programs that do nearly nothing
    Programs,
    /// Instructions of system calls in a VM, with and without tracers
    Instructions,
}

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Only these parts; all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<Part>,
    #[command(flatten)]
    host: host::Args,
    #[command(flatten)]
    programs: programs::Args,
    #[command(flatten)]
    instructions: instructions::Args,
    /// Write all figures, raw and computed, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the README's sections, which are of everything
    #[arg(long, conflicts_with_all = ["load", "side", "quick"])]
    write_readme: bool,
}

impl Part {
    fn run(self, args: &Args) -> Result<Section> {
        match self {
            Self::Host => host::run(&args.host),
            Self::Programs => programs::run(&args.programs),
            Self::Instructions => instructions::run(&args.instructions),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let parts = if args.part.is_empty() {
        Part::value_variants()
    } else {
        &args.part
    };
    let sections: Vec<Section> = parts
        .iter()
        .map(|part| part.run(args))
        .collect::<Result<_>>()?;
    for section in &sections {
        cmd::say(&format!("\n{}", section.text));
    }
    if let Some(path) = &args.json {
        let json: Map<String, Value> = sections
            .iter()
            .map(|section| (section.name.to_owned(), section.json.clone()))
            .collect();
        let text = serde_json::to_string_pretty(&json)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.write_readme {
        write_readme(&sections)?;
    }
    let sound = sections.iter().all(|section| section.sound);
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write_readme(sections: &[Section]) -> Result<()> {
    let path = workspace::root()?.join("README.md");
    let mut text = fs::read_to_string(&path).context("cannot read README.md")?;
    for section in sections {
        text = readme::with_section(&text, &section::marker(section.name), &section.markdown)?;
    }
    fs::write(&path, text).context("cannot write README.md")?;
    cmd::say("README.md is written");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_a_place_for_each_part() {
        let path = workspace::root().unwrap().join("README.md");
        let readme = fs::read_to_string(path).unwrap();
        for part in Part::value_variants() {
            let name = part.to_possible_value().unwrap();
            let marker = section::marker(name.get_name());
            assert!(readme::section(&readme, &marker).is_ok(), "{marker}");
        }
    }
}
