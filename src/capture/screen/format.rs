//! The size and rate of the frames of a surface.

use crate::capture::CaptureError;
use crate::media::{
    self, Constraint, FrameRate, Overconstrained, Property, ResizeMode, VideoConstraints, VideoFormat, VideoSettings,
    pick_whole,
};

/// The rates at which a surface can be looked at, in frames per second.
pub const FRAME_RATES: std::ops::RangeInclusive<f64> = 0.1..=240.0;

/// What the constraints make of a surface of `size` pixels, at 30 frames per second. Where only one of width and height is
/// asked for, the other keeps the shape, or the wanted aspect ratio, as far as its own bounds allow. Nothing is enlarged.
pub(super) fn choose(
    surface: &str,
    size: (u32, u32),
    constraints: &VideoConstraints,
) -> Result<VideoFormat, CaptureError> {
    let settled = constraints.settled(|set| shape(surface, size, set).is_ok());
    shape(surface, size, &settled)
        .map_err(|error| CaptureError::Overconstrained { source_name: surface.to_owned(), error })
}

fn shape(
    surface: &str,
    (native_width, native_height): (u32, u32),
    constraints: &VideoConstraints,
) -> Result<VideoFormat, Overconstrained> {
    let (across, down) = (f64::from(native_width), f64::from(native_height));
    let wish = |constraint: Option<Constraint>, native: f64| {
        constraint.filter(|c| *c != Constraint::default()).and_then(|c| c.pick(native, 1.0..=native))
    };
    let ratio = constraints.aspect_ratio.unwrap_or_default().pick(across / down, 1.0 / 16_384.0..=16_384.0);
    let ratio = ratio.unwrap_or(across / down);
    let (wide, high) = match (wish(constraints.width, across), wish(constraints.height, down)) {
        (Some(wide), None) => (wide, wide / ratio),
        (None, Some(high)) => (high * ratio, high),
        _ => (across.min(down * ratio), down.min(across / ratio)),
    };
    let (wide, high) = (wide.round().max(1.0), high.round().max(1.0));
    let width = pick_whole(Property::Width, constraints.width, wide, 1.0..=across)?;
    let height = pick_whole(Property::Height, constraints.height, high, 1.0..=down)?;
    let wanted = constraints.frame_rate.unwrap_or_default();
    let frame_rate = wanted.pick(30.0, FRAME_RATES).and_then(FrameRate::from_f64);
    let frame_rate =
        frame_rate.ok_or_else(|| Overconstrained::out_of_range(Property::FrameRate, wanted, &FRAME_RATES))?;
    let format = VideoFormat { width, height, frame_rate };
    let resize_mode =
        if (width, height) == (native_width, native_height) { ResizeMode::None } else { ResizeMode::CropAndScale };
    media::check(&VideoSettings { resize_mode, ..VideoSettings::of_format(surface, &format) }, constraints)?;
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_shrink_a_surface_in_its_shape_and_never_enlarge_it() {
        let parse = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let choose = |width: &str, height: &str, rate: &str, ratio: &str| {
            let constraints = VideoConstraints {
                width: parse(width),
                height: parse(height),
                frame_rate: parse(rate),
                aspect_ratio: parse(ratio),
                ..VideoConstraints::default()
            };
            super::choose("HDMI-1", (1920, 1080), &constraints).map(|f| (f.width, f.height, f.frame_rate.as_f64()))
        };
        assert_eq!(choose("", "", "", "").unwrap(), (1920, 1080, 30.0));
        assert_eq!(choose("1280", "", "5", "").unwrap(), (1280, 720, 5.0));
        assert_eq!(choose("", "max:540", "max:15", "").unwrap(), (960, 540, 15.0));
        assert_eq!(choose("3840", "2160", "", "").unwrap(), (1920, 1080, 30.0));
        assert_eq!(choose("exact:800", "exact:600", "", "").unwrap(), (800, 600, 30.0));
        assert_eq!(choose("", "", "", "1").unwrap(), (1080, 1080, 30.0));
        for (width, rate, name) in [("min:1921", "", "width"), ("", "exact:500", "frameRate")] {
            let error = choose(width, "", rate, "").unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("HDMI-1"), "{error}");
        }
    }
}
