//! The steps of an examination in the Test Anything Protocol, version 14.

use rtckit::ops::call::Conformance;

/// The first line.
pub const HEAD: &str = "TAP version 14\n";

/// What came of a step. What should be so and is not is a TODO, which fails nothing.
pub fn step(step: &Conformance) -> String {
    let Conformance { number, title, outcome, message } = step;
    let message = message.as_deref().unwrap_or_default();
    // A directive is one line, and another # would begin another.
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.replace('\\', "\\\\").replace('#', "\\#");
    match *outcome {
        "passed" => format!("ok {number} - {title}\n"),
        "skipped" => format!("ok {number} - {title} # SKIP {line}\n"),
        "advised" => format!("not ok {number} - {title} # TODO {line}\n"),
        // A string of JSON is one of YAML.
        _ => format!("not ok {number} - {title}\n  ---\n  message: {}\n  ...\n", serde_json::Value::from(message)),
    }
}

/// The last line: how many steps there were, or why there were no more.
pub fn end(steps: usize, broken_off: Option<&str>) -> String {
    match broken_off {
        None => format!("1..{steps}\n"),
        Some(why) => {
            let head = if steps == 0 { HEAD } else { "" };
            format!("{head}Bail out! {}\n", why.replace(char::is_control, " "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_such_that_a_harness_reads_them() {
        let said = |outcome, message: Option<&str>| {
            step(&Conformance { number: 3, title: "it works", outcome, message: message.map(str::to_owned) })
        };
        assert_eq!(said("passed", None), "ok 3 - it works\n");
        assert_eq!(said("skipped", Some("no #1\nhere")), "ok 3 - it works # SKIP no \\#1 here\n");
        assert_eq!(said("advised", Some("it says 200")), "not ok 3 - it works # TODO it says 200\n");
        let failed = said("failed", Some("\"a\"\n..."));
        assert_eq!(failed, "not ok 3 - it works\n  ---\n  message: \"\\\"a\\\"\\n...\"\n  ...\n");
        assert_eq!((end(7, None), end(7, Some("gone\n"))), ("1..7\n".to_owned(), "Bail out! gone \n".to_owned()));
    }
}
