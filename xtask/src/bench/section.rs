//! What a part of the bench has to say.

use serde_json::Value;

/// A part's result.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its name, also in the JSON report.
    pub(crate) name: &'static str,
    /// For the terminal.
    pub(crate) text: String,
    /// For the README, between the lines `<!-- bench NAME: … -->` and `<!-- end of bench NAME -->`.
    pub(crate) markdown: String,
    /// All figures, raw and computed.
    pub(crate) json: Value,
    /// Whether nothing that we measured was wrong.
    pub(crate) sound: bool,
}

/// What the README's lines around a part's section say.
pub(crate) fn marker(name: &str) -> String {
    format!("bench {name}")
}
