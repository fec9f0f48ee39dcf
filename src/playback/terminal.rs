//! Pictures in a terminal: two pixels in each cell, by a half block. The terminal is never asked anything, so one that does not answer
//! cannot hold us up.

use super::{PlaybackError, Screen, color};
use crate::media::I420;
use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

/// Columns and rows of a terminal, or none where it does not tell.
pub type TerminalSize = Box<dyn Fn() -> Option<(u16, u16)> + Send>;

/// A terminal, which is given back as it was when this is dropped.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    size: TerminalSize,
    colored: bool,
    shown: Option<Instant>,
    text: String,
}

impl Terminal {
    /// Terminals are slow: no more pictures than 15 a second.
    const INTERVAL: Duration = Duration::from_millis(66);
    /// Where a terminal does not tell its size.
    const USUAL: (u16, u16) = (80, 24);
    /// From dark to light, where there is to be no colour.
    const SHADES: &[u8; 10] = b" .:-=+*#%@";

    /// A terminal behind `out`; in colour, or in characters that are as bright.
    pub fn new(out: Box<dyn Write + Send>, size: TerminalSize, colored: bool) -> Self {
        Self { out, size, colored, shown: None, text: String::new() }
    }

    fn draw(&mut self, picture: &I420) {
        let (columns, rows) = (self.size)().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(Self::USUAL);
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        // A cell is about twice as high as wide: two square pixels.
        let (most_wide, most_high) = (usize::from(columns), usize::from(rows) * 2);
        let wide = most_wide.min((most_high * width / height.max(1)).max(1));
        let high = most_high.min((wide * height).div_ceil(width.max(1)).max(2)) / 2 * 2;
        let pixel = |column: usize, row: usize| {
            let (x, y) = ((column * 2 + 1) * width / (wide * 2), (row * 2 + 1) * height / (high * 2));
            color(picture, x.min(width - 1), y.min(height - 1))
        };
        self.text.clear();
        self.text.push_str(if self.shown.is_none() { "\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H" } else { "\x1b[H" });
        // Writing to a String cannot fail.
        for row in (0..high).step_by(2) {
            let mut last = None;
            for column in 0..wide {
                let both = (pixel(column, row), pixel(column, row + 1));
                if !self.colored {
                    self.text.push(Self::shade(both.0, both.1));
                    continue;
                }
                if last != Some(both) {
                    let ([r, g, b], [s, h, c]) = both;
                    let _ = write!(self.text, "\x1b[38;2;{r};{g};{b};48;2;{s};{h};{c}m");
                    last = Some(both);
                }
                self.text.push('\u{2580}');
            }
            self.text.push_str(if self.colored { "\x1b[0m\x1b[K" } else { "\x1b[K" });
            if row + 2 < high {
                self.text.push_str("\r\n");
            }
        }
        self.text.push_str("\x1b[J");
    }

    fn shade(upper: [u8; 3], lower: [u8; 3]) -> char {
        let luma = |[r, g, b]: [u8; 3]| (usize::from(r) * 299 + usize::from(g) * 587 + usize::from(b) * 114) / 1000;
        let bright = (luma(upper) + luma(lower)) / 2;
        char::from(Self::SHADES[(bright * Self::SHADES.len() / 256).min(Self::SHADES.len() - 1)])
    }

    fn put(&mut self, text: &[u8]) -> Result<(), PlaybackError> {
        self.out
            .write_all(text)
            .and_then(|()| self.out.flush())
            .map_err(|error| PlaybackError::Terminal(error.to_string()))
    }
}

impl Screen for Terminal {
    fn show(&mut self, picture: &I420) -> Result<(), PlaybackError> {
        if self.shown.is_some_and(|shown| shown.elapsed() < Self::INTERVAL) {
            return Ok(());
        }
        self.draw(picture);
        self.shown = Some(Instant::now());
        let text = std::mem::take(&mut self.text);
        let put = self.put(text.as_bytes());
        self.text = text;
        put
    }

    fn idle(&mut self) -> Result<(), PlaybackError> {
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.shown.is_some() {
            // A terminal that is gone needs nothing any more.
            let _ = self.put(b"\x1b[0m\x1b[?25h\x1b[?1049l");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// White on top, black below.
    fn picture(width: u32, height: u32) -> I420 {
        let mut picture = I420::new(width, height);
        let [luma, u, v] = picture.planes_mut();
        let half = luma.len() / 2;
        luma[..half].fill(235);
        luma[half..].fill(16);
        u.fill(128);
        v.fill(128);
        picture
    }

    fn shown(size: Option<(u16, u16)>, colored: bool, picture: &I420) -> String {
        let written = Written::default();
        let mut terminal = Terminal::new(Box::new(written.clone()), Box::new(move || size), colored);
        terminal.show(picture).unwrap();
        terminal.show(picture).unwrap();
        drop(terminal);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_picture_fills_the_terminal_and_keeps_its_shape() {
        let text = shown(Some((40, 40)), true, &picture(64, 32));
        assert_eq!(text.matches('\u{2580}').count(), 40 * 10, "40 wide, 20 pixels high");
        assert!(
            text.contains("\x1b[38;2;255;255;255;48;2;255;255;255m") && text.contains("\x1b[38;2;0;0;0;48;2;0;0;0m")
        );
        let narrow = shown(Some((100, 5)), true, &picture(64, 32));
        assert_eq!(narrow.matches('\u{2580}').count(), 20 * 5);
        assert!(shown(None, true, &picture(2, 200)).contains('\u{2580}'));
        assert!(shown(Some((0, 0)), true, &picture(1, 1)).contains('\u{2580}'));
    }

    #[test]
    fn the_terminal_is_given_back_and_asked_nothing() {
        let text = shown(Some((20, 10)), true, &picture(64, 48));
        assert!(text.starts_with("\x1b[?1049h\x1b[?25l") && text.ends_with("\x1b[?25h\x1b[?1049l"));
        assert_eq!(text.matches("\x1b[H").count(), 1, "the second picture came too soon");
        // Nothing that a terminal answers: no reports (n, c) and no window queries (t).
        for end in ["n", "c", "t"] {
            assert!(!text.split('\x1b').any(|code| code.starts_with('[') && code.ends_with(end)), "{end}");
        }
    }

    #[test]
    fn without_colour_brightness_is_left() {
        let text = shown(Some((20, 10)), false, &picture(64, 48));
        assert!(text.contains("@@@@") && text.contains("    ") && !text.contains("38;2"));
    }
}
