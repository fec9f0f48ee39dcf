//! Constraints on several properties at once; mediacapture-main section 4.3.8 (`MediaTrackConstraintSet`).

use super::{BooleanConstraint, Constraint, StringConstraint, Term};
use std::fmt;

/// A constrainable property, by its name in the standards; mediacapture-main section 4.3.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Property {
    /// Pixels.
    Width,
    /// Pixels.
    Height,
    /// Width by height.
    AspectRatio,
    /// Frames per second.
    FrameRate,
    /// Where a camera looks.
    FacingMode,
    /// Whether pictures are cropped and scaled.
    ResizeMode,
    /// Which device.
    DeviceId,
    /// Which physical device.
    GroupId,
    /// How a camera hands over its pixels, a FourCC. Ours: no page can ask for it.
    PixelFormat,
    /// Samples per second and channel.
    SampleRate,
    /// Bits per sample.
    SampleSize,
    /// Channels.
    ChannelCount,
    /// Seconds.
    Latency,
    /// Whether what the speakers play is taken out.
    EchoCancellation,
    /// Whether the level is kept.
    AutoGainControl,
    /// Whether noise is taken out.
    NoiseSuppression,
}

impl Property {
    /// Its name, e.g. `frameRate`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Width => "width",
            Self::Height => "height",
            Self::AspectRatio => "aspectRatio",
            Self::FrameRate => "frameRate",
            Self::FacingMode => "facingMode",
            Self::ResizeMode => "resizeMode",
            Self::DeviceId => "deviceId",
            Self::GroupId => "groupId",
            Self::PixelFormat => "pixelFormat",
            Self::SampleRate => "sampleRate",
            Self::SampleSize => "sampleSize",
            Self::ChannelCount => "channelCount",
            Self::Latency => "latency",
            Self::EchoCancellation => "echoCancellation",
            Self::AutoGainControl => "autoGainControl",
            Self::NoiseSuppression => "noiseSuppression",
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Constraints on some properties.
pub trait ConstraintSet {
    /// Those that are there.
    fn terms(&self) -> Vec<(Property, Term<'_>)>;
}

/// What a user asked of a video track.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoConstraints {
    /// Pixels.
    pub width: Option<Constraint>,
    /// Pixels.
    pub height: Option<Constraint>,
    /// Width by height.
    pub aspect_ratio: Option<Constraint>,
    /// Frames per second.
    pub frame_rate: Option<Constraint>,
    /// `user`, `environment`, `left`, `right`.
    pub facing_mode: Option<StringConstraint>,
    /// `none`, `crop-and-scale`.
    pub resize_mode: Option<StringConstraint>,
    /// A deviceId.
    pub device_id: Option<StringConstraint>,
    /// A groupId.
    pub group_id: Option<StringConstraint>,
    /// A FourCC.
    pub pixel_format: Option<StringConstraint>,
    /// Further sets, of which as many as possible are met, in this order; theirs are not looked at.
    pub advanced: Vec<VideoConstraints>,
}

/// What a user asked of an audio track.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AudioConstraints {
    /// Samples per second and channel.
    pub sample_rate: Option<Constraint>,
    /// Bits per sample.
    pub sample_size: Option<Constraint>,
    /// Channels.
    pub channel_count: Option<Constraint>,
    /// Seconds.
    pub latency: Option<Constraint>,
    /// Whether what the speakers play is taken out.
    pub echo_cancellation: Option<BooleanConstraint>,
    /// Whether the level is kept.
    pub auto_gain_control: Option<BooleanConstraint>,
    /// Whether noise is taken out.
    pub noise_suppression: Option<BooleanConstraint>,
    /// A deviceId.
    pub device_id: Option<StringConstraint>,
    /// A groupId.
    pub group_id: Option<StringConstraint>,
    /// Further sets, of which as many as possible are met, in this order; theirs are not looked at.
    pub advanced: Vec<AudioConstraints>,
}

