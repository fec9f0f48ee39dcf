//! `rtckit devices`: arguments to [`Options`], the list in words.

use super::output::{self, Output};
use super::run::{self, Context};
use super::{exit, salt};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rtckit::error::Error;
use rtckit::ops::devices::{self, CodecInfo, DeviceInfo, DeviceKind, Options, Outcome, Report, Trial};
use rtckit::progress::{Event, Progress};
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// What `devices` takes.
#[derive(Args, Clone, Debug)]
pub struct DevicesArgs {
    /// Only devices of this kind; several with a comma
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kinds())]
    kind: Vec<DeviceKind>,
    /// Say what each device can do: native modes and ranges
    #[arg(long)]
    capabilities: bool,
    /// Say which codecs can be sent, received and recorded, and as what
    #[arg(long)]
    codecs: bool,
    /// Fail with exit code 4 unless there is a device of this kind; several with a comma
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kinds())]
    require: Vec<DeviceKind>,
    /// Tell of devices that come and go, until Ctrl-C
    #[arg(long, conflicts_with = "require")]
    watch: bool,
    /// Open each device for a second and say whether it works; speakers play a quiet tone. Exit code 4 when one does not
    #[arg(long, conflicts_with = "watch")]
    test: bool,
}

/// The kinds as arguments.
fn kinds() -> impl TypedValueParser<Value = DeviceKind> {
    PossibleValuesParser::new(DeviceKind::ALL.map(DeviceKind::as_str)).try_map(|word| word.parse::<DeviceKind>())
}

/// Runs `rtckit devices`.
pub fn devices(args: DevicesArgs, context: &Context) -> ExitCode {
    let output = match context.output(false) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let (salt, warning) = salt::load();
    if let Some(warning) = warning {
        output.warn(&warning);
    }
    let DevicesArgs { kind, capabilities, codecs, require, watch, test } = args;
    let options = Options { kinds: kind, capabilities, codecs, require, salt };
    let people = !(context.global.json || context.global.events);
    let watched = Arc::new(Watched { output: Arc::clone(&output), people });
    let operation = async move |stop| match (watch, test) {
        (true, _) => devices::watch(options, watched, stop).await,
        (false, true) => devices::test(options, stop).await,
        (false, false) => devices::run(options).await,
    };
    let outcome = match run::block_on(operation) {
        Ok(outcome) => outcome,
        Err(error) => return output.finish(&serde_json::json!({}), Some(&error), exit::INTERNAL, ""),
    };
    let Outcome { report, error } = outcome;
    let shown = if people && !watch { show(&report) } else { Ok(()) };
    output.finish(&report, error.or(shown.err()).as_ref(), 0, "")
}

/// The output, and for people a line on standard output for each device that comes or goes.
struct Watched {
    output: Arc<Output>,
    people: bool,
}

impl Progress for Watched {
    fn event(&self, event: Event) {
        if let (true, Event::DeviceChange { added, removed }) = (self.people, &event) {
            let lines = |sign: &str, devices: &[DeviceInfo]| {
                table(devices).lines().map(|line| format!("{sign} {line}\n")).collect::<String>()
            };
            let text = lines("-", removed) + &lines("+", added);
            if let Err(error) = output::product(text.as_bytes()) {
                self.output.warn(&error.to_string());
            }
        }
        self.output.event(event);
    }
}

fn show(report: &Report) -> Result<(), Error> {
    let codecs = report.codecs.iter().flatten().map(codec_line).collect::<String>();
    let tests = report.tests.iter().flatten().map(test_line).collect::<String>();
    output::product((table(&report.devices) + &codecs + &tests).as_bytes())
}

fn test_line(trial: &Trial) -> String {
    let Trial { kind, label, seconds, frames_per_second, peak, error, .. } = trial;
    if let Some(failure) = error {
        return format!("fails  {kind}  {label}: {}\n", failure.message);
    }
    let gave = match (kind, frames_per_second, peak) {
        (_, Some(rate), _) => format!(", {rate} pictures in a second"),
        (_, _, Some(peak)) => format!(", peak {peak:.1} dBFS"),
        (DeviceKind::AudioInput, ..) => ", silence".to_owned(),
        _ => String::new(),
    };
    format!("works  {kind}  {label}: after {:.2} s{gave}\n", seconds.unwrap_or_default())
}

