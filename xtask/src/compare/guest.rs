//! What runs in the VM: conntracer, the workloads, and Debian's libbpf-tools with the libraries of
//! their own release.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{
    plan::{RUNS, Run},
    scenes::Scene,
    tools::{Output, SUMMARY, TOOLS, Tool},
};
use crate::{
    cmd,
    vm::{
        Arch, Target,
        apt::Apt,
        complete, elf,
        guest::{environment, pack, program, read, write},
        kernel::{Kernel, Release},
        lock,
        plan::Plan,
    },
    workspace,
};

const PACKAGE: &str = "libbpf-tools";
/// The folder of the tools in the VM.
const PLACE: &str = "/peers";

/// An unpacked package of libbpf-tools with all that it depends on.
pub(crate) struct Peers {
    pub(crate) release: Release,
    /// Of the package, such as `0.26.0+ds-1`.
    pub(crate) version: String,
    root: PathBuf,
}

/// The kernel, what programs are built with for it, and the tools, all from the cache, or fetched
/// into it.
pub(crate) fn fetch(cache: &Path, release: Release, arch: Arch) -> Result<(Kernel, Target, Peers)> {
    let _lock = lock(cache)?;
    Ok((
        Kernel::fetch(cache, release, arch)?,
        Target::new(cache, arch)?,
        Peers::fetch(cache, release, arch)?,
    ))
}

impl Peers {
    /// From the release of the kernel, or the first that has them: from the cache, or fetched into
    /// it.
    fn fetch(cache: &Path, kernel: Release, arch: Arch) -> Result<Self> {
        let release = kernel.max(Release::Bookworm);
        let why = || format!("cannot fetch {PACKAGE} of Debian {}", release.name());
        let apt = Apt::open(cache, release.name(), arch).with_context(why)?;
        let version = apt.newest(PACKAGE).with_context(why)?.version;
        let name = format!("{}-{version}-{}", release.name(), arch.debian());
        let root = cache.join("peers").join(name);
        if !root.exists() {
            let unpack = |into: &Path| apt.unpack_with_depends(&[PACKAGE], into);
            complete(&root, unpack).with_context(why)?;
        }
        Ok(Self {
            release,
            version,
            root,
        })
    }

    /// The program of a tool: newer packages add to its name.
    fn program(&self, tool: &Tool) -> Result<PathBuf> {
        let names = [tool.name.to_owned(), format!("{}-libbpf", tool.name)];
        let mut paths = names
            .iter()
            .map(|name| self.root.join("usr/sbin").join(name));
        let found = paths.find(|path| cmd::is_program(path));
        found.with_context(|| format!("{PACKAGE} {} has no {}", self.version, tool.name))
    }

    /// The tools and their libraries, as `(place, file)`, and the place of the loader.
    pub(crate) fn files(&self) -> Result<(Vec<(String, PathBuf)>, String)> {
        let mut files = Vec::new();
        let mut programs = Vec::new();
        for tool in peers() {
            let path = self.program(tool)?;
            files.push((program_place(tool), path.clone()));
            programs.push(path);
        }
        let libraries: BTreeSet<_> = elf::libraries(&self.root, &programs)?;
        let place = |place: &str| format!("{PLACE}{place}");
        let loader = libraries.iter().map(|(place, _)| place);
        let mut loader = loader.filter(|place| place.contains("/ld-linux"));
        let loader = place(loader.next().context("the tools need no loader")?);
        files.extend(
            libraries
                .into_iter()
                .map(|(name, path)| (place(&name), path)),
        );
        Ok((files, loader))
    }
}

fn peers() -> impl Iterator<Item = &'static Tool> {
    let rows = |tool: &&Tool| matches!(tool.output, Output::Rows(_));
    TOOLS.iter().filter(rows)
}

fn program_place(tool: &Tool) -> String {
    format!("{PLACE}/bin/{}", tool.name)
}

/// The command of a tool in the VM, and where it leaves its summary.
pub(crate) fn command(tool: &Tool, loader: &str) -> (Vec<String>, Option<String>) {
    let (mut command, summary) = match tool.output {
        Output::Summary => (vec!["/bin/conntracer".to_owned()], Some(SUMMARY.to_owned())),
        // Their libc is not the one of conntracer and the workload.
        Output::Rows(_) => {
            let libraries = format!("{PLACE}/lib");
            let words = [loader, "--library-path", &libraries, &program_place(tool)];
            (words.map(str::to_owned).into(), None)
        }
    };
    command.extend(tool.options.iter().map(|&option| option.to_owned()));
    (command, summary)
}

/// Every workload under every tool.
fn runs(scenes: &[&Scene], loader: &str) -> Vec<Run> {
    let run = |scene: &Scene, tool: &Tool| {
        let (command, summary) = command(tool, loader);
        Run {
            name: name(scene, tool),
            workload: scene.workload.to_owned(),
            gate: scene.gate,
            tool: command,
            ready: tool.ready(),
            summary,
        }
    };
    let pairs = scenes
        .iter()
        .flat_map(|scene| TOOLS.iter().map(move |tool| (scene, tool)));
    pairs.map(|(scene, tool)| run(scene, tool)).collect()
}

/// What a run is known by.
pub(crate) fn name(scene: &Scene, tool: &Tool) -> String {
    format!("{} under {}", scene.name, tool.name)
}

/// What is to happen in a VM that has the tools.
pub(crate) struct Image<'a> {
    pub(crate) target: &'a Target,
    pub(crate) kernel: &'a Kernel,
    pub(crate) peers: &'a Peers,
    /// Programs of the package `tests`; the first one is run.
    pub(crate) programs: &'a [&'static str],
    /// Its name among the results.
    pub(crate) name: &'static str,
}

impl Image<'_> {
    /// Writes the initramfs, with conntracer and `file`, whose contents get the place of the tools'
    /// loader.
    pub(crate) fn write<T: Serialize>(
        &self,
        file: &str,
        contents: impl FnOnce(&str) -> Result<T>,
        path: &Path,
    ) -> Result<()> {
        let programs = self.programs.iter().map(|&program| ("tests", program));
        let wanted: Vec<_> = [("tracer", "conntracer"), ("tests", "vm-init")]
            .into_iter()
            .chain(programs)
            .collect();
        let built = workspace::build_release_by(self.target.cargo("build")?, &wanted)?;
        let programs = built.into_iter().map(|(name, path)| (program(&name), path));
        let mut files = pack(self.target, programs.collect())?;
        let (tools, loader) = self.peers.files()?;
        for (place, path) in tools {
            files.push((place, read(&path)?));
        }
        files.push((file.to_owned(), serde_json::to_vec(&contents(&loader)?)?));
        let plan = Plan {
            // The tools have to find it.
            tracefs: true,
            environment: environment(None),
            tests: vec![(self.name.to_owned(), program(self.programs[0]))],
            ..Plan::default()
        };
        write(self.kernel, plan, &files, path)
    }
}

/// Writes the initramfs.
pub(crate) fn build(
    target: &Target,
    kernel: &Kernel,
    peers: &Peers,
    scenes: &[&Scene],
    path: &Path,
) -> Result<()> {
    let image = Image {
        target,
        kernel,
        peers,
        programs: &["peers", "workload"],
        name: "compare",
    };
    image.write(RUNS, |loader| Ok(runs(scenes, loader)), path)
}
