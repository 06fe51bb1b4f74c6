//! Sets of addresses as options and files name them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::prefixes::{PrefixError, PrefixSet, parse_prefix};

/// Bytes of a file at most: a million networks with a comment each.
const MAX_BYTES: u64 = 128 << 20;
/// Networks of a file at most.
const MAX_PREFIXES: usize = 1 << 20;

/// Why the value of an option is refused; each text follows the option.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is no prefix.
    #[error("{value}: {error}")]
    Prefix {
        /// What was given.
        value: String,
        /// What is wrong with it.
        error: PrefixError,
    },
    /// A file cannot be used.
    #[error("@{}: {problem}", .path.to_string_lossy().escape_debug())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It has no name.
    #[error("no file name after the @")]
    NoName,
    /// It is too large.
    #[error("larger than {} MiB, which is no list of networks", MAX_BYTES >> 20)]
    TooLarge,
    /// A line is no prefix.
    #[error("line {number}: {error}")]
    Line {
        /// Counts from 1.
        number: usize,
        /// What is wrong with it.
        error: PrefixError,
    },
    /// There is no room for so many.
    #[error("more than {MAX_PREFIXES} networks")]
    TooMany,
}

/// A set, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes {
    given: Vec<IpNet>,
    files: Vec<PathBuf>,
    set: Arc<PrefixSet>,
}

impl Prefixes {
    /// Of the values of one option: `@FILE`, or addresses and networks with commas between.
    pub fn of(values: &[impl AsRef<str>]) -> Result<Self, SourceError> {
        let (mut given, mut files) = (Vec::new(), Vec::new());
        for value in values.iter().map(AsRef::as_ref) {
            if let Some(path) = value.strip_prefix('@') {
                files.push(PathBuf::from(path));
                continue;
            }
            for text in value.split(',') {
                let net = parse_prefix(text).map_err(|error| SourceError::Prefix {
                    value: value.escape_debug().to_string(),
                    error,
                })?;
                given.push(net);
            }
        }
        let set = Arc::new(read(&given, &files)?);
        Ok(Self { given, files, set })
    }

    /// The addresses.
    pub fn set(&self) -> &PrefixSet {
        &self.set
    }

    /// Whether any of them are from a file.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// With the files as they are now.
    pub fn again(&self) -> Result<Self, SourceError> {
        Ok(Self {
            set: Arc::new(read(&self.given, &self.files)?),
            ..self.clone()
        })
    }
}

fn read(given: &[IpNet], files: &[PathBuf]) -> Result<PrefixSet, SourceError> {
    let mut nets = given.to_vec();
    for path in files {
        read_file(path, &mut nets).map_err(|problem| SourceError::File {
            path: path.clone(),
            problem,
        })?;
    }
    Ok(PrefixSet::of(nets))
}

fn read_file(path: &Path, nets: &mut Vec<IpNet>) -> Result<(), FileProblem> {
    if path.as_os_str().is_empty() {
        return Err(FileProblem::NoName);
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileProblem::TooLarge);
    }
    parse_lines(&bytes, nets)
}

/// One prefix a line; what follows `#` or `;` is a comment.
fn parse_lines(bytes: &[u8], nets: &mut Vec<IpNet>) -> Result<(), FileProblem> {
    let before = nets.len();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.split(|byte| matches!(byte, b'#' | b';')).next();
        let line = line.unwrap_or_default().trim_ascii();
        if line.is_empty() {
            continue;
        }
        let net = parse_prefix(&shown(line)).map_err(|error| FileProblem::Line {
            number: index + 1,
            error,
        })?;
        if nets.len() - before >= MAX_PREFIXES {
            return Err(FileProblem::TooMany);
        }
        nets.push(net);
    }
    Ok(())
}

/// A line as text, which for a message is cut where no prefix can go on.
fn shown(line: &[u8]) -> String {
    const LONGEST: usize = 60;
    String::from_utf8_lossy(line)
        .chars()
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn lines(text: &str) -> Result<Vec<String>, String> {
        let mut nets = Vec::new();
        let parsed = parse_lines(text.as_bytes(), &mut nets);
        parsed.map_err(|problem| problem.to_string())?;
        Ok(nets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_file_has_one_prefix_a_line_and_comments() {
        let text = "# a list\r\n10.0.0.0/8\r\n\n  192.0.2.7   # a host\n\
                    2001:db8::/32 ; as Spamhaus writes it\n;\n#";
        let expected = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"];
        assert_eq!(lines(text).unwrap(), expected);
        assert!(lines("").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_line_is_named_by_number_and_safe_to_print() {
        for (text, start) in [
            (
                "10.0.0.0/8\n\n10.0.0.1/8\n",
                "line 3: `10.0.0.1/8` is an address",
            ),
            ("nonsense", "line 1: `nonsense` is no address"),
            ("10.0.0.0/8,11.0.0.0/8", "line 1: `10.0.0.0/8,11"),
            ("\x1b[2J", "line 1: `\\u{1b}[2J` is no"),
        ] {
            let error = lines(text).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        }
        let mut nets = Vec::new();
        let error = parse_lines(&vec![0xff; 1 << 20], &mut nets).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }

    #[test]
    fn options_and_files_add_up_and_files_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a,b");
        std::fs::write(&path, "192.0.2.0/24\n").unwrap();
        let file = format!("@{}", path.display());
        let prefixes = Prefixes::of(&["10.0.0.0/8, ::1", &file]).unwrap();
        let has = |prefixes: &Prefixes, ip: &str| {
            let ip: IpAddr = ip.parse().unwrap();
            prefixes.set().contains(ip)
        };
        assert!(prefixes.has_files());
        for ip in ["10.1.1.1", "::1", "192.0.2.9"] {
            assert!(has(&prefixes, ip), "{ip}");
        }
        std::fs::write(&path, "198.51.100.0/24\n").unwrap();
        let again = prefixes.again().unwrap();
        assert!(has(&again, "198.51.100.1") && has(&again, "10.1.1.1"));
        assert!(!has(&again, "192.0.2.9"));
        std::fs::write(&path, "198.51.100.0/24\nx\n").unwrap();
        let error = again.again().unwrap_err().to_string();
        assert!(
            error.ends_with("2001:db8::/32") && error.contains("a,b: line 2: `x`"),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
        let error = again.again().unwrap_err().to_string();
        assert!(error.contains("cannot be read: No such file"), "{error}");
        assert!(!Prefixes::of(&["10.0.0.0/8"]).unwrap().has_files());
    }

    #[test]
    fn wrong_values_are_refused() {
        for value in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/8,",
            "@",
            "@/no/such/file",
            "@/proc",
        ] {
            let error = Prefixes::of(&[value]).unwrap_err().to_string();
            assert!(error.starts_with(value), "{error}");
        }
    }
}
