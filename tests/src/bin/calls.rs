//! Measures system calls beside tools, one tool after the other, in a VM of `cargo xtask bench`.

use anyhow::{Context as _, Result};
use tests::calls::measure;
use tests::namespace::Namespace;
use tests::peers::{MEASURED, Measured, Times};
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
            let result = match result {
                Ok(times) => serde_json::json!({"times": times}),
                Err(refusal) => serde_json::json!({"refusal": refusal}),
            };
            say(&Said::Result(format!("{}#{round}", tool.name), result));
        }
    }
    Ok(())
}

/// The times beside a tool, or why it does not run here.
fn beside(measured: &Measured) -> Result<Result<Times, String>> {
    if measured.tool.is_empty() {
        return Ok(Ok(measure(BATCHES)?));
    }
    let mut tool = Tool::start(&measured.tool)?;
    if let Some(refusal) = tool.wait_until_ready(&measured.ready)? {
        let output = tool.stop()?;
        return Ok(Err(format!("{refusal}: {}", output.join("; "))));
    }
    let times = measure(BATCHES)?;
    tool.stop()?;
    Ok(Ok(times))
}

#[expect(clippy::print_stdout, reason = "the console is how the host listens")]
fn say(line: &dyn std::fmt::Display) {
    println!("{line}");
}
