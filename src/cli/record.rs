//! `rtckit record`: arguments to [`Options`], the [`Report`] in words.

use super::args::{MediaArgs, RecordingArgs};
use super::bars::{self, Line};
use super::control::{self, Endpoint};
use super::run::{self, Context};
use super::value::bytes;
use super::{exit, terminal};
use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::control::Remote;
use rtckit::ops::record::{self, Checked, Io, MimeType, Options, Outcome, Place, Report, SourceOptions};
use serde_json::{Map, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// What `record` takes.
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    /// Record nothing, but say whether this type can be recorded: prints true or false, and exits 0 or 3
    #[arg(long, value_name = "TYPE", conflicts_with_all = ["output", "video", "audio"])]
    is_type_supported: Option<String>,
    /// Read a recording again, to its last frame, and say what is in it and whether it plays: exit 0 or 12
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "video", "audio", "is_type_supported"])]
    check: Option<PathBuf>,
    /// Give a WebM or Matroska file that was cut off, or is a live stream, its duration and cues: in its place, where
    /// film.webm.part becomes film.webm, or as the file that --output names. A WAV file gets its length; Ogg needs none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["video", "audio", "is_type_supported", "check"])]
    repair: Option<PathBuf>,
    /// Take commands while it runs, as lines of JSON such as {"command":"pause"}, each of which is answered: from
    /// standard input, an open descriptor, a fifo, or a socket that is made at this path. There are pause, resume,
    /// togglePause, requestData, stop and state
    #[arg(long, value_name = "-|fd:N|PATH")]
    control: Option<Endpoint>,
    /// Make test media as fast as it can be recorded, instead of in real time
    #[arg(long)]
    unpaced: bool,
    #[command(flatten)]
    media: MediaArgs,
    #[command(flatten)]
    recording: RecordingArgs,
}

/// Runs `rtckit record`.
pub fn record(args: RecordArgs, context: &Context) -> ExitCode {
    if let Some(text) = args.is_type_supported {
        return tell_supported(&text, context);
    }
    if let Some(path) = args.check {
        return examine(&path, context);
    }
    if let Some(path) = args.repair {
        return repair(&path, &args.recording, context);
    }
    let sources = match args.media.options(false) {
        Ok(sources) => SourceOptions { unpaced: args.unpaced, ..sources },
        Err(error) => return context.fail(&error),
    };
    match args.recording.options(sources) {
        Some(options) if args.control.is_none() => run(options, context),
        Some(options) => run_controlled(options, args.control, context),
        None => {
            context.fail(&Error::new(ErrorKind::Usage, "usage", "where to record to is missing: give --output FILE"))
        }
    }
}

fn tell_supported(text: &str, context: &Context) -> ExitCode {
    let output = match context.output(false) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let supported = MimeType::is_supported(text);
    let for_people = !context.global.json && !context.global.events;
    if for_people && let Err(error) = super::output::product(format!("{supported}\n").as_bytes()) {
        return context.fail(&error);
    }
    let code = if supported { 0 } else { exit::code(ErrorKind::InvalidInput) };
    output.finish(&json!({ "supported": supported }), None, code, "")
}

fn examine(path: &Path, context: &Context) -> ExitCode {
    let output = match context.output(false) {
        Ok(output) => output,
        Err(code) => return code,
    };
    match record::check(path) {
        Ok(checked) => {
            let report = json!({ "check": checked });
            output.finish(&report, checked.verdict().err().as_ref(), 0, &description(&checked))
        }
        Err(error) => output.finish(&json!({}), Some(&error), exit::INTERNAL, ""),
    }
}

fn repair(path: &Path, args: &RecordingArgs, context: &Context) -> ExitCode {
    let output = match context.output(false) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let place = args.output.as_ref().map_or(Place::Same, |path| Place::File(path.into()));
    match record::repair(path, &place, args.existing()) {
        Ok(repaired) => {
            let path = repaired.path.display();
            let (length, size) = (repaired.duration, bytes(repaired.bytes));
            let cues = match repaired.cues {
                0 => String::new(),
                cues => format!(", {cues} points to seek to"),
            };
            let text = format!("repaired {path}: {length:.1} s, {size}{cues}");
            output.finish(&json!({ "repair": repaired }), None, 0, &text)
        }
        Err(error) => output.finish(&json!({}), Some(&error), exit::INTERNAL, ""),
    }
}

/// Records as `options` say, with nobody but the user's keys and signals to interfere.
pub fn run(options: Options, context: &Context) -> ExitCode {
    run_controlled(options, None, context)
}

