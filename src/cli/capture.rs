//! `rtckit capture`: arguments to [`Options`], the [`Report`] in words.

use super::args::MediaArgs;
use super::bars::Line;
use super::control::{self, Endpoint};
use super::output::Output;
use super::run::{self, Context};
use super::value::{self, bytes};
use super::{exit, meter, terminal};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::capture::{
    self, Considered, Destination, Existing, Format, ImageFormat, Io, Options, Outcome, Report, Snapshot, Warmup,
};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What `capture` takes.
#[derive(Args, Clone, Debug)]
pub struct CaptureArgs {
    #[command(flatten)]
    media: MediaArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// End after this long
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    duration: Option<Duration>,
    /// Show the pictures while they are captured: in a window, or in the terminal where there is no display. When the window is
    /// closed, a capture that writes nothing ends
    #[arg(long)]
    preview: bool,
    /// Take commands while it runs, as lines of JSON such as {"command":"mute","kind":"video"}, each of which is answered: from
    /// standard input, an open descriptor, a fifo, or a socket that is made at this path. There are mute, unmute, stop,
    /// replaceTrack, e.g. {"command":"replaceTrack","kind":"video","source":"camera:2"}, and state. Files are then read at their
    /// own pace
    #[arg(long, value_name = "-|fd:N|PATH")]
    control: Option<Endpoint>,
    /// Say how each native mode of the cameras suits the constraints, and what rules it out
    #[arg(long)]
    explain: bool,
}

/// Where it goes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Outputs")]
struct OutputArgs {
    /// Write to this file, by its name y4m, i420 (or yuv), rgb, wav, png or jpg; - is standard output. May be repeated
    #[arg(short, long, value_name = "FILE|-")]
    output: Vec<String>,
    /// How outputs are written whose name does not say: y4m for video and wav for audio, unless given
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    format: Option<Format>,
    /// Keep one picture, as png or jpg by its name; without --output and --duration that is all
    #[arg(long, value_name = "FILE")]
    snapshot: Option<String>,
    /// Which picture the snapshot is: auto waits for the exposure of a camera to settle, a number is how many are passed over
    #[arg(long, value_name = "auto|COUNT", default_value = "auto")]
    warmup: Warmup,
    /// Replace outputs that exist
    #[arg(long, conflicts_with = "rename")]
    overwrite: bool,
    /// Where an output exists, take the next free name: clip-1.y4m
    #[arg(long)]
    rename: bool,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::as_str)).try_map(|word| word.parse::<Format>())
}

/// Runs `rtckit capture`.
pub fn capture(args: CaptureArgs, context: &Context) -> ExitCode {
    let control = args.control.clone();
    let options = options(args).and_then(|options| {
        control::check(control.as_ref(), options.sources.reads_stdin().then_some("media"))?;
        Ok(options)
    });
    let options = match options {
        Ok(options) => options,
        Err(error) => return context.fail(&error),
    };
    let snapshots = options.snapshot.iter().map(|snapshot| &snapshot.to);
    let to_stdout = options.outputs.iter().map(|(to, _)| to).chain(snapshots).any(|to| *to == Destination::Stdout);
    let output = match context.output(to_stdout) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let outcome = match watch(options, control, to_stdout, Arc::clone(&output)) {
        Ok(outcome) => outcome,
        Err(error) => return output.finish(&serde_json::json!({}), Some(&error), exit::INTERNAL, ""),
    };
    let Outcome { report, error } = outcome;
    // A capture that is stopped is done: exit 0.
    output.finish(&report, error.as_ref(), 0, &summary(&report))
}

