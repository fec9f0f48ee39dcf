//! Filters: stages between a source and an encoder, or a decoder and a sink, that turn raw media into raw media.
//!
//! Frames in, frames out, on the thread of whoever calls; nothing here opens a device or a file. [`Resampler`] changes
//! the rate and the channels of sound, [`Volume`] its loudness, [`VoiceProcessor`] makes a voice fit for a conversation;
//! [`PictureFilter`] applies CSS filters to pictures.

mod picture;
mod resample;
mod voice;
mod volume;

pub use picture::{FilterError, FilterFunction, FilterList, PictureFilter, Shadow};
pub use resample::{ResampleError, Resampler};
pub use voice::{FarEnd, VoiceProcessor, VoiceSettings};
pub use volume::{Volume, VolumeError};
