//! `rtckit call` and `rtckit answer`: arguments to [`Options`], the [`Report`] in words.

use super::args::{
    CodecArgs, ConnectionArgs, DataArgs, Endpoint, MediaArgs, ReceiveArgs, RunArgs, SignalingArgs, TlsArgs,
};
use super::control;
use super::output::{self, Output};
use super::run::{self, Context};
use super::value::{bytes, rate};
use super::{exit, tap, terminal};
use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::call::{
    self, BenchReport, Config, Conformance, DataUse, Destination, Ended, Io, Options, Outcome, Report, Role, Signal,
    WhipListenOptions,
};
use rtckit::ops::signal::Security;
use rtckit::ops::transfer::FileState;
use rtckit::progress::{Event, Progress};
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// What `call` takes.
#[derive(Args, Clone, Debug)]
pub struct CallArgs {
    /// Call ourselves: both sides in this process, through the real network stack
    #[arg(long, conflicts_with_all = ["signal", "sdp_format", "trickle"])]
    loopback: bool,
    /// With whep-listen: so many viewers may play at the same time, from one encode. With more than one the call goes on when one leaves
    #[arg(long, value_name = "COUNT", default_value_t = 1, help_heading = "Signaling")]
    max_viewers: usize,
    /// Examine the server of whip+ or whep+ step by step instead of using it, and write what came of it as TAP; exit code 0 only if all is as it must be
    #[arg(long, help_heading = "Signaling")]
    conformance: bool,
    #[command(flatten)]
    session: SessionArgs,
}

/// What both take.
#[derive(Args, Clone, Debug)]
pub struct SessionArgs {
    #[command(flatten)]
    media: MediaArgs,
    #[command(flatten)]
    codecs: CodecArgs,
    #[command(flatten)]
    receive: ReceiveArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    signaling: SignalingArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Take commands while it runs, as lines of JSON such as {"command":"mute","kind":"audio"}, each of which is answered: from
    /// standard input, an open descriptor, a fifo, or a socket that is made at this path. There are mute, unmute, stop,
    /// replaceTrack, e.g. {"command":"replaceTrack","kind":"video","source":"screen"}, state, restartIce and hangup. Media that is encoded
    /// already is encoded anew then
    #[arg(long, value_name = "-|fd:N|PATH", help_heading = "Run")]
    control: Option<control::Endpoint>,
}

/// What `answer` takes.
#[derive(Args, Clone, Debug)]
pub struct AnswerArgs {
    /// Take files that the other side sends, as receive-file does, into this folder, without asking
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "chat", "pipe", "messages"], help_heading = "Data")]
    receive_files: Option<PathBuf>,
    #[command(flatten)]
    session: SessionArgs,
}

/// Runs `rtckit call`.
pub fn call(args: CallArgs, context: &Context) -> ExitCode {
    let only = Only { max_viewers: args.max_viewers, conformance: args.conformance, receive_files: None };
    run(Role::Call, args.loopback, only, args.session, context)
}

/// Runs `rtckit answer`.
pub fn answer(args: AnswerArgs, context: &Context) -> ExitCode {
    let only = Only { max_viewers: 1, conformance: false, receive_files: args.receive_files };
    run(Role::Answer, false, only, args.session, context)
}

/// What only one of the two takes.
struct Only {
    max_viewers: usize,
    conformance: bool,
    receive_files: Option<PathBuf>,
}

fn run(role: Role, loopback: bool, only: Only, args: SessionArgs, context: &Context) -> ExitCode {
    let timing = args.run.setup.timing;
    let control = args.control.clone();
    let options = options(role, loopback, args).and_then(|options| {
        control::check(control.as_ref(), stdin_carries(&options))?;
        let Only { max_viewers, conformance, receive_files } = only;
        Ok(Options { receive_files, max_viewers, conformance, ..options })
    });
    let options = match options {
        Ok(options) => options,
        Err(error) => return context.fail(&error),
    };
    let to_stdout = |to: &Option<Destination>| *to == Some(Destination::Stdout);
    let media_on_stdout = [&options.receive.record, &options.receive.video_output, &options.receive.audio_output]
        .into_iter()
        .any(to_stdout);
    let over_stdio = matches!(options.signal, Signal::Stdio { .. });
    let payload_on_stdout = over_stdio || media_on_stdout || options.data_use != DataUse::Count;
    let output = match options.stats {
        Some(_) => context.output_with_events(payload_on_stdout),
        None => context.output(payload_on_stdout),
    };
    let output = match output {
        Ok(output) => output,
        Err(code) => return code,
    };
    let tap = options.conformance && !(context.global.json || context.global.events);
    let by_hand = over_stdio && std::io::stdin().is_terminal();
    if by_hand {
        output.say(match role {
            Role::Call => "give what is printed to the other side, then paste its answer here and press Enter",
            Role::Answer => "paste the offer here and press Enter",
        });
    }
    let long_lines = by_hand.then(terminal::LongLines::begin);
    let outcome =
        match converse(options, control, media_on_stdout, payload_on_stdout, Arc::clone(&output), tap, context.began) {
            Ok(outcome) => outcome,
            Err(error) => return output.finish(&serde_json::json!({}), Some(&error), exit::INTERNAL, ""),
        };
    drop(long_lines);
    let Outcome { report, mut error } = outcome;
    if tap {
        let failed = report.conformance.iter().any(|step| step.outcome == "failed");
        let broken_off = error.as_ref().filter(|_| !failed || report.conformance.is_empty()).map(ToString::to_string);
        let end = tap::end(report.conformance.len(), broken_off.as_deref());
        error = output::product(end.as_bytes()).err().or(error);
    }
    let code = match report.ended {
        Some(Ended::Interrupt) => exit::INTERRUPT,
        Some(Ended::Terminate) => exit::TERMINATE,
        _ => 0,
    };
    output.finish(&report, error.as_ref(), code, &summary(&report, timing))
}

