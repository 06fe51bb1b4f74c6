//! The summary, for people ([`text`]) and for programs ([`json`]).

pub mod json;
mod kernel;
mod loss;
pub mod map;
mod other;
pub mod sockets;
mod table;
pub mod text;
