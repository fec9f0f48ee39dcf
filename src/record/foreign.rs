//! For tests: readers that are not ours, writers that fail, and encoded frames to record.

use crate::media::{Codec, EncodedFrame, MediaTime, opus_packet_samples};
use bytes::Bytes;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// ffmpeg and ffprobe.
pub(super) struct Ffmpeg;

/// ffmpeg, or `None` after saying why; where CI says everything is installed, its absence fails.
pub(super) fn ffmpeg() -> Option<Ffmpeg> {
    let there = ["ffmpeg", "ffprobe"].iter().all(|tool| Command::new(tool).arg("-version").output().is_ok());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "ffmpeg is not installed");
        println!("skipped: ffmpeg and ffprobe are not installed");
    }
    there.then_some(Ffmpeg)
}

impl Ffmpeg {
    fn run(tool: &str, args: &[&str], path: &Path, rest: &[&str]) -> Output {
        let mut command = Command::new(tool);
        let flag = ["-i"].iter().filter(|_| tool == "ffmpeg");
        command.arg("-v").arg("warning").args(args).args(flag).arg(path).args(rest).output().expect("it runs")
    }

    /// Neither ffprobe nor a full decode by ffmpeg has anything to say.
    pub fn assert_clean(&self, path: &Path) {
        let probed = Self::run("ffprobe", &["-show_format"], path, &[]);
        assert_eq!(String::from_utf8_lossy(&probed.stderr), "", "ffprobe {}", path.display());
        let decoded = Self::run("ffmpeg", &[], path, &["-f", "null", "-"]);
        let said = String::from_utf8_lossy(&decoded.stderr).into_owned();
        // Said of every plain WAV: two channels have no names in it.
        let said: Vec<_> = said.lines().filter(|line| !line.starts_with("Guessed Channel Layout")).collect();
        assert_eq!(said, [""; 0], "ffmpeg {}", path.display());
        assert!(probed.status.success() && decoded.status.success());
    }

    fn entries(path: &Path, args: &[&str]) -> Vec<String> {
        let output = Self::run("ffprobe", &[&["-of", "csv=p=0"], args].concat(), path, &[]);
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim_end_matches(',').to_owned()).collect()
    }

    /// The duration in the container, in seconds; NaN where there is none.
    pub fn duration(&self, path: &Path) -> f64 {
        Self::entries(path, &["-show_entries", "format=duration"])[0].parse().unwrap_or(f64::NAN)
    }

    /// Codec names in the order of the tracks.
    pub fn codecs(&self, path: &Path) -> Vec<String> {
        Self::entries(path, &["-show_entries", "stream=codec_name"])
    }

    /// Whether each track is one that a player takes unasked.
    pub fn defaults(&self, path: &Path) -> Vec<bool> {
        let lines = Self::entries(path, &["-show_entries", "stream_disposition=default"]);
        lines.iter().map(|line| line == "1").collect()
    }

    /// Decoding time in seconds, and whether it is a key frame, of every packet of the stream (`v`, `a`, `v:1`).
    pub fn packets(&self, path: &Path, stream: &str) -> Vec<(f64, bool)> {
        let lines = Self::entries(path, &["-select_streams", stream, "-show_entries", "packet=dts_time,flags"]);
        let packet = |line: String| {
            let (time, flags) = line.split_once(',').expect("two columns");
            (time.parse().expect("a time"), flags.starts_with('K'))
        };
        lines.into_iter().filter(|line| !line.is_empty()).map(packet).collect()
    }

    /// Times of the first frame that is decoded after seeking to `seconds`.
    pub fn first_after_seek(&self, path: &Path, seconds: f64) -> f64 {
        let from = format!("{seconds}%+#1");
        let args = ["-select_streams", "v", "-read_intervals", &from, "-show_entries", "packet=pts_time"];
        Self::entries(path, &args)[0].parse().expect("a time")
    }

    /// What ffmpeg decodes it to.
    pub fn decoded(&self, path: &Path, args: &[&str]) -> Vec<u8> {
        Self::run("ffmpeg", &[], path, &[args, &["-"]].concat()).stdout
    }

    /// How many bytes ffmpeg decodes it to.
    pub fn decoded_bytes(&self, path: &Path, format: &str) -> usize {
        Self::run("ffmpeg", &[], path, &["-f", format, "-"]).stdout.len()
    }

    /// Decoding ends in order, whatever it has to say; the end of what was decoded, in seconds.
    pub fn decoded_end(&self, path: &Path) -> Option<f64> {
        let output = Self::run("ffmpeg", &["-progress", "pipe:1"], path, &["-f", "null", "/dev/null"]);
        assert!(output.status.code().is_some_and(|code| code < 128), "ffmpeg crashed on {}", path.display());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let micros = text.lines().filter_map(|line| line.strip_prefix("out_time_us=")).next_back()?;
        Some(micros.parse::<f64>().ok()? / 1e6)
    }
}

/// A stream whose bytes can be looked at.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().expect("no panic while held"))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while held").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn data(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "data", name].iter().collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const MILLIS: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// 160x120 at 30 fps from `start_ms` on, a key frame every second; repeats every 3 s.
pub(super) fn vp8(start_ms: i64, frames: usize) -> Vec<EncodedFrame> {
    let ivf = data("record-vp8.ivf");
    let mut rest = &ivf[32..];
    let mut payloads = Vec::new();
    while let Some(size) = rest.first_chunk::<4>() {
        let end = 12 + u32::from_le_bytes(*size) as usize;
        payloads.push(Bytes::copy_from_slice(&rest[12..end]));
        rest = &rest[end..];
    }
    assert_eq!(payloads.len(), 90);
    let frame = |(n, data): (usize, &Bytes)| EncodedFrame {
        codec: Codec::Vp8,
        time: MediaTime::new(start_ms * 90 + n as i64 * 3000, Codec::Vp8.clock_rate()),
        key: n % 30 == 0,
        data: data.clone(),
    };
    payloads.iter().cycle().enumerate().take(frames).map(frame).collect()
}

/// Mono packets of 20 ms from `start_ms` on.
pub(super) fn opus(start_ms: i64, packets: usize) -> Vec<EncodedFrame> {
    let file = data("record-opus.ogg");
    let mut reader = ogg::PacketReader::new(io::Cursor::new(file));
    let mut payloads = Vec::new();
    while let Some(packet) = reader.read_packet().expect("a sound file") {
        payloads.push(Bytes::from(packet.data));
    }
    let payloads = &payloads[2..];
    assert!(payloads.iter().all(|packet| opus_packet_samples(packet) == Some(960)));
    let frame = |(n, data): (usize, &Bytes)| EncodedFrame {
        codec: Codec::Opus,
        time: MediaTime::new(start_ms + n as i64 * 20, MILLIS),
        key: true,
        data: data.clone(),
    };
    payloads.iter().cycle().enumerate().take(packets).map(frame).collect()
}
