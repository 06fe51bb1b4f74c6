//! Entries into the programs: one file a kernel hook, nothing but its calling convention.

mod accept_exit;
mod destroy_sock;
mod length;
mod set_state;
