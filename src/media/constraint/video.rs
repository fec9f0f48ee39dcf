//! How a camera, or another source with native modes, can be set: each native mode as it is, and cropped and scaled.

use super::fitness::{self, Overconstrained, RuledOut, Settings, Verdict};
use super::{Constraint, Property, Value, VideoConstraints};
use crate::media::{FrameRate, VideoFormat};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::fmt;

/// Where a camera looks; mediacapture-main `VideoFacingModeEnum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FacingMode {
    /// At whoever uses the device.
    User,
    /// Away from them.
    Environment,
    /// To their left.
    Left,
    /// To their right.
    Right,
}

impl FacingMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Environment, Self::Left, Self::Right];

    /// `user`, `environment`, `left` or `right`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Environment => "environment",
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// Whether pictures are as the camera gives them; mediacapture-main `VideoResizeModeEnum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeMode {
    /// Size and rate are those of a native mode.
    None,
    /// Pictures are cropped and scaled down, or some left out.
    CropAndScale,
}

impl ResizeMode {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::None, Self::CropAndScale];

    /// `none` or `crop-and-scale`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CropAndScale => "crop-and-scale",
        }
    }
}

impl fmt::Display for ResizeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One way in which a device itself can give pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoMode {
    /// How the pixels come, a FourCC such as `YUYV` or `MJPG`.
    pub pixel_format: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How many pictures.
    pub frame_rate: FrameRate,
}

impl Serialize for VideoMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("pixelFormat", &self.pixel_format)?;
        map.serialize_entry("width", &self.width)?;
        map.serialize_entry("height", &self.height)?;
        map.serialize_entry("frameRate", &rounded(self.frame_rate.as_f64()))?;
        map.end()
    }
}

/// A device and its native modes.
#[derive(Clone, Debug, Default)]
pub struct VideoOffer {
    /// Its deviceId.
    pub device_id: String,
    /// Its groupId.
    pub group_id: String,
    /// Where it looks, if it tells.
    pub facing_mode: Option<FacingMode>,
    /// Its modes, the cheapest to use first.
    pub modes: Vec<VideoMode>,
}

/// What a video track is set to; mediacapture-main `MediaTrackSettings`.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoSettings {
    /// Which device.
    pub device_id: String,
    /// Which physical device.
    pub group_id: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How many pictures.
    pub frame_rate: FrameRate,
    /// Where it looks, if it tells.
    pub facing_mode: Option<FacingMode>,
    /// Whether pictures are cropped and scaled.
    pub resize_mode: ResizeMode,
    /// How the device gives its pixels; empty where that means nothing.
    pub pixel_format: String,
}

impl VideoSettings {
    /// Of a source that is no device and has one shape.
    pub fn of_format(device_id: &str, format: &VideoFormat) -> Self {
        Self {
            device_id: device_id.to_owned(),
            group_id: String::new(),
            width: format.width,
            height: format.height,
            frame_rate: format.frame_rate,
            facing_mode: None,
            resize_mode: ResizeMode::None,
            pixel_format: String::new(),
        }
    }

    /// Width by height.
    pub fn aspect_ratio(&self) -> f64 {
        f64::from(self.width) / f64::from(self.height.max(1))
    }

    /// The shape of its pictures.
    pub fn format(&self) -> VideoFormat {
        VideoFormat { width: self.width, height: self.height, frame_rate: self.frame_rate }
    }
}

impl Settings for VideoSettings {
    fn value(&self, property: Property) -> Option<Value<'_>> {
        let text = |text: &'static str| Some(Value::Text(text));
        let known = |text| Some(Value::Text(text)).filter(|_| !str::is_empty(text));
        match property {
            Property::Width => Some(Value::Number(f64::from(self.width))),
            Property::Height => Some(Value::Number(f64::from(self.height))),
            Property::AspectRatio => Some(Value::Number(self.aspect_ratio())),
            Property::FrameRate => Some(Value::Number(self.frame_rate.as_f64())),
            Property::FacingMode => self.facing_mode.and_then(|mode| text(mode.as_str())),
            Property::ResizeMode => text(self.resize_mode.as_str()),
            Property::DeviceId => known(&self.device_id),
            Property::GroupId => known(&self.group_id),
            Property::PixelFormat => known(&self.pixel_format),
            _ => None,
        }
    }
}

