//! The kernel side as seen from here: what the running kernel looks like and what we load into it.

pub mod btf;
pub mod offsets;
