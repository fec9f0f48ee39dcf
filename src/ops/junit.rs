//! JUnit XML, the form in which programs that run tests take results.

use std::fmt::Write;

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseResult {
    /// It is as it should be.
    Passed,
    /// The same, and something was said about it.
    Said(String),
    /// It is not as it should be.
    Failure(Complaint),
    /// It could not be found out.
    Error(Complaint),
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Of what kind it is.
    pub kind: String,
    /// What it is.
    pub message: String,
    /// More of it; may be empty.
    pub text: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it is.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// What came of it.
    pub result: CaseResult,
}

/// Cases that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// What they are about.
    pub name: String,
    /// The cases.
    pub cases: Vec<Case>,
}

impl Suite {
    fn failures(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.result, CaseResult::Failure(_))).count()
    }

    fn errors(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.result, CaseResult::Error(_))).count()
    }
}

/// The document; `seconds` is how long all of it took.
pub fn document(name: &str, seconds: f64, suites: &[Suite]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let sum = |count: &dyn Fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{seconds:.3}\">",
        xml(name),
        sum(&|suite| suite.cases.len()),
        sum(&Suite::failures),
        sum(&Suite::errors)
    );
    for suite in suites {
        let name = xml(&suite.name);
        let time: f64 = suite.cases.iter().map(|case| case.seconds).sum();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{time:.3}\">",
            suite.cases.len(),
            suite.failures(),
            suite.errors()
        );
        for Case { name: case, seconds, result } in &suite.cases {
            let _ = write!(text, "    <testcase classname=\"{name}\" name=\"{}\" time=\"{seconds:.6}\"", xml(case));
            let _ = match result {
                CaseResult::Passed => writeln!(text, "/>"),
                CaseResult::Said(said) => writeln!(text, "><system-out>{}</system-out></testcase>", xml(said)),
                CaseResult::Failure(complaint) => writeln!(text, ">{}</testcase>", complaint.element("failure")),
                CaseResult::Error(complaint) => writeln!(text, ">{}</testcase>", complaint.element("error")),
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

impl Complaint {
    fn element(&self, name: &str) -> String {
        let Self { kind, message, text } = self;
        format!("<{name} type=\"{}\" message=\"{}\">{}</{name}>", xml(kind), xml(message), xml(text))
    }
}

/// Text of XML 1.0, which has no way to write control characters.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_counted_and_every_text_is_escaped() {
        let complaint = Complaint { kind: "a<b".into(), message: "\"x\" & y".into(), text: "no\u{1b}".into() };
        let case = |name: &str, result| Case { name: name.to_owned(), seconds: 0.5, result };
        let cases = vec![
            case("one", CaseResult::Passed),
            case("two>1", CaseResult::Failure(complaint.clone())),
            case("three", CaseResult::Error(complaint)),
            case("four", CaseResult::Said("&".into())),
        ];
        let text = document("all", 2.0, &[Suite { name: "s".into(), cases }]);
        for part in [
            "<testsuites name=\"all\" tests=\"4\" failures=\"1\" errors=\"1\" time=\"2.000\">",
            "<testsuite name=\"s\" tests=\"4\" failures=\"1\" errors=\"1\" time=\"2.000\">",
            "<testcase classname=\"s\" name=\"one\" time=\"0.500000\"/>",
            "name=\"two&gt;1\" time=\"0.500000\"><failure type=\"a&lt;b\" message=\"&quot;x&quot; &amp; y\">no </failure>",
            "<error type=",
            "<system-out>&amp;</system-out>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
