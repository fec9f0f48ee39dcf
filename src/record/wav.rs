//! Writes sound as 16-bit PCM WAV.
//!
//! A file is RIFF with room for the RF64 header (EBU Tech 3306), which it becomes past 4 GiB; a stream says that its
//! length is not known (0xFFFFFFFF). Sound stays where its time puts it: holes are filled with silence, and what
//! overlaps is cut.

use super::output::{Existing, Finished, Output, OutputError, Target};
use crate::error::{Classify, Error, ErrorKind};
use crate::media::{AudioFormat, AudioFrame, MediaTime, Sink};

/// Deviations of a frame's time below 10 ms are jitter of the clock, no hole.
const JITTER_PER_SECOND: i64 = 100;
/// RIFF header, room for ds64, fmt and the head of the data chunk.
const FILE_HEADER_BYTES: u64 = 80;
const UNKNOWN: u32 = u32::MAX;

/// Why a WAV file failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    /// The file or stream failed.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The sound changed its rate or channels.
    #[error("WAV: the sound is {found:?}, after {expected:?}")]
    FormatChanged {
        /// What the header says.
        expected: AudioFormat,
        /// What came.
        found: AudioFormat,
    },
}

impl Classify for WavError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Output(_) => ErrorKind::Output,
            Self::FormatChanged { .. } => ErrorKind::InvalidInput,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Output(error) => error.hint(),
            Self::FormatChanged { .. } => None,
        }
    }
}

/// Writes [`AudioFrame`]s to one WAV file or stream. Blocks on the disk or pipe behind it.
pub struct WavSink {
    output: Output,
    format: AudioFormat,
    origin: Option<MediaTime>,
    /// Samples per channel so far.
    written: i64,
    silence: i64,
    cut: i64,
    bytes: Vec<u8>,
}

impl WavSink {
    /// Opens the output and writes its header. The file begins at `origin`, or at the first frame; give the sinks of one
    /// capture the same origin to keep them in step.
    ///
    /// # Errors
    /// When the output cannot be created.
    pub fn create(
        target: Target,
        existing: Existing,
        format: AudioFormat,
        origin: Option<MediaTime>,
    ) -> Result<Self, WavError> {
        let mut output = Output::create(target, existing)?;
        let header = header(format, None, output.is_seekable());
        output.write(&header)?;
        Ok(Self { output, format, origin, written: 0, silence: 0, cut: 0, bytes: Vec::new() })
    }

    /// The output that is being written.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// See [`Output::keep_durable`].
    pub fn keep_durable(&mut self) {
        self.output.keep_durable();
    }

    /// Samples per channel that were put into holes.
    pub fn silent_samples(&self) -> u64 {
        self.silence.unsigned_abs()
    }

    /// Samples per channel left out since others had their place.
    pub fn cut_samples(&self) -> u64 {
        self.cut.unsigned_abs()
    }

    /// Takes samples, interleaved, of the format it was made for.
    ///
    /// # Errors
    /// When the format differs, or the output fails.
    pub fn write(&mut self, frame: &AudioFrame) -> Result<(), WavError> {
        if frame.format != self.format {
            return Err(WavError::FormatChanged { expected: self.format, found: frame.format });
        }
        if frame.is_empty() {
            return Ok(());
        }
        let origin = *self.origin.get_or_insert(frame.time);
        let rate = self.format.sample_rate;
        let place = frame.time.minus(origin).rescale(rate).ticks();
        let ahead = place - self.written;
        // The first frame defines where the others are expected, so it has no jitter.
        let jitter = if self.written == 0 { 1 } else { i64::from(rate.get()) / JITTER_PER_SECOND };
        let mut skip = 0;
        if ahead >= jitter {
            self.write_silence(ahead)?;
        } else if ahead <= -jitter {
            skip = usize::try_from(-ahead).unwrap_or(usize::MAX).min(frame.len());
            self.cut += skip as i64;
        }
        let samples = &frame.samples[skip * usize::from(self.format.channels)..];
        self.bytes.clear();
        self.bytes.extend(samples.iter().flat_map(|&sample| to_i16(sample).to_le_bytes()));
        self.output.write(&self.bytes)?;
        self.output.keep_unfinished();
        self.written += (frame.len() - skip) as i64;
        Ok(())
    }

