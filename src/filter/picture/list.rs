//! The CSS filter list as text: Filter Effects Module Level 1, section 5 (`<filter-value-list>`).

use std::fmt;
use std::str::FromStr;

/// One CSS filter function with its argument. Amounts are numbers, where 1 is 100 %.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FilterFunction {
    /// `grayscale(amount)`, 0 ..= 1: 0 leaves the picture as it is.
    Grayscale(f32),
    /// `sepia(amount)`, 0 ..= 1: 0 leaves the picture as it is.
    Sepia(f32),
    /// `saturate(amount)`, from 0: 1 leaves the picture as it is.
    Saturate(f32),
    /// `hue-rotate(angle)`, in degrees.
    HueRotate(f32),
    /// `invert(amount)`, 0 ..= 1: 0 leaves the picture as it is.
    Invert(f32),
    /// `opacity(amount)`, 0 ..= 1: 1 leaves the picture as it is.
    Opacity(f32),
    /// `brightness(amount)`, from 0: 1 leaves the picture as it is.
    Brightness(f32),
    /// `contrast(amount)`, from 0: 1 leaves the picture as it is.
    Contrast(f32),
    /// `blur(radius)`: the standard deviation of the Gaussian in pixels.
    Blur(f32),
    /// `drop-shadow(color x y radius)`.
    DropShadow(Shadow),
}

/// The shadow of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shadow {
    /// To the right; negative to the left.
    pub x: f32,
    /// Downwards; negative upwards.
    pub y: f32,
    /// The standard deviation of its blur.
    pub radius: f32,
    /// Red, green, blue and opacity, each 0 ..= 1, not multiplied.
    pub color: [f32; 4],
}

/// Filter functions in the order in which they are applied. `none` is the empty list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterList(Vec<FilterFunction>);

/// Why a text is no filter list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}': {detail}")]
pub struct FilterError {
    /// The part of the list that is wrong.
    text: String,
    detail: String,
}

/// The functions, with an example of each: what messages offer.
const FUNCTIONS: &str =
    "grayscale, sepia, saturate, hue-rotate, invert, opacity, brightness, contrast, blur, drop-shadow";

impl FilterList {
    /// The functions, first to last.
    pub fn functions(&self) -> &[FilterFunction] {
        &self.0
    }

    /// Whether it changes nothing at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<FilterFunction> for FilterList {
    fn from_iter<I: IntoIterator<Item = FilterFunction>>(functions: I) -> Self {
        Self(functions.into_iter().collect())
    }
}

impl FromStr for FilterList {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut rest = text.trim();
        if rest.eq_ignore_ascii_case("none") {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(error(text, format!("it is empty: use none, or one or more of {FUNCTIONS}")));
        }
        let mut functions = Vec::new();
        while !rest.is_empty() {
            let (function, tail) = split_function(rest)?;
            functions.push(parse_function(function)?);
            rest = tail.trim_start();
        }
        Ok(Self(functions))
    }
}

fn error(text: &str, detail: impl Into<String>) -> FilterError {
    FilterError { text: text.to_owned(), detail: detail.into() }
}

/// The function that `text` begins with, up to the bracket that closes it, and the rest.
fn split_function(text: &str) -> Result<(&str, &str), FilterError> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Err(error(text, "a bracket is closed that was not opened")),
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(text.split_at(at + 1));
                }
            }
            _ => {}
        }
    }
    let detail = if depth > 0 {
        "a closing bracket is missing".to_owned()
    } else {
        format!("not one of {FUNCTIONS}, with its argument in brackets")
    };
    Err(error(text, detail))
}

fn parse_function(text: &str) -> Result<FilterFunction, FilterError> {
    let (name, rest) = text.split_once('(').expect("split at the bracket that closes it");
    let argument = rest.strip_suffix(')').expect("split at the bracket that closes it").trim();
    let fail = |detail: &str| error(text, detail);
    // The clamping is that of section 6.1: more than all is all, where more makes no sense.
    let amount = || parse_amount(argument).map_err(fail);
    let most_all = || amount().map(|amount| amount.min(1.0));
    Ok(match name.to_ascii_lowercase().as_str() {
        "grayscale" => FilterFunction::Grayscale(most_all()?),
        "sepia" => FilterFunction::Sepia(most_all()?),
        "saturate" => FilterFunction::Saturate(amount()?),
        "hue-rotate" => FilterFunction::HueRotate(parse_angle(argument).map_err(fail)?),
        "invert" => FilterFunction::Invert(most_all()?),
        "opacity" => FilterFunction::Opacity(most_all()?),
        "brightness" => FilterFunction::Brightness(amount()?),
        "contrast" => FilterFunction::Contrast(amount()?),
        "blur" => match argument {
            "" => FilterFunction::Blur(0.0),
            argument => FilterFunction::Blur(parse_radius(argument).map_err(fail)?),
        },
        "drop-shadow" => FilterFunction::DropShadow(parse_shadow(argument).map_err(fail)?),
        "url" => return Err(fail("filters of SVG documents are not supported")),
        _ => return Err(error(text, format!("not one of {FUNCTIONS}"))),
    })
}

