//! Progress bars of a transfer: all of it and the file at hand, with rate and time left. Only on a terminal.

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
