//! How right conntracer must be: `tests/exact/BACKEND.toml` for each backend, `socket.toml` for
//! `--accounting socket` with any of them, and `tests/exact/absent.toml` for what a kernel cannot do at all.
//!
//! A run that is worse than its list fails, and so does one that is better: then the list has to
//! say so.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::grade::{Grade, Mark};

/// The list of one backend.
#[derive(Debug, Deserialize)]
pub struct List {
    /// No path is better than this before some kernel.
    at_most: Option<Limit>,
    #[serde(flatten)]
    paths: BTreeMap<String, Cell>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    before: String,
    is: Grade,
    #[expect(dead_code, reason = "it is for people")]
    because: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Cell {
    Same(Grade),
    Because(Row),
    Since(Vec<Row>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The first kernel for which it holds; absent: any.
    from: Option<String>,
    is: Grade,
    /// Why it is not exact.
    because: Option<String>,
    /// A debt: what it still is, where the tracer does not do yet what the kernel allows. More than
    /// one where that varies from run to run.
    #[serde(default)]
    today: Vec<Grade>,
}

/// What kernels cannot do: start of the release → path → reason.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Absent(BTreeMap<String, BTreeMap<String, String>>);

impl List {
    /// The list of a backend, or of `--accounting socket` with any, by its name.
    pub fn of(backend: &str) -> Self {
        match backend {
            "fentry" => Self::parse(include_str!("../exact/fentry.toml")),
            "kprobe" => Self::parse(include_str!("../exact/kprobe.toml")),
            "tracepoint" => Self::parse(include_str!("../exact/tracepoint.toml")),
            "socket" => Self::parse(include_str!("../exact/socket.toml")),
            other => panic!("there is no list of {other}"),
        }
    }

    fn parse(text: &str) -> Self {
        let list: Self = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
        for (path, cell) in &list.paths {
            for row in cell.rows() {
                assert!(
                    (row.is == Grade::Exact && row.today.is_empty()) || row.because.is_some(),
                    "{path}: `because` is missing"
                );
            }
        }
        list
    }

    /// What a path must become on this kernel, where it is not that yet.
    pub fn debt(&self, path: &str, release: &str) -> Option<Grade> {
        let row = self.paths.get(path)?.row(release)?;
        (!row.today.is_empty()).then_some(row.is)
    }

    /// What a path may be on this kernel; nothing for one that is not in the list.
    fn grades(&self, path: &str, release: &str) -> Vec<Grade> {
        let limit = self.at_most.iter();
        let limit = limit
            .filter(|limit| version(release) < version(&limit.before))
            .map(|limit| limit.is)
            .next();
        let grades = match self.paths.get(path) {
            None => Vec::new(),
            Some(Cell::Same(grade)) => vec![*grade],
            Some(cell) => cell.row(release).map_or(Vec::new(), |row| {
                if row.today.is_empty() {
                    vec![row.is]
                } else {
                    row.today.clone()
                }
            }),
        };
        let limited = |grade: Grade| limit.map_or(grade, |limit| grade.max(limit));
        grades.into_iter().map(limited).collect()
    }
}

impl Cell {
    fn row(&self, release: &str) -> Option<&Row> {
        let holds = |row: &&Row| {
            let from = row.from.as_deref().unwrap_or("0.0");
            version(from) <= version(release)
        };
        self.rows().iter().rfind(holds)
    }

    fn rows(&self) -> &[Row] {
        match self {
            Self::Same(_) => &[],
            Self::Because(row) => std::slice::from_ref(row),
            Self::Since(rows) => rows,
        }
    }
}

impl Absent {
    /// The committed one.
    pub fn load() -> Self {
        let text = include_str!("../exact/absent.toml");
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether the kernel cannot do a path; `None` for a kernel that is not in the list.
    fn is_absent(&self, path: &str, release: &str) -> Option<bool> {
        let mut kernels = self.0.iter();
        let (_, paths) = kernels.find(|(kernel, _)| version(kernel) == version(release))?;
        Some(paths.contains_key(path))
    }
}

/// What differs between the marks of a run on a kernel (its release) and what they must be.
pub fn differences(
    list: &List,
    absent: &Absent,
    release: &str,
    marks: &[(&str, Mark)],
) -> Vec<String> {
    let mut differences = Vec::new();
    for (path, mark) in marks {
        let is_absent = absent.is_absent(path, release);
        let wanted = list.grades(path, release);
        let verdict = match mark.grade {
            Grade::NotHere if is_absent == Some(false) => "worse: it must be here".to_owned(),
            Grade::NotHere => continue,
            _ if is_absent == Some(true) => "better: absent.toml says it is not here".to_owned(),
            grade if wanted.contains(&grade) => continue,
            grade => match wanted.iter().max() {
                None => "not in the list".to_owned(),
                Some(wanted) if grade > *wanted => format!("worse: {wanted:?} in the list"),
                Some(wanted) => format!("better: {wanted:?} in the list"),
            },
        };
        let details = mark.details.iter().take(2);
        let details = details.fold(String::new(), |text, line| text + "\n    " + line);
        differences.push(format!("{path}: {:?}, {verdict}{details}", mark.grade));
    }
    let known = |path: &String| marks.iter().any(|(name, _)| name == path);
    let unknown = list.paths.keys().filter(|path| !known(path));
    differences
        .extend(unknown.map(|path| format!("{path}: in the list, but there is no such path")));
    differences
}

/// Major and minor number at the start of a kernel's release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    let mut next = || {
        numbers
            .next()
            .unwrap_or_else(|| panic!("no version: {release}"))
    };
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"
        plain = "exact"
        splice = { is = "total", because = "no hook" }
        file = [{ is = "uncounted", because = "old" }, { from = "6.5", is = "exact" }]
    "#;

    fn differs(release: &str, grades: [Grade; 3]) -> Vec<String> {
        let absent = toml::from_str("[\"6.18\"]\nplain = \"no such thing\"").unwrap();
        let mark = |grade| Mark {
            grade,
            details: Vec::new(),
        };
        let marks: Vec<_> = ["plain", "splice", "file"]
            .into_iter()
            .zip(grades.map(mark))
            .collect();
        let found = differences(&List::parse(LIST), &absent, release, &marks);
        found
            .into_iter()
            .map(|text| text.split(':').take(2).collect())
            .collect()
    }

    #[test]
    fn worse_and_better_both_differ() {
        use Grade::{Exact, NotHere, Total, Uncounted, Wrong};
        assert!(differs("6.5.1-x", [Exact, Total, Exact]).is_empty());
        assert!(differs("6.4", [Exact, Total, Uncounted]).is_empty());
        assert_eq!(
            differs("6.12.3", [Wrong, Exact, Uncounted]),
            [
                "plain Wrong, worse",
                "splice Exact, better",
                "file Uncounted, worse"
            ]
        );
        // Only of a kernel in the list is it known what it cannot do.
        assert!(differs("6.12", [NotHere, NotHere, Exact]).is_empty());
        assert!(differs("6.18", [NotHere, Total, Exact]).is_empty());
        assert_eq!(
            differs("6.18-rc1", [Exact, NotHere, Exact]),
            ["plain Exact, better", "splice NotHere, worse"]
        );
    }

    #[test]
    fn lists_are_complete() {
        let paths: Vec<_> = crate::workload::path_names().collect();
        for backend in ["fentry", "kprobe", "tracepoint"] {
            let list = List::of(backend);
            for release in ["5.10", "6.1", "6.12", "6.18", "7.2"] {
                for path in &paths {
                    assert!(
                        !list.grades(path, release).is_empty(),
                        "{backend} {path} {release}"
                    );
                }
            }
            assert_eq!(
                list.paths.len(),
                paths.len(),
                "{backend} has paths that are gone"
            );
        }
    }

    #[test]
    #[should_panic(expected = "`because` is missing")]
    fn what_is_not_exact_needs_a_reason() {
        List::parse(r#"plain = { is = "total" }"#);
    }

    #[test]
    fn nothing_may_be_wrong_by_list() {
        assert!(toml::from_str::<List>(r#"plain = "wrong""#).is_err());
    }

    #[test]
    fn a_debt_holds_for_its_kernels_and_is_told() {
        let text = r#"
            plain = [{ is = "exact" },
                     { from = "6.1", is = "exact", today = ["wire"], because = "to do" }]
        "#;
        let list = List::parse(text);
        assert_eq!(list.grades("plain", "5.10"), [Grade::Exact]);
        assert_eq!(list.debt("plain", "5.10"), None);
        assert_eq!(list.grades("plain", "6.1.7"), [Grade::Wire]);
        assert_eq!(list.debt("plain", "6.1.7"), Some(Grade::Exact));
    }

    #[test]
    fn a_limit_holds_for_all_paths_before_its_kernel() {
        let text = r#"
            at_most = { before = "6.3", is = "total", because = "no hook" }
            plain = "exact"
            split = { is = "uncounted", because = "no hook either" }
        "#;
        let list = List::parse(text);
        assert_eq!(list.grades("plain", "6.1"), [Grade::Total]);
        assert_eq!(list.grades("split", "6.1"), [Grade::Uncounted]);
        assert_eq!(list.grades("plain", "6.3"), [Grade::Exact]);
    }
}
