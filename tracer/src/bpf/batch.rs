//! Batched map reads: one system call for thousands of entries. aya 0.14 reads one entry a call,
//! which takes five times as long over a large table.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use zerocopy::FromBytes;

use super::sys::bpf;

/// `enum bpf_cmd`.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;

/// Entries a call, which bounds memory and how long the reader is away from the ring. A hash bucket
/// longer than this would not fit; buckets hold a few entries.
const BATCH: usize = 1024;

/// `union bpf_attr`'s `batch` member.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A place in a hash map, and room for the entries of one call.
pub struct Cursor<K, V> {
    /// A bucket number; `None` = at the start.
    bucket: Option<u32>,
    keys: Vec<u8>,
    values: Vec<u8>,
    types: PhantomData<(K, V)>,
}

impl<K: FromBytes, V: FromBytes> Cursor<K, V> {
    /// At the start of a map.
    #[expect(clippy::new_without_default, reason = "it takes the room at once")]
    pub fn new() -> Self {
        Self {
            bucket: None,
            keys: vec![0; BATCH * size_of::<K>()],
            values: vec![0; BATCH * size_of::<V>()],
            types: PhantomData,
        }
    }

    /// Hands the next entries to `each`, at most [`BATCH`]; with `delete`, takes them out as well.
    /// Returns whether more may follow.
    ///
    /// Entries inserted or removed during a pass may or may not be seen; one that stays is. A map
    /// without batch operations, or one that cannot be read, gives the error of the system call.
    pub(super) fn next(
        &mut self,
        map: BorrowedFd<'_>,
        delete: bool,
        mut each: impl FnMut(K, V),
    ) -> io::Result<bool> {
        let command = if delete {
            BPF_MAP_LOOKUP_AND_DELETE_BATCH
        } else {
            BPF_MAP_LOOKUP_BATCH
        };
        let mut next = 0u32;
        let mut attr = BatchAttr {
            in_batch: self.bucket.as_ref().map_or(0, |at| (&raw const *at) as u64),
            out_batch: (&raw mut next) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: u32::try_from(BATCH).unwrap_or(u32::MAX),
            map_fd: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
            ..BatchAttr::default()
        };
        // SAFETY: `attr` is a whole `batch` attribute; its pointers are to live buffers of `count`
        // keys and values and to two cursors.
        let at_end = match unsafe { bpf(command, &mut attr) } {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        // `count` is valid at the end of the map as well.
        let found = attr.count as usize;
        for (key, value) in self
            .keys
            .chunks_exact(size_of::<K>())
            .zip(self.values.chunks_exact(size_of::<V>()))
            .take(found)
        {
            if let (Ok(key), Ok(value)) = (K::read_from_bytes(key), V::read_from_bytes(value)) {
                each(key, value);
            }
        }
        self.bucket = Some(next);
        Ok(!at_end)
    }
}
