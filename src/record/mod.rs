//! Writes recordings, and reads back what was written.
//!
//! ```text
//! EncodedFrame -> webm: reorder window -> clusters ┐
//! EncodedFrame -> ogg:  pages of half a second     │
//! VideoFrame   -> y4m:  constant rate              ├-> output: NAME.part -> fsync -> NAME, or a stream
//! AudioFrame   -> wav:  16-bit PCM, gaps filled    ┘
//! NAME         -> inspect: tracks, frames, gaps, A/V skew
//! NAME         -> repair: the same with duration and cues
//! ```
//!
//! Everything here blocks on the disk and belongs on a thread of its own. Nothing is encoded or decoded.

mod chunk_pattern;
mod ebml;
#[cfg(test)]
mod foreign;
mod image;
mod inspect;
mod mime;
mod ogg;
mod opus_head;
mod output;
mod raw;
mod recorder;
mod repair;
mod wav;
mod webm;
mod y4m;

pub use chunk_pattern::{ChunkPattern, ChunkPatternError};
pub use image::{ImageError, ImageFormat, ImageSink};
pub use inspect::{InspectError, Inspection, TrackInspection, inspect};
pub use mime::{Container, MimeType, MimeTypeError};
pub use ogg::{OggError, OggRecorder};
pub use output::{Existing, Finished, Output, OutputError, Target};
pub use raw::{RawError, RawPixels, RawVideoSink};
pub use recorder::{Layout, Recorder};
pub use repair::{Place, RepairError, Repaired, repair};
pub use wav::{WavError, WavSink};
pub use webm::{Recorded, RecordedTrack, TrackInfo, WebmError, WebmRecorder};
pub use y4m::{Y4mError, Y4mSink};
