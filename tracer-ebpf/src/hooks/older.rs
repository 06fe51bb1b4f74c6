//! Iterators: the kernel calls these once for each TCP socket of a network namespace, and once for
//! each open file of each task. The last call of each comes without an object.

use core::ffi::c_void;

use crate::{
    kernel::{Sock, TaskStruct, TcpSock},
    older,
};

/// `struct bpf_iter__tcp`
#[repr(C)]
struct Tcp {
    meta: *const c_void,
    sk: *const u8,
    uid: u32,
}

/// `struct bpf_iter__task_file`
#[repr(C)]
struct TaskFile {
    meta: *const c_void,
    task: *const u8,
    fd: u32,
    file: *const u8,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
extern "C" fn older_sockets(ctx: *const Tcp) -> i32 {
    // SAFETY: the kernel calls with a whole context of this type.
    let sk = unsafe { (*ctx).sk };
    if !sk.is_null()
        && let Some(sock) = TcpSock::of(sk)
    {
        older::socket(sock);
    }
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn older_owners(ctx: *const TaskFile) -> i32 {
    // SAFETY: as above.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if !task.is_null()
        && !file.is_null()
        && let Some(sock) = Sock::of_file(file)
    {
        older::held(sock, TaskStruct::new(task));
    }
    0
}