/// What standard input is for, besides commands.
fn stdin_carries(options: &Options) -> Option<&'static str> {
    match options {
        Options { signal: Signal::Stdio { .. }, .. } => Some("the signaling"),
        Options { data_use: DataUse::Chat | DataUse::Pipe | DataUse::Messages, .. } => Some("data"),
        _ => options.send.reads_stdin().then_some("media"),
    }
}

fn options(role: Role, loopback: bool, args: SessionArgs) -> Result<Options, Error> {
    let SessionArgs { media, codecs, receive, data, signaling, tls, connection, run, control } = args;
    let terminal = std::io::stdin().is_terminal() || std::io::stdout().is_terminal();
    let by_hand = terminal && signaling.signal == Endpoint::Stdio;
    let (data, data_use) = data.options(role)?;
    Ok(Options {
        signal: if loopback { Signal::Loopback } else { secured(signaling.signal()?, tls.security()?)? },
        connection: Config {
            audio_codecs: codecs.audio_codec.clone(),
            video_codecs: codecs.video_codec.clone(),
            ..connection.options()?
        },
        negotiate: run.setup.options(by_hand && !loopback),
        send: codecs.hint.said_of(media.options(control.is_some() || receive.sink_id.is_some())?),
        limits: codecs.limits(),
        receive: receive.options(),
        data,
        data_use,
        stats: run.stats,
        expect: run.expect,
        junit: run.junit,
        stats_dump: run.stats_dump,
        duration: run.duration,
        bench: run.bench,
        controlled: control.is_some(),
        ..Options::new(role)
    })
}

/// The same road with TLS, which is for those that listen.
fn secured(signal: Signal, security: Security) -> Result<Signal, Error> {
    match (signal, security) {
        (signal, Security::None) => Ok(signal),
        (Signal::WhipListen(listener), security) => Ok(Signal::WhipListen(WhipListenOptions { security, ..listener })),
        _ => {
            let message = "--tls-cert and --self-signed are for --signal whip-listen:ADDRESS and whep-listen:ADDRESS";
            Err(Error::new(ErrorKind::Usage, "usage", message))
        }
    }
}

fn converse(
    options: Options,
    control: Option<control::Endpoint>,
    media_on_stdout: bool,
    payload_on_stdout: bool,
    output: Arc<Output>,
    tap: bool,
    began: Instant,
) -> Result<Outcome, Error> {
    let media_on_stdin = options.send.reads_stdin();
    let opened = run::block_on(async move |stop| {
        let (_remote, requests, _served) = control::open(control, &output).await?;
        let io = Io {
            input: Box::new(terminal::Typed::new(tokio::io::stdin())),
            output: Box::new(tokio::io::stdout()),
            media_input: media_on_stdin.then(|| Box::new(std::io::stdin()) as _),
            media_output: media_on_stdout.then(|| Box::new(std::io::stdout()) as _),
            screen: options.receive.play.then(|| terminal::screen(payload_on_stdout)).flatten(),
        };
        Ok(call::run(options, io, requests, began, Arc::new(Watched(output, tap)), stop).await)
    });
    opened.and_then(|outcome| outcome)
}

/// The output, and the terminal: once connected, a chat wants its line editing back.
struct Watched(Arc<Output>, bool);

impl Progress for Watched {
    fn event(&self, event: Event) {
        if matches!(&event, Event::ConnectionStateChange { state } if state == "connected") {
            terminal::restore();
        }
        match &event {
            Event::Listening { urls } => self.0.say(&format!("listening at {}", urls.join(" "))),
            Event::Conformance { number, title, outcome, message } if self.1 => {
                let step = Conformance { number: *number, title, outcome, message: message.clone() };
                let head = if *number == 1 { tap::HEAD } else { "" };
                // Whoever reads no more is told at the end.
                let _ = output::product(format!("{head}{}", tap::step(&step)).as_bytes());
            }
            Event::ViewerJoin { viewer, viewers } => self.0.say(&format!("viewer {viewer} came: {viewers} now")),
            Event::ViewerLeave { viewer, viewers, message: None } => {
                self.0.say(&format!("viewer {viewer} left: {viewers} now"));
            }
            Event::ViewerLeave { viewer, viewers, message: Some(why) } => {
                self.0.say(&format!("viewer {viewer} is lost: {why}: {viewers} now"));
            }
            _ => {}
        }
        self.0.event(event);
    }
}

