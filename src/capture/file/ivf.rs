//! IVF: the plain container of the VPx tools. VP8, VP9 and AV1 frames pass through encoded.

use super::input::Input;
use super::source::{NANOS, Pass};
use crate::capture::CaptureError;
use crate::media::av1::temporal_unit;
use crate::media::{Codec, EncodedFrame, MediaTime, frame_header};
use crate::stop::Stop;
use std::num::NonZeroU32;

/// The most bytes that one encoded frame may have.
pub(super) const LARGEST_FRAME: u64 = 64 * 1024 * 1024;

/// An ivf file whose header is read.
pub(super) struct Ivf {
    input: Input,
    codec: Codec,
    size: (u32, u32),
    /// Seconds per tick of the timestamps: `scale / rate`.
    rate: NonZeroU32,
    scale: u32,
    first: Option<u64>,
    last: MediaTime,
    /// The distance of the last two frames.
    period: MediaTime,
}

impl Ivf {
    pub(super) fn new(mut input: Input) -> Result<Self, CaptureError> {
        let header: [u8; 32] = input.array()?.ok_or_else(|| input.damaged("the header breaks off"))?;
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let codec = match &header[8..12] {
            b"VP80" => Codec::Vp8,
            b"VP90" => Codec::Vp9,
            b"AV01" => Codec::Av1,
            other => {
                let codec = String::from_utf8_lossy(other).escape_default().to_string();
                return Err(input.unsupported(&format!("video in codec {codec}")));
            }
        };
        let (rate, scale) = (NonZeroU32::new(long(16)), long(20));
        let (Some(rate), 1..) = (rate, scale) else { return Err(input.damaged("a time base of zero")) };
        let extra = u64::from(short(6)).saturating_sub(32);
        if !input.skip(extra)? {
            return Err(input.damaged("the header breaks off"));
        }
        let size = (u32::from(short(12)), u32::from(short(14)));
        let period = MediaTime::new(i64::from(scale), rate).rescale(NANOS);
        Ok(Self { input, codec, size, rate, scale, first: None, last: MediaTime::new(0, NANOS), period })
    }

    /// How the frames are coded.
    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Width and height.
    pub(super) fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Frames per second, where the time base can be one.
    pub(super) fn frame_rate(&self) -> Option<f64> {
        Some(f64::from(self.rate.get()) / f64::from(self.scale)).filter(|rate| *rate <= 240.0)
    }
}

impl Pass<EncodedFrame> for Ivf {
    fn read(&mut self, _stop: &Stop) -> Result<Option<EncodedFrame>, CaptureError> {
        loop {
            let Some(header) = self.input.array::<12>()? else { return Ok(None) };
            let [s0, s1, s2, s3, stamp @ ..] = header;
            let Some(data) = self.input.bytes(u32::from_le_bytes([s0, s1, s2, s3]).into(), LARGEST_FRAME)? else {
                self.input.broke_off();
                return Ok(None);
            };
            let stamp = u64::from_le_bytes(stamp);
            let ticks = i128::from(stamp) - i128::from(*self.first.get_or_insert(stamp));
            let nanos = ticks * i128::from(self.scale) * 1_000_000_000 / i128::from(self.rate.get());
            let nanos = i64::try_from(nanos).ok().filter(|nanos| (0..i64::MAX / 4).contains(nanos));
            let nanos = nanos.ok_or_else(|| self.input.damaged("a timestamp is out of range"))?;
            let data = match self.codec {
                Codec::Av1 => temporal_unit(&data).ok_or_else(|| self.input.damaged("a temporal unit breaks off"))?,
                _ => data.into(),
            };
            if data.is_empty() {
                continue;
            }
            let key = frame_header(self.codec, &data).is_some_and(|header| header.key);
            let time = MediaTime::new(nanos, NANOS).max(self.last);
            if time > self.last {
                self.period = time.minus(self.last);
            }
            self.last = time;
            return Ok(Some(EncodedFrame { codec: self.codec, time, key, data }));
        }
    }

    fn end(&self) -> MediaTime {
        self.last.plus(self.period)
    }
}
