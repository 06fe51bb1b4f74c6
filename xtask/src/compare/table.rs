//! The README's table of tools.

use std::{collections::HashMap, fmt::Write as _};

use anyhow::{Context as _, Result};

use super::{
    cell::{self, Cell},
    guest::{Peers, name},
    plan::Outcome,
    scenes::Scene,
    tools::TOOLS,
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

fn row(scene: &Scene, outcomes: &HashMap<String, Outcome>) -> Result<String> {
    let mut cells = Vec::new();
    let mut happened = None;
    for tool in &TOOLS {
        let run = name(scene, tool);
        let outcome = outcomes
            .get(&run)
            .with_context(|| format!("{run} did not run"))?;
        let cell = cell::grade(scene, tool, outcome).with_context(|| run)?;
        if !matches!(cell, Cell::Refused(_)) && happened.is_none() {
            happened = Some(cell::happened(scene, &cell::truth(outcome)?));
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