fn numbers<const N: usize>(of: [(Property, &Option<Constraint>); N]) -> impl Iterator<Item = (Property, Term<'_>)> {
    of.into_iter().filter_map(|(property, term)| Some((property, Term::Number(term.as_ref()?))))
}

fn texts<const N: usize>(of: [(Property, &Option<StringConstraint>); N]) -> impl Iterator<Item = (Property, Term<'_>)> {
    of.into_iter().filter_map(|(property, term)| Some((property, Term::Text(term.as_ref()?))))
}

fn booleans<const N: usize>(
    of: [(Property, &Option<BooleanConstraint>); N],
) -> impl Iterator<Item = (Property, Term<'_>)> {
    of.into_iter().filter_map(|(property, term)| Some((property, Term::Boolean(term.as_ref()?))))
}

/// Two constraints on one property as one; the outer `None` when they exclude each other.
fn both<T: Clone>(a: &Option<T>, b: &Option<T>, narrow: impl Fn(&T, &T) -> Option<T>) -> Option<Option<T>> {
    match (a, b) {
        (Some(a), Some(b)) => narrow(a, b).map(Some),
        (a, b) => Some(a.as_ref().or(b.as_ref()).cloned()),
    }
}

impl ConstraintSet for VideoConstraints {
    fn terms(&self) -> Vec<(Property, Term<'_>)> {
        let texts = texts([
            (Property::DeviceId, &self.device_id),
            (Property::GroupId, &self.group_id),
            (Property::FacingMode, &self.facing_mode),
            (Property::ResizeMode, &self.resize_mode),
            (Property::PixelFormat, &self.pixel_format),
        ]);
        let numbers = numbers([
            (Property::Width, &self.width),
            (Property::Height, &self.height),
            (Property::AspectRatio, &self.aspect_ratio),
            (Property::FrameRate, &self.frame_rate),
        ]);
        texts.chain(numbers).collect()
    }
}

impl ConstraintSet for AudioConstraints {
    fn terms(&self) -> Vec<(Property, Term<'_>)> {
        let texts = texts([(Property::DeviceId, &self.device_id), (Property::GroupId, &self.group_id)]);
        let numbers = numbers([
            (Property::SampleRate, &self.sample_rate),
            (Property::SampleSize, &self.sample_size),
            (Property::ChannelCount, &self.channel_count),
            (Property::Latency, &self.latency),
        ]);
        let booleans = booleans([
            (Property::EchoCancellation, &self.echo_cancellation),
            (Property::AutoGainControl, &self.auto_gain_control),
            (Property::NoiseSuppression, &self.noise_suppression),
        ]);
        texts.chain(numbers).chain(booleans).collect()
    }
}

/// What both kinds of sets can do, for each of their properties.
macro_rules! combine {
    ($set:ident: $($property:ident)*) => {
        impl $set {
            /// What satisfies the basic sets of both; `None` when they exclude each other. Advanced sets are left out.
            pub fn narrowed(&self, other: &Self) -> Option<Self> {
                $(let $property = both(&self.$property, &other.$property, |a, b| a.narrowed(b))?;)*
                Some(Self { $($property,)* advanced: Vec::new() })
            }

            /// The basic set, narrowed by each of the advanced sets for which what comes of it is `possible`; for sources that
            /// are made to fit rather than chosen.
            pub fn settled(&self, possible: impl Fn(&Self) -> bool) -> Self {
                let basic = Self { advanced: Vec::new(), ..self.clone() };
                let narrow = |settled: Self, set| settled.narrowed(set).filter(&possible).unwrap_or(settled);
                self.advanced.iter().fold(basic, narrow)
            }

            /// These where they say something, else `other`'s.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                let advanced = if self.advanced.is_empty() { other.advanced } else { self.advanced };
                Self { $($property: self.$property.or(other.$property),)* advanced }
            }
        }
    };
}

combine!(VideoConstraints: width height aspect_ratio frame_rate facing_mode resize_mode device_id group_id pixel_format);
combine!(AudioConstraints: sample_rate sample_size channel_count latency echo_cancellation auto_gain_control
    noise_suppression device_id group_id);
