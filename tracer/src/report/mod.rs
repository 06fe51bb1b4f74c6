//! The summary, for people ([`text`]) and for programs ([`json`]).

pub mod json;
mod kernel;
mod loss;
pub mod map;
mod other;
mod table;
pub mod text;
