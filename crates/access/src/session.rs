//! Sessions: what goes through exec and attach, as it is read from the streams that pass (protocol `v5.channel.k8s.io` and
//! those before it: the first byte of each message names its channel; SPDY/3.1, where each channel is a stream), and as it is written down (asciicast v2).

pub mod cast;
pub mod frames;
pub mod spdy;
pub mod tape;