    /// Puts the sizes into the header of a file, and completes it.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(mut self) -> Result<Finished, WavError> {
        if self.output.is_seekable() {
            let data = self.output.position() - FILE_HEADER_BYTES;
            // Chunks have even lengths; ours is even unless 16 bits stop being two bytes.
            self.output.write_at(0, &header(self.format, Some(data), true))?;
        }
        Ok(self.output.finish()?)
    }

    fn write_silence(&mut self, samples: i64) -> Result<(), WavError> {
        let second = i64::from(self.format.sample_rate.get());
        let mut left = samples;
        while left > 0 {
            let now = left.min(second);
            self.bytes.clear();
            self.bytes.resize(usize::try_from(now).unwrap_or(0) * usize::from(self.format.channels) * 2, 0);
            self.output.write(&self.bytes)?;
            left -= now;
            self.written += now;
            self.silence += now;
        }
        Ok(())
    }
}

impl Sink<AudioFrame> for WavSink {
    fn write(&mut self, item: &AudioFrame) -> Result<(), Error> {
        Ok(WavSink::write(self, item)?)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        WavSink::finish(*self)?;
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float beyond i16 saturates, NaN gives 0")]
fn to_i16(sample: f32) -> i16 {
    (sample * 32_767.0).round() as i16
}

/// The header of a file or stream with `data` bytes of samples, or an unknown number.
fn header(format: AudioFormat, data: Option<u64>, is_file: bool) -> Vec<u8> {
    let riff = data.map(|data| data + FILE_HEADER_BYTES - 8);
    let small = riff.zip(data).and_then(|(riff, data)| Some((u32::try_from(riff).ok()?, u32::try_from(data).ok()?)));
    let large = riff.zip(data).filter(|_| small.is_none());
    let (riff_size, data_size) = small.unwrap_or((UNKNOWN, UNKNOWN));
    let (channels, rate) = (format.channels, format.sample_rate.get());
    let block = channels * 2;

    let mut out = Vec::with_capacity(80);
    out.extend(if large.is_some() { *b"RF64" } else { *b"RIFF" });
    out.extend(riff_size.to_le_bytes());
    out.extend(*b"WAVE");
    if is_file {
        out.extend(if large.is_some() { *b"ds64" } else { *b"JUNK" });
        out.extend(28u32.to_le_bytes());
        let (riff, data) = large.unwrap_or((0, 0));
        out.extend(riff.to_le_bytes());
        out.extend(data.to_le_bytes());
        out.extend((data / u64::from(block.max(1))).to_le_bytes());
        out.extend(0u32.to_le_bytes());
    }
    out.extend(*b"fmt ");
    out.extend(16u32.to_le_bytes());
    out.extend(1u16.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(block)).to_le_bytes());
    out.extend(block.to_le_bytes());
    out.extend(16u16.to_le_bytes());
    out.extend(*b"data");
    out.extend(data_size.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::foreign;
    use std::num::NonZeroU32;
    use std::path::Path;

    const STEREO: AudioFormat = AudioFormat { sample_rate: NonZeroU32::new(48_000).unwrap(), channels: 2 };

    /// 10 ms of one value, at `ms`.
    fn frame(ms: i64, value: f32) -> AudioFrame {
        AudioFrame { time: MediaTime::from_micros(ms * 1000), format: STEREO, samples: vec![value; 960] }
    }

    fn record(path: &Path, origin: Option<MediaTime>, frames: impl IntoIterator<Item = AudioFrame>) -> (u64, u64) {
        let mut sink = WavSink::create(Target::File(path.to_owned()), Existing::Refuse, STEREO, origin).unwrap();
        frames.into_iter().for_each(|frame| sink.write(&frame).unwrap());
        let counts = (sink.silent_samples(), sink.cut_samples());
        sink.finish().unwrap();
        counts
    }

    fn left(path: &Path) -> Vec<i16> {
        let mut reader = hound::WavReader::open(path).unwrap();
        assert_eq!((reader.spec().sample_rate, reader.spec().channels, reader.spec().bits_per_sample), (48_000, 2, 16));
        reader.samples::<i16>().step_by(2).map(Result::unwrap).collect()
    }

    #[test]
    fn samples_stay_where_their_time_puts_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        // 20 ms are missing before 40; the frame at 45 overlaps by less than the jitter, that at 30 wholly.
        let frames = [frame(10, 0.5), frame(40, 1.0), frame(45, -1.0), frame(30, 0.7), frame(60, 0.1)];
        let counts = record(&path, Some(MediaTime::ZERO), frames);
        let value = |x: f32| to_i16(x);
        let mut expected = vec![0; 480];
        expected.extend(vec![value(0.5); 480]);
        expected.extend(vec![0; 960]);
        expected.extend(vec![value(1.0); 480]);
        expected.extend(vec![value(-1.0); 480]);
        expected.extend(vec![value(0.1); 480]);
        assert!(left(&path) == expected, "samples differ");
        assert_eq!(counts, (480 + 960, 480));
    }

    #[test]
    fn jitter_below_ten_milliseconds_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let jitter = [0, 7, -4, 9].into_iter().cycle();
        let frames = (0..600).zip(jitter).map(|(n, jitter)| frame(n * 10 + jitter, 0.1));
        assert_eq!(record(&path, Some(MediaTime::ZERO), frames), (0, 0));
        assert!(left(&path) == vec![to_i16(0.1); 600 * 480], "samples differ");
    }

