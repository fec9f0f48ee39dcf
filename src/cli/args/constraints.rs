//! What is asked of sources: W3C constraints, as flags and as the object that pages write.

use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::media::{
    AudioConstraints, BooleanConstraint, Constraint, ConstraintError, MediaStreamConstraints, StringConstraint,
    VideoConstraints,
};

/// `--width` and the others.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Constraints")]
pub struct ConstraintArgs {
    /// Pixels: 640, ideal:640, exact:640, min:300,max:640; the other constraints likewise
    #[arg(long, value_name = "CONSTRAINT")]
    pub width: Option<Constraint>,
    /// Pixels
    #[arg(long, value_name = "CONSTRAINT")]
    pub height: Option<Constraint>,
    /// Width by height, e.g. 1.7778
    #[arg(long, value_name = "CONSTRAINT")]
    pub aspect_ratio: Option<Constraint>,
    /// Frames per second
    #[arg(long, value_name = "CONSTRAINT")]
    pub frame_rate: Option<Constraint>,
    /// Where a camera looks: user, environment, left, right; exact:user demands it
    #[arg(long, value_name = "CONSTRAINT")]
    pub facing_mode: Option<StringConstraint>,
    /// none: only native modes; crop-and-scale: what no mode has is made of one that is larger or faster. Either, by default
    #[arg(long, value_name = "CONSTRAINT")]
    pub resize_mode: Option<StringConstraint>,
    /// Which camera, by its deviceId
    #[arg(long, value_name = "CONSTRAINT")]
    pub device_id: Option<StringConstraint>,
    /// Which physical device, by its groupId
    #[arg(long, value_name = "CONSTRAINT")]
    pub group_id: Option<StringConstraint>,
    /// How the camera hands over its pixels: a V4L2 FourCC such as YUYV or MJPG
    #[arg(long, value_name = "CONSTRAINT")]
    pub pixel_format: Option<StringConstraint>,
    /// Hertz
    #[arg(long, value_name = "CONSTRAINT")]
    pub sample_rate: Option<Constraint>,
    /// 1 mono, 2 stereo
    #[arg(long, value_name = "CONSTRAINT")]
    pub channel_count: Option<Constraint>,
    /// Bits per sample
    #[arg(long, value_name = "CONSTRAINT")]
    pub sample_size: Option<Constraint>,
    /// Seconds from sound to sample
    #[arg(long, value_name = "CONSTRAINT")]
    pub latency: Option<Constraint>,
    /// Whether what the speaker plays is taken out of the microphone: true, false, exact:true; in calls it is, by default. The next two
    /// likewise
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub echo_cancellation: Option<BooleanConstraint>,
    /// Whether noise is taken out of the microphone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub noise_suppression: Option<BooleanConstraint>,
    /// Whether the level of the microphone is kept
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub auto_gain_control: Option<BooleanConstraint>,
    /// All constraints as getUserMedia takes them, in JSON or in a file; a flag wins over its member
    #[arg(long, value_name = "JSON|FILE")]
    pub constraints: Option<String>,
}

impl ConstraintArgs {
    /// What `--constraints` asks for.
    pub fn asked(&self) -> Result<MediaStreamConstraints, Error> {
        let Some(text) = &self.constraints else { return Ok(MediaStreamConstraints::default()) };
        if text.trim_start().starts_with('{') {
            return text.parse().map_err(wrong);
        }
        let read = super::read_text(text.as_ref()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "NotFoundError", format!("cannot read --constraints {text}: {error}"))
        });
        read?.parse().map_err(wrong)
    }

    /// What the flags ask for, and `asked` where they say nothing.
    pub fn merged(self, asked: MediaStreamConstraints) -> Result<(VideoConstraints, AudioConstraints), Error> {
        let video = VideoConstraints {
            width: self.width,
            height: self.height,
            aspect_ratio: self.aspect_ratio,
            frame_rate: self.frame_rate,
            facing_mode: self.facing_mode,
            resize_mode: self.resize_mode,
            device_id: self.device_id,
            group_id: self.group_id,
            pixel_format: self.pixel_format,
            advanced: Vec::new(),
        };
        video
            .check_words()
            .map_err(|(property, detail)| Error::new(ErrorKind::Usage, "usage", format!("{property}: {detail}")))?;
        let audio = AudioConstraints {
            sample_rate: self.sample_rate,
            channel_count: self.channel_count,
            sample_size: self.sample_size,
            latency: self.latency,
            echo_cancellation: self.echo_cancellation,
            noise_suppression: self.noise_suppression,
            auto_gain_control: self.auto_gain_control,
            ..AudioConstraints::default()
        };
        Ok((video.or(asked.video.unwrap_or_default()), audio.or(asked.audio.unwrap_or_default())))
    }
}

fn wrong(error: ConstraintError) -> Error {
    Error::new(ErrorKind::InvalidInput, "TypeError", error.to_string())
}
