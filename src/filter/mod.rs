//! Filters: stages between a source and an encoder, or a decoder and a sink, that turn raw media into raw media.
//!
//! Frames in, frames out, on the thread of whoever calls; nothing here opens a device or a file. [`Resampler`] changes
//! the rate and the channels of sound.

mod resample;

pub use resample::{ResampleError, Resampler};
