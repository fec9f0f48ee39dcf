//! Constraints on properties that are texts or true and false; mediacapture-main sections 5.5.5 (`ConstrainDOMString`) and
//! 5.5.3 (`ConstrainBoolean`); and what all kinds of constraints and values have in common.

use super::{Constraint, ConstraintError};
use std::fmt::{self, Display};
use std::str::FromStr;

/// What a user asked of a text property: any of some wishes (`ideal`), and one of some values (`exact`).
///
/// Text forms: `user` and `ideal:user` wish, `exact:user` demands; alternatives combine with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringConstraint {
    /// Preferred values; any of them is as good as the others.
    pub ideal: Vec<String>,
    /// The values that will do; any, when empty.
    pub exact: Vec<String>,
}

/// What a user asked of a property that is true or false.
///
/// Text forms: `true` and `ideal:true` wish, `exact:true` demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BooleanConstraint {
    /// The preferred value.
    pub ideal: Option<bool>,
    /// The only value that will do.
    pub exact: Option<bool>,
}

/// A constraint of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term<'a> {
    /// On a number.
    Number(&'a Constraint),
    /// On a text.
    Text(&'a StringConstraint),
    /// On true or false.
    Boolean(&'a BooleanConstraint),
}

/// What a property is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number, in the unit of its property.
    Number(f64),
    /// A text.
    Text(&'a str),
    /// True or false.
    Boolean(bool),
}

impl StringConstraint {
    /// Demands `value`.
    pub fn exact(value: impl Into<String>) -> Self {
        Self { ideal: Vec::new(), exact: vec![value.into()] }
    }

    /// Prefers `value`.
    pub fn ideal(value: impl Into<String>) -> Self {
        Self { ideal: vec![value.into()], exact: Vec::new() }
    }

    /// Whether `value` will do.
    pub fn admits(&self, value: &str) -> bool {
        self.exact.is_empty() || self.exact.iter().any(|exact| exact == value)
    }

    /// What satisfies both, with the other's wishes if it has any. `None` when they exclude each other.
    pub fn narrowed(&self, other: &Self) -> Option<Self> {
        let ideal = if other.ideal.is_empty() { &self.ideal } else { &other.ideal }.clone();
        let exact: Vec<String> = match (self.exact.is_empty(), other.exact.is_empty()) {
            (_, true) => self.exact.clone(),
            (true, _) => other.exact.clone(),
            _ => self.exact.iter().filter(|value| other.exact.contains(value)).cloned().collect(),
        };
        let excluded = exact.is_empty() && !(self.exact.is_empty() && other.exact.is_empty());
        (!excluded).then_some(Self { ideal, exact })
    }
}

impl BooleanConstraint {
    /// What satisfies both, with the other's wish if it has one. `None` when they exclude each other.
    pub fn narrowed(&self, other: &Self) -> Option<Self> {
        let excluded = self.exact.zip(other.exact).is_some_and(|(a, b)| a != b);
        (!excluded).then_some(Self { ideal: other.ideal.or(self.ideal), exact: self.exact.or(other.exact) })
    }
}

impl Term<'_> {
    /// Whether it demands something, rather than only wish for it.
    pub fn is_required(&self) -> bool {
        match self {
            Self::Number(number) => number.is_required(),
            Self::Text(text) => !text.exact.is_empty(),
            Self::Boolean(boolean) => boolean.exact.is_some(),
        }
    }

    /// Whether a property without a value, or with this one, will do.
    pub fn admits(&self, value: Option<Value<'_>>) -> bool {
        match (self, value) {
            (Self::Number(wanted), Some(Value::Number(value))) => wanted.admits_nearly(value),
            (Self::Text(wanted), Some(Value::Text(value))) => wanted.admits(value),
            (Self::Boolean(wanted), Some(Value::Boolean(value))) => wanted.exact.is_none_or(|exact| exact == value),
            _ => !self.is_required(),
        }
    }

    /// How far the value is from what is preferred, 0 to 1.
    pub fn distance(&self, value: Option<Value<'_>>) -> f64 {
        let miss = |missed: bool| if missed { 1.0 } else { 0.0 };
        match (self, value) {
            (Self::Number(Constraint { ideal: Some(ideal), .. }), Some(Value::Number(value))) => {
                let largest = ideal.abs().max(value.abs());
                if largest > 0.0 { (ideal - value).abs() / largest } else { 0.0 }
            }
            (Self::Text(StringConstraint { ideal, .. }), Some(Value::Text(value))) => {
                miss(!ideal.is_empty() && !ideal.iter().any(|ideal| ideal == value))
            }
            (Self::Boolean(BooleanConstraint { ideal: Some(ideal), .. }), Some(Value::Boolean(value))) => {
                miss(*ideal != value)
            }
            (Self::Number(number), _) => miss(number.ideal.is_some() && value.is_none()),
            (Self::Text(text), _) => miss(!text.ideal.is_empty()),
            (Self::Boolean(boolean), _) => miss(boolean.ideal.is_some() && value.is_none()),
        }
    }
}

impl FromStr for StringConstraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let mut constraint = Self::default();
        for term in text.split(',') {
            let (list, value) = match term.split_once(':') {
                Some(("exact", value)) => (&mut constraint.exact, value),
                Some(("ideal", value)) => (&mut constraint.ideal, value),
                _ => (&mut constraint.ideal, term),
            };
            if value.is_empty() {
                return Err(ConstraintError::Text { text: text.to_owned() });
            }
            list.push(value.to_owned());
        }
        Ok(constraint)
    }
}

