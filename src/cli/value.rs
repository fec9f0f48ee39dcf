//! Values with units, as flags take them and people read them: `80ms`, `1m30s`, `2M`, `1.5 MB`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::time::Duration;

/// Units of time, in seconds.
const TIME: [(&str, f64); 5] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// The longest that a flag takes: a century, after which clocks would run over.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A length of time: `80ms`, `10s`, `1m30s`, `0.5s`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    match any_duration(text)? {
        duration if duration > LONGEST => Err(format!("'{text}' is longer than a century")),
        duration => Ok(duration),
    }
}

/// A length of time that is not none.
pub fn some_time(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|it| if it.is_zero() { Err(format!("'{text}' is no time at all")) } else { Ok(it) })
}

fn any_duration(text: &str) -> Result<Duration, String> {
    let fail = || format!("'{text}' is not a duration: use 80ms, 10s, 1m30s");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| fail());
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest).ok_or_else(fail)?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (_, unit) = TIME.into_iter().find(|(unit, _)| *unit == &tail[..end]).ok_or_else(fail)?;
        seconds += number * unit;
        rest = &tail[end..];
    }
    if text.is_empty() { Err(fail()) } else { Duration::try_from_secs_f64(seconds).map_err(|_| fail()) }
}

fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Multiples: decimal, or binary with an `i`.
const MULTIPLES: [(&str, f64); 9] = [
    ("", 1.0),
    ("k", 1e3),
    ("K", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("ki", 1024.0),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
];

/// A number of bytes: `500k`, `2M`, `1.5Gi`; a `B` may follow.
pub fn count(text: &str) -> Result<u64, String> {
    let fail = || format!("'{text}' is not a number of bytes: use 500k, 2M, 1Gi");
    let (number, unit) = split_number(text).ok_or_else(fail)?;
    let unit = unit.strip_suffix('B').unwrap_or(unit);
    let (_, factor) = MULTIPLES.into_iter().find(|(name, _)| *name == unit).ok_or_else(fail)?;
    let bytes = number * factor;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is neither negative nor too large")]
    if (0.0..1e18).contains(&bytes) { Ok(bytes.round() as u64) } else { Err(fail()) }
}

/// Bits per second: `64k`, `2.5M`.
pub fn bits_per_second(text: &str) -> Result<u32, String> {
    let fail = || format!("'{text}' is no number of bits per second: use 64k, 2.5M");
    count(text).ok().and_then(|bits| u32::try_from(bits).ok()).filter(|bits| *bits > 0).ok_or_else(fail)
}

/// A number of bytes, for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..1000 => format!("{count} B"),
        1000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

/// Bits per second, for people.
pub fn rate(bits_per_second: f64) -> String {
    match bits_per_second {
        ..1e6 => format!("{:.0} kbit/s", bits_per_second / 1e3),
        ..1e9 => format!("{:.2} Mbit/s", bits_per_second / 1e6),
        _ => format!("{:.2} Gbit/s", bits_per_second / 1e9),
    }
}

/// A parser of one of a few words, which help and completions show.
pub fn possible<T, const N: usize>(all: [T; N]) -> impl TypedValueParser<Value = T>
where
    T: std::fmt::Display + Clone + Send + Sync + 'static,
{
    let names = all.clone().map(|value| value.to_string());
    PossibleValuesParser::new(names.clone()).map(move |text| {
        let at = names.iter().position(|name| *name == text).unwrap_or_default();
        all[at].clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in
            [("80ms", 80), ("10s", 10_000), ("1m30s", 90_000), ("0.5s", 500), ("2", 2000), ("1h", 3_600_000), ("0", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "s", "10x", "10s!", "-1", "-1s", "1..5s", "nan", "inf", "1e400", "10 s", "9e99s", "1e19", "999999h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_bytes_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("7", 7), ("500k", 500_000), ("2MB", 2_000_000), ("1.5Ki", 1536), ("1Gi", 1 << 30)]
        {
            assert_eq!(count(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1 k", "1T", "1kk", "1e99", "99999999999999G"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
