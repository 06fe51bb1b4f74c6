//! conntracer: who connects to this host, to which port, served by which process, how many times,
//! with how many bytes, and what failed.

use std::process::ExitCode;

use tracer::cli::Command;
use tracer::{cli, doctor, exit, list, map, poll, replay, run, say};

fn main() -> ExitCode {
    let command = cli::parse();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let code = runtime.block_on(async {
                match command {
                    Command::Trace(options) => match options.poll.clone() {
                        None => Box::pin(run::run(*options)).await,
                        Some(how) => poll::run(*options, how).await,
                    },
                    Command::Doctor(options) => doctor::run(options).await,
                    Command::List(options) => list::run(*options).await,
                    Command::Map(options) => map::command::run(&options),
                    Command::Replay(options) => replay::run(*options).await,
                }
            });
            // A writer that is stuck in a dead consumer must not hold the process back.
            runtime.shutdown_background();
            code
        });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say::say(&format!("error: {error:#}"));
            ExitCode::from(exit::FAILURE)
        }
    }
}
