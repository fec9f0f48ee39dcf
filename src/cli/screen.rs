//! `rtckit screen`: a screen or window as the source of a recording, and the list of what there is.

use super::args::{RecordingArgs, ScreenArgs};
use super::exit;
use super::output;
use super::record;
use super::run::{self, Context};
use super::value::{bytes, possible};
use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::media::{Constraint, VideoConstraints};
use rtckit::ops::record::{Destination, SourceOptions, SourceSpec};
use rtckit::ops::screen::{self, ImageFormat, Report, Snapshot, Surface, SurfaceKind};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

/// What `screen` takes.
#[derive(Args, Clone, Debug)]
pub struct ScreenCaptureArgs {
    /// List the monitors and windows that there are, and end
    #[arg(long, conflicts_with_all = ["select", "audio", "output"])]
    list: bool,
    /// What to capture, monitor or window; with --list only these
    #[arg(long, value_name = "KIND", value_parser = possible(SurfaceKind::ALL))]
    surface: Option<SurfaceKind>,
    /// Which: an ID, a title, or a part of one title; without it the main monitor
    #[arg(long, value_name = "ID|TITLE")]
    select: Option<String>,
    /// Record sound beside it: any source of audio
    #[arg(long, value_name = "SOURCE", require_equals = true)]
    audio: Option<SourceSpec>,
    /// Pixels: 640, ideal:640, exact:640, min:300,max:640; the other constraints likewise. Nothing is enlarged
    #[arg(long, value_name = "CONSTRAINT")]
    width: Option<Constraint>,
    /// Pixels
    #[arg(long, value_name = "CONSTRAINT")]
    height: Option<Constraint>,
    /// How often to look for changes, per second; without it 30
    #[arg(long, value_name = "CONSTRAINT")]
    frame_rate: Option<Constraint>,
    /// Record nothing, but keep one picture as it is now, every pixel of it: png or jpg by its name, - for png on standard output
    #[arg(long, value_name = "FILE|-", conflicts_with_all = NOT_OF_A_PICTURE)]
    snapshot: Option<String>,
    #[command(flatten)]
    screen: ScreenArgs,
    #[command(flatten)]
    recording: RecordingArgs,
}

/// What is said of recordings only.
const NOT_OF_A_PICTURE: [&str; 18] = [
    "list",
    "audio",
    "output",
    "width",
    "height",
    "frame_rate",
    "duration",
    "mime_type",
    "timeslice",
    "chunk_pattern",
    "max_size",
    "bits_per_second",
    "video_bits_per_second",
    "audio_bits_per_second",
    "audio_bitrate_mode",
    "video_key_frame_interval_duration",
    "video_key_frame_interval_count",
    "content_hint",
];

/// Runs `rtckit screen`.
pub fn screen(args: ScreenCaptureArgs, context: &Context) -> ExitCode {
    let ScreenCaptureArgs { list, surface, select, audio, width, height, frame_rate, snapshot, screen, recording } =
        args;
    if list {
        return tell(surface, context);
    }
    if let Some(name) = snapshot {
        let format = match ImageFormat::of_path(Path::new(&name)) {
            None if name == "-" => ImageFormat::Png,
            Some(format) => format,
            None => {
                let message = format!("'{name}': a snapshot ends in png, jpg or jpeg");
                return context.fail(&Error::new(ErrorKind::Usage, "usage", message));
            }
        };
        let (kind, to) = (surface.unwrap_or_default(), Destination::from(name.as_str()));
        let (screen, existing) = (screen.options(), recording.existing());
        return take(Snapshot { kind, select, screen, to, format, existing }, context);
    }
    let sources = SourceOptions {
        video: match surface.unwrap_or_default() {
            SurfaceKind::Monitor => SourceSpec::Screen(select),
            SurfaceKind::Window => SourceSpec::Window(select),
        },
        audio: audio.unwrap_or(SourceSpec::None),
        video_constraints: VideoConstraints { width, height, frame_rate, ..VideoConstraints::default() },
        screen: screen.options(),
        ..SourceOptions::default()
    };
    match recording.options(sources) {
        Some(options) => record::run(options, context),
        None => {
            let error = Error::new(ErrorKind::Usage, "usage", "where to record to is missing: give --output FILE");
            context.fail(&error.with_hint("--list shows what there is to record"))
        }
    }
}

fn take(asked: Snapshot, context: &Context) -> ExitCode {
    let to_stdout = asked.to == Destination::Stdout;
    let output = match context.output(to_stdout) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let stdout = to_stdout.then(|| Box::new(std::io::stdout()) as _);
    let taken = run::block_on(async move |stop| screen::snapshot(asked, stdout, stop).await);
    match taken.and_then(|taken| taken) {
        Ok(taken) => {
            let text = format!("wrote {}: {}x{}, {}", taken.path, taken.width, taken.height, bytes(taken.bytes));
            output.finish(&json!({ "snapshot": taken }), None, 0, &text)
        }
        Err(error) => output.finish(&json!({}), Some(&error), exit::INTERNAL, ""),
    }
}

fn tell(kind: Option<SurfaceKind>, context: &Context) -> ExitCode {
    let output = match context.output(false) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let listed = run::block_on(async move |_| screen::list(kind).await).and_then(|listed| listed);
    let report = match listed {
        Ok(report) => report,
        Err(error) => return output.finish(&Report::default(), Some(&error), exit::INTERNAL, ""),
    };
    let for_people = !context.global.json && !context.global.events;
    let shown = if for_people { output::product(table(&report.surfaces).as_bytes()) } else { Ok(()) };
    output.finish(&report, shown.err().as_ref(), 0, "")
}

/// One line for each surface. Writing to a String cannot fail.
fn table(surfaces: &[Surface]) -> String {
    let mut text = String::new();
    let longest = |of: &dyn Fn(&Surface) -> usize| surfaces.iter().map(of).max().unwrap_or(0);
    let size = |surface: &Surface| format!("{}x{}{:+}{:+}", surface.width, surface.height, surface.x, surface.y);
    let (ids, sizes) = (longest(&|surface| surface.id.chars().count()), longest(&|surface| size(surface).len()));
    for surface in surfaces {
        let (id, size, kind) = (&surface.id, size(surface), surface.kind.to_string());
        let _ = write!(text, "{kind:7}  {id:ids$}  {size:sizes$}  {}", surface.label.escape_debug());
        text.push_str(if surface.primary { "  (primary)\n" } else { "\n" });
    }
    text
}
