//! conntracer, the library behind the binary.
#![warn(missing_docs)]

pub mod names;
pub mod record;
pub mod report;
pub mod sink;
pub mod summary;
