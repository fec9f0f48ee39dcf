//! Names of the files of a recording in pieces: `out-%05d.webm`.

use crate::error::{Classify, ErrorKind};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A name with the place of a number in it: `%d`, or `%05d` for a number of five digits. `%%` is a percent sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPattern {
    text: String,
    before: String,
    width: usize,
    behind: String,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no pattern for the names of chunks: {why}")]
pub struct ChunkPatternError {
    text: String,
    why: &'static str,
}

impl Classify for ChunkPatternError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }
}

impl ChunkPattern {
    /// The file of number `n`, counted from 1.
    pub fn path(&self, n: u64) -> PathBuf {
        let width = self.width;
        format!("{}{n:0width$}{}", self.before, self.behind).into()
    }
}

impl FromStr for ChunkPattern {
    type Err = ChunkPatternError;

    fn from_str(text: &str) -> Result<Self, ChunkPatternError> {
        let fail = |why| ChunkPatternError { text: text.to_owned(), why };
        let (mut parts, mut width) = (vec![String::new()], 0);
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                parts.last_mut().expect("it never is empty").push(c);
                continue;
            }
            let digits: String = rest.clone().take_while(char::is_ascii_digit).collect();
            rest = rest.as_str()[digits.len()..].chars();
            match rest.next() {
                Some('%') if digits.is_empty() => parts.last_mut().expect("it never is empty").push('%'),
                Some('d') => {
                    width = match digits.as_str() {
                        "" => 0,
                        digits if digits.starts_with('0') => {
                            digits.parse().ok().filter(|width| *width <= 20).unwrap_or(21)
                        }
                        _ => 21,
                    };
                    parts.push(String::new());
                }
                _ => return Err(fail("a percent sign is followed by d, 05d or %")),
            }
        }
        match <[String; 2]>::try_from(parts) {
            Ok(_) if width > 20 => Err(fail("the number is written as %d or like %05d")),
            Ok([before, behind]) => Ok(Self { text: text.to_owned(), before, width, behind }),
            Err(_) => Err(fail("it needs %d or %05d, once, where the number belongs")),
        }
    }
}

impl fmt::Display for ChunkPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_their_place_and_width() {
        let path = |pattern: &str, n| pattern.parse::<ChunkPattern>().unwrap().path(n).display().to_string();
        assert_eq!(path("out-%05d.webm", 7), "out-00007.webm");
        assert_eq!(path("dir/%d", 123_456), "dir/123456");
        assert_eq!(path("50%%-%02d.webm", 123), "50%-123.webm");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["out.webm", "", "%d%d", "%s", "%", "out-%5d", "%0999d", "%05"] {
            assert!(text.parse::<ChunkPattern>().is_err(), "{text}");
        }
    }
}
