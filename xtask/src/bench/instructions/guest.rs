//! What runs in the VM: the calls, conntracer on each of its backends, the least that programs can
//! do, and some of Debian's libbpf-tools.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{
    compare::{
        guest::{Image, Peers, command},
        plan::{MEASURED, Measured, Ready},
        tools::TOOLS,
    },
    vm::{Target, kernel::Kernel, matrix::BACKENDS},
};

/// The name of no tool at all.
pub(super) const NOTHING: &str = "nothing";

/// Sets of the floor object.
const FLOOR: [&str; 6] = [
    "empty-fentry",
    "update-fentry",
    "update-kprobe",
    "update",
    "quiet-prototype",
    "prototype",
];
/// One that looks at what calls move, and two that look at the lives of connections.
const PEERS: [&str; 3] = ["tcptop", "tcptracer", "tcplife"];

/// Writes the initramfs.
pub(super) fn build(target: &Target, kernel: &Kernel, peers: &Peers, path: &Path) -> Result<()> {
    let image = Image {
        target,
        kernel,
        peers,
        programs: &["calls", "floor"],
        name: "calls",
    };
    image.write(MEASURED, measured, path)
}

fn measured(loader: &str) -> Result<Vec<Measured>> {
    let measured = |name: String, words: &[&str], ready: &str| Measured {
        name,
        tool: words.iter().map(|&word| word.to_owned()).collect(),
        ready: Ready::Prints(ready.to_owned()),
    };
    let mut all = vec![measured(NOTHING.to_owned(), &[], "")];
    for backend in BACKENDS {
        let words = ["/bin/conntracer", "--quiet", "--backend", backend];
        all.push(measured(
            format!("conntracer, {backend}"),
            &words,
            "ready: ",
        ));
    }
    for set in FLOOR {
        let words = ["/bin/floor", "--attach", set];
        all.push(measured(
            format!("floor, {set}"),
            &words,
            "{\"ready\":true}",
        ));
    }
    for name in PEERS {
        let tool = TOOLS.iter().find(|tool| tool.name == name);
        let tool = tool.with_context(|| format!("there is no {name}"))?;
        all.push(Measured {
            name: name.to_owned(),
            tool: command(tool, loader).0,
            ready: tool.ready(),
        });
    }
    Ok(all)
}
