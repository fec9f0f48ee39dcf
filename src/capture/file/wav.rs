//! RIFF/WAVE: integer PCM of 8 to 32 bits and floats of 32 and 64, plain or extensible, as RIFF or RF64. A data size that is
//! not known (0 or all ones, as pipes get it) lasts to the end.

use super::input::Input;
use super::source::Pass;
use crate::capture::CaptureError;
use crate::media::{AudioFormat, AudioFrame, MediaTime};
use crate::stop::Stop;

/// How one sample is stored, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sample {
    U8,
    I16,
    I24,
    I32,
    F32,
    F64,
}

impl Sample {
    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "sample values round")]
    fn decode(self, bytes: &[u8]) -> f32 {
        let value = match (self, bytes) {
            (Self::U8, [a]) => (f32::from(*a) - 128.0) / 128.0,
            (Self::I16, [a, b]) => f32::from(i16::from_le_bytes([*a, *b])) / 32_768.0,
            (Self::I24, [a, b, c]) => i32::from_le_bytes([0, *a, *b, *c]) as f32 / 2_147_483_648.0,
            (Self::I32, [a, b, c, d]) => i32::from_le_bytes([*a, *b, *c, *d]) as f32 / 2_147_483_648.0,
            (Self::F32, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
            (Self::F64, [a, b, c, d, e, f, g, h]) => f64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as f32,
            _ => 0.0,
        };
        if value.is_nan() { 0.0 } else { value.clamp(-1.0, 1.0) }
    }
}

/// A wav file, read up to its samples.
pub(super) struct Wav {
    input: Input,
    format: AudioFormat,
    sample: Sample,
    /// Bytes of samples to come; `None` when unknown.
    left: Option<u64>,
    /// Samples per channel so far.
    count: i64,
}

impl Wav {
    pub(super) fn new(mut input: Input) -> Result<Self, CaptureError> {
        let broken = |input: &Input| input.damaged("it ends before its samples");
        let header: [u8; 12] = input.array()?.ok_or_else(|| broken(&input))?;
        if header.starts_with(b"RIFX") {
            return Err(input.unsupported("big-endian wav"));
        }
        let (mut format, mut long_size) = (None, None);
        loop {
            let chunk: [u8; 8] = input.array()?.ok_or_else(|| broken(&input))?;
            let [i0, i1, i2, i3, s0, s1, s2, s3] = chunk;
            let size = u32::from_le_bytes([s0, s1, s2, s3]);
            match &[i0, i1, i2, i3] {
                b"fmt " => {
                    let body = input.bytes(size.into(), 4096)?.ok_or_else(|| broken(&input))?;
                    format = Some(Self::format_chunk(&input, &body)?);
                    input.skip(u64::from(size % 2))?;
                }
                b"ds64" => {
                    let body = input.bytes(size.into(), 1 << 20)?.ok_or_else(|| broken(&input))?;
                    long_size = body.get(8..16).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
                    input.skip(u64::from(size % 2))?;
                }
                b"data" => {
                    let (format, sample) = format.ok_or_else(|| input.damaged("samples come before their format"))?;
                    let left = match size {
                        0 | u32::MAX => long_size,
                        size => Some(size.into()),
                    };
                    return Ok(Self { input, format, sample, left, count: 0 });
                }
                _ => {
                    if !input.skip(u64::from(size) + u64::from(size % 2))? {
                        return Err(broken(&input));
                    }
                }
            }
        }
    }

    fn format_chunk(input: &Input, body: &[u8]) -> Result<(AudioFormat, Sample), CaptureError> {
        let short = |at: usize| Some(u16::from_le_bytes([*body.get(at)?, *body.get(at + 1)?]));
        let fields = || Some((short(0)?, short(2)?, short(4)?, short(6)?, short(12)?, short(14)?));
        let (tag, channels, rate_low, rate_high, block, bits) =
            fields().ok_or_else(|| input.damaged("its format is too short"))?;
        // WAVE_FORMAT_EXTENSIBLE has the real tag at the front of its sub-format.
        let tag = if tag == 0xFFFE { short(24).unwrap_or(tag) } else { tag };
        let sample = match (tag, bits) {
            (1, 8) => Sample::U8,
            (1, 16) => Sample::I16,
            (1, 24) => Sample::I24,
            (1, 32) => Sample::I32,
            (3, 32) => Sample::F32,
            (3, 64) => Sample::F64,
            _ => return Err(input.unsupported(&format!("wav sound of format {tag:#06x} with {bits} bits"))),
        };
        let rate = u32::from(rate_high) << 16 | u32::from(rate_low);
        let format = super::audio_format(input, rate, channels)?;
        if usize::from(block) != sample.bytes() * usize::from(channels) {
            return Err(input.damaged("its block size contradicts its format"));
        }
        Ok((format, sample))
    }

    pub(super) fn format(&self) -> AudioFormat {
        self.format
    }
}

impl Pass<AudioFrame> for Wav {
    fn read(&mut self, _stop: &Stop) -> Result<Option<AudioFrame>, CaptureError> {
        let block = self.sample.bytes() * usize::from(self.format.channels);
        let ten_ms = (self.format.sample_rate.get() as usize / 100).max(1) * block;
        let wanted = self.left.map_or(ten_ms, |left| usize::try_from(left).unwrap_or(usize::MAX).min(ten_ms));
        let mut bytes = vec![0; wanted];
        let read = self.input.fill(&mut bytes)?;
        if let Some(left) = &mut self.left {
            *left -= read as u64;
        }
        if read < wanted && self.left.is_some() {
            self.input.broke_off();
        }
        bytes.truncate(read - read % block);
        if bytes.is_empty() {
            return Ok(None);
        }
        let samples: Vec<f32> = bytes.chunks_exact(self.sample.bytes()).map(|b| self.sample.decode(b)).collect();
        let frame = AudioFrame { time: self.end(), format: self.format, samples };
        self.count += i64::try_from(frame.len()).unwrap_or(0);
        Ok(Some(frame))
    }

    fn end(&self) -> MediaTime {
        MediaTime::new(self.count, self.format.sample_rate)
    }
}
