//! The kernel's side of the boundary: the embedded object, where its fields are, its programs and
//! its maps. Nothing else in this crate talks to the kernel about eBPF.

mod attach;
mod batch;
pub mod btf;
pub mod chosen;
mod classic;
pub mod follow;
pub mod kernel;
pub mod loader;
pub mod log;
pub mod object;
pub mod offsets;
mod older;
pub mod programs;
pub mod ring;
pub mod sample;
pub mod snapshot;
mod sys;
mod table;
mod tracefs;
mod undisturbed;
