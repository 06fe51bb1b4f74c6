//! What recorded files are compressed by, told by their first bytes, and how they are read.
//!
//! Both decoders are Rust: nobody needs a C compiler, and a hostile file meets no C. flate2 comes
//! with `miniz_oxide`, which has no unsafe code; ruzstd has little. Neither takes more memory than
//! its window, whatever the file says.

mod frames;

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use frames::Frames;

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CompressedError {
    /// Known, and not read here.
    #[error(
        "compressed by {name}, which is not read here; unpack it with `{command} FILE | conntracer \
         replay -`"
    )]
    Unsupported {
        /// What the format is called.
        name: &'static str,
        /// What unpacks it to standard output.
        command: &'static str,
    },
    /// Not even the first bytes can be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Gzip,
    Zstd,
    Other(&'static str, &'static str),
}

/// Bytes that tell.
const HEAD: usize = 6;

impl Kind {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or one to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Other("xz", "xz -dc"),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A'] => Self::Other("bzip2", "bzip2 -dc"),
            [4, 0x22, 0x4d, 0x18, ..] => Self::Other("lz4", "lz4 -dc"),
            [b'P', b'K', 3, 4, ..] => Self::Other("zip", "unzip -p"),
            _ => Self::Plain,
        }
    }
}

/// The text in `raw`, unpacked as it is read. All members or frames, one after the other, are one
/// text.
pub fn text(mut raw: impl Read + 'static) -> Result<Box<dyn BufRead>, CompressedError> {
    let mut head = Vec::with_capacity(HEAD);
    raw.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let kind = Kind::of(&head);
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(raw));
    Ok(match kind {
        Kind::Plain => Box::new(whole),
        Kind::Gzip => Box::new(buffered(MultiGzDecoder::new(whole))),
        Kind::Zstd => Box::new(buffered(Frames::new(whole))),
        Kind::Other(name, command) => {
            return Err(CompressedError::Unsupported { name, command });
        }
    })
}

fn buffered<R: Read>(decoder: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER, decoder)
}

/// Whether `error` is that there is less than there should be.
pub fn ends_early(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
