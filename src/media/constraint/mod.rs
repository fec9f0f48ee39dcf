//! What a user asks of a track, and which of the ways in which a device can deliver suits it best; W3C mediacapture-main
//! section 5 (the Constrainable pattern).
//!
//! ```text
//! flags, JSON -> VideoConstraints, AudioConstraints
//! native modes + constraints -> candidates (settings) -> select: fitness distance, advanced sets -> one of them, or the
//!                                                        constraint that rules all of them out
//! ```
//!
//! Pure: nothing here asks a device.

mod audio;
mod fitness;
mod json;
mod number;
mod set;
mod term;
mod video;

pub use audio::AudioSettings;
pub use fitness::{Choice, Overconstrained, RuledOut, Settings, Verdict, check, distance, pick_whole, select};
pub use json::MediaStreamConstraints;
pub use number::{Constraint, ConstraintError};
pub use set::{AudioConstraints, ConstraintSet, Property, VideoConstraints};
pub use term::{BooleanConstraint, StringConstraint, Term, Value};
pub use video::{
    ConsideredVideo, FacingMode, ResizeMode, VideoChoice, VideoMode, VideoOffer, VideoSettings, select_video,
};
