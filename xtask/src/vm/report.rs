//! What came out, for people.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::Result;

use super::console::Console;

/// One boot and its results.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) time: Duration,
    pub(crate) log: PathBuf,
    pub(crate) result: Result<Console>,
}

impl Row {
    pub(crate) fn passed(&self) -> bool {
        self.faults().is_empty()
    }

    fn faults(&self) -> Vec<String> {
        match &self.result {
            Ok(console) => console.faults(),
            Err(error) => vec![format!("{error:#}")],
        }
    }
}

/// The table, and under it what is wrong and where the whole console is.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| version_key(&row.version));
    let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).len()).max().unwrap_or(0);
    let (names, versions) = (width(|row| &row.name), width(|row| &row.version));
    let mut text = String::new();
    for row in &rows {
        let faults = row.faults();
        let result = if faults.is_empty() {
            "passed"
        } else {
            "FAILED"
        };
        let passed = row.result.as_ref().map_or(0, |console| console.passed);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:names$}  {:versions$}  {result}  {passed} tests passed, {} faults, {} s",
            row.name,
            row.version,
            faults.len(),
            row.time.as_secs(),
        );
    }
    for row in rows.iter().filter(|row| !row.passed()) {
        let _ = write!(text, "\n{}, console in {}:", row.name, row.log.display());
        for fault in row.faults() {
            let _ = write!(text, "\n  {fault}");
        }
    }
    text.trim_end().to_owned()
}

/// 5.10 is older than 6.1, which is older than 6.12.
fn version_key(version: &str) -> Vec<u32> {
    let numbers = version.split(['.', '-', '+']);
    numbers.map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, version: &str, result: Result<Console>) -> Row {
        Row {
            name: name.into(),
            version: version.into(),
            time: Duration::from_secs(90),
            log: "/cache/a.log".into(),
            result,
        }
    }

    #[test]
    fn old_kernels_come_first_and_faults_last() {
        let well = |line: &str| {
            let mut console = Console::default();
            for line in ["@vm {\"begin\":\"churn\"}", line, "@vm \"done\""] {
                console.take(line);
            }
            Ok(console)
        };
        let rows = [
            row("trixie", "6.12.1-1", well("test a ... ok")),
            row("bookworm", "6.1.176-1", well("test a ... FAILED")),
        ];
        let text = table(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("bookworm  6.1.176-1  FAILED  0 tests"));
        assert!(lines[1].starts_with("trixie    6.12.1-1   passed  1 tests"));
        assert!(lines[3].contains("/cache/a.log"));
        assert!(lines[4].contains("churn::a failed"));
    }
}
