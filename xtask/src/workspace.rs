//! Where things are, and the stable cargo that builds everything but the eBPF objects.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::cmd;

/// The folder of the root `Cargo.toml`, without symbolic links.
pub(crate) fn root() -> Result<PathBuf> {
    // The variable, not env!: two clones that share a target folder may share this binary.
    let own = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = own.parent().unwrap_or(Path::new("/"));
    root.canonicalize()
        .with_context(|| format!("cannot find the project in {}", root.display()))
}

/// `cargo`, the one that started us, in the project's folder.
pub(crate) fn cargo() -> Result<Command> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()?);
    Ok(cargo)
}

/// Cargo's own folder, with its registry and installed programs.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return std::path::absolute(home).context("CARGO_HOME is not usable");
    }
    let home = env::home_dir().context("neither CARGO_HOME nor HOME is set")?;
    Ok(home.join(".cargo"))
}

/// The target folder, as `CARGO_TARGET_DIR` and cargo's configuration have it.
pub(crate) fn target_dir() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let json =
        cmd::stdout(cargo()?.args(["metadata", "--no-deps", "--locked", "--format-version=1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&json).context("cargo metadata is not as expected")?;
    Ok(metadata.target_directory)
}

/// Builds `(package, binary)` pairs with the release profile and returns the path of each binary.
pub(crate) fn build_release(wanted: &[(&str, &str)]) -> Result<BTreeMap<String, PathBuf>> {
    let mut build = cargo()?;
    build.arg("build");
    build_release_by(build, wanted)
}

/// The same by a given `cargo build`.
pub(crate) fn build_release_by(
    mut command: Command,
    wanted: &[(&str, &str)],
) -> Result<BTreeMap<String, PathBuf>> {
    command.args(["--release", "--locked"]);
    for (package, binary) in wanted {
        command.args(["-p", package, "--bin", binary]);
    }
    command.arg("--message-format=json-render-diagnostics");
    let built = executables(&cmd::stdout(&mut command)?);
    for (_, binary) in wanted {
        if !built.contains_key(*binary) {
            bail!("`{}` built no {binary}", cmd::shell(&command));
        }
    }
    Ok(built)
}

/// Binaries in cargo's messages, by target name.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        executable: PathBuf,
    }
    // Messages of other kinds, and artifacts that are no executable, do not have these fields.
    let artifacts = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts
        .map(|artifact| (artifact.target.name, artifact.executable))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executables_are_taken_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"tracer"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"conntracer"},"executable":"/t/release/conntracer"}
{"reason":"build-finished","success":true}"#;
        let found = executables(messages);
        assert_eq!(found.len(), 1);
        assert_eq!(found["conntracer"], Path::new("/t/release/conntracer"));
    }
}