/// The same, and commands are taken from `control`.
fn run_controlled(options: Options, control: Option<Endpoint>, context: &Context) -> ExitCode {
    let to_stdout = options.output == record::Output::Stdout;
    let output = match context.output(to_stdout) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let from_stdin = options.sources.reads_stdin();
    if let Err(error) = control::check(control.as_ref(), from_stdin.then_some("media")) {
        return output.finish(&json!({}), Some(&error), exit::USAGE, "");
    }
    let keys = if from_stdin || control == Some(Endpoint::Stdin) { None } else { terminal::Keys::begin() };
    if keys.is_some() {
        output.say("press p to pause and to go on, q to end");
    }
    let outcome = run::block_on(async |stop| {
        let (remote, requests, served) = match control::open(control, &output).await {
            Ok(opened) => opened,
            Err(error) => return Outcome { report: Report::default(), error: Some(error) },
        };
        let signals = tokio::spawn(toggle_by_signal(remote.clone()));
        let typed = keys.as_ref().map(|_| tokio::spawn(obey_keys(remote.clone())));
        let io = Io {
            input: from_stdin.then(|| Box::new(std::io::stdin()) as _),
            output: to_stdout.then(|| Box::new(std::io::stdout()) as _),
        };
        output.move_on(|| Line::new(bars::recording));
        let outcome = Box::pin(record::run(options, io, requests, Arc::clone(&output) as _, stop)).await;
        signals.abort();
        typed.into_iter().for_each(|typed| typed.abort());
        drop(served);
        outcome
    });
    drop(keys);
    match outcome {
        Ok(Outcome { report, error }) => output.finish(&report, error.as_ref(), 0, &summary(&report)),
        Err(error) => output.finish(&json!({}), Some(&error), exit::INTERNAL, ""),
    }
}

/// SIGUSR1 pauses and resumes.
async fn toggle_by_signal(remote: Remote) {
    // Without it there are the other ways.
    let Ok(mut signals) = signal(SignalKind::user_defined1()) else { return };
    while signals.recv().await.is_some() {
        let _ = remote.ask("togglePause", Map::new()).await;
    }
}

async fn obey_keys(remote: Remote) {
    let mut stdin = tokio::io::stdin();
    while let Ok(key) = stdin.read_u8().await {
        let command = match key {
            b'p' | b' ' => "togglePause",
            b'q' => "stop",
            _ => continue,
        };
        let _ = remote.ask(command, Map::new()).await;
    }
}

/// What was found in a file. Writing to a String cannot fail.
fn description(checked: &Checked) -> String {
    let mut text = String::new();
    let _ = write!(text, "{}: {:.2} s, {}", checked.path.display(), checked.duration, bytes(checked.bytes));
    if let Some(cues) = checked.cues {
        let _ = write!(text, ", {cues} points to seek to");
    }
    let _ = writeln!(text, ", {}", if checked.complete { "complete" } else { "not complete" });
    for track in &checked.tracks {
        let _ = write!(text, "{} {}: {} frames", track.kind, track.codec, track.frames);
        if track.kind == "video" {
            let _ = write!(text, ", {} key frames", track.key_frames);
        }
        if let (Some(start), Some(end)) = (track.start, track.end) {
            let _ = write!(text, ", {start:.3} to {end:.3} s, largest gap {:.0} ms", track.largest_gap * 1e3);
        }
        text.push('\n');
    }
    if let Some(skew) = checked.av_skew {
        let ms = |seconds: f64| seconds * 1e3;
        let _ = writeln!(
            text,
            "picture {:+.0} ms against the sound ({:+.0} at the beginning, {:+.0} at the end)",
            ms(skew.median),
            ms(skew.begin),
            ms(skew.end)
        );
    }
    for problem in &checked.problems {
        let _ = writeln!(text, "problem: {problem}");
    }
    text
}

/// The report in a line or two. Writing to a String cannot fail.
fn summary(report: &Report) -> String {
    let mut text = String::new();
    if !report.chunks.is_empty() {
        let seconds: f64 = report.chunks.iter().map(|chunk| chunk.duration).sum();
        let size: u64 = report.chunks.iter().map(|chunk| chunk.bytes).sum();
        let _ = write!(text, "recorded {} files: {seconds:.1} s, {}", report.chunks.len(), bytes(size));
    }
    let Some(recording) = &report.recording else { return text };
    let path = recording.path.as_ref().map_or("-".into(), |path| path.display().to_string());
    let _ = write!(text, "recorded {path}: {:.1} s, {}", recording.duration, bytes(recording.bytes));
    for track in &recording.tracks {
        let _ = write!(text, ", {} frames of {}", track.frames, track.mime_type);
    }
    if report.frames_dropped > 0 {
        let _ = write!(text, "; {} pictures dropped", report.frames_dropped);
    }
    text
}
