//! What runs in a VM: the binaries under test, the tests, and the few programs that those call.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{elf, initramfs::Initramfs, kernel::Kernel, modules, plan::Plan, target::Target};
use crate::{cmd, workspace};

/// Programs that the tests call, each with the package that has it.
const CALLED: [(&str, &str); 3] = [
    ("ip", "iproute2"),
    ("setsid", "util-linux"),
    ("cp", "coreutils"),
];

/// A test binary: name, file.
type Test = (String, PathBuf);

/// Everything in the initramfs but what depends on the kernel: `(place, stripped bytes)`.
pub(crate) struct Guest {
    files: Vec<(String, Vec<u8>)>,
    tests: Vec<(String, String)>,
}

/// What the user chose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) backend: Option<&'a str>,
    pub(crate) filter: Option<&'a str>,
    /// Whether the tracer runs before the tests, to say what it does not see.
    pub(crate) introduced: bool,
    pub(crate) tracefs: bool,
}

/// Where a program of ours is in the VM.
pub(crate) fn program(name: &str) -> String {
    match name {
        "vm-init" => "/init".to_owned(),
        name => format!("/bin/{name}"),
    }
}

impl Guest {
    /// Builds it.
    pub(crate) fn build(target: &Target) -> Result<Self> {
        let wanted = [
            ("tracer", "conntracer"),
            ("tests", "load"),
            ("tests", "workload"),
            ("tests", "vm-init"),
        ];
        let built = workspace::build_release_by(target.cargo("build")?, &wanted)?;
        let tests = build_tests(target)?;
        let root = &target.root;
        let built = built.into_iter();
        let mut programs: Vec<_> = built.map(|(name, path)| (program(&name), path)).collect();
        for (name, package) in CALLED {
            let path = find(root, name).with_context(|| {
                format!("the tests call {name}, which is not here: install the package {package}")
            })?;
            programs.push((format!("/bin/{name}"), path));
        }
        let place = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            format!("/tests/{}", name.display())
        };
        programs.extend(tests.iter().map(|(_, path)| (place(path), path.clone())));
        let files = pack(target, programs)?;
        let tests = tests.into_iter().map(|(name, path)| (name, place(&path)));
        Ok(Self {
            files,
            tests: tests.collect(),
        })
    }

    /// Writes an initramfs that runs the tests on `kernel`.
    pub(crate) fn write(&self, kernel: &Kernel, choice: Choice<'_>, path: &Path) -> Result<()> {
        let plan = Plan {
            modules: Vec::new(),
            tracefs: choice.tracefs,
            tracer: choice.introduced.then(|| introduction(choice.backend)),
            environment: environment(choice.backend),
            tests: self.tests.clone(),
            arguments: arguments(choice.filter),
        };
        write(kernel, plan, &self.files, path)
    }
}

/// These programs, without what only a debugger needs, and the libraries that they need.
pub(crate) fn pack(
    target: &Target,
    programs: Vec<(String, PathBuf)>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let paths: Vec<PathBuf> = programs.iter().map(|(_, path)| path.clone()).collect();
    let mut files = Vec::new();
    for (place, path) in programs {
        files.push((place, strip(&path, &target.strip())?));
    }
    for (place, path) in elf::libraries(&target.root, &paths)? {
        files.push((place, read(&path)?));
    }
    Ok(files)
}

/// Writes an initramfs with these files, and a plan that begins with the modules of the kernel.
pub(crate) fn write(
    kernel: &Kernel,
    mut plan: Plan,
    files: &[(String, Vec<u8>)],
    path: &Path,
) -> Result<()> {
    let mut initramfs = Initramfs::create(path)?;
    for module in modules::collect(kernel)? {
        let place = format!("/modules/{}.ko", module.name);
        initramfs.file(&place, &module.bytes)?;
        plan.modules.push(place);
    }
    initramfs.file(super::plan::PLAN, &serde_json::to_vec(&plan)?)?;
    for (place, bytes) in files {
        initramfs.file(place, bytes)?;
    }
    // Programs in the tests' own namespaces mount here.
    for folder in ["dev", "proc", "run", "sys", "tmp"] {
        initramfs.folder(folder)?;
    }
    initramfs.finish()
}

