//! Where it was measured.

use std::{fs, process::Command};

use serde::Serialize;

use crate::{cmd, setup_bench::PACKAGES};

/// What the figures depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) linux: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// Mean number of processes that wanted to run in the minute before.
    pub(crate) load_before: String,
    /// Debian packages of the peers, with their versions.
    pub(crate) packages: Vec<String>,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let version = |package: &&str| {
            let mut query = Command::new("dpkg-query");
            query.args(["--show", "--showformat", "${Package} ${Version}", package]);
            cmd::probe(&mut query)
        };
        let load = text("/proc/loadavg");
        Self {
            linux: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu(&text("/proc/cpuinfo")).unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
            packages: PACKAGES.iter().filter_map(version).collect(),
        }
    }

    /// In a sentence.
    pub(crate) fn text(&self) -> String {
        let Self {
            linux,
            cpu,
            cores,
            load_before,
            packages,
        } = self;
        let beside = packages.join(", ");
        format!(
            "Linux {linux}, {cores} cores of {cpu}, with a load average of {load_before} before; \
             {beside}"
        )
    }
}

/// The model of the first core; aarch64 has only numbers.
fn cpu(info: &str) -> Option<&str> {
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim())
    };
    field("model name").or_else(|| field("CPU part"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_a_name_or_a_number() {
        let named = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: A CPU @ 2 GHz\n";
        assert_eq!(cpu(named), Some("A CPU @ 2 GHz"));
        assert_eq!(cpu("processor\t: 0\nCPU part\t: 0xd0c\n"), Some("0xd0c"));
        assert_eq!(cpu(""), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::read();
        assert!(
            !machine.linux.is_empty() && machine.cores > 0,
            "{machine:?}"
        );
    }
}
