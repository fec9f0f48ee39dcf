//! How loud sound is, as `HTMLMediaElement.volume` has it.

use crate::media::AudioFrame;
use std::fmt;
use std::str::FromStr;

/// A gain from 0, silence, to 1, sound as it is.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Volume(f32);

/// The text is no volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a volume: use a number from 0 (silence) to 1 (as it is)")]
pub struct VolumeError(String);

impl Volume {
    /// As it is.
    pub const FULL: Self = Self(1.0);

    /// Multiplies the samples.
    pub fn apply(self, frame: &mut AudioFrame) {
        for sample in &mut frame.samples {
            *sample *= self.0;
        }
    }
}

impl Default for Volume {
    fn default() -> Self {
        Self::FULL
    }
}

impl FromStr for Volume {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        let volume: Option<f32> = text.parse().ok().filter(|volume| (0.0..=1.0).contains(volume));
        volume.map(Self).ok_or_else(|| VolumeError(text.to_owned()))
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_those_of_media_elements() {
        for text in ["0", "0.25", "1"] {
            assert_eq!(text.parse::<Volume>().unwrap().to_string(), text);
        }
        for text in ["", "-0.1", "1.01", "nan", "50%"] {
            assert!(text.parse::<Volume>().is_err(), "{text}");
        }
    }
}
