//! What moves on a terminal: the bars of a transfer, all of it and the file at hand, with rate and time left; the line of
//! a recording.

use super::people::Moving;
use super::value;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rtckit::progress::Event;

/// The bars of a transfer.
pub struct Bars {
    both: MultiProgress,
    all: ProgressBar,
    file: ProgressBar,
    /// What the lower bar is about.
    path: String,
}

impl Bars {
    /// Bars. Nothing is drawn before there is progress.
    pub fn new() -> Self {
        let both = MultiProgress::new();
        let (all, file) = (both.add(ProgressBar::no_length()), both.add(ProgressBar::no_length()));
        Self { both, all, file, path: String::new() }
    }
}

impl Moving for Bars {
    fn show(&mut self, event: &Event) {
        if let Event::Progress { bytes, total, files, path, file_bytes, file_size } = event {
            update(&self.all, *bytes, *total, format!("{files} done"));
            if self.path != *path {
                self.path.clone_from(path);
                self.file.reset();
            }
            let name = path.rsplit('/').next().unwrap_or(path).escape_debug().to_string();
            update(&self.file, *file_bytes, *file_size, name);
        }
    }

    fn aside(&mut self, other: &mut dyn FnMut()) {
        self.both.suspend(other);
    }

    fn finish(&mut self) {
        self.file.finish_and_clear();
        self.all.finish_and_clear();
    }
}

fn update(bar: &ProgressBar, bytes: u64, total: Option<u64>, message: String) {
    if bar.length() != total || bar.position() == 0 {
        let template = match total {
            Some(_) => {
                "{percent:>3}% {bar:24} {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12} {eta:>4} {msg:.dim}"
            }
            None => "     {spinner} {bytes:>10} {binary_bytes_per_sec:>12} {msg:.dim}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        match total {
            Some(total) => bar.set_length(total),
            None => bar.unset_length(),
        }
    }
    bar.set_message(message);
    bar.set_position(bytes);
}

/// One line that says how something goes.
pub struct Line {
    bar: ProgressBar,
    text: fn(&Event) -> Option<String>,
}

impl Line {
    /// The line, and what it says of an event. Nothing is drawn before it says something.
    pub fn new(text: fn(&Event) -> Option<String>) -> Self {
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self { bar: ProgressBar::no_length().with_style(style), text }
    }
}

impl Moving for Line {
    fn show(&mut self, event: &Event) {
        if let Some(text) = (self.text)(event) {
            self.bar.set_message(text);
            self.bar.tick();
        }
    }

    fn aside(&mut self, other: &mut dyn FnMut()) {
        self.bar.suspend(other);
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How a recording goes: its length, size and rate.
pub fn recording(event: &Event) -> Option<String> {
    let Event::Recording { seconds, bytes, frames_per_second, frames_dropped, audio_level, paused } = event else {
        return None;
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole tenths of a second")]
    let tenths = (seconds * 10.0) as u64;
    let (minutes, rest) = (tenths / 600, tenths % 600);
    let mut text = format!("{minutes:>3}:{:02}.{}  {:>9}", rest / 10, rest % 10, value::bytes(*bytes));
    if *frames_per_second > 0.0 {
        text += &format!("  {frames_per_second:>5.1} fps");
    }
    if *frames_dropped > 0 {
        text += &format!("  {frames_dropped} dropped");
    }
    if let Some(level) = audio_level {
        text += &format!("  {:>5.0} dB", 20.0 * level.max(1e-5).log10());
    }
    if *paused {
        text += "  paused";
    }
    Some(text)
}
