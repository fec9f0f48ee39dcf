//! What an audio track can be set to.

use super::{Property, Settings, Value};
use crate::media::AudioFormat;
use serde::Serialize;

/// What an audio track is set to; mediacapture-main `MediaTrackSettings`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudioSettings {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Bits per sample, where the device tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_size: Option<u32>,
    /// Channels.
    pub channel_count: u16,
    /// Seconds, where the device tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// Whether what the speakers play is taken out; absent where it cannot be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo_cancellation: Option<bool>,
    /// Whether the level is kept; absent where it cannot be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_gain_control: Option<bool>,
    /// Whether noise is taken out; absent where it cannot be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_suppression: Option<bool>,
    /// Which device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub device_id: String,
    /// Which physical device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
}

impl AudioSettings {
    /// Of a source that is no device.
    pub fn of_format(format: &AudioFormat) -> Self {
        Self { sample_rate: format.sample_rate.get(), channel_count: format.channels, ..Self::default() }
    }
}

impl Settings for AudioSettings {
    fn value(&self, property: Property) -> Option<Value<'_>> {
        let known = |text| Some(Value::Text(text)).filter(|_| !str::is_empty(text));
        match property {
            Property::SampleRate => Some(Value::Number(f64::from(self.sample_rate))),
            Property::SampleSize => self.sample_size.map(|bits| Value::Number(f64::from(bits))),
            Property::ChannelCount => Some(Value::Number(f64::from(self.channel_count))),
            Property::Latency => self.latency.map(Value::Number),
            Property::EchoCancellation => self.echo_cancellation.map(Value::Boolean),
            Property::AutoGainControl => self.auto_gain_control.map(Value::Boolean),
            Property::NoiseSuppression => self.noise_suppression.map(Value::Boolean),
            Property::DeviceId => known(&self.device_id),
            Property::GroupId => known(&self.group_id),
            _ => None,
        }
    }
}
