//! Patterns of what is left out, as `.gitignore` and `rsync --exclude` have them, without their exceptions.
//!
//! A pattern without `/` is held against each part of a path, one with `/` against the whole path from its beginning; a
//! `/` at its end means folders alone. `*` stands for anything but `/`, `**` for anything, `?` for one character.

/// The patterns of one run.
#[derive(Debug, Default)]
pub(super) struct Exclude {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    text: Vec<char>,
    whole: bool,
    folders: bool,
}

impl Exclude {
    pub(super) fn new(patterns: &[String]) -> Self {
        let read = |pattern: &String| {
            let folders = pattern.ends_with('/');
            let text = pattern.trim_end_matches('/');
            let whole = text.contains('/');
            Pattern { text: text.trim_start_matches('/').chars().collect(), whole, folders }
        };
        Self { patterns: patterns.iter().map(read).collect() }
    }

    /// Whether an entry is left out; what is above it is not.
    pub(super) fn matches(&self, path: &str, is_folder: bool) -> bool {
        let whole: Vec<char> = path.chars().collect();
        let name: Vec<char> = path.rsplit('/').next().unwrap_or(path).chars().collect();
        self.patterns.iter().any(|pattern| {
            (is_folder || !pattern.folders) && matches(&pattern.text, if pattern.whole { &whole } else { &name })
        })
    }
}

/// Whether `pattern` stands for `text`. Takes time in proportion to the product of their lengths.
fn matches(pattern: &[char], text: &[char]) -> bool {
    // `reached[i]`: what was read of the pattern so far can stand for the first `i` characters of the text.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let stars = pattern[at..].iter().take_while(|c| **c == '*').count();
        if stars > 0 {
            for index in 0..text.len() {
                reached[index + 1] |= reached[index] && (stars > 1 || text[index] != '/');
            }
            at += stars;
            continue;
        }
        for index in (0..text.len()).rev() {
            let fits = pattern[at] == text[index] || (pattern[at] == '?' && text[index] != '/');
            reached[index + 1] = reached[index] && fits;
        }
        reached[0] = false;
        at += 1;
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_leave_out_what_people_mean() {
        for (pattern, path, folder, out) in [
            ("*.o", "src/a.o", false, true),
            ("*.o", "src/a.oo", false, false),
            ("target/", "x/target", true, true),
            ("target/", "x/target", false, false),
            ("/top", "top", false, true),
            ("/top", "x/top", false, false),
            ("x/*/z", "x/y/z", false, true),
            ("x/*/z", "x/y/y/z", false, false),
            ("x/**/z", "x/y/y/z", false, true),
            ("?b", "éb", false, true),
            ("?", "ab", false, false),
            ("", "a", false, false),
            ("a*a*a*a*a*a*a*b", &"a".repeat(200), false, false),
        ] {
            assert_eq!(Exclude::new(&[pattern.to_owned()]).matches(path, folder), out, "{pattern} {path}");
        }
    }
}