impl Serialize for VideoSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("width", &self.width)?;
        map.serialize_entry("height", &self.height)?;
        map.serialize_entry("aspectRatio", &rounded(self.aspect_ratio()))?;
        map.serialize_entry("frameRate", &rounded(self.frame_rate.as_f64()))?;
        if let Some(mode) = self.facing_mode {
            map.serialize_entry("facingMode", &mode)?;
        }
        map.serialize_entry("resizeMode", &self.resize_mode)?;
        for (name, value) in
            [("deviceId", &self.device_id), ("groupId", &self.group_id), ("pixelFormat", &self.pixel_format)]
        {
            if !value.is_empty() {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

/// Fractions with as many digits as mean something.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

/// The chosen mode, and what is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoChoice {
    /// The index of the device.
    pub offer: usize,
    /// The mode that it is to be set to.
    pub mode: VideoMode,
    /// What its track is like.
    pub settings: VideoSettings,
}

/// A candidate and what the constraints say to it.
#[derive(Clone, Debug)]
pub struct ConsideredVideo {
    /// The index of the device.
    pub offer: usize,
    /// The native mode.
    pub mode: VideoMode,
    /// What its track would be like.
    pub settings: VideoSettings,
    /// Its fitness distance, or what ruled it out.
    pub verdict: Verdict,
}

/// What is wanted where the user wishes for nothing.
const DEFAULT: (f64, f64, f64) = (640.0, 480.0, 30.0);

/// SelectSettings over the native modes of some devices and what cropping and scaling makes of them. Gives the choice, and
/// all candidates that were considered: each native mode, and behind it what would be made of it.
///
/// # Errors
/// The first is the constraint that cannot be met.
pub fn select_video(
    offers: &[VideoOffer],
    wanted: &VideoConstraints,
) -> (Result<VideoChoice, Overconstrained>, Vec<ConsideredVideo>) {
    let sets = derivations(wanted);
    let mut found: Vec<(usize, &VideoMode, VideoSettings)> = Vec::new();
    for (index, offer) in offers.iter().enumerate() {
        for mode in &offer.modes {
            let native = native(offer, mode);
            let made: Vec<VideoSettings> = sets.iter().filter_map(|set| derive(&native, set)).collect();
            found.push((index, mode, native));
            for settings in made {
                let is_new = !found.iter().rev().take(sets.len() + 1).any(|(_, _, known)| *known == settings);
                if is_new {
                    found.push((index, mode, settings));
                }
            }
        }
    }
    let candidates: Vec<Candidate> = found.iter().map(|(_, mode, settings)| Candidate { mode, settings }).collect();
    let choice = fitness::select(&candidates, wanted, &wanted.advanced, |candidate| candidate.cost(wanted));
    let chosen = choice.chosen.map(|index| {
        let (offer, mode, settings) = &found[index];
        VideoChoice { offer: *offer, mode: (*mode).clone(), settings: settings.clone() }
    });
    let considered = found.into_iter().zip(choice.verdicts).map(|((offer, mode, settings), verdict)| ConsideredVideo {
        offer,
        mode: mode.clone(),
        settings,
        verdict,
    });
    (chosen, considered.collect())
}

impl ConsideredVideo {
    /// What ruled it out, in the words of the standard; `None` where nothing did.
    pub fn ruled_out(&self) -> Option<String> {
        match self.verdict {
            Ok(_) => None,
            Err(RuledOut::By(property)) => Some(property.to_string()),
            Err(RuledOut::ByAdvanced(index)) => Some(format!("advanced[{index}]")),
        }
    }
}

fn native(offer: &VideoOffer, mode: &VideoMode) -> VideoSettings {
    VideoSettings {
        device_id: offer.device_id.clone(),
        group_id: offer.group_id.clone(),
        width: mode.width,
        height: mode.height,
        frame_rate: mode.frame_rate,
        facing_mode: offer.facing_mode,
        resize_mode: ResizeMode::None,
        pixel_format: mode.pixel_format.clone(),
    }
}

/// What scaling may aim at: what is wanted, and that narrowed by the advanced sets, one behind the other, as far as they agree.
fn derivations(wanted: &VideoConstraints) -> Vec<VideoConstraints> {
    let mut sets = vec![VideoConstraints { advanced: Vec::new(), ..wanted.clone() }];
    for advanced in &wanted.advanced {
        sets.extend(sets[sets.len() - 1].narrowed(advanced));
    }
    sets
}

/// What cropping, scaling and leaving out pictures can make of a native mode to come near to `wanted`; `None` when that is
/// the mode itself, or nothing.
fn derive(native: &VideoSettings, wanted: &VideoConstraints) -> Option<VideoSettings> {
    let (width, height) = (f64::from(native.width), f64::from(native.height));
    let any = |constraint: &Option<Constraint>| constraint.unwrap_or_default();
    let asks = |constraint: &Option<Constraint>| constraint.is_some_and(|c| c != Constraint::default());
    let (wide, high) = (any(&wanted.width), any(&wanted.height));
    let ratio = any(&wanted.aspect_ratio).pick(width / height, 1.0 / 16_384.0..=16_384.0)?;
    // The largest part of the picture that has the ratio; then the size that is asked for, the other side following it.
    let (most_wide, most_high) = if ratio > width / height { (width, width / ratio) } else { (height * ratio, height) };
    let (target_width, target_height) = if asks(&wanted.width) || !asks(&wanted.height) {
        let across = wide.pick(most_wide, 1.0..=width)?;
        let down = if asks(&wanted.aspect_ratio) || !asks(&wanted.height) { across / ratio } else { most_high };
        (across, high.pick(down, 1.0..=height)?)
    } else {
        let down = high.pick(most_high, 1.0..=height)?;
        (wide.pick(down * ratio, 1.0..=width)?, down)
    };
    let native_rate = native.frame_rate.as_f64();
    let rate = any(&wanted.frame_rate).pick(native_rate, 0.001..=native_rate)?;
    let frame_rate = if rate < native_rate { FrameRate::from_f64(rate)? } else { native.frame_rate };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the native size")]
    let whole = |x: f64| x.round() as u32;
    let made = VideoSettings {
        width: whole(target_width).max(1),
        height: whole(target_height).max(1),
        frame_rate,
        resize_mode: ResizeMode::CropAndScale,
        ..native.clone()
    };
    let same = (made.width, made.height, made.frame_rate) == (native.width, native.height, native.frame_rate);
    (!same || demands_scaling(wanted)).then_some(made)
}

fn demands_scaling(wanted: &VideoConstraints) -> bool {
    let crop = ResizeMode::CropAndScale.as_str();
    wanted.resize_mode.as_ref().is_some_and(|mode| {
        (!mode.exact.is_empty() && mode.admits(crop)) || mode.ideal.iter().any(|ideal| ideal == crop)
    })
}

/// A mode and what is made of it.
struct Candidate<'a> {
    mode: &'a VideoMode,
    settings: &'a VideoSettings,
}

