//! The synthetic camera: colour bars, a moving gradient and a bouncing chequered box, with the
//! [barcode](crate::media::barcode) and the flash in every frame. Live: it paces itself.

use super::CaptureError;
use crate::error::Error;
use crate::media::{
    self, Constraint, FramePool, FrameRate, I420, Overconstrained, Property, Source, VideoConstraints, VideoFormat,
    VideoFrame, VideoSettings, barcode, pick_whole,
};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Pictures on a schedule: frame n is due n frame periods after the origin.
///
/// A reader that is late by whole frame periods loses the frames it missed: the barcode's frame number and the time of the next
/// frame go on by the schedule.
pub struct TestPattern {
    format: VideoFormat,
    origin: Instant,
    backdrop: I420,
    gradient: Vec<u8>,
    pool: FramePool,
    next: Option<u64>,
    paced: bool,
    skipped: Arc<AtomicU64>,
}

impl TestPattern {
    /// The sizes it can draw, width and height alike.
    pub const SIZES: std::ops::RangeInclusive<f64> = 16.0..=8192.0;
    /// The frame rates it can keep to, in frames per second.
    pub const RATES: std::ops::RangeInclusive<f64> = 0.1..=240.0;

    /// What the constraints make of 640x480 at 30 frames per second. Where only one of width and height is given, the
    /// other keeps the picture at 4:3, or at the wanted aspect ratio, as far as its own bounds allow.
    ///
    /// # Errors
    /// [`CaptureError::Overconstrained`] when a bound lies outside of what can be drawn.
    pub fn format(constraints: &VideoConstraints) -> Result<VideoFormat, CaptureError> {
        let settled = constraints.settled(|set| Self::shape(set).is_ok());
        Self::shape(&settled).map_err(|error| CaptureError::Overconstrained { source_name: "test".to_owned(), error })
    }

    fn shape(constraints: &VideoConstraints) -> Result<VideoFormat, Overconstrained> {
        let wish = |constraint: Option<Constraint>| {
            constraint.filter(|c| *c != Constraint::default()).and_then(|c| c.pick(640.0, Self::SIZES))
        };
        let ratio = constraints.aspect_ratio.unwrap_or_default().pick(4.0 / 3.0, 1.0 / 512.0..=512.0);
        let ratio = ratio.unwrap_or(4.0 / 3.0);
        let (wide, high) = match (wish(constraints.width), wish(constraints.height)) {
            (Some(width), None) => (width, (width / ratio).round()),
            (None, Some(height)) => ((height * ratio).round(), height),
            _ => (640.0, (640.0 / ratio).round()),
        };
        let width = pick_whole(Property::Width, constraints.width, wide, Self::SIZES)?;
        let height = pick_whole(Property::Height, constraints.height, high, Self::SIZES)?;
        let wanted = constraints.frame_rate.unwrap_or_default();
        let frame_rate = wanted.pick(30.0, Self::RATES).and_then(FrameRate::from_f64);
        let frame_rate =
            frame_rate.ok_or_else(|| Overconstrained::out_of_range(Property::FrameRate, wanted, &Self::RATES))?;
        let format = VideoFormat { width, height, frame_rate };
        media::check(&VideoSettings::of_format("test", &format), constraints)?;
        Ok(format)
    }

    /// A pattern whose timeline begins at `origin`, past or to come. Sizes from 1 to 16384 work; those below
    /// [`barcode::SMALLEST`] carry no barcode.
    pub fn new(format: VideoFormat, origin: Instant) -> Self {
        let (width, height) = (format.width.clamp(1, 16_384), format.height.clamp(1, 16_384));
        let format = VideoFormat { width, height, ..format };
        // Two periods, so that any shift is one contiguous piece.
        let gradient = (0..2 * width as usize).map(|x| triangle(x, width as usize)).collect();
        Self {
            format,
            origin,
            backdrop: backdrop(width, height),
            gradient,
            pool: FramePool::new(),
            next: None,
            paced: true,
            skipped: Arc::default(),
        }
    }

    /// The same pictures as fast as they are read.
    #[must_use]
    pub fn unpaced(self) -> Self {
        Self { paced: false, ..self }
    }

    /// Counts the frames that were skipped because the reader came too late; readable while it runs.
    pub fn skipped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.skipped)
    }

    /// Draws frame `n` without its barcode.
    fn draw(&self, n: u64) -> I420 {
        let mut picture = self.pool.take(self.format.width, self.format.height);
        picture.data_mut().copy_from_slice(self.backdrop.data());
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let n = usize::try_from(n % 1_000_000_007).unwrap_or(0);
        let luma = &mut *picture.planes_mut()[0];
        let shift = n * (width / 120).max(1) % width;
        for line in height * 5 / 8..height * 6 / 8 {
            luma[line * width..][..width].copy_from_slice(&self.gradient[shift..shift + width]);
        }
        let side = (width.min(height) / 6).max(1);
        let left = bounce(n * (width / 160).max(1), width - side.min(width));
        let top = bounce(n * (height / 160).max(1), height - side.min(height));
        let square = (side / 8).max(1);
        let chequer =
            |phase: usize| (0..side).map(move |x| if (x / square + phase).is_multiple_of(2) { 200 } else { 50 });
        let rows: [Vec<u8>; 2] = [chequer(0).collect(), chequer(1).collect()];
        for line in 0..side {
            luma[(top + line) * width + left..][..side].copy_from_slice(&rows[line / square % 2]);
        }
        picture
    }
}

