//! Writing truth lines.

use std::io::Write as _;

use crate::truth::Line;

/// Writes one line to standard output in one call, so that processes can share a pipe.
pub(super) fn say(line: &Line) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    std::io::stdout().lock().write_all(&text)?;
    Ok(())
}
