//! conntracer, the library behind the binary.
#![warn(missing_docs)]

pub mod bpf;
pub mod record;
pub mod summary;
