//! `conntracer map`: shows a map, also while a run writes it, or adds a list of addresses to it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;

use super::import::{MAX_BYTES, parse};
use super::options::{Action, Limits, Options};
use super::store::{self, Store};
use super::view::Shown;
use crate::peers::Peers;
use crate::record::WallTime;
use crate::report::map::{Style, write};
use crate::say::say;
use crate::{clock, exit, host, terminal};

/// Does it. Returns the exit code.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    let now = clock::now();
    match &options.action {
        Action::Show {
            shape,
            filter,
            peers,
            top,
        } => {
            let mut peers = Peers::start(peers)?;
            let map = store::read(&options.state).context("--state")?;
            let shown = Shown::of(map, filter);
            let known = peers.as_mut().map(|peers| peers.of_all(&shown.addresses()));
            let mut stdout = io::stdout().lock();
            let style = Style {
                time: now,
                zone: &TimeZone::system(),
                width: terminal::width(&stdout),
                top: *top,
                known: known.as_ref(),
            };
            let text = write(&shown, *shape, &style);
            let written = stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush());
            match written {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    return Err(error).context("cannot write the map");
                }
                _ => {}
            }
        }
        Action::Import {
            file,
            max_relations,
        } => import(options, file, *max_relations, now)?,
    }
    Ok(exit::CLEAN)
}

fn import(options: &Options, file: &Path, most: u64, now: WallTime) -> anyhow::Result<()> {
    let name = file.display();
    let read = || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        // One byte more tells that it is too long.
        File::open(file)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().with_context(|| format!("--import: cannot read {name}"))?;
    if text.len() as u64 > MAX_BYTES {
        bail!("--import: {name} is longer than {MAX_BYTES} bytes; divide it");
    }
    // All of it is checked before the map is touched.
    let addresses = parse(&text)
        .map_err(|error| anyhow::anyhow!("--import: {name}, {error}; nothing was imported"))?;
    let limits = Limits {
        max_relations: most,
        forget: None,
    };
    let mut store = Store::open(&options.state, limits).context("--state")?;
    let host = host::name().into();
    let new = store.import(&addresses, &host, now).context("--import")?;
    say(&format!(
        "imported {} addresses, {new} of them new",
        addresses.len()
    ));
    Ok(())
}