pub(crate) fn environment(backend: Option<&str>) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        ("PATH", "/bin"),
        ("HOME", "/tmp"),
        ("CONNTRACER_BIN", "/bin/conntracer"),
        ("CONNTRACER_LOAD", "/bin/load"),
        ("CONNTRACER_WORKLOAD", "/bin/workload"),
        ("CONNTRACER_TESTS_MUST_RUN", "1"),
        ("CONNTRACER_OWN_MACHINE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.extend(backend.map(|name| ("CONNTRACER_BACKEND".to_owned(), name.to_owned())));
    environment
}

fn introduction(backend: Option<&str>) -> Vec<String> {
    let words = ["--quiet", "--duration", "1s", "--backend"].into_iter();
    words
        .chain([backend.unwrap_or("auto")])
        .map(str::to_owned)
        .collect()
}

fn arguments(filter: Option<&str>) -> Vec<String> {
    // One after the other: a tracer that starts holds the open files of all processes for a moment
    // each, also those of another test, whose last holder it can become.
    let threads = "--test-threads=1".to_owned();
    let words = filter.unwrap_or_default().split_whitespace();
    std::iter::once(threads)
        .chain(words.map(str::to_owned))
        .collect()
}

/// Builds the test binaries of the package `tests`.
fn build_tests(target: &Target) -> Result<Vec<Test>> {
    let mut command = target.cargo("test")?;
    command.args(["--no-run", "--locked", "--package", "tests"]);
    command.arg("--message-format=json-render-diagnostics");
    let tests = test_binaries(&cmd::stdout(&mut command)?);
    if tests.is_empty() {
        bail!("`{}` built no test", cmd::shell(&command));
    }
    Ok(tests)
}

/// Test binaries in cargo's messages.
fn test_binaries(messages: &str) -> Vec<Test> {
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        profile: Profile,
        executable: PathBuf,
    }
    // Messages of other kinds, and artifacts that are no executable, do not have these fields.
    let artifacts = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let mut tests: Vec<Test> = artifacts
        .filter(|artifact| artifact.profile.test)
        .map(|artifact| {
            let unit = artifact.target.kind.iter().all(|kind| kind != "test");
            let name = artifact.target.name;
            let name = if unit { format!("{name} (unit)") } else { name };
            (name, artifact.executable)
        })
        .collect();
    tests.sort();
    tests
}

/// Without symbols and debug information, which are nine tenths of a test.
fn strip(path: &Path, program: &str) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let out = folder.path().join("stripped");
    let mut strip = Command::new(program);
    cmd::stdout(strip.arg("--strip-debug").arg("-o").arg(&out).arg(path))?;
    read(&out)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn find(root: &Path, program: &str) -> Option<PathBuf> {
    let folders = ["usr/bin", "usr/sbin", "bin", "sbin"];
    let mut paths = folders.iter().map(|folder| root.join(folder).join(program));
    paths.find(|path| cmd::is_program(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_the_programs_built_for_them() {
        let artifact = |name: &str, kind: &str, test: bool| {
            format!(
                r#"{{"target":{{"name":"{name}","kind":["{kind}"]}},"profile":{{"test":{test}}},"executable":"/t/{name}-1"}}"#
            )
        };
        let messages = [
            artifact("workload", "bin", false),
            artifact("workload", "bin", true),
            artifact("workload", "test", true),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ]
        .join("\n");
        let names: Vec<String> = test_binaries(&messages)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["workload", "workload (unit)"]);
    }

    #[test]
    fn the_backend_is_told_only_where_one_is_chosen() {
        assert_eq!(environment(Some("kprobe"))["CONNTRACER_BACKEND"], "kprobe");
        assert!(!environment(None).contains_key("CONNTRACER_BACKEND"));
        assert_eq!(arguments(Some("churn --exact")).len(), 3);
    }
}
