//! Rectangles: the part of a surface that is captured, and where a picture of one size goes in a picture of another.

use std::fmt;
use std::str::FromStr;

/// A part of a surface in its pixels, from its top left corner; the crop of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Pixels from the left.
    pub x: u32,
    /// Pixels from the top.
    pub y: u32,
    /// Pixels, 1 or more.
    pub width: u32,
    /// Pixels, 1 or more.
    pub height: u32,
}

/// Why a text is no region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a region: use X,Y,WxH, e.g. 100,50,640x480")]
pub struct RegionError {
    text: String,
}

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        let read = || {
            let (x, rest) = text.split_once(',')?;
            let (y, size) = rest.split_once(',')?;
            let (width, height) = size.split_once('x')?;
            let number = |text: &str| text.trim().parse().ok().filter(|n| *n <= 65_535);
            let region = Self { x: number(x)?, y: number(y)?, width: number(width)?, height: number(height)? };
            (region.width > 0 && region.height > 0).then_some(region)
        };
        read().ok_or_else(|| RegionError { text: text.to_owned() })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}x{}", self.x, self.y, self.width, self.height)
    }
}

impl Region {
    /// Whether it lies inside of a surface of this size.
    pub(super) fn inside(self, width: u32, height: u32) -> bool {
        self.x + self.width <= width && self.y + self.height <= height
    }
}

/// Where a picture goes in a frame of constant size: centred, shrunk as far as it must, never enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Even, so that chroma samples stay whole.
    pub(super) x: u32,
    /// Even.
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Fit {
    /// A picture of `from` pixels in a frame of `into` pixels, none of them 0.
    pub(super) fn new(from: (u32, u32), into: (u32, u32)) -> Self {
        let scale = (f64::from(into.0) / f64::from(from.0)).min(f64::from(into.1) / f64::from(from.1)).min(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not larger than `into`")]
        let side = |from: u32, into: u32| ((f64::from(from) * scale).round() as u32).clamp(1, into);
        let (width, height) = (side(from.0, into.0), side(from.1, into.1));
        Self { x: ((into.0 - width) / 2) & !1, y: ((into.1 - height) / 2) & !1, width, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_read_back_as_written_and_nonsense_is_refused() {
        for text in ["0,0,1x1", "100,50,640x480"] {
            assert_eq!(text.parse::<Region>().unwrap().to_string(), text);
        }
        for text in ["", "1,2,3", "1,2,0x5", "1,2,5x0", "-1,2,5x5", "1,2,3x4x5", "1,2,99999x5", "a,b,cxd"] {
            assert!(text.parse::<Region>().is_err(), "{text}");
        }
    }

    #[test]
    fn pictures_are_centred_shrunk_in_shape_and_never_enlarged() {
        assert_eq!(Fit::new((640, 480), (640, 480)), Fit { x: 0, y: 0, width: 640, height: 480 });
        assert_eq!(Fit::new((1280, 480), (640, 480)), Fit { x: 0, y: 120, width: 640, height: 240 });
        assert_eq!(Fit::new((101, 99), (640, 480)), Fit { x: 268, y: 190, width: 101, height: 99 });
        assert_eq!(Fit::new((1, 60_000), (640, 480)).width, 1);
    }
}
