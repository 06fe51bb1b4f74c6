//! Samples of the connection table: what open connections have carried and sent so far, by the
//! kernel's counters of their sockets. aya 0.14 cannot attach an iterator to a map, so two system calls are made here.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya::Ebpf;
use aya::maps::Map;
use tracer_common::map;
use tracer_common::sample::Sample;
use tracer_common::wire::WireSample;
use zerocopy::FromBytes;

use super::sys::{bpf, read_iterator};

/// The programs that are called for each connection: for a [`Sample`],
pub(super) const TOTALS: &str = "open_totals";
/// and for a [`WireSample`].
pub(super) const WIRE: &str = "open_wire";

/// `enum bpf_cmd`.
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
/// `enum bpf_attach_type`.
const BPF_TRACE_ITER: u32 = 28;

/// Bytes of `union bpf_iter_link_info` that are used: a map's descriptor.
const INFO: u32 = 4;

/// Bytes read in one go: as much as the kernel writes in one go.
const CHUNK: usize = 8 << 12;

/// `union bpf_attr`'s `link_create` member, for iterators.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    reserved: u32,
}

/// Its `iter_create` member.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

/// Those that a run uses.
#[derive(Debug, Default)]
pub struct Samplers {
    /// For bytes that no hook sees.
    pub totals: Option<Sampler<Sample>>,
    /// For what is on the wire.
    pub wire: Option<Sampler<WireSample>>,
}

/// An iterator program that writes samples of type `S`, bound to the connection table.
#[derive(Debug)]
pub struct Sampler<S> {
    link: OwnedFd,
    writes: PhantomData<fn() -> S>,
}

impl<S> Sampler<S> {
    pub(super) fn new(ebpf: &Ebpf, program: &str) -> io::Result<Self> {
        let program = ebpf.program(program).ok_or(io::ErrorKind::NotFound)?;
        let program = program.fd().map_err(io::Error::other)?;
        let Some(Map::HashMap(table)) = ebpf.map(map::CONNECTIONS) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let info: u32 = raw(table.fd().as_fd());
        let mut attr = LinkCreate {
            prog_fd: raw(program.as_fd()),
            target_fd: 0,
            attach_type: BPF_TRACE_ITER,
            flags: 0,
            iter_info: (&raw const info) as u64,
            iter_info_len: INFO,
            reserved: 0,
        };
        // SAFETY: it points at `info`, which lives.
        let link = unsafe { descriptor(BPF_LINK_CREATE, &mut attr) }?;
        Ok(Self {
            link,
            writes: PhantomData,
        })
    }

    /// Begins a pass over the table.
    pub fn pass(&self) -> io::Result<Pass<S>> {
        let mut attr = IterCreate {
            link_fd: raw(self.link.as_fd()),
            flags: 0,
        };
        // SAFETY: it points at nothing.
        let file = unsafe { descriptor(BPF_ITER_CREATE, &mut attr) }?;
        Ok(Pass {
            file: file.into(),
            buffer: vec![0; CHUNK],
            filled: 0,
            writes: PhantomData,
        })
    }
}

/// One pass over the table, in steps.
#[derive(Debug)]
pub struct Pass<S> {
    file: File,
    buffer: Vec<u8>,
    filled: usize,
    writes: PhantomData<fn() -> S>,
}

impl<S: FromBytes> Pass<S> {
    /// Hands over the samples of the next few hundred connections; `false` at the end.
    pub fn step(&mut self, each: impl FnMut(S)) -> io::Result<bool> {
        let count = read_iterator(&mut self.file, &mut self.buffer[self.filled..])?;
        if count == 0 {
            return Ok(false);
        }
        self.filled += count;
        let samples = self.buffer[..self.filled].chunks_exact(size_of::<S>());
        let rest = samples.remainder().len();
        samples
            .filter_map(|bytes| S::read_from_bytes(bytes).ok())
            .for_each(each);
        self.buffer.copy_within(self.filled - rest..self.filled, 0);
        self.filled = rest;
        Ok(true)
    }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // Descriptors are not negative.
    fd.as_raw_fd().unsigned_abs()
}

/// A command that gives a descriptor.
///
/// # Safety
/// As of [`bpf`].
unsafe fn descriptor<T>(command: libc::c_long, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: see above.
    let fd = unsafe { bpf(command, attr) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
