//! The NRI plug-in.
