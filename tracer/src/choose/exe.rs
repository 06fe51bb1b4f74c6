//! Programs by path. The kernel compares no paths: this is a stage of its own, before anything is
//! counted.

use compact_str::CompactString;
use hashbrown::HashMap;
use wildmatch::WildMatch;

use crate::carrier::nanoseconds;
use crate::carrier::stat::Stat;
use crate::names;
use crate::record::{Process, Record};
use crate::say::say;

/// Why a pattern is refused; completes "`--exe value`: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an empty pattern; write such as /usr/sbin/nginx, */python3* or nginx")]
pub struct GlobError;

/// Patterns of programs; one of them has to fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globs(Vec<Glob>);

#[derive(Clone, Debug, PartialEq)]
struct Glob {
    /// Of an escaped path: records have no other.
    pattern: WildMatch,
    /// Of the whole path, not of the file's name only.
    whole: bool,
}

// Patterns are compared as text.
impl Eq for Glob {}

impl Globs {
    /// One pattern: `*` is any text, also with slashes, and `?` any character. Without a slash it is
    /// of the file's name.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() || text.contains('\0') {
            return Err(GlobError);
        }
        let glob = Glob {
            pattern: WildMatch::new(&names::escape(text.as_bytes())),
            whole: text.contains('/'),
        };
        Ok(Self(vec![glob]))
    }

    /// Those of all.
    pub fn join(all: Vec<Self>) -> Self {
        Self(all.into_iter().flat_map(|globs| globs.0).collect())
    }

    /// Whether any program will do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the program at this escaped path is one of them.
    pub fn fit(&self, path: &str) -> bool {
        let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
        self.0
            .iter()
            .any(|glob| glob.pattern.matches(if glob.whole { path } else { file }))
    }

    /// The same of what is not known: that is none of them.
    pub fn pass(&self, path: Option<&str>) -> bool {
        self.is_empty() || path.is_some_and(|path| self.fit(path))
    }
}

/// Escaped path of the program that a process executes; `None` if it is gone, a thread of the
/// kernel, or may not be looked at.
pub fn path_of(pid: u32) -> Option<CompactString> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.as_os_str().as_bytes();
    // The kernel says so of a file that was replaced, as by an upgrade.
    Some(names::escape(
        path.strip_suffix(b" (deleted)").unwrap_or(path),
    ))
}

/// Processes that are remembered.
const MAX_KNOWN: usize = 1 << 16;

/// Leaves out records of other programs.
#[derive(Debug, Default)]
pub struct Stage {
    globs: Globs,
    /// By process id and start: whether it is one of the programs.
    known: HashMap<(u32, u64), bool>,
    /// Processes that were gone before anybody looked.
    missed: u64,
}

impl Stage {
    /// Keeps what `globs` fit.
    pub fn new(globs: Globs) -> Self {
        Self {
            globs,
            ..Self::default()
        }
    }

    /// Whether `record` is of such a program.
    pub fn keeps(&mut self, record: &Record) -> bool {
        if self.globs.is_empty() {
            return true;
        }
        let Some(process) = &record.process else {
            return false;
        };
        match told(process) {
            Some(path) => self.globs.fit(path),
            None => self.keeps_process(process.pid, process.start_ns),
        }
    }

    /// The same by the process alone.
    pub fn keeps_process(&mut self, pid: u32, start_ns: u64) -> bool {
        if self.globs.is_empty() {
            return true;
        }
        if let Some(keeps) = self.known.get(&(pid, start_ns)) {
            return *keeps;
        }
        let path = path_of(pid).filter(|_| is_started_at(pid, start_ns));
        self.missed += u64::from(path.is_none());
        let keeps = self.globs.pass(path.as_deref());
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert((pid, start_ns), keeps);
        keeps
    }

    /// Says, at the end, of how many processes the program was not known.
    pub fn say_missed(&self) {
        if self.missed > 0 {
            say(&format!(
                "note: the program of {} processes is not known, since they were gone too early or \
                 may not be looked at; their connections are left out",
                self.missed
            ));
        }
    }
}

/// What the record itself says.
fn told(process: &Process) -> Option<&str> {
    process.details.as_ref()?.exe.as_deref()
}

/// Whether the process of this number is the one that started then: numbers are used again.
fn is_started_at(pid: u32, start_ns: u64) -> bool {
    // `/proc` tells it in ticks, rounded down.
    Stat::read(pid).is_some_and(|stat| {
        let (from, to) = (nanoseconds(stat.start), nanoseconds(stat.start + 1));
        (from..to).contains(&start_ns)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::record::{EventKind, ProcessDetails};
    use crate::sink::samples::inbound;

    fn globs(texts: &[&str]) -> Globs {
        Globs::join(
            texts
                .iter()
                .map(|text| Globs::parse(text).unwrap())
                .collect(),
        )
    }

    #[test]
    fn a_pattern_is_of_the_whole_path_or_without_a_slash_of_the_name() {
        for (pattern, path, fits) in [
            ("/usr/sbin/nginx", "/usr/sbin/nginx", true),
            ("/usr/sbin/nginx", "/usr/sbin/nginx2", false),
            ("nginx", "/usr/sbin/nginx", true),
            ("nginx", "/nginx/worker", false),
            ("python3*", "/usr/bin/python3.11", true),
            ("*/python3*", "/opt/python3/bin/tool", true),
            ("/opt/*", "/opt/a/b/c", true),
            ("/opt/?/x", "/opt/a/x", true),
            ("/opt/?/x", "/opt/ab/x", false),
            ("*", "/anything", true),
            // Compared as records have it.
            ("/tmp/a\nb", "/tmp/a\\nb", true),
        ] {
            assert_eq!(globs(&[pattern]).fit(path), fits, "{pattern} {path}");
        }
        assert!(globs(&["a", "b"]).fit("/x/b"));
        assert!(Globs::default().pass(None) && !globs(&["*"]).pass(None));
        assert_eq!(Globs::parse(""), Err(GlobError));
    }

    #[test]
    fn a_record_that_tells_its_program_is_judged_by_that() {
        let mut record = inbound(EventKind::Close);
        let mut stage = Stage::new(globs(&["nginx"]));
        let mut told = |stage: &mut Stage, exe: &str| {
            let details = ProcessDetails {
                exe: Some(exe.into()),
                ..ProcessDetails::default()
            };
            record.process.as_mut().unwrap().details = Some(Arc::new(details));
            stage.keeps(&record)
        };
        assert!(told(&mut stage, "/usr/sbin/nginx"));
        assert!(!told(&mut stage, "/usr/sbin/apache2"));
        assert_eq!(stage.missed, 0);
        record.process = None;
        assert!(!stage.keeps(&record));
        assert!(Stage::default().keeps(&record));
    }

    #[test]
    fn else_the_running_process_is_looked_at_once() {
        let own = std::process::id();
        let start = nanoseconds(Stat::read(own).unwrap().start);
        let path = path_of(own).unwrap();
        let mut stage = Stage::new(globs(&[&path]));
        assert!(stage.keeps_process(own, start + 1));
        // Another process that had the number before.
        assert!(!stage.keeps_process(own, start - 1_000_000_000));
        assert_eq!((stage.missed, stage.known.len()), (1, 2));
        assert!(!stage.keeps_process(own, start - 1_000_000_000));
        assert_eq!(stage.missed, 1);
    }
}
