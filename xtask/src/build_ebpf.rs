//! `cargo xtask build-ebpf`: builds the committed eBPF objects, or checks that they are current.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cmd,
    ebpf_flags::{self, Arch, Binary, Folders},
    inputs,
    manifest::{self, Manifest, Objects, Verdict},
    sanity, tool_search,
    toolchain::{self, Missing, Toolchain, Versions},
    workspace,
};

/// Exit codes of `--check`; 2 is a wrong command line.
const DIFFERS: u8 = 1;
const OTHER_TOOLS: u8 = 3;
const NO_TOOLS: u8 = 4;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rebuild and compare with the committed objects: exit code 0 same, 1 different, 3 other tools
    /// than the manifest's, 4 tools missing
    #[arg(long)]
    check: bool,
}

/// Whether a compiler warning in our own eBPF sources stops the build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warnings {
    Allow,
    Deny,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.check {
        check(Warnings::Allow)
    } else {
        write()
    }
}

fn write() -> Result<ExitCode> {
    let tools = match toolchain::choose(tool_search::find()?) {
        Ok(tools) => tools,
        Err(missing) => return Ok(no_tools(&missing)),
    };
    let objects = build(&tools, Warnings::Allow)?;
    for (binary, arch) in ebpf_flags::objects() {
        let folder = workspace::root()?.join(binary.folder());
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let name = binary.object(arch);
        let (path, bytes) = (folder.join(&name), &objects[&name]);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        cmd::say(&format!("{}: {} bytes", path.display(), bytes.len()));
    }
    let manifest = Manifest::new(tools.versions(), inputs_now()?, &objects);
    manifest.write(&manifest_path()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Rebuilds the objects and compares; writes nothing but the target folder.
pub(crate) fn check(warnings: Warnings) -> Result<ExitCode> {
    let manifest = Manifest::read(&manifest_path()?)?;
    let tools = match toolchain::choose(tool_search::find()?) {
        Ok(tools) => tools,
        Err(missing) => return Ok(no_tools(&missing)),
    };
    let inputs = inputs_now()?;
    if manifest.tools != tools.versions() {
        let inputs_changed = manifest.inputs != inputs;
        cmd::say(&other_tools(
            &manifest.tools,
            &tools.versions(),
            inputs_changed,
        ));
        return Ok(ExitCode::from(OTHER_TOOLS));
    }
    let built = build(&tools, warnings)?;
    match manifest::compare(&manifest, &committed()?, &inputs, &built) {
        Verdict::Same => {
            cmd::say("the committed eBPF objects are what their sources give");
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Differs {
            objects,
            inputs_changed,
        } => {
            cmd::say(&differs(&objects, inputs_changed));
            Ok(ExitCode::from(DIFFERS))
        }
    }
}

fn build(tools: &Toolchain, warnings: Warnings) -> Result<Objects> {
    let folders = Folders {
        source: workspace::root()?,
        cargo_home: workspace::cargo_home()?,
        rust_src: tools.compiler.rust_src.clone(),
    };
    let target = workspace::target_dir()?.join("ebpf");
    let stripped = tempfile::tempdir().context("cannot create a temporary folder")?;
    let mut objects = Objects::new();
    for arch in Arch::ALL {
        let target = target.join(arch.name());
        cmd::run(&mut cargo_build(tools, arch, &folders, &target, warnings)?)?;
        let folder = target.join(ebpf_flags::TARGET).join("release");
        for binary in Binary::ALL {
            let name = binary.object(arch);
            let object = stripped.path().join(&name);
            strip(tools, &folder.join(binary.name()), &object)?;
            let bytes =
                fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
            let problems = sanity::problems(&bytes, &folders)?;
            if !problems.is_empty() {
                bail!("{name} is not fit to load:\n  {}", problems.join("\n  "));
            }
            objects.insert(name, bytes);
        }
    }
    Ok(objects)
}

fn strip(tools: &Toolchain, linked: &Path, object: &Path) -> Result<()> {
    let mut strip = Command::new(&tools.strip);
    strip.args(ebpf_flags::STRIP_ARGS).arg("-o");
    cmd::run(strip.arg(object).arg(linked))
}

fn cargo_build(
    tools: &Toolchain,
    arch: Arch,
    folders: &Folders,
    target: &Path,
    warnings: Warnings,
) -> Result<Command> {
    let mut cargo = tools.cargo()?;
    cargo
        .current_dir(folders.source.join("tracer-ebpf"))
        .args(ebpf_flags::CARGO_ARGS);
    if warnings == Warnings::Deny {
        // cargo's switch and not -Dwarnings: other flags would build everything a second time.
        cargo.args(["-Zwarnings", "--config", "build.warnings=\"deny\""]);
    }
    cargo.env("CARGO_TARGET_DIR", target);
    // The encoded form, as a folder's name may have spaces.
    let flags = ebpf_flags::rustc_flags(arch, folders).join("\u{1f}");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
    Ok(cargo)
}

fn inputs_now() -> Result<String> {
    inputs::hash(&workspace::root()?, &ebpf_flags::description())
}

/// One for all objects, beside those that are shipped.
fn manifest_path() -> Result<PathBuf> {
    let folder = workspace::root()?.join(Binary::Conntracer.folder());
    Ok(folder.join("manifest.json"))
}

/// The committed objects that are there.
fn committed() -> Result<Objects> {
    let root = workspace::root()?;
    let mut objects = Objects::new();
    for (binary, arch) in ebpf_flags::objects() {
        let name = binary.object(arch);
        let path = root.join(binary.folder()).join(&name);
        if path.exists() {
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            objects.insert(name, bytes);
        }
    }
    Ok(objects)
}

fn no_tools(Missing(names): &Missing) -> ExitCode {
    let names = names.join(", ");
    cmd::say(&format!(
        "missing: {names}. Run `cargo xtask setup-ebpf` to install the build tools."
    ));
    ExitCode::from(NO_TOOLS)
}

fn other_tools(wanted: &Versions, found: &Versions, inputs_changed: bool) -> String {
    let sources = if inputs_changed {
        " The eBPF sources have changed too."
    } else {
        ""
    };
    format!(
        "cannot compare: the committed objects were built by other tools.\n  \
         manifest: {wanted}\n  here:     {found}\n\
         Install the manifest's versions, or run `cargo xtask build-ebpf` and commit the result.\
         {sources}"
    )
}

fn differs(objects: &[String], inputs_changed: bool) -> String {
    let names = objects.join(", ");
    match (inputs_changed, objects.is_empty()) {
        (true, true) => "sources changed (the objects did not, the manifest's hash of the inputs \
                         did): run `cargo xtask build-ebpf` and commit the result"
            .into(),
        (true, false) => format!(
            "{names} differs, sources changed: run `cargo xtask build-ebpf` and commit the result"
        ),
        (false, _) => format!(
            "{names} differs although the sources have not changed since: it was not committed as \
             built, or the build depends on this machine. Run `cargo xtask build-ebpf` and look at \
             `git diff --stat`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_which_object_and_what_to_do() {
        let text = differs(&["conntracer.x86_64.o".into()], true);
        assert!(
            text.starts_with("conntracer.x86_64.o differs, sources changed"),
            "{text}"
        );
        assert!(text.contains("cargo xtask build-ebpf"));
        assert!(differs(&["conntracer.x86_64.o".into()], false).contains("have not changed"));
        assert!(differs(&[], true).starts_with("sources changed"));
    }

    #[test]
    fn other_tools_are_told_with_both_versions() {
        let versions = |rustc: &str| Versions {
            rustc: rustc.into(),
            rustc_commit: "0123456789abcdef".into(),
            llvm: "22.1.8".into(),
            bpf_linker: "0.13.0".into(),
        };
        let text = other_tools(&versions("1.96.0"), &versions("1.97.0"), true);
        assert!(
            text.contains("manifest: rustc 1.96.0 (012345678, LLVM 22.1.8)"),
            "{text}"
        );
        assert!(text.contains("here:     rustc 1.97.0"), "{text}");
        assert!(text.contains("sources have changed too"), "{text}");
    }

    #[test]
    fn the_ebpf_crate_reaches_its_dependencies_inside_its_own_folder() {
        // cargo puts the absolute path of a dependency outside the workspace's folder into symbol
        // names, and the object would depend on where it is built. Hence the symbolic link.
        let manifest = workspace::root().unwrap().join("tracer-ebpf/Cargo.toml");
        let text = fs::read_to_string(manifest).unwrap();
        assert!(
            !text.contains("path = \"../"),
            "use tracer-ebpf/tracer-common"
        );
    }
}
