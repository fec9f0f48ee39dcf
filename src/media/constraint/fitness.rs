//! SelectSettings, mediacapture-main section 5.3: of all settings that a device can have, those that constraints leave, and of
//! those the nearest to what is preferred.

use super::{Constraint, ConstraintSet, Property, Term, Value};
use crate::error::{Classify, ErrorKind};
use std::ops::RangeInclusive;

/// One way in which a device can be set.
pub trait Settings {
    /// What a property is set to; `None` where the device has no such property, or does not tell.
    fn value(&self, property: Property) -> Option<Value<'_>>;
}

/// What ruled a candidate out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuledOut {
    /// A required constraint.
    By(Property),
    /// The advanced set of this index, which others could meet.
    ByAdvanced(usize),
}

/// The fitness distance of a candidate, 0 for a perfect one, or what ruled it out.
pub type Verdict = Result<f64, RuledOut>;

/// A required constraint that no candidate meets; mediacapture-main `OverconstrainedError`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{constraint} {wanted} cannot be met: {offers}")]
pub struct Overconstrained {
    /// The constraint.
    pub constraint: Property,
    /// What was asked.
    pub wanted: String,
    /// What there is.
    pub offers: String,
}

impl Overconstrained {
    /// `wanted` leaves nothing of `range`, in which `constraint` can be anything.
    pub fn out_of_range(constraint: Property, wanted: Constraint, range: &RangeInclusive<f64>) -> Self {
        let offers = format!("there is {} to {}", range.start(), range.end());
        Self { constraint, wanted: wanted.to_string(), offers }
    }
}

impl Classify for Overconstrained {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }

    fn name(&self) -> &'static str {
        "OverconstrainedError"
    }
}

/// What a selection came to.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The index of the chosen candidate.
    pub chosen: Result<usize, Overconstrained>,
    /// Of each candidate, in their order.
    pub verdicts: Vec<Verdict>,
}

/// The whole number that a constraint makes of `default`, for a property that can be any whole number in `range`.
///
/// # Errors
/// The constraint leaves nothing of the range.
pub fn pick_whole(
    constraint: Property,
    wanted: Option<Constraint>,
    default: f64,
    range: RangeInclusive<f64>,
) -> Result<u32, Overconstrained> {
    let wanted = wanted.unwrap_or_default();
    let picked = wanted.pick(default, range.clone()).and_then(|value| {
        // Rounding must not leave the bounds.
        [value.round(), value.ceil(), value.floor()].into_iter().find(|value| wanted.admits(*value))
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranges are far inside of u32")]
    picked.map(|value| value as u32).ok_or_else(|| Overconstrained::out_of_range(constraint, wanted, &range))
}

/// The fitness distance of `settings`, or the first constraint that rules them out.
///
/// # Errors
/// The constraint.
pub fn distance(settings: &impl Settings, wanted: &impl ConstraintSet) -> Result<f64, Property> {
    wanted.terms().into_iter().try_fold(0.0, |sum, (property, term)| {
        let value = settings.value(property);
        if term.admits(value) { Ok(sum + term.distance(value)) } else { Err(property) }
    })
}

/// For a source that can be set in one way only: whether that will do.
///
/// # Errors
/// The constraint that it does not meet.
pub fn check(settings: &impl Settings, wanted: &impl ConstraintSet) -> Result<(), Overconstrained> {
    match wanted.terms().into_iter().find(|(property, term)| !term.admits(settings.value(*property))) {
        Some((property, term)) => Err(blame(property, term, std::slice::from_ref(settings))),
        None => Ok(()),
    }
}

/// Chooses among `candidates`. `basic` must be met; then each of the `advanced` sets that some of the remaining candidates meet
/// is met, in order; of what is left the smallest distance wins, and between equals the smallest `cost`, then the first.
pub fn select<S: Settings, C: ConstraintSet>(
    candidates: &[S],
    basic: &C,
    advanced: &[C],
    cost: impl Fn(&S) -> f64,
) -> Choice {
    let mut verdicts: Vec<Verdict> =
        candidates.iter().map(|candidate| distance(candidate, basic).map_err(RuledOut::By)).collect();
    for (index, set) in advanced.iter().enumerate() {
        let meets: Vec<bool> = candidates.iter().map(|candidate| distance(candidate, set).is_ok()).collect();
        if verdicts.iter().zip(&meets).any(|(verdict, meets)| verdict.is_ok() && *meets) {
            for (verdict, _) in verdicts.iter_mut().zip(meets).filter(|(verdict, meets)| verdict.is_ok() && !meets) {
                *verdict = Err(RuledOut::ByAdvanced(index));
            }
        }
    }
    let ranked = candidates.iter().zip(&verdicts).enumerate();
    let best = ranked
        .filter_map(|(index, (candidate, verdict))| Some((index, *verdict.as_ref().ok()?, cost(candidate))))
        .min_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)))
        .map(|(index, ..)| index);
    Choice { chosen: best.ok_or_else(|| overconstrained(candidates, basic)), verdicts }
}

/// The constraint to name when nothing is left: one that no candidate meets, else the one at which the last of them fell.
fn overconstrained<S: Settings>(candidates: &[S], basic: &impl ConstraintSet) -> Overconstrained {
    let terms = basic.terms();
    let meets = |candidate: &S, (property, term): &(Property, Term<'_>)| term.admits(candidate.value(*property));
    let alone = terms.iter().find(|term| !candidates.iter().any(|candidate| meets(candidate, term)));
    if let Some((property, term)) = alone {
        return blame(*property, *term, candidates);
    }
    let mut left: Vec<&S> = candidates.iter().collect();
    for term in &terms {
        let remaining: Vec<&S> = left.iter().copied().filter(|candidate| meets(candidate, term)).collect();
        if remaining.is_empty() {
            let mut error = blame(term.0, term.1, &left);
            error.offers = format!("with the other constraints {}", error.offers);
            return error;
        }
        left = remaining;
    }
    Overconstrained { constraint: Property::DeviceId, wanted: String::new(), offers: "there is no device".to_owned() }
}

impl<S: Settings> Settings for &S {
    fn value(&self, property: Property) -> Option<Value<'_>> {
        (**self).value(property)
    }
}

fn blame<S: Settings>(property: Property, term: Term<'_>, candidates: &[S]) -> Overconstrained {
    let values = candidates.iter().filter_map(|candidate| candidate.value(property));
    Overconstrained { constraint: property, wanted: term.to_string(), offers: offers(values) }
}

/// What there is, in words.
fn offers<'a>(values: impl Iterator<Item = Value<'a>>) -> String {
    const MOST: usize = 8;
    let (mut numbers, mut words) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Value::Number(number) => numbers.push(number),
            word => {
                let word = word.to_string();
                if !words.contains(&word) {
                    words.push(word);
                }
            }
        }
    }
    numbers.sort_by(f64::total_cmp);
    numbers.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    match numbers.as_slice() {
        [] => {}
        [only] => words.push(Value::Number(*only).to_string()),
        [least, .., most] if numbers.len() > MOST => {
            words.push(format!("{} to {}", Value::Number(*least), Value::Number(*most)));
        }
        some => words.extend(some.iter().map(|number| Value::Number(*number).to_string())),
    }
    match words.len() {
        0 => "this source does not say".to_owned(),
        1..=MOST => format!("there is {}", words.join(", ")),
        count => format!("there is {}, … ({count} in all)", words[..MOST].join(", ")),
    }
}
