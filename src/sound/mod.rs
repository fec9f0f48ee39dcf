//! Microphones and speakers: the only code that talks to the audio system. Level 1 of the house: imports level 0 only.
//!
//! ```text
//! callback of the audio system -[ring]-> Microphone -AudioFrame-> …
//! … -AudioFrame-> Speaker -[ring]-> callback of the audio system
//! ```
//!
//! Callbacks never lock, wait, allocate or log: they move samples between the system's buffer and a ring, and leave times and
//! counts behind.

mod choose;
mod device;
mod error;
mod microphone;
mod ring;
mod speaker;
mod stream;

pub use choose::{Chosen, choose};
pub use device::{Role, SoundDevice, devices, find};
pub use error::SoundError;
pub use microphone::{Counts, Microphone};
pub use speaker::{Playout, Speaker};
