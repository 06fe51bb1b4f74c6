//! Instructions of each tool's programs: on a clock that counts them, the kernel's statistics do.

use std::{collections::BTreeMap, fmt::Write as _};

use super::extra::Tool;
use crate::bench::stats::ratio;

/// Programs of conntracer, and the bare update on the same call, each with its tool.
const PAIRS: [[(&str, &str); 2]; 4] = [
    [
        ("conntracer, tracepoint", "send_length"),
        ("floor, update", "update_send"),
    ],
    [
        ("conntracer, tracepoint", "recv_length"),
        ("floor, update", "update_recv"),
    ],
    [
        ("conntracer, fentry", "release_sock_fe"),
        ("floor, update-fentry", "update_fentry"),
    ],
    [
        ("conntracer, kprobe", "release_sock_kp"),
        ("floor, update-kprobe", "update_kprobe"),
    ],
];

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
    for pair in PAIRS {
        let net =
            pair.map(|(tool, name)| Some(find(tools, tool, name)?.checked_sub(empty)?.max(1)));
        if let [Some(ours), Some(update)] = net {
            let [(tool, name), _] = pair;
            let proportion = ratio(ours, update);
            let _ = writeln!(
                text,
                "{name} of {tool}: {proportion:.2} x a bare update, net"
            );
        }
    }
    text
}

/// Instructions of a tool's program.
fn find(tools: &[Tool], tool: &str, name: &str) -> Option<u64> {
    let tool = tools.iter().find(|it| it.name == tool)?;
    sums(tool).get(name).copied().map(mean)
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
    fn a_program_is_compared_with_the_bare_update_on_the_same_call() {
        let tool = |tool: &str, name: &str, ns| {
            let mut tool = Tool::named(tool);
            tool.programs.push(Program {
                name: name.into(),
                runs: 1,
                ns,
            });
            tool
        };
        let tools = [
            tool("conntracer, tracepoint", "send_length", 250),
            tool("floor, empty-fentry", "empty_fentry", 50),
            tool("floor, update", "update_send", 150),
        ];
        let text = text(&tools);
        let line = "send_length of conntracer, tracepoint: 2.00 x a bare update, net\n";
        assert!(text.ends_with(line), "{text}");
        assert_eq!(text.matches("bare update").count(), 1);
    }

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
