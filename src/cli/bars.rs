//! What moves on a terminal: the bars of a transfer, all of it and the file at hand, with rate and time left; the line of
//! a recording.

use super::value;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rtckit::progress::Event;
use std::sync::{Mutex, PoisonError};

/// The bars, or nothing where there is no terminal.
pub struct Bars {
    shown: Option<Shown>,
}

struct Shown {
    both: MultiProgress,
    all: ProgressBar,
    file: ProgressBar,
    /// What the lower bar is about.
    path: Mutex<String>,
}

impl Bars {
    /// Bars, if they are `wanted`. Nothing is drawn before there is progress.
    pub fn new(wanted: bool) -> Self {
        let shown = wanted.then(|| {
            let both = MultiProgress::new();
            let (all, file) = (both.add(ProgressBar::no_length()), both.add(ProgressBar::no_length()));
            Shown { both, all, file, path: Mutex::default() }
        });
        Self { shown }
    }

    /// Takes what matters to the bars.
    pub fn show(&self, event: &Event) {
        let Some(shown) = &self.shown else { return };
        if let Event::Progress { bytes, total, files, path, file_bytes, file_size } = event {
            update(&shown.all, *bytes, *total, format!("{files} done"));
            let mut at_hand = shown.path.lock().unwrap_or_else(PoisonError::into_inner);
            if *at_hand != *path {
                at_hand.clone_from(path);
                shown.file.reset();
            }
            let name = path.rsplit('/').next().unwrap_or(path).escape_debug().to_string();
            update(&shown.file, *file_bytes, *file_size, name);
        }
    }

    /// Does something else on the terminal without getting in the way of the bars.
    pub fn aside(&self, other: impl FnOnce()) {
        match &self.shown {
            Some(shown) => shown.both.suspend(other),
            None => other(),
        }
    }

    /// Takes the bars off the terminal.
    pub fn finish(&self) {
        if let Some(shown) = &self.shown {
            shown.file.finish_and_clear();
            shown.all.finish_and_clear();
        }
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

/// One line about a recording: its length, size and rate.
pub struct Meter {
    line: Option<ProgressBar>,
}

impl Meter {
    /// A line, if it is `wanted`.
    pub fn new(wanted: bool) -> Self {
        let line = wanted.then(ProgressBar::no_length);
        if let (Some(line), Ok(style)) = (&line, ProgressStyle::with_template("{msg}")) {
            line.set_style(style);
        }
        Self { line }
    }

    /// Takes what matters to the line.
    pub fn show(&self, event: &Event) {
        let (Some(line), Event::Recording { seconds, bytes, frames_per_second, frames_dropped, audio_level, paused }) =
            (&self.line, event)
        else {
            return;
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
        line.set_message(text);
        line.tick();
    }

    /// Does something else on the terminal without getting in the way of the line.
    pub fn aside(&self, other: impl FnOnce()) {
        match &self.line {
            Some(line) => line.suspend(other),
            None => other(),
        }
    }

    /// Takes the line off the terminal.
    pub fn finish(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}
