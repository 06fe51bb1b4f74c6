//! The summary, for people ([`text`]) and for programs ([`json`]).

pub mod interval;
pub mod json;
mod kernel;
mod loss;
pub mod map;
mod other;
pub(crate) mod peers;
mod replay;
pub(crate) mod sampled;
pub mod sockets;
mod table;
pub mod text;
mod wire;

pub(crate) use text::counted;