/// The report in a few lines. Writing to a String cannot fail.
fn summary(report: &Report, timing: bool) -> String {
    let mut text = String::new();
    if timing {
        for (step, seconds) in report.timing.steps() {
            let _ = writeln!(text, "{:>10.1} ms  {step}", seconds * 1e3);
        }
    }
    describe(report, "", &mut text);
    if let Some(peer) = &report.peer {
        describe(peer, "peer: ", &mut text);
    }
    text
}

fn describe(report: &Report, who: &str, text: &mut String) {
    for viewer in &report.viewers {
        let _ = writeln!(text, "viewer {}: {:.1} s, {} out", viewer.viewer, viewer.seconds, bytes(viewer.bytes_sent));
    }
    let Some(connection) = &report.connection else { return };
    let _ = write!(text, "{who}connected for {:.1} s", report.seconds);
    if let Some(pair) = &connection.selected_pair {
        let _ = write!(
            text,
            ", {} to {} over {}",
            pair.local.candidate_type, pair.remote.candidate_type, pair.local.protocol
        );
        if let Some(seconds) = pair.current_round_trip_time {
            let _ = write!(text, ", round trip {:.1} ms", seconds * 1e3);
        }
    }
    if let Some(quality) = report.quality {
        let _ = write!(text, ", quality {}", quality.as_str());
    }
    let _ = writeln!(text, ": {} out, {} in", bytes(connection.bytes_sent), bytes(connection.bytes_received));
    for track in &report.sent {
        let _ = writeln!(
            text,
            "{who}sent {}: {} frames, {}, {} packets lost",
            track.mime_type,
            track.frames_sent,
            bytes(track.bytes_sent),
            track.packets_lost.max(0)
        );
    }
    for track in &report.received {
        let track = &track.rtp;
        let _ = writeln!(
            text,
            "{who}received {}: {} frames, {}, {} packets lost",
            track.mime_type,
            track.frames_received,
            bytes(track.bytes_received),
            track.packets_lost
        );
    }
    for channel in &report.data_channels {
        let data = &channel.data;
        let _ = writeln!(
            text,
            "{who}data channel '{}': {} messages ({}) out, {} ({}) in",
            data.label.escape_debug(),
            data.messages_sent,
            bytes(data.bytes_sent),
            data.messages_received,
            bytes(data.bytes_received)
        );
    }
    if let Some(bench) = &report.bench {
        describe_bench(bench, who, text);
    }
    if let Some(transfer) = &report.transfer {
        let _ = writeln!(
            text,
            "{who}received {} of {} files, {}: {} in {:.1} s",
            transfer.files.iter().filter(|file| file.state == FileState::Done).count(),
            transfer.files.len(),
            bytes(transfer.bytes),
            bytes(transfer.bytes_transferred),
            transfer.seconds
        );
    }
    if let Some(recording) = &report.recording {
        let path = recording.path.as_ref().map_or("-".into(), |path| path.display().to_string());
        let _ = writeln!(text, "{who}recorded {path}: {:.1} s, {}", recording.duration, bytes(recording.bytes));
    }
    for output in [&report.video_output, &report.audio_output].into_iter().flatten() {
        let _ = writeln!(text, "{who}wrote {}: {}", output.path, bytes(output.bytes));
    }
    if let Some(measured) = &report.measured {
        let _ =
            write!(text, "{who}measured {} pictures, {} missing", measured.frames_measured, measured.frames_missing);
        if let Some(latency) = &measured.latency {
            let ms = |seconds: f64| seconds * 1e3;
            let _ = write!(text, ": {:.1} ms from capture to decoded", ms(latency.median));
            let _ = write!(text, " (median; 95 % within {:.1}, most {:.1})", ms(latency.p95), ms(latency.max));
        }
        let _ = write!(text, ", {} freezes", measured.freeze_count);
        if let Some(skew) = measured.av_skew {
            let _ = write!(text, ", picture {:+.0} ms against the sound", skew * 1e3);
        }
        text.push('\n');
    }
}

fn describe_bench(bench: &BenchReport, who: &str, text: &mut String) {
    let ms = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.1}", seconds * 1e3));
    let _ = writeln!(
        text,
        "{who}bench {}, {}: {} in {:.1} s, {}",
        bench.mode,
        bench.direction,
        bytes(bench.bytes),
        bench.seconds,
        rate(bench.bits_per_second)
    );
    if let (Some(sent), Some(lost), Some(part)) = (bench.packets_sent, bench.packets_lost, bench.fraction_lost) {
        let jitter = ms(bench.jitter);
        let _ = writeln!(text, "{who}  packets  {sent} sent, {lost} lost ({:.2} %), jitter {jitter} ms", part * 100.0);
    }
    let ping = &bench.ping;
    let _ = writeln!(
        text,
        "{who}  round trip  {} ms least, {} mean, {} p95, {} most, jitter {}; {} of {} lost",
        ms(ping.minimum),
        ms(ping.average),
        ms(ping.p95),
        ms(ping.maximum),
        ms(ping.jitter),
        ping.lost,
        ping.sent
    );
}
