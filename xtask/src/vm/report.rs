//! What came out, for people.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::Result;

use super::{console::Console, matrix::Cell};

/// One boot and its results.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) time: Duration,
    pub(crate) log: PathBuf,
    pub(crate) result: Result<Console>,
    /// What it means for the matrix, if it belongs to one.
    pub(crate) cell: Option<Cell>,
}

impl Row {
    pub(crate) fn passed(&self) -> bool {
        self.faults().is_empty()
    }

    fn faults(&self) -> Vec<String> {
        match (&self.cell, &self.result) {
            (Some(cell), _) => cell.faults.clone(),
            (None, Ok(console)) => console.faults(),
            (None, Err(error)) => vec![format!("{error:#}")],
        }
    }

    fn passed_tests(&self) -> usize {
        self.result
            .as_ref()
            .map_or(0, |console| console.passed.len())
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
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:names$}  {:versions$}  {result}  {} tests passed, {} faults, {} s",
            row.name,
            row.version,
            row.passed_tests(),
            faults.len(),
            row.time.as_secs(),
        );
    }
    for row in rows.iter().filter(|row| !row.passed()) {
        let _ = write!(text, "\n{}, console in {}:", row.name, row.log.display());
        for fault in row.faults() {
            let _ = write!(text, "\n  {fault}");
        }
        // In CI nobody can open the log.
        let excerpts = row.result.iter().flat_map(Console::excerpts);
        for line in excerpts.flat_map(|lines| ["…".to_owned()].into_iter().chain(lines)) {
            let _ = write!(text, "\n    {}", cut(&line));
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// What an assertion prints of ten thousand connections is one line.
fn cut(line: &str) -> String {
    line.chars().take(2_000).collect()
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
            cell: None,
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
