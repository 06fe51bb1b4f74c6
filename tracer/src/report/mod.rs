//! The summary, for people ([`text`]) and for programs ([`json`]).

pub mod json;
mod kernel;
mod loss;
mod other;
mod replay;
mod table;
pub mod text;

pub(crate) use text::counted;
