//! Batched map reads: one system call for thousands of entries. aya 0.14 reads one entry a call,
//! which takes five times as long over a large table.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use zerocopy::FromBytes;

/// `enum bpf_cmd`.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;

/// Entries a call. A hash bucket longer than this would not fit; buckets hold a few entries.
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

/// Hands every entry of a hash map to `each`; with `delete`, takes them out as well.
///
/// Entries inserted or removed meanwhile may or may not be seen. A map without batch operations,
/// or one that cannot be read, gives the error of the system call.
pub(super) fn for_each<K: FromBytes, V: FromBytes>(
    map: BorrowedFd<'_>,
    delete: bool,
    mut each: impl FnMut(K, V),
) -> io::Result<()> {
    let command = if delete {
        BPF_MAP_LOOKUP_AND_DELETE_BATCH
    } else {
        BPF_MAP_LOOKUP_BATCH
    };
    let mut keys = vec![0u8; BATCH * size_of::<K>()];
    let mut values = vec![0u8; BATCH * size_of::<V>()];
    // The kernel's cursor of a hash map is a bucket number.
    let mut cursor = 0u32;
    let mut first = true;
    loop {
        let mut next = 0u32;
        let mut attr = BatchAttr {
            in_batch: if first { 0 } else { (&raw const cursor) as u64 },
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(BATCH).unwrap_or(u32::MAX),
            map_fd: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
            ..BatchAttr::default()
        };
        // SAFETY: `attr` is a whole `batch` attribute; its pointers are to live buffers of `count`
        // keys and values and to two cursors.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                &raw mut attr,
                size_of::<BatchAttr>(),
            )
        };
        let error = (result < 0).then(io::Error::last_os_error);
        let at_end = match &error {
            Some(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Some(_) => return Err(error.unwrap_or_else(io::Error::last_os_error)),
            None => false,
        };
        // `count` is valid at the end of the map as well.
        let found = attr.count as usize;
        for (key, value) in keys
            .chunks_exact(size_of::<K>())
            .zip(values.chunks_exact(size_of::<V>()))
            .take(found)
        {
            if let (Ok(key), Ok(value)) = (K::read_from_bytes(key), V::read_from_bytes(value)) {
                each(key, value);
            }
        }
        if at_end {
            return Ok(());
        }
        cursor = next;
        first = false;
    }
}