/// A CSS `<number>`, which is stricter than Rust's: no `inf`, no `nan`.
fn parse_number(text: &str) -> Option<f32> {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E');
    let number: f32 = text.parse().ok().filter(|_| text.chars().all(numeric) && !text.ends_with('.'))?;
    number.is_finite().then_some(number)
}

/// A number and the unit behind it. An `e` belongs to the number only where an exponent follows.
fn split_unit(text: &str) -> Option<(f32, &str)> {
    let end = (0..=text.len())
        .rev()
        .filter(|end| text.is_char_boundary(*end))
        .find(|end| parse_number(&text[..*end]).is_some())?;
    Some((parse_number(&text[..end])?, &text[end..]))
}

/// `[ <number> | <percentage> ]?`, from zero, 1 by default.
fn parse_amount(text: &str) -> Result<f32, &'static str> {
    const WRONG: &str = "the argument must be a number or a percentage, such as 0.5 or 50%";
    if text.is_empty() {
        return Ok(1.0);
    }
    let amount = match split_unit(text) {
        Some((number, "")) => number,
        Some((number, "%")) => number / 100.0,
        _ => return Err(WRONG),
    };
    if amount < 0.0 { Err("the argument must not be negative") } else { Ok(amount) }
}

/// `[ <angle> | <zero> ]?` in degrees, 0 by default.
fn parse_angle(text: &str) -> Result<f32, &'static str> {
    if text.is_empty() {
        return Ok(0.0);
    }
    let (number, unit) = split_unit(text).ok_or("the argument must be an angle, such as 90deg or 0.25turn")?;
    match unit.to_ascii_lowercase().as_str() {
        "deg" => Ok(number),
        "grad" => Ok(number * 0.9),
        "rad" => Ok(number.to_degrees()),
        "turn" => Ok(number * 360.0),
        "" if number == 0.0 => Ok(0.0),
        _ => Err("an angle needs a unit: deg, grad, rad or turn"),
    }
}

/// A CSS `<length>` in pixels. A picture has no font, so only absolute lengths mean anything.
fn parse_length(text: &str) -> Result<f32, &'static str> {
    let (number, unit) = split_unit(text).ok_or("a length is missing, such as 4px")?;
    let inch = 96.0;
    let pixels = match unit.to_ascii_lowercase().as_str() {
        "px" => number,
        "in" => number * inch,
        "cm" => number * inch / 2.54,
        "mm" => number * inch / 25.4,
        "q" => number * inch / 101.6,
        "pt" => number * inch / 72.0,
        "pc" => number * inch / 6.0,
        "" if number == 0.0 => 0.0,
        "" => return Err("a length needs a unit, such as 4px"),
        _ => return Err("lengths are in px, in, cm, mm, Q, pt or pc"),
    };
    if pixels.abs() <= MOST_PIXELS {
        Ok(pixels)
    } else {
        Err("a length is more than 16384 pixels, the largest picture")
    }
}

const MOST_PIXELS: f32 = 16_384.0;

fn parse_radius(text: &str) -> Result<f32, &'static str> {
    parse_length(text).and_then(|radius| if radius < 0.0 { Err("the radius must not be negative") } else { Ok(radius) })
}

/// `[ <color>? && <length>{2,3} ]`: the colour before or behind the lengths.
fn parse_shadow(text: &str) -> Result<Shadow, &'static str> {
    let words = split_words(text);
    let is_length = |word: &str| word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let first =
        words.iter().position(|word| is_length(word)).ok_or("two lengths are missing: how far right and down")?;
    let count = words[first..].iter().take_while(|word| is_length(word)).count();
    let lengths = &words[first..first + count];
    let others: Vec<&str> = words[..first].iter().chain(&words[first + count..]).copied().collect();
    let (x, y, radius) = match lengths {
        [x, y] => (parse_length(x)?, parse_length(y)?, 0.0),
        [x, y, radius] => (parse_length(x)?, parse_length(y)?, parse_radius(radius)?),
        _ => return Err("two or three lengths are needed: right, down, and the radius of the blur"),
    };
    let color = match others[..] {
        // `currentcolor`, which nothing changes here from its initial value.
        [] => [0.0, 0.0, 0.0, 1.0],
        [color] if color.eq_ignore_ascii_case("currentcolor") => [0.0, 0.0, 0.0, 1.0],
        [color] => csscolorparser::parse(color).map_err(|_| "its colour is none of CSS")?.clamp().to_array(),
        _ => return Err("there is more than one colour in it"),
    };
    Ok(Shadow { x, y, radius, color })
}

