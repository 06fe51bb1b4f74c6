//! The files that are asked for, each read once.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::names::escape;

/// Why files cannot be taken.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "every variant has its sentence")]
pub enum SourceError {
    #[error("{0} and {1} are the same file, which would count twice; give it once")]
    Twice(String, String),
    #[error("--summary {0}: it is one of the files that are read; name another file")]
    Summary(String),
    #[error("{0} is a directory; name the files in it")]
    Directory(String),
    #[error("{name} cannot be opened: {error}; it is not part of the tables")]
    Open { name: String, error: io::Error },
}

/// One file, or standard input.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    name: String,
}

/// Device and inode number.
type Identity = (u64, u64);

/// The files of the command line. None may be there twice, as another name or link either.
pub fn all(files: Vec<PathBuf>) -> Result<Vec<Source>, SourceError> {
    let mut seen: HashMap<Identity, String> = HashMap::new();
    let mut sources = Vec::new();
    for path in files {
        let source = Source::new(path);
        if let Some(identity) = source.identity()
            && let Some(other) = seen.insert(identity, source.name.clone())
        {
            return Err(SourceError::Twice(other, source.name));
        }
        sources.push(source);
    }
    Ok(sources)
}

/// That the tables do not replace what is read.
pub fn check_summary(summary: &Path, sources: &[Source]) -> Result<(), SourceError> {
    let identity = std::fs::metadata(summary).ok().and_then(|found| of(&found));
    match identity {
        Some(identity) if sources.iter().any(|it| it.identity() == Some(identity)) => Err(
            SourceError::Summary(escape(summary.as_os_str().as_bytes()).into()),
        ),
        _ => Ok(()),
    }
}

/// Streams have no identity that tells: two FIFOs of a shell are two.
fn of(found: &Metadata) -> Option<Identity> {
    found.is_file().then(|| (found.dev(), found.ino()))
}

impl Source {
    fn new(path: PathBuf) -> Self {
        let name = if is_stdin(&path) {
            "standard input".to_owned()
        } else {
            escape(path.as_os_str().as_bytes()).into()
        };
        Self { path, name }
    }

    /// For people.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> Option<Identity> {
        if !is_stdin(&self.path) {
            return std::fs::metadata(&self.path)
                .ok()
                .and_then(|found| of(&found));
        }
        // Standard input is one stream however often it is named, a file or not.
        let found = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        found
            .metadata()
            .ok()
            .map(|found| (found.dev(), found.ino()))
    }

    /// Opens it.
    pub fn open(&self) -> Result<Box<dyn Read>, SourceError> {
        if is_stdin(&self.path) {
            return Ok(Box::new(io::stdin().lock()));
        }
        let opened = File::open(&self.path).and_then(|file| {
            let is_directory = file.metadata()?.is_dir();
            Ok((file, is_directory))
        });
        match opened {
            Ok((_, true)) => Err(SourceError::Directory(self.name.clone())),
            Ok((file, false)) => Ok(Box::new(file)),
            Err(error) => Err(SourceError::Open {
                name: self.name.clone(),
                error,
            }),
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn told(files: &[&Path]) -> Option<String> {
        let files = files.iter().map(|path| path.to_path_buf()).collect();
        all(files).err().map(|error| error.to_string())
    }

    #[test]
    fn a_file_is_taken_once_whatever_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other, link, hard] = ["a", "b", "c", "d"].map(|name| folder.path().join(name));
        std::fs::write(&file, "").unwrap();
        std::fs::write(&other, "").unwrap();
        symlink(&file, &link).unwrap();
        std::fs::hard_link(&file, &hard).unwrap();
        assert_eq!(told(&[&file, &other]), None);
        for again in [&file, &link, &hard] {
            let text = told(&[&file, &other, again]).unwrap();
            assert!(text.contains("are the same file"), "{text}");
        }
        let stdin = Path::new("-");
        assert_eq!(told(&[&file, stdin]), None);
        assert!(
            told(&[stdin, &file, stdin])
                .unwrap()
                .contains("standard input")
        );
        // What is missing is told when it is its turn.
        let missing = folder.path().join("no");
        assert_eq!(told(&[&missing, &missing]), None);
    }

    #[test]
    fn the_tables_do_not_replace_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["a", "b"].map(|name| folder.path().join(name));
        std::fs::write(&file, "").unwrap();
        symlink(&file, &link).unwrap();
        let sources = all(vec![file]).unwrap();
        assert!(check_summary(&link, &sources).is_err());
        assert!(check_summary(&folder.path().join("new"), &sources).is_ok());
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("x\x1b[2J");
        for (path, word) in [
            (folder.path(), "is a directory"),
            (&bad, r"x\x1b[2J cannot be"),
        ] {
            let error = Source::new(path.to_path_buf()).open().err().unwrap();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
