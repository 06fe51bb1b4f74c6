//! What the machine is and allows, as rows.

use super::report::{Row, Verdict};
use crate::bpf::btf::KERNEL_BTF;
use crate::preflight::capabilities::Capability;
use crate::preflight::{AcceptHooksPossible, Blocker, Machine};

/// What the kernel's types say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// Why the kernel may skip programs unseen, if so.
    pub unsteady: Option<String>,
}

/// Every capability that matters for tracing.
const CAPABILITIES: [Capability; 4] = [
    Capability::Bpf,
    Capability::Perfmon,
    Capability::SysAdmin,
    Capability::DacReadSearch,
];

/// The rows; `types` is what reading the kernel's types gave.
pub fn rows(machine: &Machine, types: Result<&Types, &str>) -> Vec<Row> {
    let blockers = machine.blockers();
    let stopped_by = |is: fn(&Blocker) -> bool| {
        let blocker = blockers.iter().find(|blocker| is(blocker));
        blocker.map(ToString::to_string)
    };
    vec![
        kernel(machine, types.ok()),
        btf(
            types.err(),
            stopped_by(|it| matches!(it, Blocker::NoBtf { .. } | Blocker::UnreadableBtf { .. })),
        ),
        essential(
            "capabilities",
            capabilities(machine),
            stopped_by(|it| {
                matches!(
                    it,
                    Blocker::NotPrivileged { .. } | Blocker::RestrictedRoot { .. }
                )
            }),
        ),
        essential(
            "user namespace",
            if blockers.contains(&Blocker::UserNamespace) {
                "one of a container".to_owned()
            } else {
                "the initial one".to_owned()
            },
            stopped_by(|it| *it == Blocker::UserNamespace),
        ),
        essential(
            "lockdown",
            lockdown(machine.lockdown.as_deref()),
            stopped_by(|it| *it == Blocker::Lockdown),
        ),
        classic(machine),
    ]
}

/// A row that is well, or stops everything.
fn essential(check: &'static str, found: String, problem: Option<String>) -> Row {
    Row {
        check,
        verdict: if problem.is_some() {
            Verdict::Failed
        } else {
            Verdict::Ok
        },
        found,
        advice: problem,
    }
}

/// A row that is well, or costs something.
fn useful(check: &'static str, found: String, problem: Option<String>) -> Row {
    Row {
        verdict: if problem.is_some() {
            Verdict::Warning
        } else {
            Verdict::Ok
        },
        ..essential(check, found, problem)
    }
}

fn kernel(machine: &Machine, types: Option<&Types>) -> Row {
    let unsteady = types.and_then(|types| types.unsteady.as_ref());
    let problem = unsteady.map(|reason| {
        format!(
            "it may preempt tracing programs and skip events meanwhile, and what helps against \
             that cannot be used ({reason}); connections can be missing"
        )
    });
    let found = format!("Linux {}, {}", machine.release, std::env::consts::ARCH);
    useful("kernel", found, problem)
}

fn btf(unusable: Option<&str>, blocker: Option<String>) -> Row {
    let found = match (unusable, &blocker) {
        (None, None) => format!("{KERNEL_BTF}, with every field that the programs read"),
        (_, Some(_)) => "not available".to_owned(),
        (Some(_), None) => "not usable".to_owned(),
    };
    let problem = blocker.or_else(|| unusable.map(str::to_owned));
    essential("type information", found, problem)
}

fn capabilities(machine: &Machine) -> String {
    let held = machine.capabilities();
    let names = CAPABILITIES
        .into_iter()
        .filter(|capability| held.has(*capability))
        .map(|capability| capability.to_string());
    match names.collect::<Vec<_>>() {
        names if names.is_empty() => "none of those that tracing uses".to_owned(),
        names => names.join(", "),
    }
}

