//! `rtckit record`: arguments to [`Options`], the [`Report`] in words.

use super::args::{MediaArgs, RecordingArgs};
use super::bars::Meter;
use super::output::Output;
use super::run::{self, Context};
use super::value::bytes;
use super::{exit, terminal};
use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::control::{self, Remote};
use rtckit::ops::record::{self, Destination, Io, MimeType, Options, Outcome, Report};
use rtckit::progress::{Event, Progress};
use serde_json::{Map, json};
use std::fmt::Write;
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
    let sources = match args.media.options() {
        Ok(sources) => sources,
        Err(error) => return context.fail(&error),
    };
    match args.recording.options(sources) {
        Some(options) => run(options, context),
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

/// Records as `options` say; the end of every command that records.
pub fn run(options: Options, context: &Context) -> ExitCode {
    let to_stdout = options.output == Destination::Stdout;
    let output = match context.output(to_stdout) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let from_stdin = options.sources.reads_stdin();
    let keys = if from_stdin { None } else { terminal::Keys::begin() };
    if keys.is_some() {
        output.say("press p to pause and to go on, q to end");
    }
    let outcome = run::block_on(async |stop| {
        let (remote, requests) = control::channel();
        let signals = tokio::spawn(toggle_by_signal(remote.clone()));
        let typed = keys.as_ref().map(|_| tokio::spawn(obey_keys(remote.clone())));
        let io = Io {
            input: from_stdin.then(|| Box::new(std::io::stdin()) as _),
            output: to_stdout.then(|| Box::new(std::io::stdout()) as _),
        };
        let watched = Arc::new(Watched { meter: Meter::new(output.shows_bars()), output: Arc::clone(&output) });
        let outcome = Box::pin(record::run(options, io, requests, Arc::clone(&watched) as _, stop)).await;
        watched.meter.finish();
        signals.abort();
        if let Some(typed) = typed {
            typed.abort();
        }
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

/// The output, with a line of its state on a terminal.
struct Watched {
    output: Arc<Output>,
    meter: Meter,
}

impl Progress for Watched {
    fn event(&self, event: Event) {
        self.meter.show(&event);
        self.meter.aside(|| self.output.event(event));
    }
}

/// The report in a line or two. Writing to a String cannot fail.
fn summary(report: &Report) -> String {
    let mut text = String::new();
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
