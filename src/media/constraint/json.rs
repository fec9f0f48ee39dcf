//! Constraints as pages write them: mediacapture-main `MediaStreamConstraints` in JSON.
//!
//! A bare value in the basic set is a wish, in an advanced set a demand (section 5.5). A name that no property has is an
//! error here, where a browser would pass over it: on a command line it is a slip of the pen.

use super::{
    AudioConstraints, BooleanConstraint, Constraint, ConstraintError, FacingMode, Property, ResizeMode,
    StringConstraint, VideoConstraints,
};
use serde_json::{Map, Value};
use std::str::FromStr;

/// What `getUserMedia` takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaStreamConstraints {
    /// Video; `None` where none is asked for.
    pub video: Option<VideoConstraints>,
    /// Audio; `None` where none is asked for.
    pub audio: Option<AudioConstraints>,
}

impl FromStr for MediaStreamConstraints {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let value: Value = serde_json::from_str(text).map_err(|error| fail("the text", error.to_string()))?;
        let Value::Object(members) = value else { return Err(fail("the text", "it must be an object")) };
        let mut constraints = Self::default();
        for (name, value) in &members {
            match (name.as_str(), value) {
                ("video" | "audio", Value::Bool(false) | Value::Null) => {}
                ("video", Value::Bool(true)) => constraints.video = Some(VideoConstraints::default()),
                ("audio", Value::Bool(true)) => constraints.audio = Some(AudioConstraints::default()),
                ("video", Value::Object(members)) => constraints.video = Some(video(members, "video", Bare::Ideal)?),
                ("audio", Value::Object(members)) => constraints.audio = Some(audio(members, "audio", Bare::Ideal)?),
                ("video" | "audio", _) => return Err(fail(name, "it must be true, false or an object")),
                _ => return Err(fail(name, "only video and audio can be asked for")),
            }
        }
        Ok(constraints)
    }
}

/// What a value without `ideal` or `exact` says.
#[derive(Clone, Copy, PartialEq)]
enum Bare {
    Ideal,
    Exact,
}

fn fail(place: &str, detail: impl Into<String>) -> ConstraintError {
    ConstraintError::Json { place: place.to_owned(), detail: detail.into() }
}

fn video(members: &Map<String, Value>, at: &str, bare: Bare) -> Result<VideoConstraints, ConstraintError> {
    let mut set = VideoConstraints::default();
    for (name, value) in members {
        let place = format!("{at}.{name}");
        let number = || Ok(Some(number(value, &place, bare)?));
        let words = || words(value, &place, bare);
        match name.as_str() {
            "width" => set.width = number()?,
            "height" => set.height = number()?,
            "aspectRatio" => set.aspect_ratio = number()?,
            "frameRate" => set.frame_rate = number()?,
            "facingMode" => set.facing_mode = Some(words()?),
            "resizeMode" => set.resize_mode = Some(words()?),
            "deviceId" => set.device_id = Some(words()?),
            "groupId" => set.group_id = Some(words()?),
            "pixelFormat" => set.pixel_format = Some(words()?),
            "advanced" if bare == Bare::Ideal => set.advanced = advanced(value, &place, video)?,
            _ => return Err(unknown(&place, &VIDEO)),
        }
    }
    set.check_words().map_err(|(property, detail)| fail(&format!("{at}.{property}"), detail))?;
    Ok(set)
}

fn audio(members: &Map<String, Value>, at: &str, bare: Bare) -> Result<AudioConstraints, ConstraintError> {
    let mut set = AudioConstraints::default();
    for (name, value) in members {
        let place = format!("{at}.{name}");
        let number = || Ok(Some(number(value, &place, bare)?));
        let boolean = || Ok(Some(boolean(value, &place, bare)?));
        match name.as_str() {
            "sampleRate" => set.sample_rate = number()?,
            "sampleSize" => set.sample_size = number()?,
            "channelCount" => set.channel_count = number()?,
            "latency" => set.latency = number()?,
            "echoCancellation" => set.echo_cancellation = boolean()?,
            "autoGainControl" => set.auto_gain_control = boolean()?,
            "noiseSuppression" => set.noise_suppression = boolean()?,
            "deviceId" => set.device_id = Some(words(value, &place, bare)?),
            "groupId" => set.group_id = Some(words(value, &place, bare)?),
            "advanced" if bare == Bare::Ideal => set.advanced = advanced(value, &place, audio)?,
            _ => return Err(unknown(&place, &AUDIO)),
        }
    }
    Ok(set)
}

