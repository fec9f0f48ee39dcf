//! A recording as ffprobe and ffmpeg see it: a reader that is not ours.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a foreign reader says of a file.
#[derive(Debug)]
pub struct MediaFile {
    path: PathBuf,
    facts: Value,
}

/// One track of a file.
#[derive(Debug)]
pub struct Stream<'a> {
    /// `video` or `audio`.
    pub kind: &'a str,
    /// ffmpeg's name of the codec, e.g. `vp8`.
    pub codec: &'a str,
    /// Presentation times of its packets in seconds, in file order.
    pub times: Vec<f64>,
}

impl MediaFile {
    /// Reads `path`; fails the test when ffprobe cannot.
    pub fn open(path: &Path) -> Self {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_packets"])
            .arg(path)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaint.is_empty(), "ffprobe {}: {complaint}", path.display());
        Self { path: path.to_owned(), facts: serde_json::from_slice(&output.stdout).unwrap() }
    }

    /// Duration in seconds, as the file declares it.
    pub fn duration(&self) -> f64 {
        let text = self.facts["format"]["duration"].as_str();
        text.unwrap_or_else(|| panic!("{} declares no duration", self.path.display())).parse().unwrap()
    }

    /// The tracks, in file order.
    pub fn streams(&self) -> Vec<Stream<'_>> {
        let streams = self.facts["streams"].as_array().unwrap();
        streams
            .iter()
            .map(|stream| Stream {
                kind: stream["codec_type"].as_str().unwrap_or(""),
                codec: stream["codec_name"].as_str().unwrap_or(""),
                times: self.times(&stream["index"]),
            })
            .collect()
    }

    fn times(&self, index: &Value) -> Vec<f64> {
        let packets = self.facts["packets"].as_array().unwrap();
        let own = packets.iter().filter(|packet| packet["stream_index"] == *index);
        own.filter_map(|packet| packet["pts_time"].as_str()?.parse().ok()).collect()
    }

    /// The one track with this codec, e.g. `vp8` or `opus`.
    pub fn stream(&self, codec: &str) -> Stream<'_> {
        let mut found = self.streams();
        found.retain(|stream| stream.codec == codec);
        assert_eq!(found.len(), 1, "one {codec} track in {}: {found:?}", self.path.display());
        found.remove(0)
    }

    /// The one track of this kind, `video` or `audio`.
    pub fn track(&self, kind: &str) -> Stream<'_> {
        let mut found = self.streams();
        found.retain(|stream| stream.kind == kind);
        assert_eq!(found.len(), 1, "one {kind} track in {}: {found:?}", self.path.display());
        found.remove(0)
    }

    /// Decodes everything; what ffmpeg complained about, empty when nothing.
    pub fn decode_complaints(&self) -> String {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(&self.path)
            // Frames keep their times: rounded to a constant rate, two that come soon after each other would collide.
            .args(["-map", "0", "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// It plays: both tracks, the same timeline, no decoding error.
    pub fn assert_plays(&self) {
        let (video, audio) = (self.track("video"), self.track("audio"));
        assert!(video.times.len() > 1 && audio.times.len() > 1, "empty track in {}", self.path.display());
        for stream in [&video, &audio] {
            let ordered = stream.times.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(ordered, "{} times go backwards in {}", stream.kind, self.path.display());
        }
        assert_eq!(self.decode_complaints(), "", "{}", self.path.display());
    }

    /// How far apart sound and picture begin, in seconds.
    pub fn start_offset(&self) -> f64 {
        (self.track("video").times[0] - self.track("audio").times[0]).abs()
    }
}

/// The hash of every packet of a track, `v` or `a`, as ffmpeg reads it.
pub fn packets(path: &Path, track: &str) -> Vec<String> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(path)
        .args(["-map", &format!("0:{track}"), "-c", "copy", "-f", "framemd5", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(',').nth(5).unwrap().trim().to_owned()).collect()
}
