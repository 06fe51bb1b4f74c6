//! Instructions of each tool's programs: on a clock that counts them, the kernel's statistics do.

use std::{collections::BTreeMap, fmt::Write as _};

use super::extra::Tool;

/// Runs and instructions.
type Sum = (u64, u64);

pub(super) fn text(tools: &[Tool]) -> String {
    let empty = tools.iter().filter_map(|tool| {
        let (_, sum) = sums(tool)
            .into_iter()
            .find(|(name, _)| name.starts_with("empty_"))?;
        Some(mean(sum))
    });
    let empty = empty.min().unwrap_or(0);
    let mut text = format!(
        "\n\nInstructions a run of each program, {empty} of which are the statistics'\n{:24}{:16}\
         {:>8}{:>8}{:>8}\n",
        "of", "program", "runs", "gross", "net"
    );
    for tool in tools {
        for (name, sum) in sums(tool) {
            let gross = mean(sum);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:24}{name:16}{:>8}{gross:>8}{:>8}",
                tool.name,
                sum.0,
                gross.saturating_sub(empty)
            );
        }
    }
    text
}

fn mean((runs, instructions): Sum) -> u64 {
    instructions / runs
}

/// The programs that ran, by name: one can be attached twice, and a tool runs several times.
fn sums(tool: &Tool) -> BTreeMap<&str, Sum> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for program in tool.programs.iter().filter(|program| program.runs > 0) {
        let sum = sums.entry(&program.name).or_default();
        *sum = (sum.0 + program.runs, sum.1 + program.ns);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::plan::Program;

    #[test]
    fn runs_of_one_program_are_added_and_what_never_ran_is_left_out() {
        let program = |name: &str, runs, ns| Program {
            name: name.into(),
            runs,
            ns,
        };
        let mut tool = Tool::named("x");
        tool.programs = vec![
            program("send", 2, 300),
            program("send", 1, 300),
            program("never", 0, 0),
            program("empty_send", 1, 70),
        ];
        assert_eq!(
            sums(&tool),
            BTreeMap::from([("empty_send", (1, 70)), ("send", (3, 600))])
        );
        assert!(text(&[tool]).ends_with("       3     200     130\n"));
    }
}
