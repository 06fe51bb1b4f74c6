//! What conntracer's programs take in the kernel, beside programs that do as little as can be done
//! on the same calls, and beside a tracer as one writes it first: all attached at once, so that
//! they see the same calls in the same caches, and what disturbs one disturbs all.

mod figures;
mod table;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use self::figures::{Figure, Slice};
use super::{partner::Partner, section::Section};
use crate::{cmd, workspace};

/// Length of a slice, milliseconds.
const SLICE_MS: u64 = 300;

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Slices of time in which programs are measured
    #[arg(long, value_name = "N", default_value_t = 20)]
    slices: usize,
    /// Options of conntracer while its programs are measured, such as "--accounting socket"
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        allow_hyphen_values = true
    )]
    tracer: String,
}

/// A load under conntracer and sets of the floor object.
struct Scene {
    name: &'static str,
    load: &'static str,
    /// conntracer's options, besides those of the command line.
    options: &'static [&'static str],
    /// What `floor` attaches.
    floor: &'static str,
}

const CALLS: Scene = Scene {
    name: "calls",
    load: "ping-pong",
    options: &[],
    floor: "empty,lookup,update,storage",
};

const CONNECTIONS: Scene = Scene {
    name: "connections",
    load: "churn",
    options: &[],
    floor: "empty,quiet-prototype,prototype",
};

/// Nothing that the loads do has this port.
const FILTERED_CALLS: Scene = Scene {
    name: "filtered calls",
    options: &["--port", "1"],
    ..CALLS
};

/// See [`FILTERED_CALLS`].
const FILTERED_CONNECTIONS: Scene = Scene {
    name: "filtered connections",
    load: "churn",
    options: &["--port", "1"],
    floor: "empty,lookup",
};

/// What came of a scene.
pub(crate) struct Outcome {
    name: &'static str,
    /// conntracer's process id, by which its programs are known.
    ours: String,
    figures: Vec<Figure>,
    /// Connections that the load made.
    connections: u64,
}

pub(crate) fn run(args: &Args) -> Result<Section> {
    if !rustix::process::geteuid().is_root() {
        bail!("measuring programs in the kernel needs root");
    }
    let wanted = [
        ("tracer", "conntracer"),
        ("tests", "load"),
        ("tests", "floor"),
    ];
    let built = workspace::build_release(&wanted)?;
    let measure = |scene: &Scene| {
        cmd::say(&format!("programs: {}", scene.name));
        let outcome = measure(scene, args, |name: &str| &built[name]);
        outcome.with_context(|| format!("programs: {}", scene.name))
    };
    let calls = measure(&CALLS)?;
    let connections = measure(&CONNECTIONS)?;
    let filtered = [measure(&FILTERED_CALLS)?, measure(&FILTERED_CONNECTIONS)?];
    let text = table::text(&calls, &connections, &filtered)?;
    let all = [&calls, &connections, &filtered[0], &filtered[1]];
    Ok(Section {
        name: "programs",
        markdown: table::markdown(&calls, &connections, &filtered)?,
        text,
        json: all.into_iter().map(Outcome::json).collect(),
        // Times say nothing about what is right.
        sound: true,
    })
}

impl Outcome {
    fn json(&self) -> Value {
        let program = |figure: &Figure| {
            let Figure { name, runs, ns, .. } = figure;
            json!({"of": self.owner(figure), "name": name, "runs": runs, "ns": ns})
        };
        let programs: Vec<Value> = self.figures.iter().map(program).collect();
        json!({"scene": self.name, "connections": self.connections, "programs": programs})
    }

    fn owner<'a>(&self, figure: &'a Figure) -> &'a str {
        if figure.owner == self.ours {
            "conntracer"
        } else {
            &figure.owner
        }
    }
}

fn measure<'a>(
    scene: &Scene,
    args: &Args,
    program: impl Fn(&str) -> &'a std::path::PathBuf,
) -> Result<Outcome> {
    #[derive(Deserialize)]
    struct Ran {
        did: Value,
    }
    // One core for the load; the other one for who reads what programs send.
    let mut load = Command::new(program("load"));
    load.args([scene.load, "--core", "1"]);
    let (mut load, _) = Partner::start::<Value>(&mut load)?;
    let options: Vec<&str> = scene
        .options
        .iter()
        .copied()
        .chain(args.tracer.split_whitespace())
        .collect();
    let tracer = Tracer::start(program("conntracer"), &options)?;
    let mut floor = Command::new(program("floor"));
    floor.args(["--attach", scene.floor]);
    let (mut floor, _) = Partner::start::<Value>(&mut floor)?;
    let ours = tracer.child.id().to_string();
    let run = format!("run {SLICE_MS}");
    let mut slices = Vec::new();
    let mut connections = 0;
    // The first one fills caches.
    for index in 0..=args.slices {
        floor.ask::<Slice>(&ours)?;
        let ran: Ran = load.ask(&run)?;
        let slice: Slice = floor.ask(&ours)?;
        if index > 0 {
            slices.push(slice);
            let made = ran.did["client"]["connections"].as_u64();
            connections += made.context("the load does not say what it did")?;
        }
    }
    Ok(Outcome {
        name: scene.name,
        ours,
        figures: figures::figures(&slices),
        connections,
    })
}

/// conntracer with its programs attached.
struct Tracer {
    child: Child,
}

impl Tracer {
    fn start(program: &Path, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("--quiet").args(options);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let line = cmd::shell(&command);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run `{line}`"))?;
        let stderr = child
            .stderr
            .take()
            .context("conntracer has no standard error")?;
        let tracer = Self { child };
        let mut lines = BufReader::new(stderr).lines();
        let mut said = Vec::new();
        for text in lines.by_ref() {
            let text = text.with_context(|| format!("cannot hear `{line}`"))?;
            if text.starts_with("ready: ") {
                // It must not wait for us to read on.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(tracer);
            }
            said.push(text);
        }
        bail!("`{line}` does not get ready: {}", said.join("; "))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // What it would print is not what this is about.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
