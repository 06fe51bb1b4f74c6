//! conntracer, the library behind the binary.
#![warn(missing_docs)]

pub mod carrier;
pub mod cli;
pub mod exit;
pub mod fdinfo;
pub mod options;
pub mod ports;
pub mod preflight;
pub mod record;
pub mod summary;
