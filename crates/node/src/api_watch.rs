//! The API server's word about the pods of this node, for runtimes that do not tell of their containers themselves (NRI). It
//! comes a second or two after the fact, so it is the second net where there is a first; alone it does what the first does.

pub mod decide;

mod lines;
pub mod wire;
