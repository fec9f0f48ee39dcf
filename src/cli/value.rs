//! Values with units, as flags take them: `80ms`, `1m30s`, `2M`.

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

/// Bits per second: `2M`, `500k`, `1.5M`, `64000`.
pub fn bitrate(text: &str) -> Result<u32, String> {
    let fail = || format!("'{text}' is not a bitrate: use 2M, 500k or 64000 (bits per second)");
    let (number, unit) = split_number(text).ok_or_else(fail)?;
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => return Err(fail()),
    };
    let bits = (number * factor).round();
    if !(1.0..=f64::from(u32::MAX)).contains(&bits) {
        return Err(fail());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked above")]
    Ok(bits as u32)
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

    #[test]
    fn bitrates_read_as_people_write_them() {
        for (text, bits) in [("2M", 2_000_000), ("500k", 500_000), ("1.5M", 1_500_000), ("64000", 64_000)] {
            assert_eq!(bitrate(text), Ok(bits), "{text}");
        }
        for text in ["", "M", "0", "-2M", "2Mi", "5G", "2 M"] {
            assert!(bitrate(text).is_err(), "{text}");
        }
    }
}
