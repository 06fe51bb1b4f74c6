//! The project's chores: `cargo xtask VERB`. One file a verb; this one only dispatches.

mod bench;
mod build_ebpf;
mod check;
mod cmd;
mod compare;
mod debian;
mod ebpf_flags;
mod inputs;
mod manifest;
mod run;
mod sanity;
mod setup_bench;
mod setup_ebpf;
mod setup_vm;
mod test;
mod tool_search;
mod toolchain;
mod vm;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The project's chores"
)]
enum Verb {
    /// Build the release binary and become it, with sudo if needed
    Run {
        #[arg(last = true, help = "Arguments of conntracer")]
        args: Vec<OsString>,
    },
    /// Build the committed eBPF objects and their manifest
    BuildEbpf(build_ebpf::Args),
    /// Install the tools that build-ebpf needs (Debian)
    SetupEbpf,
    /// Run all tests: unit, black-box, and real-kernel ones if root
    Test {
        #[arg(last = true, help = "Filters and options of the test runner")]
        args: Vec<OsString>,
    },
    /// Install what vm needs (Debian)
    SetupVm(setup_vm::Args),
    /// Run the real-kernel tests on Debian's kernels, in QEMU
    Vm(vm::Args),
    /// Run the same workloads under libbpf-tools and under conntracer, in QEMU
    Compare(compare::Args),
    /// Install the tools that bench measures beside conntracer (Debian)
    SetupBench,
    /// Measure what tracing costs, beside other tools
    Bench(bench::Args),
    /// Format, lints, documentation and the eBPF objects
    Check,
}

fn main() -> ExitCode {
    let done = match Verb::parse() {
        Verb::Run { args } => run::run(&args),
        Verb::BuildEbpf(args) => build_ebpf::run(&args),
        Verb::SetupEbpf => setup_ebpf::run(),
        Verb::Test { args } => test::run(&args),
        Verb::SetupVm(args) => setup_vm::run(&args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Compare(args) => compare::run(&args),
        Verb::SetupBench => setup_bench::run(),
        Verb::Bench(args) => bench::run(&args),
        Verb::Check => check::run(),
    };
    done.unwrap_or_else(|error| {
        cmd::say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
