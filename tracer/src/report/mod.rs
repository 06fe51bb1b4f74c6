//! The summary, for people ([`text`]) and for programs ([`json`]).

pub mod json;
mod kernel;
mod loss;
pub mod map;
mod other;
mod replay;
pub(crate) mod sampled;
pub mod sockets;
mod table;
pub mod text;

pub(crate) use text::counted;