impl Source<VideoFrame> for TestPattern {
    fn lost(&self) -> Option<Arc<AtomicU64>> {
        Some(self.skipped())
    }

    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        let rate = self.format.frame_rate;
        let elapsed = if self.paced { self.origin.elapsed().as_nanos() } else { 0 };
        let running = elapsed * u128::from(rate.numerator.get()) / (u128::from(rate.denominator.get()) * 1_000_000_000);
        let running = u64::try_from(running).unwrap_or(u64::MAX);
        // The frame whose period is running is given late rather than skipped.
        let n = match self.next {
            Some(next) => next.max(running),
            None => running,
        };
        self.skipped.fetch_add(n - self.next.unwrap_or(n), Ordering::Relaxed);
        let time = rate.time_of(n);
        let mut picture = self.draw(n);
        barcode::draw_flash(&mut picture, barcode::flash_at(time));
        if stop.is_stopped() || self.paced && stop.wait_until(self.origin + time.duration()) {
            return Ok(None);
        }
        self.next = Some(n + 1);
        let captured = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let frame = u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0);
        let captured_micros = u64::try_from(captured.as_micros()).unwrap_or(0);
        barcode::draw(&mut picture, barcode::Barcode { frame, captured_micros });
        Ok(Some(VideoFrame::new(time, picture)))
    }
}

/// Where a point that moves one pixel a step between two walls `room` apart is after `steps`.
fn bounce(steps: usize, room: usize) -> usize {
    let position = steps % (2 * room).max(1);
    position.min((2 * room).saturating_sub(position))
}

/// Black to white and back over `period`.
fn triangle(x: usize, period: usize) -> u8 {
    let x = x % period;
    let up = x.min(period - x);
    u8::try_from(16 + up * 2 * 219 / period).unwrap_or(235)
}

