//! The snapshot: connections that are older than the tracer, from the kernel's own tables. It is
//! taken while the programs run, so none is missed in between.

use std::fs::File;
use std::io;
use std::thread;

use aya::Ebpf;
use aya::programs::Iter;

use super::attach::chain;
use super::sys::read_iterator;
use crate::namespaces::Namespace;

/// The program that sees every socket of a namespace.
const OF_SOCKETS: &str = "older_sockets";
/// The program that sees every open file.
const OF_FILES: &str = "older_owners";

/// Both are needed.
pub(super) const PROGRAMS: [&str; 2] = [OF_SOCKETS, OF_FILES];

/// Runs the iterators in each namespace. Returns the namespaces that could not be entered.
pub(super) fn take(ebpf: &mut Ebpf, namespaces: &[Namespace]) -> io::Result<usize> {
    // In a thread of its own: nobody else's namespace changes.
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut closed = 0;
            for namespace in namespaces {
                if !enter(namespace)? {
                    closed += 1;
                    continue;
                }
                pass(ebpf, OF_SOCKETS)?;
            }
            pass(ebpf, OF_FILES)?;
            Ok(closed)
        });
        let failed = |_| Err(io::Error::other("the thread of the snapshot failed"));
        worker.join().unwrap_or_else(failed)
    })
}

/// Makes `namespace` the thread's; `false` without the right to.
fn enter(namespace: &Namespace) -> io::Result<bool> {
    match namespace.enter() {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Has the kernel call the program for each object.
fn pass(ebpf: &mut Ebpf, name: &str) -> io::Result<()> {
    let failed = |error: &dyn std::error::Error| io::Error::other(chain(error));
    let program = ebpf.program_mut(name).ok_or(io::ErrorKind::NotFound)?;
    let program: &mut Iter = program.try_into().map_err(|error| failed(&error))?;
    let link = program.attach().map_err(|error| failed(&error))?;
    let link = program.take_link(link).map_err(|error| failed(&error))?;
    let file = link.into_file().map_err(|error| failed(&error))?;
    read_to_end(file)
}

/// Reading is what runs the program; it writes nothing.
fn read_to_end(mut file: File) -> io::Result<()> {
    let mut nothing = [0; 64];
    while read_iterator(&mut file, &mut nothing)? > 0 {}
    Ok(())
}