/// The active level stands in brackets.
fn lockdown(text: Option<&str>) -> String {
    let level = text.and_then(|text| text.split_once('[')?.1.split_once(']'));
    level.map_or_else(|| "none".to_owned(), |(level, _)| level.to_owned())
}

fn classic(machine: &Machine) -> Row {
    let (found, problem) = match machine.accept_hooks() {
        AcceptHooksPossible::Yes => ("can be used", None),
        AcceptHooksPossible::AfterMount => {
            ("can be used; tracefs is mounted for conntracer only", None)
        }
        AcceptHooksPossible::No(reason) => ("cannot be used", Some(reason.to_string())),
    };
    useful("classic tracepoints", found.to_owned(), problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Tracefs;

    /// A machine on which all is well.
    fn machine() -> Machine {
        Machine {
            status: "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n".to_owned(),
            user_namespace: None,
            btf: Ok(()),
            lockdown: Some("none [integrity] confidentiality\n".to_owned()),
            perf_event_paranoid: Some("2\n".to_owned()),
            tracefs: Tracefs::Readable,
            release: "6.1.0-test".to_owned(),
            exe: "/opt/conntracer".into(),
        }
    }

    fn find(rows: &[Row], check: &str) -> Row {
        let row = rows.iter().find(|row| row.check == check);
        row.unwrap_or_else(|| panic!("{check}: {rows:?}")).clone()
    }

    #[test]
    fn a_machine_in_order_needs_no_advice() {
        let rows = rows(&machine(), Ok(&Types::default()));
        for row in &rows {
            assert_eq!((row.verdict, &row.advice), (Verdict::Ok, &None), "{row:?}");
        }
        assert_eq!(find(&rows, "lockdown").found, "integrity");
        assert!(find(&rows, "kernel").found.contains("6.1.0-test"));
        assert!(find(&rows, "capabilities").found.contains("CAP_PERFMON"));
    }

    #[test]
    fn every_obstacle_has_its_own_row_and_advice() {
        let status = "Uid:\t7\t7\t7\t7\nCapEff:\t0000000000000000\n".to_owned();
        for (check, verdict, machine) in [
            (
                "capabilities",
                Verdict::Failed,
                Machine {
                    status,
                    ..machine()
                },
            ),
            (
                "type information",
                Verdict::Failed,
                Machine {
                    btf: Err(std::io::ErrorKind::NotFound),
                    ..machine()
                },
            ),
            (
                "user namespace",
                Verdict::Failed,
                Machine {
                    user_namespace: Some("user:[1]".to_owned()),
                    ..machine()
                },
            ),
            (
                "lockdown",
                Verdict::Failed,
                Machine {
                    lockdown: Some("none integrity [confidentiality]".to_owned()),
                    ..machine()
                },
            ),
            (
                "classic tracepoints",
                Verdict::Warning,
                Machine {
                    tracefs: Tracefs::NoEvent,
                    ..machine()
                },
            ),
        ] {
            let rows = rows(&machine, Ok(&Types::default()));
            let row = find(&rows, check);
            assert_eq!(row.verdict, verdict, "{row:?}");
            assert!(row.advice.is_some(), "{row:?}");
            let others = rows.iter().filter(|row| row.check != check);
            assert!(
                others.clone().all(|row| row.verdict == Verdict::Ok),
                "{rows:?}"
            );
        }
    }

    #[test]
    fn types_that_do_not_fit_and_a_kernel_that_preempts_are_told() {
        let unfit = rows(&machine(), Err("no field sk_err"));
        let row = find(&unfit, "type information");
        assert_eq!(row.verdict, Verdict::Failed);
        assert_eq!(row.advice.as_deref(), Some("no field sk_err"));
        let types = Types {
            unsteady: Some("record has moved".to_owned()),
        };
        let row = find(&rows(&machine(), Ok(&types)), "kernel");
        assert_eq!(row.verdict, Verdict::Warning);
        assert!(row.advice.unwrap().contains("record has moved"));
    }
}
