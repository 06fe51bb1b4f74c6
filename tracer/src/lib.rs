//! conntracer, the library behind the binary.
//!
//! | part | does | must not touch |
//! |---|---|---|
//! | [`bpf`] | loads and attaches the programs, reads their maps | formatting |
//! | [`decode`], [`track`], [`classify`], [`aggregate`] | ring bytes to records to tables | clock, files, kernel |
//! | [`record`], [`summary`] | what leaves the program, as data | formatting |
#![warn(missing_docs)]

pub mod aggregate;
pub mod bpf;
pub mod classify;
pub mod clock;
pub mod collect;
pub mod decode;
pub mod identity;
pub mod names;
pub mod record;
pub mod summary;
pub mod track;
