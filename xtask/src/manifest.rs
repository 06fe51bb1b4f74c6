//! The committed record of how the committed eBPF objects came about, and what a rebuild says.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{inputs, toolchain::Versions};

/// Contents of each object by file name.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

/// `tracer/bpf/manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) tools: Versions,
    /// [`inputs::hash`].
    pub(crate) inputs: String,
    pub(crate) objects: BTreeMap<String, Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    pub(crate) sha256: String,
    pub(crate) size: usize,
}

impl Manifest {
    pub(crate) fn new(tools: Versions, inputs: String, objects: &Objects) -> Self {
        Self {
            tools,
            inputs,
            objects: digests(objects),
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| {
            format!("cannot read {shown}: run `cargo xtask build-ebpf` and commit the result")
        })?;
        serde_json::from_str(&text).with_context(|| format!("{shown} is not a manifest"))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn digests(objects: &Objects) -> BTreeMap<String, Digest> {
    let digest = |bytes: &Vec<u8>| Digest {
        sha256: inputs::sha256(bytes),
        size: bytes.len(),
    };
    objects
        .iter()
        .map(|(name, bytes)| (name.clone(), digest(bytes)))
        .collect()
}

/// What `build-ebpf --check` found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    /// File names of the objects that differ, and whether the sources have changed since.
    Differs {
        objects: Vec<String>,
        inputs_changed: bool,
    },
}

/// `manifest` and `committed` are what the repository has, `built` and `inputs` what is true now.
pub(crate) fn compare(
    manifest: &Manifest,
    committed: &Objects,
    inputs: &str,
    built: &Objects,
) -> Verdict {
    let recorded = digests(committed);
    let mut names: Vec<&String> = built.keys().chain(manifest.objects.keys()).collect();
    names.sort();
    names.dedup();
    let differs = |name: &&String| {
        committed
            .get(*name)
            .is_none_or(|bytes| built.get(*name) != Some(bytes))
            || manifest.objects.get(*name) != recorded.get(*name)
    };
    let objects: Vec<String> = names.into_iter().filter(differs).cloned().collect();
    let inputs_changed = manifest.inputs != inputs;
    if objects.is_empty() && !inputs_changed {
        Verdict::Same
    } else {
        Verdict::Differs {
            objects,
            inputs_changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Versions {
        Versions {
            rustc: "1.96.0".into(),
            rustc_commit: "ac68faa20c58".into(),
            llvm: "22.1.8".into(),
            bpf_linker: "0.13.0".into(),
        }
    }

    fn objects(x86: &str, arm: &str) -> Objects {
        [("x86.o", x86), ("arm.o", arm)]
            .map(|(name, bytes)| (name.into(), bytes.into()))
            .into()
    }

    fn verdict(committed: &Objects, inputs: &str, built: &Objects) -> Verdict {
        let manifest = Manifest::new(tools(), "hash".into(), &objects("a", "b"));
        compare(&manifest, committed, inputs, built)
    }

    #[test]
    fn an_equal_rebuild_is_the_same() {
        assert_eq!(
            verdict(&objects("a", "b"), "hash", &objects("a", "b")),
            Verdict::Same
        );
    }

    #[test]
    fn a_changed_source_is_told_with_the_object_that_it_changes() {
        let expected = Verdict::Differs {
            objects: vec!["arm.o".into()],
            inputs_changed: true,
        };
        assert_eq!(
            verdict(&objects("a", "b"), "new hash", &objects("a", "c")),
            expected
        );
    }

    #[test]
    fn a_changed_source_with_equal_objects_still_needs_a_new_manifest() {
        let expected = Verdict::Differs {
            objects: vec![],
            inputs_changed: true,
        };
        assert_eq!(
            verdict(&objects("a", "b"), "new hash", &objects("a", "b")),
            expected
        );
    }

    #[test]
    fn an_object_of_unchanged_sources_may_still_differ() {
        let expected = Verdict::Differs {
            objects: vec!["x86.o".into()],
            inputs_changed: false,
        };
        assert_eq!(
            verdict(&objects("a", "b"), "hash", &objects("z", "b")),
            expected
        );
    }

    #[test]
    fn an_object_that_is_not_committed_or_not_the_manifests_differs() {
        let mut one = objects("a", "b");
        one.remove("x86.o");
        let expected = Verdict::Differs {
            objects: vec!["x86.o".into()],
            inputs_changed: false,
        };
        assert_eq!(verdict(&one, "hash", &objects("a", "b")), expected);
        // Committed object and rebuild agree, the manifest speaks of another one.
        assert_eq!(
            verdict(&objects("z", "b"), "hash", &objects("z", "b")),
            expected
        );
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        let manifest = Manifest::new(tools(), "hash".into(), &objects("a", "b"));
        manifest.write(&path).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), manifest);
    }
}
