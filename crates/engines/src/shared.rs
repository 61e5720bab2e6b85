//! What several engines need: folders of keys, writes that are tried again, cached records.

pub mod cached;
pub mod cas;
pub mod folder;
pub mod random;
pub mod records;
pub mod words;