impl Settings for Candidate<'_> {
    fn value(&self, property: Property) -> Option<Value<'_>> {
        self.settings.value(property)
    }
}

impl Candidate<'_> {
    /// What breaks ties: native modes come before what is made of others, and that of the smallest that do.
    fn cost(&self, wanted: &VideoConstraints) -> f64 {
        let mode = self.mode;
        let pixels_per_second = f64::from(mode.width) * f64::from(mode.height) * mode.frame_rate.as_f64();
        let times = mode.frame_rate.as_f64() / self.settings.frame_rate.as_f64();
        // Every second picture is smoother than two of three.
        let uneven = if (times - times.round()).abs() > 0.01 { 2.0 } else { 1.0 };
        let is_made = self.settings.resize_mode == ResizeMode::CropAndScale;
        let made = if is_made { 1e-6 + uneven * pixels_per_second / 1e18 } else { 0.0 };
        unwished(self.settings, wanted) + made
    }
}

/// How far from the defaults it is in what the user has no wish for.
fn unwished(settings: &VideoSettings, wanted: &VideoConstraints) -> f64 {
    let wish = |constraint: &Option<Constraint>| constraint.is_some_and(|c| c.ideal.is_some());
    let far = |value: f64, default: f64| (value - default).abs() / value.max(default);
    let mut cost = 0.0;
    if !wish(&wanted.width) && !wish(&wanted.height) {
        cost += far(f64::from(settings.width), DEFAULT.0) + far(f64::from(settings.height), DEFAULT.1);
    }
    if !wish(&wanted.frame_rate) {
        cost += far(settings.frame_rate.as_f64(), DEFAULT.2);
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::StringConstraint;

    fn mode(pixel_format: &str, width: u32, height: u32, fps: f64) -> VideoMode {
        let frame_rate = FrameRate::from_f64(fps).unwrap();
        VideoMode { pixel_format: pixel_format.to_owned(), width, height, frame_rate }
    }

    fn camera(id: &str) -> VideoOffer {
        let mut modes = Vec::new();
        for (width, height) in [(320, 240), (640, 480), (1280, 720), (1920, 1080)] {
            for fps in [30.0, 15.0] {
                modes.push(mode("YUYV", width, height, fps));
            }
        }
        modes.push(mode("MJPG", 1920, 1080, 60.0));
        VideoOffer { device_id: id.to_owned(), group_id: format!("group of {id}"), facing_mode: None, modes }
    }

    fn wanted(terms: &[(&str, &str)]) -> VideoConstraints {
        let mut wanted = VideoConstraints::default();
        for (name, text) in terms {
            let number = || Some(text.parse().unwrap());
            let words = || Some(text.parse().unwrap());
            match *name {
                "width" => wanted.width = number(),
                "height" => wanted.height = number(),
                "aspectRatio" => wanted.aspect_ratio = number(),
                "frameRate" => wanted.frame_rate = number(),
                "resizeMode" => wanted.resize_mode = words(),
                "deviceId" => wanted.device_id = words(),
                "pixelFormat" => wanted.pixel_format = words(),
                other => panic!("{other}"),
            }
        }
        wanted
    }

    /// `640x480@30 none` of what `terms` choose, or the name of the constraint that cannot be met.
    fn chosen(terms: &[(&str, &str)]) -> String {
        match select_video(&[camera("a")], &wanted(terms)).0 {
            Ok(VideoChoice { settings: s, .. }) => {
                format!("{}x{}@{} {}", s.width, s.height, s.frame_rate, s.resize_mode)
            }
            Err(error) => error.constraint.to_string(),
        }
    }

    #[test]
    fn without_a_wish_the_default_is_chosen() {
        assert_eq!(chosen(&[]), "640x480@30 none");
    }

    #[test]
    fn a_native_mode_that_suits_is_taken_as_it_is() {
        assert_eq!(chosen(&[("width", "1280"), ("height", "720")]), "1280x720@30 none");
        assert_eq!(chosen(&[("frameRate", "exact:60")]), "1920x1080@60 none");
        assert_eq!(chosen(&[("frameRate", "15"), ("width", "min:1000")]), "1280x720@15 none");
    }

    #[test]
    fn what_no_mode_has_is_cropped_and_scaled() {
        assert_eq!(chosen(&[("width", "exact:800"), ("height", "exact:600")]), "800x600@30 crop-and-scale");
        assert_eq!(chosen(&[("frameRate", "exact:20")]), "640x480@20 crop-and-scale");
        assert_eq!(chosen(&[("width", "exact:960")]), "960x540@30 crop-and-scale");
        assert_eq!(chosen(&[("width", "exact:640"), ("aspectRatio", "exact:1")]), "640x640@30 crop-and-scale");
        let forced = [("width", "exact:640"), ("height", "exact:480"), ("resizeMode", "exact:crop-and-scale")];
        assert_eq!(chosen(&forced), "640x480@30 crop-and-scale");
    }

    #[test]
    fn what_is_scaled_is_scaled_from_the_smallest_mode_that_will_do() {
        let wanted = wanted(&[("width", "exact:300"), ("height", "exact:300"), ("frameRate", "exact:20")]);
        let mode = select_video(&[camera("a")], &wanted).0.unwrap().mode;
        assert_eq!((mode.width, mode.height, mode.frame_rate.as_f64()), (640, 480, 30.0));
    }

    #[test]
    fn without_scaling_the_nearest_mode_is_chosen_by_distance() {
        let none = ("resizeMode", "exact:none");
        assert_eq!(chosen(&[("width", "800"), ("height", "600"), none]), "640x480@30 none");
        assert_eq!(chosen(&[("width", "1200"), ("height", "700"), none]), "1280x720@30 none");
        assert_eq!(chosen(&[("width", "exact:800"), none]), "width");
    }

    #[test]
    fn the_constraint_that_cannot_be_met_is_named() {
        assert_eq!(chosen(&[("width", "min:4000"), ("height", "720")]), "width");
        assert_eq!(chosen(&[("frameRate", "min:100")]), "frameRate");
        assert_eq!(chosen(&[("deviceId", "exact:b")]), "deviceId");
        assert_eq!(chosen(&[("frameRate", "exact:60"), ("pixelFormat", "exact:YUYV")]), "frameRate");
        let (error, _) = select_video(&[camera("a")], &wanted(&[("frameRate", "min:100")]));
        assert_eq!(error.unwrap_err().to_string(), "frameRate min:100 cannot be met: there is 15, 30, 60");
    }

    #[test]
    fn advanced_sets_are_met_in_order_as_far_as_they_can_be() {
        let mut constraints = wanted(&[("width", "320")]);
        constraints.advanced = vec![wanted(&[("width", "exact:9999")]), wanted(&[("frameRate", "min:60")])];
        let (chosen, considered) = select_video(&[camera("a")], &constraints);
        let settings = chosen.unwrap().settings;
        assert_eq!(
            (settings.frame_rate.as_f64(), settings.width),
            (60.0, 320),
            "scaled from the mode that is fast enough"
        );
        assert!(considered.iter().any(|it| it.ruled_out().as_deref() == Some("advanced[1]")));
        assert!(!considered.iter().any(|it| it.ruled_out().as_deref() == Some("advanced[0]")));
        constraints.advanced = vec![wanted(&[("width", "exact:1000"), ("height", "exact:500")])];
        let settings = select_video(&[camera("a")], &constraints).0.unwrap().settings;
        assert_eq!((settings.width, settings.height), (1000, 500));
    }

    #[test]
    fn among_devices_the_wished_one_is_chosen_and_else_the_first() {
        let offers = [camera("a"), camera("b")];
        let pick = |constraint| {
            let wanted = VideoConstraints { device_id: constraint, ..VideoConstraints::default() };
            select_video(&offers, &wanted).0.unwrap().offer
        };
        assert_eq!(pick(None), 0);
        assert_eq!(pick(Some(StringConstraint::ideal("b"))), 1);
        assert_eq!(pick(Some(StringConstraint::exact("b"))), 1);
        assert_eq!(pick(Some(StringConstraint::ideal("c"))), 0);
    }

    #[test]
    fn every_native_mode_is_explained() {
        let (_, considered) = select_video(&[camera("a")], &wanted(&[("width", "max:700"), ("frameRate", "ideal:15")]));
        let natives = considered.iter().filter(|it| it.settings.resize_mode == ResizeMode::None);
        assert_eq!(natives.clone().count(), 9);
        for it in natives {
            match it.mode.width {
                ..=700 => assert_eq!(it.verdict.unwrap(), if it.mode.frame_rate.as_f64() == 15.0 { 0.0 } else { 0.5 }),
                _ => assert_eq!(it.ruled_out().as_deref(), Some("width")),
            }
        }
    }
}
