//! Writes pictures as YUV4MPEG2 (y4m): uncompressed 4:2:0 at a constant rate.
//!
//! The first picture gives the size; later ones of another size are scaled into it, with black at the sides where the
//! shape differs. y4m has no times, so pictures are repeated and left out to keep time.

use super::output::{Existing, Finished, Output, OutputError, Target};
use crate::error::{Classify, Error, ErrorKind};
use crate::media::{FrameRate, I420, MediaTime, ScaleError, Scaler, Sink, VideoFrame};
use std::sync::Arc;

/// A picture may be so many frames early or late before one is repeated or left out: the jitter of a camera makes
/// neither.
const SLACK: f64 = 1.1;

/// Why a y4m file failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Y4mError {
    /// The file or stream failed.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A picture could not be brought to the size of the file.
    #[error("y4m: {0}")]
    Scale(#[from] ScaleError),
}

impl Classify for Y4mError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Output(_) => ErrorKind::Output,
            Self::Scale(_) => ErrorKind::InvalidInput,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Output(error) => error.hint(),
            Self::Scale(_) => None,
        }
    }
}

/// Writes [`VideoFrame`]s to one y4m file or stream. Blocks on the disk or pipe behind it.
pub struct Y4mSink {
    output: Output,
    rate: FrameRate,
    origin: Option<MediaTime>,
    last: Option<Arc<I420>>,
    written: u64,
    repeated: u64,
    left_out: u64,
    scaler: Scaler,
}

impl Y4mSink {
    /// Opens the output. The file begins at `origin`, or at the first picture; give the sinks of one capture the same
    /// origin to keep them in step. What lies before the first picture shows that picture.
    ///
    /// # Errors
    /// When the output cannot be created.
    pub fn create(
        target: Target,
        existing: Existing,
        rate: FrameRate,
        origin: Option<MediaTime>,
    ) -> Result<Self, Y4mError> {
        let output = Output::create(target, existing)?;
        let scaler = Scaler::default();
        Ok(Self { output, rate, origin, last: None, written: 0, repeated: 0, left_out: 0, scaler })
    }

    /// Pictures written more than once to fill time.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Pictures left out since others had their time.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Takes a picture.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write(&mut self, frame: &VideoFrame) -> Result<(), Y4mError> {
        let origin = *self.origin.get_or_insert(frame.time);
        let place = frame.time.minus(origin).seconds() * self.rate.as_f64();
        let ahead = place - self.written as f64;
        if ahead < -SLACK {
            self.left_out += 1;
            return Ok(());
        }
        let picture = match self.last.take() {
            None => {
                let FrameRate { numerator, denominator } = self.rate;
                let (width, height) = (frame.width(), frame.height());
                let header = format!(
                    "YUV4MPEG2 W{width} H{height} F{numerator}:{denominator} Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n"
                );
                self.output.write(header.as_bytes())?;
                Arc::clone(&frame.picture)
            }
            Some(last) => {
                let fitted = self.fit(frame, (last.width(), last.height()))?;
                self.last = Some(last);
                fitted
            }
        };
        if ahead > SLACK {
            let filler = self.last.take().unwrap_or_else(|| Arc::clone(&picture));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; saturates")]
            let missing = ahead.round() as u64;
            for _ in 0..missing {
                self.append(&filler)?;
            }
            self.repeated += missing;
        }
        self.append(&picture)?;
        self.last = Some(picture);
        self.output.keep_unfinished();
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(self) -> Result<Finished, Y4mError> {
        Ok(self.output.finish()?)
    }

    fn append(&mut self, picture: &I420) -> Result<(), Y4mError> {
        self.output.write(b"FRAME\n")?;
        self.output.write(picture.data())?;
        self.written += 1;
        Ok(())
    }

    /// The picture of `frame` at `size`, its shape kept.
    fn fit(&mut self, frame: &VideoFrame, size: (u32, u32)) -> Result<Arc<I420>, Y4mError> {
        let from = (frame.width(), frame.height());
        if from == size {
            return Ok(Arc::clone(&frame.picture));
        }
        // The largest even size of the same shape that fits.
        let even = |n: u64, most: u32| u32::try_from(n).unwrap_or(most).next_multiple_of(2).min(most).max(1);
        let scaled = |a: u32, b: u32, c: u32| u64::from(a) * u64::from(b) / u64::from(c.max(1));
        let inner = if u64::from(from.0) * u64::from(size.1) > u64::from(from.1) * u64::from(size.0) {
            (size.0, even(scaled(from.1, size.0, from.0), size.1))
        } else {
            (even(scaled(from.0, size.1, from.1), size.0), size.1)
        };
        let mut out = I420::new(size.0, size.1);
        let small = self.scaler.scale(frame, inner.0, inner.1)?;
        for (n, (source, target)) in small.planes().into_iter().zip(out.planes_mut()).enumerate() {
            let luma = n == 0;
            let halve = |(w, h): (u32, u32)| if luma { (w, h) } else { (w.div_ceil(2), h.div_ceil(2)) };
            let (inner, outer) = (halve(inner), halve(size));
            target.fill(if luma { 16 } else { 128 });
            let (left, top) = (even_half(outer.0 - inner.0, luma), even_half(outer.1 - inner.1, luma));
            let rows = target.chunks_exact_mut(outer.0 as usize).skip(top as usize);
            for (row, pixels) in rows.zip(source.chunks_exact(inner.0 as usize)) {
                row[left as usize..][..pixels.len()].copy_from_slice(pixels);
            }
        }
        Ok(Arc::new(out))
    }
}