impl FromStr for BooleanConstraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let fail = || ConstraintError::Boolean { text: text.to_owned() };
        let (key, value) = text.split_once(':').unwrap_or(("ideal", text));
        let value = Some(value.parse().map_err(|_| fail())?);
        match key {
            "ideal" => Ok(Self { ideal: value, exact: None }),
            "exact" => Ok(Self { ideal: None, exact: value }),
            _ => Err(fail()),
        }
    }
}

impl Display for StringConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ideal = self.ideal.iter().map(|value| format!("ideal:{value}"));
        let terms: Vec<String> = ideal.chain(self.exact.iter().map(|value| format!("exact:{value}"))).collect();
        f.write_str(&terms.join(","))
    }
}

impl Display for BooleanConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ideal = self.ideal.map(|value| format!("ideal:{value}"));
        let terms: Vec<String> = ideal.into_iter().chain(self.exact.map(|value| format!("exact:{value}"))).collect();
        f.write_str(&terms.join(","))
    }
}

impl Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Boolean(boolean) => boolean.fmt(f),
        }
    }
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // At most three digits behind the point: rates and ratios are fractions.
            Self::Number(number) => write!(f, "{}", (number * 1000.0).round() / 1000.0),
            Self::Text(text) => f.write_str(text),
            Self::Boolean(boolean) => boolean.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_form_reads_back_as_written() {
        for text in ["ideal:user", "exact:user", "ideal:a,ideal:b,exact:/dev/video0", "exact:usb:1:2"] {
            assert_eq!(text.parse::<StringConstraint>().unwrap().to_string(), text);
        }
        assert_eq!("user".parse::<StringConstraint>().unwrap(), StringConstraint::ideal("user"));
        for text in ["ideal:true", "exact:false"] {
            assert_eq!(text.parse::<BooleanConstraint>().unwrap().to_string(), text);
        }
        assert_eq!("true".parse::<BooleanConstraint>().unwrap().ideal, Some(true));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "exact:", "a,,b"] {
            assert!(text.parse::<StringConstraint>().is_err(), "{text}");
        }
        for text in ["", "yes", "min:true", "exact:1"] {
            assert!(text.parse::<BooleanConstraint>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_distance_is_that_of_the_standard() {
        let number = "ideal:30".parse::<Constraint>().unwrap();
        assert_eq!(Term::Number(&number).distance(Some(Value::Number(30.0))), 0.0);
        assert_eq!(Term::Number(&number).distance(Some(Value::Number(15.0))), 0.5);
        assert_eq!(Term::Number(&number).distance(Some(Value::Number(60.0))), 0.5);
        assert_eq!(Term::Number(&number).distance(None), 1.0);
        let text = "user,ideal:left".parse::<StringConstraint>().unwrap();
        assert_eq!(Term::Text(&text).distance(Some(Value::Text("left"))), 0.0);
        assert_eq!(Term::Text(&text).distance(Some(Value::Text("right"))), 1.0);
        let only_bounds = "min:10".parse::<Constraint>().unwrap();
        assert_eq!(Term::Number(&only_bounds).distance(Some(Value::Number(1000.0))), 0.0);
    }

    #[test]
    fn what_is_demanded_must_be_there() {
        let exact = StringConstraint::exact("user");
        assert!(!Term::Text(&exact).admits(None));
        assert!(Term::Text(&StringConstraint::ideal("user")).admits(None));
        let ntsc = "exact:29.97".parse::<Constraint>().unwrap();
        assert!(Term::Number(&ntsc).admits(Some(Value::Number(30_000.0 / 1001.0))));
        assert!(!Term::Number(&ntsc).admits(Some(Value::Number(30.0))));
    }
}
