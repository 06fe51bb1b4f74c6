//! Runs workloads under tools, one after the other, in a VM of `cargo xtask compare`.

use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::generator::Workload;
use tests::namespace::Namespace;
use tests::peers::{Outcome, RUNS, Run};
use tests::tool::Tool;
use tests::vm::Said;

fn main() -> Result<()> {
    let runs = std::fs::read(RUNS).with_context(|| format!("cannot read {RUNS}"))?;
    let runs: Vec<Run> = serde_json::from_slice(&runs).context("the runs are not understood")?;
    for run in runs {
        let outcome = outcome(&run).with_context(|| run.name.clone())?;
        say(&Said::Result(run.name, serde_json::to_value(outcome)?));
    }
    Ok(())
}

fn outcome(run: &Run) -> Result<Outcome> {
    let namespace = Namespace::new();
    let mut waiting = None;
    if run.gate {
        let mut workload = Workload::start(&namespace, &format!("{} --gate", run.workload));
        workload.ready();
        waiting = Some(workload);
    }
    if let Some(path) = &run.summary {
        // No run may take the file of another for its own.
        remove_if_there(path)?;
    }
    let mut tool = Tool::start(&run.tool)?;
    if let Some(refusal) = tool.wait_until_ready(&run.ready)? {
        let output = tool.stop()?;
        return Ok(Outcome {
            refusal: Some(refusal),
            output,
            ..Outcome::default()
        });
    }
    let truth = if let Some(mut workload) = waiting {
        workload.go();
        workload.finish()
    } else {
        Workload::run(&namespace, &run.workload)
    };
    tool.wait_until_asleep()?;
    let output = tool.stop()?;
    let summary = match &run.summary {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => Value::Null,
    };
    let truth = truth.lines().map(serde_json::to_value);
    Ok(Outcome {
        refusal: None,
        truth: truth.collect::<serde_json::Result<_>>()?,
        output,
        summary,
    })
}

fn remove_if_there(path: &str) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[expect(clippy::print_stdout, reason = "the console is how the host listens")]
fn say(line: &dyn std::fmt::Display) {
    println!("{line}");
}