const VIDEO: [Property; 9] = [
    Property::Width,
    Property::Height,
    Property::AspectRatio,
    Property::FrameRate,
    Property::FacingMode,
    Property::ResizeMode,
    Property::DeviceId,
    Property::GroupId,
    Property::PixelFormat,
];

const AUDIO: [Property; 9] = [
    Property::SampleRate,
    Property::SampleSize,
    Property::ChannelCount,
    Property::Latency,
    Property::EchoCancellation,
    Property::AutoGainControl,
    Property::NoiseSuppression,
    Property::DeviceId,
    Property::GroupId,
];

fn unknown(place: &str, known: &[Property]) -> ConstraintError {
    let known: Vec<&str> = known.iter().map(|property| property.as_str()).collect();
    fail(place, format!("there is no such constraint; there are {} and advanced", known.join(", ")))
}

type Reader<S> = fn(&Map<String, Value>, &str, Bare) -> Result<S, ConstraintError>;

fn advanced<S>(value: &Value, place: &str, read: Reader<S>) -> Result<Vec<S>, ConstraintError> {
    let Value::Array(sets) = value else { return Err(fail(place, "it must be a list of sets")) };
    let read = |(index, set): (usize, &Value)| {
        let place = format!("{place}[{index}]");
        match set {
            Value::Object(members) => read(members, &place, Bare::Exact),
            _ => Err(fail(&place, "it must be an object")),
        }
    };
    sets.iter().enumerate().map(read).collect()
}

fn number(value: &Value, place: &str, bare: Bare) -> Result<Constraint, ConstraintError> {
    let read = |value: &Value| {
        value
            .as_f64()
            .filter(|number| number.is_finite() && *number >= 0.0)
            .ok_or_else(|| fail(place, format!("{value} is no number that is not negative")))
    };
    let mut constraint = Constraint::default();
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let number = read(value)?;
                let least = |bound: Option<f64>| Some(bound.map_or(number, |bound| bound.max(number)));
                let most = |bound: Option<f64>| Some(bound.map_or(number, |bound| bound.min(number)));
                match key.as_str() {
                    "ideal" => constraint.ideal = Some(number),
                    "min" => constraint.min = least(constraint.min),
                    "max" => constraint.max = most(constraint.max),
                    "exact" => {
                        constraint.min = least(constraint.min);
                        constraint.max = most(constraint.max);
                    }
                    _ => return Err(fail(place, format!("'{key}' is none of ideal, exact, min and max"))),
                }
            }
        }
        _ if bare == Bare::Ideal => constraint.ideal = Some(read(value)?),
        _ => constraint = Constraint::exact(read(value)?),
    }
    Ok(constraint)
}

fn words(value: &Value, place: &str, bare: Bare) -> Result<StringConstraint, ConstraintError> {
    let read = |value: &Value| -> Result<Vec<String>, ConstraintError> {
        let one = |value: &Value| value.as_str().map(str::to_owned);
        let list = match value {
            Value::Array(values) => values.iter().map(one).collect(),
            value => one(value).map(|text| vec![text]),
        };
        list.ok_or_else(|| fail(place, format!("{value} is neither a text nor a list of texts")))
    };
    let mut constraint = StringConstraint::default();
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match key.as_str() {
                    "ideal" => constraint.ideal = read(value)?,
                    "exact" => constraint.exact = read(value)?,
                    _ => return Err(fail(place, format!("'{key}' is neither ideal nor exact"))),
                }
            }
        }
        _ if bare == Bare::Ideal => constraint.ideal = read(value)?,
        _ => constraint.exact = read(value)?,
    }
    Ok(constraint)
}