fn options(args: CaptureArgs) -> Result<Options, Error> {
    let CaptureArgs { media, output, duration, preview, control, explain } = args;
    let controlled = control.is_some();
    let sources = media.options(controlled)?;
    let usage = |message: String| Error::new(ErrorKind::Usage, "usage", message);
    let has_video = sources.video != capture::SourceSpec::None;
    let (mut outputs, mut images) = (Vec::new(), Vec::new());
    for name in &output.output {
        let (path, to) = (Path::new(name), Destination::from(name.as_str()));
        if output.format.is_none() && ImageFormat::of_path(path).is_some() {
            images.push(name.clone());
            continue;
        }
        let by_kind = || (name == "-").then_some(if has_video { Format::Y4m } else { Format::Wav });
        let format = Format::of_path(path).or(output.format).or_else(by_kind).ok_or_else(|| {
            let known = Format::ALL.map(Format::as_str).join(", ");
            usage(format!("'{name}': its name does not end in one of {known}, png and jpg: give --format"))
        })?;
        outputs.push((to, format));
    }
    images.extend(output.snapshot.clone());
    let snapshot = match &images[..] {
        [] => None,
        [name] => {
            let format = ImageFormat::of_path(Path::new(name))
                .ok_or_else(|| usage(format!("'{name}': a snapshot ends in png, jpg or jpeg")))?;
            Some(Snapshot { to: Destination::from(name.as_str()), format, warmup: output.warmup })
        }
        _ => return Err(usage("only one picture can be kept".to_owned())),
    };
    let existing = match (output.overwrite, output.rename) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::Rename,
        _ => Existing::Refuse,
    };
    Ok(Options { sources, outputs, snapshot, existing, duration, controlled, preview, explain })
}

fn watch(options: Options, control: Option<Endpoint>, to_stdout: bool, output: Arc<Output>) -> Result<Outcome, Error> {
    let reads_stdin = options.sources.reads_stdin();
    run::block_on(async move |stop| {
        let (_remote, requests, _served) = match control::open(control, &output).await {
            Ok(opened) => opened,
            Err(error) => return Outcome { report: Report::default(), error: Some(error) },
        };
        let io = Io {
            media_input: reads_stdin.then(|| Box::new(std::io::stdin()) as _),
            media_output: to_stdout.then(|| Box::new(std::io::stdout()) as _),
            screen: options.preview.then(|| terminal::screen(to_stdout)).flatten(),
        };
        // A preview in the terminal leaves no line for them.
        if !options.preview {
            output.move_on(|| Line::new(meter::text));
        }
        Box::pin(capture::run(options, io, requests, output as _, stop)).await
    })
}

/// The report in a few lines. Writing to a String cannot fail.
fn summary(report: &Report) -> String {
    let mut text = String::new();
    for considered in report.considered.iter().flatten() {
        text.push_str(&explanation(considered));
    }
    if let Some(video) = &report.video {
        let settings = &video.settings;
        let _ = write!(text, "video {}x{} at {} fps", settings.width, settings.height, settings.frame_rate);
        if !settings.pixel_format.is_empty() {
            let _ = write!(text, " from {}, resizeMode {}", settings.pixel_format, settings.resize_mode);
        }
        let _ = writeln!(
            text,
            ": {} frames delivered, {} discarded, {} lost, {} late",
            video.delivered_frames, video.discarded_frames, video.lost_frames, video.late_frames
        );
    }
    if let Some(audio) = &report.audio {
        let level = |level: Option<f64>| level.map_or("silent".to_owned(), |level| format!("{level:.1} dBFS"));
        let _ = writeln!(
            text,
            "audio {} Hz, {} channel{}: {:.1} s, peak {}, power {}",
            audio.settings.sample_rate,
            audio.settings.channel_count,
            if audio.settings.channel_count == 1 { "" } else { "s" },
            audio.samples as f64 / f64::from(audio.settings.sample_rate.max(1)),
            level(audio.peak),
            level(audio.rms)
        );
    }
    for written in &report.outputs {
        let _ = writeln!(text, "wrote {}: {}", written.path, bytes(written.bytes));
    }
    if let Some(snapshot) = &report.snapshot {
        let _ = writeln!(
            text,
            "wrote {}: {}x{}, {}, after {} pictures",
            snapshot.path,
            snapshot.width,
            snapshot.height,
            bytes(snapshot.bytes),
            snapshot.warmup_frames
        );
    }
    text
}

/// One line for a way to set a camera.
fn explanation(considered: &Considered) -> String {
    let Considered { path, mode, settings, distance, ruled_out_by, .. } = considered;
    let mut text =
        format!("{}  {}  {}x{} at {} fps", path.display(), mode.pixel_format, mode.width, mode.height, mode.frame_rate);
    if settings.resize_mode != rtckit::media::ResizeMode::None {
        let _ = write!(text, ", made {}x{} at {} fps", settings.width, settings.height, settings.frame_rate);
    }
    let _ = match (distance, ruled_out_by) {
        (Some(distance), _) => writeln!(text, ": distance {distance:.3}"),
        (None, Some(constraint)) => writeln!(text, ": ruled out by {constraint}"),
        (None, None) => writeln!(text),
    };
    text
}