/// Words between blanks; blanks inside of brackets part nothing.
fn split_words(text: &str) -> Vec<&str> {
    let mut depth = 0i32;
    let parts = text.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0 && c.is_ascii_whitespace()
    });
    parts.filter(|word| !word.is_empty()).collect()
}

impl fmt::Display for FilterFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grayscale(amount) => write!(f, "grayscale({amount})"),
            Self::Sepia(amount) => write!(f, "sepia({amount})"),
            Self::Saturate(amount) => write!(f, "saturate({amount})"),
            Self::HueRotate(degrees) => write!(f, "hue-rotate({degrees}deg)"),
            Self::Invert(amount) => write!(f, "invert({amount})"),
            Self::Opacity(amount) => write!(f, "opacity({amount})"),
            Self::Brightness(amount) => write!(f, "brightness({amount})"),
            Self::Contrast(amount) => write!(f, "contrast({amount})"),
            Self::Blur(radius) => write!(f, "blur({radius}px)"),
            Self::DropShadow(Shadow { x, y, radius, color: [r, g, b, a] }) => {
                let byte = |part: &f32| (part * 255.0).round();
                write!(f, "drop-shadow(rgba({}, {}, {}, {a}) {x}px {y}px {radius}px)", byte(r), byte(g), byte(b))
            }
        }
    }
}

impl fmt::Display for FilterList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (at, function) in self.0.iter().enumerate() {
            write!(f, "{}{function}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.parse::<FilterList>().unwrap_or_else(|error| panic!("{error}")).to_string()
    }

    #[test]
    fn arguments_units_and_defaults_are_those_of_css() {
        for (text, means) in [
            ("none", "none"),
            ("grayscale()", "grayscale(1)"),
            ("grayscale(250%)", "grayscale(1)"),
            ("Sepia( 60% )", "sepia(0.6)"),
            ("saturate(3)", "saturate(3)"),
            ("brightness()contrast(1e1)", "brightness(1) contrast(10)"),
            ("hue-rotate()", "hue-rotate(0deg)"),
            ("hue-rotate(0)", "hue-rotate(0deg)"),
            ("hue-rotate(-0.25turn)  invert(+.5)", "hue-rotate(-90deg) invert(0.5)"),
            ("hue-rotate(100grad)", "hue-rotate(90deg)"),
            ("blur()", "blur(0px)"),
            ("blur(1in)", "blur(96px)"),
            ("blur(0)", "blur(0px)"),
            ("drop-shadow(3px -4px)", "drop-shadow(rgba(0, 0, 0, 1) 3px -4px 0px)"),
            ("drop-shadow(red 1px 0 2pt)", "drop-shadow(rgba(255, 0, 0, 1) 1px 0px 2.6666667px)"),
            ("drop-shadow(1px 2px rgb(0 128 255 / 50%))", "drop-shadow(rgba(0, 128, 255, 0.5) 1px 2px 0px)"),
            ("drop-shadow(1px 2px #0f08)", "drop-shadow(rgba(0, 255, 0, 0.53333336) 1px 2px 0px)"),
        ] {
            assert_eq!(read(text), means, "{text}");
            assert_eq!(read(means), means);
        }
    }

    #[test]
    fn what_css_refuses_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty"),
            ("grayscale", "brackets"),
            ("grayscale(1", "closing bracket"),
            ("grayscale(1))", "not opened"),
            ("grey(1)", "not one of"),
            ("grayscale(-1)", "negative"),
            ("grayscale(1 2)", "percentage"),
            ("grayscale(nan)", "percentage"),
            ("contrast(inf)", "percentage"),
            ("opacity(5.)", "percentage"),
            ("blur(-1px)", "negative"),
            ("blur(3)", "unit"),
            ("blur(50%)", "lengths are in px"),
            ("blur(2em)", "lengths are in px"),
            ("blur(99999px)", "16384"),
            ("hue-rotate(90)", "deg"),
            ("hue-rotate(x)", "angle"),
            ("drop-shadow()", "lengths"),
            ("drop-shadow(1px)", "two or three"),
            ("drop-shadow(1px 2px -3px)", "negative"),
            ("drop-shadow(1px 2px reddish)", "colour"),
            ("drop-shadow(red 1px 2px blue)", "more than one colour"),
            ("url(#x)", "SVG"),
            ("none blur(1px)", "none"),
            ("grayscale(1), blur(1px)", ", blur"),
            ("gr\u{e4}yscale(\u{b2})", "not one of"),
        ] {
            let error = text.parse::<FilterList>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