/// Half of the margin; even in luma, so that chroma keeps its place under it.
fn even_half(margin: u32, luma: bool) -> u32 {
    if luma { margin / 4 * 2 } else { margin / 2 }
}

impl Sink<VideoFrame> for Y4mSink {
    fn write(&mut self, item: &VideoFrame) -> Result<(), Error> {
        Ok(Y4mSink::write(self, item)?)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        Y4mSink::finish(*self)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::foreign;
    use std::path::Path;

    /// A picture whose luma is `shade` all over, at `ms`.
    fn frame(ms: i64, (width, height): (u32, u32), shade: u8) -> VideoFrame {
        let mut picture = I420::new(width, height);
        let [y, u, v] = picture.planes_mut();
        y.fill(shade);
        u.fill(100);
        v.fill(200);
        VideoFrame::new(MediaTime::from_micros(ms * 1000), picture)
    }

    fn sink(path: &Path, fps: u32, origin: Option<MediaTime>) -> Y4mSink {
        let rate = FrameRate::new(fps, 1).unwrap();
        Y4mSink::create(Target::File(path.to_owned()), Existing::Refuse, rate, origin).unwrap()
    }

    /// The first luma byte of every picture.
    fn shades(path: &Path, (width, height): (u32, u32)) -> Vec<u8> {
        pictures(path, (width, height)).iter().map(|picture| picture[0]).collect()
    }

    fn pictures(path: &Path, (width, height): (u32, u32)) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(path).unwrap();
        let header = bytes.iter().position(|&b| b == b'\n').unwrap() + 1;
        let each = I420::byte_len(width, height) + 6;
        assert_eq!((bytes.len() - header) % each, 0);
        bytes[header..].chunks(each).map(|frame| frame.strip_prefix(b"FRAME\n").unwrap().to_vec()).collect()
    }

    #[test]
    fn pictures_stay_where_their_time_puts_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.y4m");
        let mut sink = sink(&path, 10, Some(MediaTime::ZERO));
        // Begins 300 ms late, comes twice too fast at 600 ms, then a second is missing.
        for (ms, shade) in [(300, 1), (400, 2), (500, 3), (550, 4), (600, 5), (650, 6), (700, 7), (1_700, 8)] {
            sink.write(&frame(ms, (16, 16), shade)).unwrap();
        }
        let counts = (sink.repeated(), sink.left_out());
        sink.finish().unwrap();
        let shades = shades(&path, (16, 16));
        assert_eq!(&shades[..5], [1, 1, 1, 1, 2]);
        assert_eq!(shades.len(), 18, "1.7 s of pictures before the last one, at 10 a second: {shades:?}");
        assert_eq!(shades[17], 8);
        assert_eq!(counts.0 + 8 - counts.1, 18);
    }

    #[test]
    fn the_jitter_of_a_camera_neither_repeats_nor_leaves_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.y4m");
        let mut sink = sink(&path, 30, None);
        let jitter = [0, 20, -15, 30].into_iter().cycle();
        for (n, jitter) in (0..300).zip(jitter) {
            sink.write(&frame(n * 1000 / 30 + jitter, (16, 16), 7)).unwrap();
        }
        assert_eq!((sink.repeated(), sink.left_out()), (0, 0));
        sink.finish().unwrap();
        assert_eq!(shades(&path, (16, 16)).len(), 300);
    }

    #[test]
    fn a_picture_of_another_size_fits_into_the_first_and_keeps_its_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.y4m");
        let mut sink = sink(&path, 10, None);
        let sizes = [(64, 48), (128, 96), (48, 64), (320, 48), (1, 1), (63, 47), (64, 48)];
        for (n, size) in sizes.into_iter().enumerate() {
            sink.write(&frame(n as i64 * 100, size, 77)).unwrap();
        }
        sink.finish().unwrap();
        let pictures = pictures(&path, (64, 48));
        assert_eq!(pictures.len(), sizes.len());
        let at = |n: usize, x: usize, y: usize| pictures[n][y * 64 + x];
        assert!(pictures[1].starts_with(&[77; 64 * 48]), "same shape, no bars");
        assert_eq!((at(2, 0, 24), at(2, 63, 24), at(2, 32, 24)), (16, 16, 77), "bars left and right");
        assert_eq!((at(3, 32, 0), at(3, 32, 47), at(3, 32, 24)), (16, 16, 77), "bars above and below");
        let chroma = &pictures[2][64 * 48..];
        assert_eq!((chroma[0], chroma[12 * 32 + 16], chroma[32 * 24 + 12 * 32 + 16]), (128, 100, 200));
    }

    #[test]
    fn ffmpeg_reads_the_file_and_the_stream() {
        let Some(tools) = foreign::ffmpeg() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.y4m");
        let stream = foreign::Shared::default();
        let mut file = sink(&path, 30, None);
        let target = Target::Stream(Box::new(stream.clone()), "-".to_owned());
        let mut piped = Y4mSink::create(target, Existing::Refuse, FrameRate::new(30, 1).unwrap(), None).unwrap();
        for n in 0..30u8 {
            // Odd sizes are where planes go wrong.
            let frame = frame(i64::from(n) * 1000 / 30, (33, 17), n);
            file.write(&frame).unwrap();
            piped.write(&frame).unwrap();
        }
        file.finish().unwrap();
        piped.finish().unwrap();
        tools.assert_clean(&path);
        assert_eq!(tools.decoded_bytes(&path, "rawvideo"), 30 * I420::byte_len(33, 17));
        assert_eq!(std::fs::read(&path).unwrap(), stream.take());
    }
}
