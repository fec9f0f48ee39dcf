//! What operations share that send, record or show media: sources opened by name, read at their pace, and encoded on
//! threads of their own. What becomes of the encoded frames is up to the operation.
//!
//! ```text
//! raw      source thread (Tracks: mute, stop, replace) -[pictures]-> stages -> encoder thread -> Sender<EncodedFrame>
//! encoded  source thread, as it is -------------------------------> Sender<EncodedFrame>
//! ```
//!
//! A filter list or a volume belongs to the source: its thread applies it, and whoever reads the source gets the result.
//! Audio has no queue in the middle: its source, stages and encoder share a thread.

mod adaptation;
mod audio;
mod changed;
mod decoded;
mod encoding;
mod ending;
mod open;
mod play;
mod shifted;
mod sound;
mod switch;
mod threads;
mod tracks;
mod video;

pub use adaptation::SendLimits;
pub use encoding::{AudioEncoding, VideoEncoding};
pub use open::SourceOptions;
pub use play::TerminalScreen;

pub use crate::filter::{FilterList, Volume};

pub(in crate::ops) use audio::AudioTrack;
pub(in crate::ops) use decoded::{RawAudio, RawVideo, decoded_audio, decoded_video};
pub(in crate::ops) use ending::Ending;
pub(in crate::ops) use open::Inputs;
pub(in crate::ops) use play::{Hearing, Viewing};
pub(in crate::ops) use switch::Vacancy;
pub(in crate::ops) use threads::{Pace, Threads};
pub(in crate::ops) use tracks::{Fit, Tracks};
pub(in crate::ops) use video::{PictureStats, VideoTrack};