/// Eight colour bars at 75 %, ITU-R BT.601 limited range.
fn backdrop(width: u32, height: u32) -> I420 {
    const BARS: [[u8; 3]; 8] = [
        [180, 128, 128],
        [162, 44, 142],
        [131, 156, 44],
        [112, 72, 58],
        [84, 184, 198],
        [65, 100, 212],
        [35, 212, 114],
        [16, 128, 128],
    ];
    let mut picture = I420::new(width, height);
    let strides = [width as usize, width.div_ceil(2) as usize, width.div_ceil(2) as usize];
    for (channel, (plane, stride)) in picture.planes_mut().into_iter().zip(strides).enumerate() {
        for line in plane.chunks_exact_mut(stride) {
            for (x, pixel) in line.iter_mut().enumerate() {
                *pixel = BARS[x * 8 / stride][channel];
            }
        }
    }
    picture
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test values are small")]
mod tests {
    use super::*;
    use crate::media::Constraint;
    use crate::stop::StopReason;
    use std::time::Duration;

    fn format(width: u32, height: u32, fps: f64) -> VideoFormat {
        VideoFormat { width, height, frame_rate: FrameRate::from_f64(fps).unwrap() }
    }

    #[test]
    fn frames_carry_their_number_their_capture_time_and_the_flash() {
        let origin = Instant::now();
        let mut source = TestPattern::new(format(320, 240, 100.0), origin);
        for n in 0..15 {
            let frame = source.next(&Stop::new()).unwrap().unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
            let mark = barcode::read(&frame).expect("a clean picture reads");
            assert!(origin.elapsed() >= frame.time.duration(), "given before it was due");
            assert_eq!(f64::from(mark.frame), (frame.time.seconds() * 100.0).round());
            assert!(mark.frame >= n, "never bunched or repeated");
            assert!((0..1_000_000).contains(&mark.age_micros(now)));
            assert_eq!(barcode::flash(&frame), frame.time.seconds() < 0.1);
        }
    }

    #[test]
    fn a_late_reader_loses_whole_frames_and_keeps_the_schedule() {
        let origin = Instant::now();
        let mut source = TestPattern::new(format(64, 48, 200.0), origin);
        let stop = Stop::new();
        let first = source.next(&stop).unwrap().unwrap().time;
        assert!(!stop.wait_for(Duration::from_millis(52)));
        let late = source.next(&stop).unwrap().unwrap();
        let missed = ((late.time.minus(first)).seconds() * 200.0).round() as u64 - 1;
        assert!(missed >= 9, "{missed}");
        assert_eq!(source.skipped().load(Ordering::Relaxed), missed);
        assert!(origin.elapsed().saturating_sub(late.time.duration()) < Duration::from_secs(1));
    }

    #[test]
    fn a_stop_ends_a_source_whose_next_frame_is_far_off() {
        let mut source = TestPattern::new(format(16, 16, 1.0), Instant::now() + Duration::from_secs(3600));
        let stop = Stop::new();
        stop.stop(StopReason::Done);
        assert!(source.next(&stop).unwrap().is_none());
    }

    #[test]
    fn every_size_is_drawn_and_something_moves() {
        for (width, height) in [(16, 16), (17, 19), (8192, 16), (16, 8192), (641, 481)] {
            let source = TestPattern::new(format(width, height, 30.0), Instant::now());
            for n in [0, 1, 59, 1 << 40] {
                let (one, two) = (source.draw(n), source.draw(n + 1));
                assert_ne!(one.data(), two.data(), "{width}x{height} frame {n}");
            }
        }
    }

    #[test]
    fn constraints_choose_the_format() {
        let parse = |text: &str| (!text.is_empty()).then(|| text.parse::<Constraint>().unwrap());
        let make = |width, height, rate| {
            let constraints = VideoConstraints {
                width: parse(width),
                height: parse(height),
                frame_rate: parse(rate),
                ..VideoConstraints::default()
            };
            TestPattern::format(&constraints).map(|f| (f.width, f.height, f.frame_rate.as_f64()))
        };
        assert_eq!(make("", "", "").unwrap(), (640, 480, 30.0));
        assert_eq!(make("1280", "720", "exact:60").unwrap(), (1280, 720, 60.0));
        assert_eq!(make("320", "", "max:15").unwrap(), (320, 240, 15.0));
        assert_eq!(make("320", "min:300", "").unwrap(), (320, 480, 30.0));
        let refused = make("exact:9000", "", "").unwrap_err().to_string();
        assert!(refused.contains("width exact:9000"), "{refused}");
        assert!(make("exact:640.5", "", "").is_err());
        assert!(make("", "", "min:300").unwrap_err().to_string().contains("frameRate"));
    }

    /// Codes `count` marked frames as VP8, decodes and scales them, and reads the barcodes of what comes out.
    fn through_vp8(
        (width, height): (u32, u32),
        count: u64,
        bitrate: &str,
        scale: &str,
    ) -> Option<Vec<(I420, barcode::Barcode)>> {
        use crate::capture::file::{Location, open};
        use std::process::{Command, Stdio};
        if Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("CI").is_none(), "ffmpeg must be installed in CI");
            println!("skipped: no ffmpeg");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let source = TestPattern::new(format(width, height, 30.0), Instant::now());
        let mut y4m = format!("YUV4MPEG2 W{width} H{height} F30:1 C420jpeg\n").into_bytes();
        for n in 0..count {
            let mut picture = source.draw(n);
            barcode::draw_flash(&mut picture, n < 3);
            let mark = barcode::Barcode { frame: n as u32, captured_micros: 1_700_000_000_000_000 + n * 33_333 };
            barcode::draw(&mut picture, mark);
            y4m.extend(b"FRAME\n");
            y4m.extend(picture.data());
        }
        std::fs::write(file("in.y4m"), y4m).unwrap();
        let run = |args: &[&str]| {
            let status = Command::new("ffmpeg").args(["-loglevel", "error", "-y", "-i"]).args(args).status().unwrap();
            assert!(status.success());
        };
        let vp8 = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "300"];
        run(&[&[&*file("in.y4m")][..], &vp8, &["-b:v", bitrate, &file("a.webm")]].concat());
        run(&[&file("a.webm"), "-vf", scale, "-pix_fmt", "yuv420p", &file("out.y4m")]);
        let location = Location::of_path(file("out.y4m").as_ref()).unwrap();
        let wanted = crate::capture::Wanted { video: true, audio: false };
        let input = open(location, false, wanted, &VideoConstraints::default(), &Default::default()).unwrap();
        let Some(crate::media::VideoInput::Raw { mut source, .. }) = input.video else { panic!("raw") };
        let frames = std::iter::from_fn(|| source.next(&Stop::new()).unwrap());
        Some(
            frames
                .map(|frame| (barcode::read(&frame), std::sync::Arc::into_inner(frame.picture).unwrap()))
                .map(|(mark, picture)| (picture, mark.expect("every frame reads")))
                .collect(),
        )
    }

    #[test]
    fn marks_survive_vp8_at_300_kbit_and_scaling_to_half_and_double() {
        for (width, height, bitrate, scale) in [
            (640, 480, "300k", "scale=iw/2:ih/2:flags=bilinear"),
            (640, 480, "1M", "scale=iw*2:ih*2:flags=bilinear"),
            (64, 48, "300k", "scale=iw:ih"),
            (1280, 720, "300k", "scale=iw*0.6:ih*0.6:flags=bilinear"),
        ] {
            let Some(frames) = through_vp8((width, height), 12, bitrate, scale) else {
                return;
            };
            assert_eq!(frames.len(), 12);
            for (n, (picture, mark)) in frames.iter().enumerate() {
                let expected = 1_700_000_000_000_000 + n as u64 * 33_333;
                assert_eq!((mark.frame, mark.age_micros(expected)), (n as u32, 0), "{width}x{height} {scale}");
                assert_eq!(barcode::flash(picture), n < 3, "{width}x{height} {scale} frame {n}");
            }
        }
    }
}
