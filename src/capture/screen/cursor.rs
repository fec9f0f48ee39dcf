//! The cursor: whether it is seen, and drawing it into a picture for as long as that is looked at.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Whether the cursor is captured; W3C screen-capture `CursorCaptureConstraint`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CursorCapture {
    /// It is always seen.
    #[default]
    Always,
    /// It is seen while it moves, and for a second after.
    Motion,
    /// It is never seen.
    Never,
}

impl CursorCapture {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Always, Self::Motion, Self::Never];
    /// How long a cursor that stands still is seen.
    pub(super) const LINGER: Duration = Duration::from_secs(1);

    /// Whether a cursor is seen at `now` that moved last at `moved`.
    pub(super) fn shows(self, moved: Option<Instant>, now: Instant) -> bool {
        match self {
            Self::Always => true,
            Self::Motion => moved.is_some_and(|moved| now.saturating_duration_since(moved) < Self::LINGER),
            Self::Never => false,
        }
    }
}

impl fmt::Display for CursorCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::Motion => "motion",
            Self::Never => "never",
        })
    }
}

impl FromStr for CursorCapture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| format!("'{text}' is none of always, motion, never"))
    }
}

/// What a cursor looks like.
#[derive(Clone, Debug, Default)]
pub(super) struct CursorImage {
    pub(super) width: u32,
    pub(super) height: u32,
    /// The pixel that points, from the top left corner.
    pub(super) hot: (i32, i32),
    /// Alpha, red, green, blue from the highest byte down; colours are multiplied by alpha already.
    pub(super) argb: Vec<u32>,
}

/// The pixels that a cursor covers, kept until it is taken away again.
#[derive(Default)]
pub(super) struct Covered {
    saved: Vec<u8>,
    start: usize,
    row: usize,
}

impl CursorImage {
    /// Draws it with its point at `x`, `y` over rows of `width` pixels in the order blue, green, red, any.
    pub(super) fn draw(&self, pixels: &mut [u8], width: u32, height: u32, (x, y): (i32, i32)) -> Covered {
        let clip = |at: i32, extent: u32, room: u32| {
            let (at, extent, room) = (i64::from(at), i64::from(extent), i64::from(room));
            let (first, end) = (at.clamp(0, room), (at + extent).clamp(0, room));
            let index = |n: i64| usize::try_from(n).unwrap_or(0);
            (index(first), index(end), index(first - at))
        };
        let (left, right, skip_columns) = clip(x - self.hot.0, self.width, width);
        let (top, bottom, skip_rows) = clip(y - self.hot.1, self.height, height);
        let (stride, row) = (width as usize * 4, right.saturating_sub(left) * 4);
        let mut covered = Covered { saved: Vec::new(), start: top * stride + left * 4, row };
        if row == 0 {
            return covered;
        }
        for (line, from_line) in (top..bottom).zip(skip_rows..) {
            let Some(under) = pixels.get_mut(line * stride + left * 4..).and_then(|rest| rest.get_mut(..row)) else {
                break;
            };
            covered.saved.extend_from_slice(under);
            let from = self.argb.iter().skip(from_line * self.width as usize + skip_columns);
            for (pixel, cursor) in under.chunks_exact_mut(4).zip(from) {
                let [blue, green, red, alpha] = cursor.to_le_bytes();
                for (channel, over) in pixel.iter_mut().zip([blue, green, red]) {
                    let left = u32::from(*channel) * (255 - u32::from(alpha)) / 255;
                    *channel = over.saturating_add(u8::try_from(left).unwrap_or(255));
                }
            }
        }
        covered
    }
}

impl Covered {
    /// Puts back what was under the cursor.
    pub(super) fn restore(&self, pixels: &mut [u8], width: u32) {
        if self.row == 0 {
            return;
        }
        let rows = pixels.get_mut(self.start..).into_iter().flat_map(|rest| rest.chunks_mut(width as usize * 4));
        for (under, saved) in rows.zip(self.saved.chunks_exact(self.row)) {
            under[..self.row].copy_from_slice(saved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_blended_clipped_and_taken_away_without_a_trace() {
        let argb = vec![0xff00_ff00, 0, 0x8080_0000, 0xffff_ffff];
        let cursor = CursorImage { width: 2, height: 2, hot: (1, 0), argb };
        for (x, y) in [(5, 5), (0, 0), (8, 7), (-5, 2), (3, -1), (100, 100), (i32::MAX, i32::MIN + 2)] {
            let before = vec![100; 8 * 8 * 4];
            let mut pixels = before.clone();
            let covered = cursor.draw(&mut pixels, 8, 8, (x, y));
            if (x, y) == (5, 5) {
                let at = |x: usize, y: usize| &pixels[(y * 8 + x) * 4..][..3];
                assert_eq!((at(4, 5), at(5, 5)), (&[0, 255, 0][..], &[100; 3][..]));
                assert_eq!((at(4, 6), at(5, 6)), (&[49, 49, 177][..], &[255; 3][..]));
            }
            assert_eq!((-1..=8).contains(&x) && (-1..8).contains(&y), pixels != before, "{x},{y}");
            covered.restore(&mut pixels, 8);
            assert_eq!(pixels, before, "{x},{y}");
        }
    }

    #[test]
    fn a_still_cursor_lingers_for_a_second_in_motion_mode() {
        let now = Instant::now();
        let shows = |mode: CursorCapture, age: Option<u64>| {
            mode.shows(age.map(|_| now), now + Duration::from_millis(age.unwrap_or(0)))
        };
        assert!(shows(CursorCapture::Motion, Some(900)) && !shows(CursorCapture::Motion, Some(1100)));
        assert!(!shows(CursorCapture::Motion, None) && shows(CursorCapture::Always, None));
        assert!(!shows(CursorCapture::Never, Some(0)));
    }
}
