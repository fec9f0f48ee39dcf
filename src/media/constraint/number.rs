//! One numeric constraint, W3C mediacapture-main section 5.5.1 (`ConstrainULong`, `ConstrainDouble`).

use std::fmt::{self, Display};
use std::str::FromStr;

/// What a user asked of one property: a wish (`ideal`) inside hard bounds (`min`, `max`, or both at once as `exact`).
///
/// Text forms: `640` and `ideal:640` wish; `exact:640` demands; `min:300,max:640` bounds; terms combine with commas.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Constraint {
    /// The preferred value.
    pub ideal: Option<f64>,
    /// The least that will do.
    pub min: Option<f64>,
    /// The most that will do.
    pub max: Option<f64>,
}

/// Why a text is no constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// Of a property that is a number.
    #[error("'{text}' is not a constraint: use 640, ideal:640, exact:640 or min:300,max:640")]
    Number {
        /// What was given.
        text: String,
    },
    /// Of a property that is a text.
    #[error("'{text}' is not a constraint: use NAME, ideal:NAME or exact:NAME; several with a comma")]
    Text {
        /// What was given.
        text: String,
    },
    /// Of a property that is true or false.
    #[error("'{text}' is not a constraint: use true, false, ideal:true or exact:true")]
    Boolean {
        /// What was given.
        text: String,
    },
    /// A member of a constraints object is not what it should be.
    #[error("constraints: {place}: {detail}")]
    Json {
        /// The path of the member, e.g. `video.width`.
        place: String,
        /// What is wrong.
        detail: String,
    },
}

impl Constraint {
    /// Demands exactly `value`.
    pub const fn exact(value: f64) -> Self {
        Self { ideal: None, min: Some(value), max: Some(value) }
    }

    /// Prefers `value`.
    pub const fn ideal(value: f64) -> Self {
        Self { ideal: Some(value), min: None, max: None }
    }

    /// Whether `value` is inside the hard bounds.
    pub fn admits(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    /// Whether `value` is inside the hard bounds as people write them: `29.97` admits 30000/1001, `1.7778` admits 16/9.
    /// Whole numbers mean what they say.
    pub fn admits_nearly(&self, value: f64) -> bool {
        let near = |bound: f64| {
            let whole = bound.fract() == 0.0 && value.fract() == 0.0;
            !whole && (value - bound).abs() <= bound.abs() * 5e-4
        };
        self.min.is_none_or(|min| value >= min || near(min)) && self.max.is_none_or(|max| value <= max || near(max))
    }

    /// Whether there is a hard bound.
    pub const fn is_required(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }

    /// What satisfies both: the narrower bounds, and the other's wish before ours. `None` when the bounds exclude each other.
    pub fn narrowed(&self, other: &Self) -> Option<Self> {
        let bound = |a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        let both = Self {
            ideal: other.ideal.or(self.ideal),
            min: bound(self.min, other.min, f64::max),
            max: bound(self.max, other.max, f64::min),
        };
        both.min.zip(both.max).is_none_or(|(min, max)| min <= max).then_some(both)
    }

    /// For a property that can take any value in `range`: the admitted value nearest to `ideal`, or to `default` without one.
    /// `None` when the bounds leave nothing of the range.
    pub fn pick(&self, default: f64, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
        let low = self.min.unwrap_or(f64::NEG_INFINITY).max(*range.start());
        let high = self.max.unwrap_or(f64::INFINITY).min(*range.end());
        (low <= high).then(|| self.ideal.unwrap_or(default).clamp(low, high))
    }
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let fail = || ConstraintError::Number { text: text.to_owned() };
        let mut constraint = Self::default();
        for term in text.split(',') {
            let (key, value) = term.split_once(':').unwrap_or(("ideal", term));
            let value: f64 = value.trim().parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0).ok_or_else(fail)?;
            let slots: &mut [&mut Option<f64>] = match key.trim() {
                "ideal" => &mut [&mut constraint.ideal],
                "min" => &mut [&mut constraint.min],
                "max" => &mut [&mut constraint.max],
                "exact" => &mut [&mut constraint.min, &mut constraint.max],
                _ => return Err(fail()),
            };
            for slot in slots {
                if slot.replace(value).is_some() {
                    return Err(fail());
                }
            }
        }
        Ok(constraint)
    }
}

impl Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut terms = Vec::new();
        if let Some(ideal) = self.ideal {
            terms.push(format!("ideal:{ideal}"));
        }
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max => terms.push(format!("exact:{min}")),
            (min, max) => {
                terms.extend(min.map(|min| format!("min:{min}")));
                terms.extend(max.map(|max| format!("max:{max}")));
            }
        }
        f.write_str(&terms.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_form_reads_back_as_written() {
        for text in ["ideal:640", "exact:640", "min:300,max:640", "ideal:500,min:300,max:640", "ideal:29.97"] {
            assert_eq!(text.parse::<Constraint>().unwrap().to_string(), text);
        }
        assert_eq!("640".parse::<Constraint>().unwrap(), Constraint::ideal(640.0));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "min:", "exact:1,min:2", "640,480", "ideal:-1", "ideal:nan", "width:640"] {
            assert!(text.parse::<Constraint>().is_err(), "{text}");
        }
    }

    #[test]
    fn fractions_are_admitted_as_people_write_them_and_whole_numbers_as_they_are() {
        let admits = |text: &str, value| text.parse::<Constraint>().unwrap().admits_nearly(value);
        assert!(admits("exact:29.97", 30_000.0 / 1001.0) && admits("exact:1.7778", 16.0 / 9.0));
        assert!(admits("min:29.98,max:40", 29.97) && admits("max:12.49", 12.495));
        assert!(!admits("exact:29.97", 30.0) && !admits("exact:4000", 4001.0) && !admits("min:30", 29.9));
    }

    #[test]
    fn the_nearest_admitted_value_is_picked() {
        let parse = |text: &str| text.parse::<Constraint>().unwrap();
        assert_eq!(parse("min:800").pick(640.0, 1.0..=4096.0), Some(800.0));
        assert_eq!(parse("ideal:9999").pick(640.0, 1.0..=4096.0), Some(4096.0));
        assert_eq!(parse("exact:9999").pick(640.0, 1.0..=4096.0), None);
        assert_eq!(Constraint::default().pick(640.0, 1.0..=4096.0), Some(640.0));
    }
}
