//! `cargo xtask setup-ebpf`: installs what `build-ebpf` needs.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    cmd, debian, tool_search,
    toolchain::{self, BPF_LINKER, Found, LLVM_PREFIX, Linker},
    workspace,
};

const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "llvm-22-dev"];

/// What has to be installed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    packages: bool,
    linker: bool,
}

/// `llvm`: whether the LLVM to build bpf-linker with is there. A compiler that will do is left
/// alone, whosever it is.
fn plan(found: &Found, llvm: bool) -> Plan {
    let linker = found
        .linker
        .as_ref()
        .is_none_or(|linker| linker.version != BPF_LINKER);
    let pretended = Linker {
        path: "bpf-linker".into(),
        version: BPF_LINKER.into(),
    };
    let rest = toolchain::choose(Found {
        linker: Some(pretended),
        ..found.clone()
    });
    Plan {
        packages: rest.is_err() || linker && !llvm,
        linker,
    }
}

pub(crate) fn run() -> Result<ExitCode> {
    let llvm_config = std::path::Path::new(LLVM_PREFIX).join("bin/llvm-config");
    let plan = plan(&tool_search::find()?, cmd::is_program(&llvm_config));
    if plan.packages {
        install_packages()?;
    }
    if plan.linker {
        install_linker()?;
    }
    match toolchain::choose(tool_search::find()?) {
        Ok(tools) => {
            cmd::say(&format!("eBPF build tools: {}", tools.versions()));
            Ok(ExitCode::SUCCESS)
        }
        Err(missing) => bail!(
            "still missing after the installation: {}",
            missing.0.join(", ")
        ),
    }
}

fn install_packages() -> Result<()> {
    if cmd::in_path("apt-get").is_none() {
        bail!(
            "this system has no apt-get: install a nightly Rust (`rustup toolchain install nightly \
             --component rust-src`), the LLVM that it uses (`rustup run nightly rustc -vV`) with \
             llvm-strip, and bpf-linker {BPF_LINKER} built with that LLVM (`cargo install \
             bpf-linker --version {BPF_LINKER}`)"
        );
    }
    debian::install(&PACKAGES)
}

fn install_linker() -> Result<()> {
    let mut install = workspace::cargo()?;
    install.args([
        "install",
        "bpf-linker",
        "--version",
        BPF_LINKER,
        "--locked",
        "--force",
    ]);
    install.args(["--no-default-features", "--features", "llvm-22"]);
    install.env("LLVM_PREFIX", LLVM_PREFIX);
    // A folder of its own, removed by cargo afterwards: not the project's.
    install.env_remove("CARGO_TARGET_DIR");
    cmd::run(&mut install)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::Compiler;

    fn all() -> Found {
        let compiler = Compiler {
            release: "1.96.0".into(),
            commit: "ac68faa20c58".into(),
            llvm: "22.1.8".into(),
            rust_src: "/usr/lib/rustlib/src/rust".into(),
        };
        Found {
            debian: Some(compiler),
            nightly: None,
            linker: Some(Linker {
                path: "/bin/bpf-linker".into(),
                version: BPF_LINKER.into(),
            }),
            strip: Some("/bin/llvm-strip".into()),
        }
    }

    #[test]
    fn nothing_is_installed_where_all_is_there() {
        assert_eq!(
            plan(&all(), true),
            Plan {
                packages: false,
                linker: false
            }
        );
        // The linker is there already: nobody needs the LLVM to build it.
        assert_eq!(
            plan(&all(), false),
            Plan {
                packages: false,
                linker: false
            }
        );
    }

    #[test]
    fn an_empty_machine_gets_everything() {
        assert_eq!(
            plan(&Found::default(), false),
            Plan {
                packages: true,
                linker: true
            }
        );
    }

    #[test]
    fn a_linker_of_another_version_is_replaced() {
        let old = Linker {
            path: "/bin/bpf-linker".into(),
            version: "0.9.0".into(),
        };
        let found = Found {
            linker: Some(old),
            ..all()
        };
        assert_eq!(
            plan(&found, true),
            Plan {
                packages: false,
                linker: true
            }
        );
        assert_eq!(
            plan(&found, false),
            Plan {
                packages: true,
                linker: true
            }
        );
    }

    #[test]
    fn a_missing_compiler_needs_packages_only() {
        assert_eq!(
            plan(
                &Found {
                    debian: None,
                    ..all()
                },
                true
            ),
            Plan {
                packages: true,
                linker: false
            }
        );
    }
}
