//! Field types that accept what the API's clients send: durations as `"1h"`, `"3600"` or `3600`, lists as `["a","b"]` or
//! `"a,b"`, and so on. Each refuses the rest with a sentence.

mod fields;
mod flex;
mod ttl;
mod yaml;

pub use fields::read_fields;
pub use flex::{Flag, Int, Pairs, Strings, Text, TextList};
pub use ttl::{Ttl, brief_ttl, format_ttl, parse_ttl};
pub use yaml::parse_yaml;
