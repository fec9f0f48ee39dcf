//! Values with units, as flags take them: `80ms`, `1m30s`.

use std::time::Duration;

/// Units of time, in seconds.
const TIME: [(&str, f64); 5] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// A length of time: `80ms`, `10s`, `1m30s`, `0.5s`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
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
        for text in ["", "s", "10x", "10s!", "-1", "-1s", "1..5s", "nan", "inf", "1e400", "10 s", "9e99s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
