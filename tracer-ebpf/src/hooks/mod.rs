//! Entries into the programs: one file a kernel hook, nothing but its calling convention.

mod accept_exit;
mod classic;
mod connect;
mod destroy_sock;
mod follow;
mod graft;
mod length;
mod mptcp;
mod no_route;
mod older;
mod release_sock;
mod sample;
mod set_state;
mod wire;