fn codec_line(codec: &CodecInfo) -> String {
    let can = |can: bool, word: &'static str| if can { word } else { "" };
    let CodecInfo { mime_type, send, receive, record, .. } = codec;
    format!("{mime_type:10}  {:4}  {:7}  {}\n", can(*send, "send"), can(*receive, "receive"), record.join(" "))
}

/// One line for each device, and its capabilities below. Writing to a String cannot fail.
fn table(devices: &[DeviceInfo]) -> String {
    let mut text = String::new();
    let longest = |of: fn(&DeviceInfo) -> usize| devices.iter().map(of).max().unwrap_or(0);
    let (kinds, labels) =
        (longest(|device| device.kind.as_str().len()), longest(|device| device.label.chars().count()));
    for device in devices {
        let DeviceInfo { kind, label, device_id, .. } = device;
        let _ = write!(text, "{:kinds$}  {label:labels$}  {device_id}", kind.as_str());
        if let Some(path) = &device.path {
            let _ = write!(text, "  {path}");
        }
        text.push_str(if device.default { "  (default)\n" } else { "\n" });
        if let Some(capabilities) = &device.capabilities {
            describe(capabilities, &mut text);
        }
    }
    text
}

fn describe(capabilities: &rtckit::media::Capabilities, text: &mut String) {
    let short = |number: f64| (number * 1000.0).round() / 1000.0;
    for (name, range) in [
        ("sampleRate", capabilities.sample_rate),
        ("sampleSize", capabilities.sample_size),
        ("channelCount", capabilities.channel_count),
        ("latency", capabilities.latency),
    ] {
        if let Some(range) = range {
            let _ = writeln!(text, "    {name} {} to {}", short(range.min), short(range.max));
        }
    }
    for mode in &capabilities.facing_mode {
        let _ = writeln!(text, "    facingMode {}", mode.as_str());
    }
    // One line for each format and size.
    let mut modes = capabilities.modes.iter().peekable();
    while let Some(mode) = modes.next() {
        let size = format!("{}x{}", mode.width, mode.height);
        let _ = write!(text, "    {}  {size:9}  {}", mode.pixel_format, mode.frame_rate);
        let same = |next: &&rtckit::media::VideoMode| {
            (&next.pixel_format, next.width, next.height) == (&mode.pixel_format, mode.width, mode.height)
        };
        while let Some(next) = modes.next_if(same) {
            let _ = write!(text, " {}", next.frame_rate);
        }
        text.push_str(" fps\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtckit::media::{Capabilities, FrameRate, VideoMode};

    #[test]
    fn the_table_has_a_line_for_each_device_and_each_size() {
        let mode = |width, height, fps| VideoMode {
            pixel_format: "YUYV".into(),
            width,
            height,
            frame_rate: FrameRate::new(fps, 1).unwrap(),
        };
        let device = |label: &str, default| DeviceInfo {
            device_id: "1f".into(),
            group_id: "2e".into(),
            kind: DeviceKind::VideoInput,
            label: label.into(),
            default,
            path: Some("/dev/video0".into()),
            capabilities: Some(Capabilities::of_video(
                vec![mode(640, 480, 30), mode(640, 480, 15), mode(320, 240, 30)],
                None,
            )),
        };
        assert_eq!(
            table(&[device("Cam", true), device("Camera", false)]),
            "videoinput  Cam     1f  /dev/video0  (default)\n    YUYV  640x480    30 15 fps\n    YUYV  320x240    30 fps\n\
             videoinput  Camera  1f  /dev/video0\n    YUYV  640x480    30 15 fps\n    YUYV  320x240    30 fps\n"
        );
        assert_eq!(table(&[]), "");
    }
}
