//! Names as they travel: relative, `/` between the parts, and never a way out of the folder they are received in.

use std::path::PathBuf;

/// Bytes of a whole path.
pub const MOST_PATH: usize = 4096;
/// Bytes of one part of it: what most file systems take.
pub const MOST_PART: usize = 255;

/// Whose rules names must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Any name without `/` and NUL.
    Unix,
    /// Neither devices such as `CON`, nor `\ : * ? " < > |`, nor a dot or space at the end.
    Windows,
}

impl Rules {
    /// Those of this machine.
    pub const HERE: Self = if cfg!(windows) { Self::Windows } else { Self::Unix };
}

/// Why a path is not acceptable; `None` when it is.
pub fn fault(path: &str, rules: Rules) -> Option<&'static str> {
    if path.is_empty() {
        return Some("an empty name");
    }
    if path.len() > MOST_PATH {
        return Some("a path longer than 4096 bytes");
    }
    if path.starts_with('/') {
        return Some("an absolute path");
    }
    path.split('/').find_map(|part| part_fault(part, rules))
}

fn part_fault(part: &str, rules: Rules) -> Option<&'static str> {
    match part {
        "" => return Some("an empty part of a path"),
        "." | ".." => return Some("a path with . or .. in it"),
        _ => {}
    }
    if part.len() > MOST_PART {
        return Some("a name longer than 255 bytes");
    }
    if part.contains('\0') {
        return Some("a name with a NUL in it");
    }
    if rules == Rules::Unix {
        return None;
    }
    if part.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) || part.chars().any(|c| c < ' ') {
        return Some("a name with characters that this system does not take");
    }
    if part.ends_with(['.', ' ']) {
        return Some("a name that ends with a dot or a space");
    }
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_ascii_uppercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device).is_some_and(|rest| matches!(rest.chars().next(), Some('1'..='9' | '¹' | '²' | '³')))
            && stem.chars().count() == 4
    };
    let device = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str());
    (device || numbered("COM") || numbered("LPT")).then_some("the name of a device")
}

/// The path as this system writes it. The path must have no [`fault`].
pub fn to_path(path: &str) -> PathBuf {
    path.split('/').collect()
}

/// The path on one line, fit to be shown.
pub fn shown(path: &str) -> String {
    path.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let long = "x".repeat(256);
        let deep = "d/".repeat(2100) + "f";
        for path in ["", "/etc/passwd", "..", "a/../b", "a/..", "./a", "a/.", "a//b", "a/", "/", "a\0b", &long, &deep] {
            assert!(fault(path, Rules::Unix).is_some(), "{path:?}");
        }
        let longest = "x".repeat(255);
        for path in ["a", "a/b/c", "..a", "a..", "...", "ünï/名前", "a b", "a\\b", "CON", "a\nb", "-rf", &longest] {
            assert_eq!(fault(path, Rules::Unix), None, "{path:?}");
        }
        for path in ["CON", "nul.txt", "a/COM1", "lpt9.log", "a\\b", "C:", "a:stream", "dot.", "space ", "a\nb", "COM¹"]
        {
            assert!(fault(path, Rules::Windows).is_some(), "{path:?}");
        }
        for path in ["CONSOLE", "COM0", "COM", "COM10", "nulls", "a.con"] {
            assert_eq!(fault(path, Rules::Windows), None, "{path:?}");
        }
    }

    #[test]
    fn a_name_is_shown_on_one_line() {
        assert_eq!(shown("a\n\u{1b}[2Jb é"), "a\\n\\u{1b}[2Jb é");
    }
}