    #[test]
    fn samples_beyond_full_scale_saturate() {
        assert_eq!([2.0, 1.0, -1.0, -2.0, f32::NAN].map(to_i16), [32_767, 32_767, -32_767, -32_768, 0]);
    }

    #[test]
    fn another_format_is_an_error_and_not_noise() {
        let target = Target::Stream(Box::new(std::io::sink()), "-".to_owned());
        let mut sink = WavSink::create(target, Existing::Refuse, STEREO, None).unwrap();
        let mono = AudioFormat { channels: 1, ..STEREO };
        let error = sink.write(&AudioFrame { format: mono, ..frame(0, 0.0) }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn ffmpeg_reads_the_file_the_unfinished_file_and_the_stream() {
        let Some(tools) = foreign::ffmpeg() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        record(&path, None, (0..100).map(|n| frame(n * 10, 0.25)));
        tools.assert_clean(&path);
        assert_eq!(tools.duration(&path), 1.0);

        let stream = foreign::Shared::default();
        let target = Target::Stream(Box::new(stream.clone()), "-".to_owned());
        let mut sink = WavSink::create(target, Existing::Refuse, STEREO, None).unwrap();
        (0..100).for_each(|n| sink.write(&frame(n * 10, 0.25)).unwrap());
        sink.finish().unwrap();
        let streamed = folder.path().join("stream.wav");
        std::fs::write(&streamed, stream.take()).unwrap();
        assert_eq!(tools.decoded_bytes(&streamed, "s16le"), 48_000 * 4);

        let path = folder.path().join("killed.wav");
        let mut sink = WavSink::create(Target::File(path), Existing::Refuse, STEREO, None).unwrap();
        (0..50).for_each(|n| sink.write(&frame(n * 10, 0.25)).unwrap());
        drop(sink);
        assert_eq!(tools.decoded_bytes(&folder.path().join("killed.wav.part"), "s16le"), 24_000 * 4);
    }

    #[test]
    fn a_file_past_4_gib_is_rf64() {
        let data = 5 * 1024 * 1024 * 1024u64;
        let header = header(STEREO, Some(data), true);
        assert_eq!(header.len() as u64, FILE_HEADER_BYTES);
        assert_eq!((&header[..4], &header[12..16]), (&b"RF64"[..], &b"ds64"[..]));
        let Some(tools) = foreign::ffmpeg() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.wav");
        std::fs::write(&path, header).unwrap();
        // Sparse: takes no room.
        std::fs::File::options().write(true).open(&path).unwrap().set_len(FILE_HEADER_BYTES + data).unwrap();
        assert!((tools.duration(&path) - data as f64 / 4.0 / 48_000.0).abs() < 0.01);
    }
}
