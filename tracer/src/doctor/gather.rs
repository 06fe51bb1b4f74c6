//! Looks at the machine and tries every backend; the self-test is made with the one that counts.

use super::attempt::Attempt;
use super::machine::Types;
use super::self_test::{self, Trial};
use super::stage::Stage;
use crate::bpf::kernel::Kernel;
use crate::bpf::loader::{LoadError, Settings, Tracer};
use crate::bpf::programs::Backend;
use crate::preflight::{Machine, memlock};
use crate::start;

/// Everything that was found.
pub struct Findings {
    /// The machine.
    pub machine: Machine,
    /// What the kernel's types say, or why they cannot be used.
    pub types: Result<Types, String>,
    /// The backend that was asked for.
    pub asked: Option<Backend>,
    /// What became of each backend.
    pub tried: Tried,
}

/// What became of each backend.
pub struct Tried {
    /// Every backend, the preferred one first.
    pub attempts: Vec<Attempt>,
    /// The one that the self-test was made with.
    pub chosen: Option<Backend>,
    /// The self-test.
    pub trial: Trial,
}

/// Finds out everything. Each backend is attached and detached again, one after the other.
pub async fn gather(asked: Option<Backend>) -> Findings {
    let machine = Machine::read();
    let kernel = Kernel::read();
    let tried = match (machine.check(), &kernel) {
        (Err(blocker), kernel) => not_tried(kernel.as_ref().ok(), &blocker.to_string()),
        (Ok(()), Err(error)) => not_tried(None, &error.to_string()),
        (Ok(()), Ok(kernel)) => try_all(kernel, asked).await,
    };
    let types = kernel.map(|kernel| Types {
        unsteady: kernel.unsteady().map(str::to_owned),
    });
    Findings {
        machine,
        types: types.map_err(|error| error.to_string()),
        asked,
        tried,
    }
}

fn not_tried(kernel: Option<&Kernel>, reason: &str) -> Tried {
    let attempt = |backend| {
        let programs = kernel.into_iter().flat_map(|it| it.programs(backend));
        Attempt::untried(backend, programs, reason.to_owned())
    };
    Tried {
        attempts: Backend::ALL.map(attempt).into(),
        chosen: None,
        trial: Trial::not_made(reason),
    }
}

async fn try_all(kernel: &Kernel, asked: Option<Backend>) -> Tried {
    let stage = Stage::set();
    let options = self_test::options(stage.as_ref().ok());
    let limit = memlock::raise_limit();
    let settings = start::settings(&options);
    let mut stage = Some(stage);
    let mut attempts = Vec::new();
    let mut done = None;
    for backend in Backend::ALL {
        let (attempt, tracer) = attach(kernel, backend, &settings, limit);
        attempts.push(attempt);
        if let Some(tracer) = tracer
            && asked.is_none_or(|asked| asked == backend)
            && let Some(stage) = stage.take()
        {
            let trial = match stage {
                Ok(stage) => self_test::run(tracer, stage, &options).await,
                Err(error) => Trial::not_made(&format!("no loopback connection: {error}")),
            };
            done = Some((backend, trial));
        }
    }
    let (chosen, trial) = match done {
        Some((backend, trial)) => (Some(backend), trial),
        None => (None, Trial::not_made(&reasons(&attempts, asked))),
    };
    Tried {
        attempts,
        chosen,
        trial,
    }
}

fn attach(
    kernel: &Kernel,
    backend: Backend,
    settings: &Settings<'_>,
    limit: Option<u64>,
) -> (Attempt, Option<Tracer>) {
    let programs = kernel.programs(backend);
    match Tracer::start(settings, &[backend]) {
        Ok(tracer) => {
            let attempt = Attempt::tried(backend, programs, &tracer.missing, None);
            (attempt, Some(tracer))
        }
        Err(LoadError::Backend(mut refusal)) => {
            let reason = Some(refusal.reasons());
            refusal.failures.append(&mut refusal.missing);
            let attempt = Attempt::tried(backend, programs, &refusal.failures, reason);
            (attempt, None)
        }
        Err(error) => {
            let reason = start::explain(error, settings, limit).to_string();
            (Attempt::untried(backend, programs, reason), None)
        }
    }
}

/// Why none of the backends that were asked for can be used.
fn reasons(attempts: &[Attempt], asked: Option<Backend>) -> String {
    let reasons: Vec<_> = attempts
        .iter()
        .filter(|attempt| asked.is_none_or(|asked| attempt.is(asked)))
        .filter_map(|attempt| Some(format!("{}: {}", attempt.backend, attempt.reason.as_ref()?)))
        .collect();
    reasons.join("; ")
}
