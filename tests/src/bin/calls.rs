//! Measures system calls beside tools, one tool after the other, in a VM of `cargo xtask bench`.

use anyhow::{Context as _, Result};
use tests::calls::measure;
use tests::floor::{Run, during};
use tests::namespace::Namespace;
use tests::peers::{Found, MEASURED, Measured, Program};
use tests::tool::Tool;
use tests::vm::Said;

/// How often each tool is started.
const ROUNDS: u32 = 3;
/// Batches of each call in a round.
const BATCHES: u32 = 25;

fn main() -> Result<()> {
    let tools = std::fs::read(MEASURED).with_context(|| format!("cannot read {MEASURED}"))?;
    let tools: Vec<Measured> =
        serde_json::from_slice(&tools).context("the tools are not understood")?;
    // The loopback device of the VM is down.
    Namespace::new().enter();
    for round in 0..ROUNDS {
        for tool in &tools {
            let result = beside(tool).with_context(|| tool.name.clone())?;
            let result = serde_json::to_value(result)?;
            say(&Said::Result(format!("{}#{round}", tool.name), result));
        }
    }
    Ok(())
}

fn beside(measured: &Measured) -> Result<Found> {
    if measured.tool.is_empty() {
        return Ok(Found::Times(measure(BATCHES)?, Vec::new()));
    }
    let mut tool = Tool::start(&measured.tool)?;
    if let Some(refusal) = tool.wait_until_ready(&measured.ready)? {
        let output = tool.stop()?;
        return Ok(Found::Refusal(format!("{refusal}: {}", output.join("; "))));
    }
    let times = measure(BATCHES)?;
    // Afterwards, because statistics cost something, too.
    let runs = during(tool.pid(), || measure(BATCHES).map(drop))?;
    tool.stop()?;
    let program = |run: Run| Program {
        name: run.name,
        runs: run.runs,
        ns: run.ns,
    };
    Ok(Found::Times(times, runs.into_iter().map(program).collect()))
}

#[expect(clippy::print_stdout, reason = "the console is how the host listens")]
fn say(line: &dyn std::fmt::Display) {
    println!("{line}");
}
