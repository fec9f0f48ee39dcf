//! What gives way when there are not enough bits for all pictures.

use std::fmt;
use std::str::FromStr;

/// What an encoder gives up first when its bitrate is too low; W3C mst-content-hint `RTCDegradationPreference`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DegradationPreference {
    /// Size and frame rate in turn.
    #[default]
    Balanced,
    /// Size; every picture is sent.
    MaintainFramerate,
    /// Frame rate; every picture is sharp.
    MaintainResolution,
}

impl DegradationPreference {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Balanced, Self::MaintainFramerate, Self::MaintainResolution];

    /// The word of the standard.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::MaintainFramerate => "maintain-framerate",
            Self::MaintainResolution => "maintain-resolution",
        }
    }
}

impl fmt::Display for DegradationPreference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DegradationPreference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|preference| preference.as_str() == text);
        found.ok_or_else(|| format!("'{text}' is none of {all}"))
    }
}
