//! The README's table of tools.

use std::{collections::HashMap, fmt::Write as _};

use anyhow::{Context as _, Result};

use super::{
    cell::{self, Cell},
    guest::{Peers, name},
    plan::Outcome,
    scenes::Scene,
    tools::{TOOLS, Tool},
};
use crate::vm::kernel::Kernel;

/// The section of the README.
pub(crate) const SECTION: &str = "comparison";

/// The table in Markdown.
pub(crate) fn table(
    scenes: &[&Scene],
    outcomes: &HashMap<String, Outcome>,
    kernel: &Kernel,
    peers: &Peers,
) -> Result<String> {
    let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    let mut text = format!(
        "| what happens | truth | {} |\n|---|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for scene in scenes {
        text.push_str(&row(scene, outcomes)?);
        text.push('\n');
    }
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\nLinux {} (Debian {}), libbpf-tools {} (Debian {}).",
        kernel.version,
        kernel.release.name(),
        peers.version,
        peers.release.name()
    );
    Ok(text)
}

/// The workloads of which conntracer is wrong.
pub(crate) fn mistakes(
    scenes: &[&Scene],
    outcomes: &HashMap<String, Outcome>,
) -> Result<Vec<&'static str>> {
    let mut mistakes = Vec::new();
    for scene in scenes {
        let own = grade(scene, &TOOLS[0], outcomes)?;
        if own.is_wrong() {
            mistakes.push(scene.name);
        }
    }
    Ok(mistakes)
}

fn grade(scene: &Scene, tool: &Tool, outcomes: &HashMap<String, Outcome>) -> Result<Cell> {
    let run = name(scene, tool);
    let outcome = outcomes.get(&run);
    let outcome = outcome.with_context(|| format!("{run} did not run"))?;
    cell::grade(scene, tool, outcome).context(run)
}

fn row(scene: &Scene, outcomes: &HashMap<String, Outcome>) -> Result<String> {
    let mut cells = Vec::new();
    let mut happened = None;
    for tool in &TOOLS {
        let cell = grade(scene, tool, outcomes)?;
        if !matches!(cell, Cell::Refused(_)) && happened.is_none() {
            let truth = cell::truth(&outcomes[&name(scene, tool)])?;
            happened = Some(cell::happened(scene, &truth));
        }
        // A bar would end the cell.
        cells.push(cell.text().replace('|', "\\|"));
    }
    let happened = happened.unwrap_or_default();
    Ok(format!(
        "| {} | {happened} | {} |",
        scene.what,
        cells.join(" | ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare::scenes::SCENES, vm::readme, workspace};

    #[test]
    fn the_readme_has_a_place_for_the_table() {
        let path = workspace::root().unwrap().join("README.md");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(readme::section(&text, SECTION).is_ok());
    }

    #[test]
    fn a_run_that_is_missing_is_an_error() {
        let error = row(&SCENES[0], &HashMap::new()).unwrap_err().to_string();
        assert_eq!(error, "echo under conntracer did not run");
    }
}