fn boolean(value: &Value, place: &str, bare: Bare) -> Result<BooleanConstraint, ConstraintError> {
    let read = |value: &Value| value.as_bool().ok_or_else(|| fail(place, format!("{value} is neither true nor false")));
    let mut constraint = BooleanConstraint::default();
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match key.as_str() {
                    "ideal" => constraint.ideal = Some(read(value)?),
                    "exact" => constraint.exact = Some(read(value)?),
                    _ => return Err(fail(place, format!("'{key}' is neither ideal nor exact"))),
                }
            }
        }
        _ if bare == Bare::Ideal => constraint.ideal = Some(read(value)?),
        _ => constraint.exact = Some(read(value)?),
    }
    Ok(constraint)
}

impl VideoConstraints {
    /// Whether the words of its enumerations exist.
    ///
    /// # Errors
    /// The property, and what its words are.
    pub fn check_words(&self) -> Result<(), (Property, String)> {
        let facing: Vec<&str> = FacingMode::ALL.iter().map(|mode| mode.as_str()).collect();
        let resize: Vec<&str> = ResizeMode::ALL.iter().map(|mode| mode.as_str()).collect();
        for (property, constraint, known) in
            [(Property::FacingMode, &self.facing_mode, facing), (Property::ResizeMode, &self.resize_mode, resize)]
        {
            let words = constraint.iter().flat_map(|constraint| constraint.ideal.iter().chain(&constraint.exact));
            for word in words {
                if !known.contains(&word.as_str()) {
                    return Err((property, format!("'{word}' is none of {}", known.join(", "))));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<MediaStreamConstraints, ConstraintError> {
        text.parse()
    }

    #[test]
    fn a_bare_value_is_a_wish_and_in_an_advanced_set_a_demand() {
        let text = r#"{"video":{"width":640,"height":{"min":300,"ideal":480},"facingMode":"user",
            "advanced":[{"frameRate":30},{"facingMode":["left","right"]}]},"audio":true}"#;
        let MediaStreamConstraints { video: Some(video), audio: Some(audio) } = parse(text).unwrap() else {
            panic!("both")
        };
        assert_eq!(video.width, Some(Constraint::ideal(640.0)));
        assert_eq!(video.height.unwrap().to_string(), "ideal:480,min:300");
        assert_eq!(video.facing_mode, Some(StringConstraint::ideal("user")));
        assert_eq!(video.advanced[0].frame_rate, Some(Constraint::exact(30.0)));
        assert_eq!(video.advanced[1].facing_mode.as_ref().unwrap().exact, ["left", "right"]);
        assert_eq!(audio, AudioConstraints::default());
    }

    #[test]
    fn exact_and_bounds_together_are_the_narrower_of_both() {
        let text = r#"{"video":{"width":{"exact":640,"max":800,"min":1}}}"#;
        assert_eq!(parse(text).unwrap().video.unwrap().width, Some(Constraint::exact(640.0)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, place) in [
            ("[]", "the text"),
            ("{", "the text"),
            (r#"{"vidoe":true}"#, "vidoe"),
            (r#"{"video":7}"#, "video"),
            (r#"{"video":{"widht":1}}"#, "video.widht"),
            (r#"{"video":{"width":"1"}}"#, "video.width"),
            (r#"{"video":{"width":{"least":1}}}"#, "video.width"),
            (r#"{"video":{"facingMode":"up"}}"#, "video.facingMode"),
            (r#"{"audio":{"echoCancellation":1}}"#, "audio.echoCancellation"),
            (r#"{"audio":{"advanced":[{"advanced":[]}]}}"#, "audio.advanced[0].advanced"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("constraints: {place}: ")), "{text}: {error}");
        }
    }

    #[test]
    fn false_and_absent_are_the_same() {
        assert_eq!(parse(r#"{"video":false}"#).unwrap(), MediaStreamConstraints::default());
    }
}
