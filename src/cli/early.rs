//! Errors that come before a run has begun: a command line that makes no sense, a file that a flag names and nobody can read.
//! Programs hear of them where they would have read the report.

use super::exit;
use super::output::{ColorChoice, GlobalArgs, Output};
use clap::Command;
use rtckit::error::{Error, ErrorKind};
use serde_json::json;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// Flags that name a place for the product; `-` is standard output.
const PLACES: [&str; 7] = ["-o", "--output", "--record", "--video-output", "--audio-output", "--snapshot", "--signal"];
/// Flags that keep standard output for what comes from the peer.
const TALKS: [&str; 3] = ["--chat", "--pipe", "--messages"];

/// What the words of a command line say, whether or not they make sense together.
#[derive(Clone, Debug)]
pub struct Words {
    words: Vec<String>,
    /// Empty where there is none.
    command: String,
}

impl Words {
    /// Those of `args`, of which the first is the program.
    pub fn of(args: &[OsString], definition: &Command) -> Self {
        let words = args.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = words.take_while(|word| word != "--").collect();
        let known = |word: &&String| definition.find_subcommand(word).is_some();
        let command = words.iter().find(known).cloned().unwrap_or_default();
        Self { words, command }
    }

    fn has(&self, flag: &str) -> bool {
        self.words.iter().any(|word| word == flag)
    }

    fn value(&self, flag: &str) -> Option<&str> {
        let behind = self.words.iter().position(|word| word == flag).and_then(|at| self.words.get(at + 1));
        let within = || self.words.iter().find_map(|word| word.strip_prefix(flag)?.strip_prefix('='));
        behind.map(String::as_str).or_else(within)
    }

    /// Whether standard output carries SDP, media or a chat, so that JSON has no place there.
    pub fn take_stdout(&self) -> bool {
        let meets = ["call", "answer", "send-file", "receive-file"].contains(&self.command.as_str());
        let by_hand = meets && !self.has("--loopback") && self.value("--signal").is_none();
        let product = PLACES.into_iter().any(|place| self.value(place) == Some("-")) || self.has("-o-");
        by_hand || product || TALKS.into_iter().any(|flag| self.has(flag))
    }

    /// The flags that every command has, where clap could not tell.
    fn globals(&self) -> GlobalArgs {
        GlobalArgs {
            quiet: self.has("-q") || self.has("--quiet"),
            verbose: 0,
            json: self.has("--json"),
            events: self.has("--events"),
            events_file: self.value("--events-file").and_then(|place| place.parse().ok()),
            color: ColorChoice::Auto,
            config: None,
        }
    }
}

/// Ends a command with an error in its arguments or the configuration.
pub fn fail(error: &Error, words: &Words, globals: Option<&GlobalArgs>) -> ExitCode {
    let globals = globals.cloned().unwrap_or_else(|| words.globals());
    let command = words.command.as_str();
    let output = Output::new(&globals, command, words.take_stdout()).or_else(|_| {
        // That they cannot be written is the error, or comes behind it.
        Output::new(&GlobalArgs { events_file: None, ..globals }, command, words.take_stdout())
    });
    match output {
        Ok(output) => output.finish(&json!({}), Some(error), exit::INTERNAL, ""),
        Err(_) => ExitCode::from(exit::code(error.kind())),
    }
}

/// Ends what clap refused, or answers `--help` and `--version`, which are a product.
pub fn refused(refusal: &clap::Error, words: &Words) -> ExitCode {
    if !refusal.use_stderr() {
        return match refusal.print().and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let message = format!("cannot write standard output: {error}");
                fail(&Error::new(ErrorKind::Output, "output", message), words, None)
            }
            _ => ExitCode::SUCCESS,
        };
    }
    let globals = words.globals();
    let told = globals.json || globals.events || globals.events_file.is_some();
    let on_stderr = words.take_stdout() && globals.events_file.is_none();
    if !(told && on_stderr) {
        // Nobody is left to be told when stderr fails.
        let _ = refusal.print();
    }
    if !told {
        return ExitCode::from(exit::USAGE);
    }
    let (message, hint) = in_a_line(&refusal.render().to_string());
    let error = Error::new(ErrorKind::Usage, "usage", message);
    let error = if hint.is_empty() { error } else { error.with_hint(hint) };
    fail(&error, words, Some(&GlobalArgs { quiet: true, ..globals }))
}

/// What clap says in several lines: the error up to the first blank line, and its tip.
fn in_a_line(text: &str) -> (String, String) {
    let joined = |lines: &mut dyn Iterator<Item = &str>| lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let message = joined(&mut text.lines().take_while(|line| !line.trim().is_empty()));
    let tips = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    (message, joined(&mut tips.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Words {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Words::of(&args, &crate::cli::definition())
    }

    #[test]
    fn standard_output_is_taken_by_descriptions_media_and_talk() {
        for line in [
            "rtckit call --video=test",
            "rtckit --json answer --volume 9",
            "rtckit send-file x --signal -",
            "rtckit record --video=test -o -",
            "rtckit capture --video --snapshot=-",
            "rtckit call --loopback --chat",
            "rtckit screen -o- --duration x",
        ] {
            assert!(words(line).take_stdout(), "{line}");
        }
        for line in [
            "rtckit",
            "rtckit call --loopback --video=-",
            "rtckit send-file - --signal=file:x",
            "rtckit record --video=- -o x.webm --json",
            "rtckit signal --listen x -- --chat",
        ] {
            assert!(!words(line).take_stdout(), "{line}");
        }
    }

    #[test]
    fn several_lines_become_one_and_a_hint() {
        let text =
            "error: unexpected argument '--jsn' found\n\n  tip: a similar argument exists: '--json'\n\nUsage: x\n";
        let said = ("unexpected argument '--jsn' found".to_owned(), "a similar argument exists: '--json'".to_owned());
        assert_eq!(in_a_line(text), said);
        let missing = "error: the following required arguments were not provided:\n  <A>\n  <B>\n\nUsage: x\n";
        assert_eq!(in_a_line(missing).0, "the following required arguments were not provided: <A> <B>");
    }
}
