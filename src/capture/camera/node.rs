//! A video node as V4L2 describes it.

use super::{Camera, PixelFormat, sysfs};
use crate::media::{FacingMode, FrameRate, VideoMode};
use std::path::PathBuf;
use v4l::capability::Flags;
use v4l::control::Value;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::{Device, FourCC};

/// V4L2_CID_CAMERA_ORIENTATION.
const CAMERA_ORIENTATION: u32 = 0x009a_0922;
/// Sizes that are listed of a camera that can do any between two bounds, and the bounds themselves.
const USUAL_SIZES: [(u32, u32); 9] =
    [(160, 120), (320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1600, 1200), (1920, 1080), (3840, 2160)];
/// Rates that are listed of a camera that can do any between two bounds, and the bounds themselves.
const USUAL_RATES: [u32; 8] = [5, 10, 15, 20, 25, 30, 50, 60];

/// The camera behind `/dev/video{index}`, if it is one.
pub(super) fn camera(index: u32) -> Option<Camera> {
    let path = PathBuf::from(format!("/dev/video{index}"));
    let device = Device::with_path(&path).map_err(|error| tracing::debug!("{}: {error}", path.display())).ok()?;
    let facts = device.query_caps().map_err(|error| tracing::debug!("{}: {error}", path.display())).ok()?;
    if !facts.capabilities.contains(Flags::VIDEO_CAPTURE | Flags::STREAMING) {
        return None;
    }
    let modes = modes(&device);
    if modes.is_empty() {
        tracing::debug!("{}: gives pictures in no format that we know", path.display());
        return None;
    }
    let names = sysfs::names(index, &facts.bus);
    let facing_mode = facing(&device);
    Some(Camera { path, label: facts.card, key: names.key, physical: names.physical, facing_mode, modes })
}

fn facing(device: &Device) -> Option<FacingMode> {
    match device.control(CAMERA_ORIENTATION).ok()?.value {
        Value::Integer(0) => Some(FacingMode::User),
        Value::Integer(1) => Some(FacingMode::Environment),
        _ => None,
    }
}

/// Every mode that we can use, the cheapest formats first, each by size and rate downwards.
fn modes(device: &Device) -> Vec<VideoMode> {
    let formats = device.enum_formats().unwrap_or_default();
    let mut modes = Vec::new();
    for format in PixelFormat::ALL {
        let Some(found) = formats.iter().find(|found| found.fourcc.str() == Ok(format.fourcc())) else { continue };
        for (width, height) in sizes(device, found.fourcc) {
            for frame_rate in rates(device, found.fourcc, width, height) {
                modes.push(VideoMode { pixel_format: format.fourcc().to_owned(), width, height, frame_rate });
            }
        }
    }
    modes
}

fn sizes(device: &Device, fourcc: FourCC) -> Vec<(u32, u32)> {
    let Ok(listed) = device.enum_framesizes(fourcc) else {
        // A driver that lists none has the one that it is set to.
        return device.format().map(|format| (format.width, format.height)).into_iter().collect();
    };
    let mut sizes = Vec::new();
    for size in listed {
        match size.size {
            FrameSizeEnum::Discrete(size) => sizes.push((size.width, size.height)),
            FrameSizeEnum::Stepwise(range) => {
                let (least, most) = ((range.min_width, range.min_height), (range.max_width, range.max_height));
                let on_step = |value: u32, least: u32, step: u32| (value - least).is_multiple_of(step.max(1));
                let inside = |(width, height): &(u32, u32)| {
                    (least.0..=most.0).contains(width)
                        && (least.1..=most.1).contains(height)
                        && on_step(*width, least.0, range.step_width)
                        && on_step(*height, least.1, range.step_height)
                };
                sizes.extend([least, most]);
                sizes.extend(USUAL_SIZES.into_iter().filter(inside));
            }
        }
    }
    sizes.retain(|(width, height)| (1..=16_384).contains(width) && (1..=16_384).contains(height));
    sizes.sort_unstable_by_key(|(width, height)| std::cmp::Reverse((u64::from(*width) * u64::from(*height), *width)));
    sizes.dedup();
    sizes
}

fn rates(device: &Device, fourcc: FourCC, width: u32, height: u32) -> Vec<FrameRate> {
    let of_interval = |interval: v4l::Fraction| FrameRate::new(interval.denominator, interval.numerator);
    let mut rates = Vec::new();
    for interval in device.enum_frameintervals(fourcc, width, height).unwrap_or_default() {
        match interval.interval {
            FrameIntervalEnum::Discrete(interval) => rates.extend(of_interval(interval)),
            FrameIntervalEnum::Stepwise(range) => {
                let (Some(most), Some(least)) = (of_interval(range.min), of_interval(range.max)) else { continue };
                let inside = |rate: &FrameRate| (least.as_f64()..=most.as_f64()).contains(&rate.as_f64());
                rates.extend([least, most]);
                rates.extend(USUAL_RATES.into_iter().filter_map(|rate| FrameRate::new(rate, 1)).filter(inside));
            }
        }
    }
    if rates.is_empty() {
        let current = device.params().ok().and_then(|params| of_interval(params.interval));
        rates.push(current.or(FrameRate::new(30, 1)).expect("not zero"));
    }
    rates.sort_unstable_by(|a, b| b.as_f64().total_cmp(&a.as_f64()));
    rates.dedup_by(|a, b| a.as_f64() == b.as_f64());
    rates
}
