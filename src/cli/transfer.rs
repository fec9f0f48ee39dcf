//! `rtckit send-file` and `rtckit receive-file`: arguments to [`Options`], the [`Report`] in words.

use super::args::{ConnectionArgs, Endpoint, SetupArgs, SignalingArgs};
use super::bars::Bars;
use super::output::{self, Output};
use super::run::{self, Context};
use super::value::{self, bytes};
use super::{exit, terminal};
use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::transfer::{
    self, Code, Consent, Destination, Existing, FileState, Io, Job, Options, Outcome, ReceiveOptions, Report,
    SendOptions, Signal, Verify,
};
use rtckit::progress::{Event, Progress};
use rtckit::stop::StopReason;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// What both ends take.
#[derive(Args, Clone, Debug)]
pub struct TransferArgs {
    /// Write the report to this file too, once everything is at the receiver
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Where the sides meet by a code: show a check string and ask whether the other side shows the same
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    signaling: SignalingArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    setup: SetupArgs,
}

/// What `send-file` takes.
#[derive(Args, Clone, Debug)]
pub struct SendFileArgs {
    /// What to send: files, folders with all that is in them, or - for standard input
    #[arg(required = true, value_name = "PATH|-")]
    paths: Vec<PathBuf>,
    /// Leave out what has such a name: '*.o', 'target/', '/folder/part'; may be repeated
    #[arg(long, value_name = "PATTERN", action = clap::ArgAction::Append)]
    exclude: Vec<String>,
    /// Send what symbolic links inside of folders lead to; without it links are left out
    #[arg(long)]
    follow_symlinks: bool,
    /// What standard input is called at the other side
    #[arg(long, value_name = "NAME", default_value_t = SendOptions::default().stream_name)]
    name: String,
    /// Send at most so many bytes per second: 500k, 2M
    #[arg(long, value_name = "BYTES", value_parser = value::count)]
    limit_rate: Option<u64>,
    /// Show the code as a QR code on stderr, too
    #[arg(long)]
    qr: bool,
    #[command(flatten)]
    transfer: TransferArgs,
}

/// What `receive-file` takes.
#[derive(Args, Clone, Debug)]
pub struct ReceiveFileArgs {
    /// The code that send-file printed, where the sides meet by one on a server of rooms (--signal ws://HOST)
    #[arg(value_name = "CODE")]
    code: Option<Code>,
    /// Where to: a folder, for one file also a file, or - for standard output
    #[arg(short, long, value_name = "DIR|FILE|-", default_value = ".")]
    output: PathBuf,
    /// Replace files that exist
    #[arg(long, conflicts_with_all = ["rename", "skip_existing"])]
    overwrite: bool,
    /// Where a file exists, take the next free name: report-1.pdf
    #[arg(long, conflicts_with = "skip_existing")]
    rename: bool,
    /// Do not receive files that exist
    #[arg(long)]
    skip_existing: bool,
    /// Do not ask; without a terminal nothing is asked anyhow
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    transfer: TransferArgs,
}

/// Runs `rtckit send-file`.
pub fn send_file(args: SendFileArgs, context: &Context) -> ExitCode {
    let SendFileArgs { paths, exclude, follow_symlinks, name, limit_rate, qr, transfer } = args;
    let job = Job::Send(SendOptions { paths, exclude, follow_symlinks, stream_name: name, limit_rate });
    run(job, transfer, Pairing { code: None, qr }, false, context)
}

/// Runs `rtckit receive-file`.
pub fn receive_file(args: ReceiveFileArgs, context: &Context) -> ExitCode {
    let ReceiveFileArgs { code, output, overwrite, rename, skip_existing, yes, transfer } = args;
    let existing = match (overwrite, rename, skip_existing) {
        (true, ..) => Existing::Overwrite,
        (_, true, _) => Existing::Rename,
        (.., true) => Existing::Skip,
        _ => Existing::Refuse,
    };
    let to_stdout = output.as_os_str() == "-";
    let asks = !yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if asks && transfer.signaling.trickle {
        let message = "with --trickle signaling keeps the terminal: nobody can be asked, give --yes";
        return context.fail(&Error::new(ErrorKind::Usage, "usage", message));
    }
    let consent = asks.then(|| Box::new(terminal::ask_for_files) as Consent);
    let destination = if to_stdout { Destination::Stdout } else { Destination::Path(output) };
    let job = Job::Receive(ReceiveOptions { destination, existing, consent });
    run(job, transfer, Pairing { code, qr: false }, to_stdout, context)
}

/// What is special about meeting by a code.
struct Pairing {
    code: Option<Code>,
    qr: bool,
}

fn run(job: Job, args: TransferArgs, pairing: Pairing, to_stdout: bool, context: &Context) -> ExitCode {
    let TransferArgs { receipt, verify, signaling, connection, setup } = args;
    let over_stdio = signaling.signal == Endpoint::Stdio;
    let sends = matches!(job, Job::Send(_));
    let terminal = std::io::stdin().is_terminal() || std::io::stdout().is_terminal();
    let options = || {
        Ok(Options {
            signal: signaling.signal_by_code(pairing.code, sends)?,
            verify: verify.then(|| Box::new(terminal::ask_for_check) as Verify),
            connection: connection.options()?,
            negotiate: setup.options(terminal && over_stdio),
            receipt,
            ..Options::new(job)
        })
    };
    let options = match options() {
        Ok(options) => options,
        Err(error) => return context.fail(&error),
    };
    if pairing.qr && !matches!(options.signal, Signal::Code { .. }) {
        return context.fail(&Error::new(
            ErrorKind::Usage,
            "usage",
            "--qr shows a code: give --signal ws://HOST without a room",
        ));
    }
    let output = match context.output(over_stdio || to_stdout) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let by_hand = matches!(options.signal, Signal::Stdio { .. }) && std::io::stdin().is_terminal();
    if by_hand {
        output.say(if sends {
            "give what is printed to the other side, then paste its answer here and press Enter"
        } else {
            "paste the sender's offer here and press Enter"
        });
    }
    let long_lines = by_hand.then(terminal::LongLines::begin);
    let people = !(context.global.json || context.global.events);
    let shown = Shown { on_stdout: people && !to_stdout, qr: pairing.qr && !context.global.quiet };
    let outcome = match transfer(options, Arc::clone(&output), shown, context.began) {
        Ok(outcome) => outcome,
        Err(error) => return output.finish(&serde_json::json!({}), Some(&error), exit::INTERNAL, ""),
    };
    drop(long_lines);
    let Outcome { report, stopped, error } = outcome;
    let code = match stopped {
        None | Some(StopReason::Done) => 0,
        Some(StopReason::Terminate) => exit::TERMINATE,
        Some(_) => exit::INTERRUPT,
    };
    output.finish(&report, error.as_ref(), code, &summary(&report, setup.timing))
}

fn transfer(options: Options, output: Arc<Output>, shown: Shown, began: Instant) -> Result<Outcome, Error> {
    run::block_on_half(async move |stop| {
        let io =
            Io { input: Box::new(terminal::Typed::new(tokio::io::stdin())), output: Box::new(tokio::io::stdout()) };
        output.move_on(Bars::new);
        Box::pin(transfer::run(options, io, began, Arc::new(Watched { output, shown }) as _, stop)).await
    })
}

/// How a code is shown, besides to people on stderr.
struct Shown {
    on_stdout: bool,
    qr: bool,
}

impl Shown {
    fn show(&self, code: &str, output: &Output) {
        if self.on_stdout
            && let Err(error) = output::product(format!("{code}\n").as_bytes())
        {
            output.warn(&error.to_string());
        }
        if self.qr
            && let Ok(square) = qrcode::QrCode::new(code)
        {
            output.say(&square.render::<qrcode::render::unicode::Dense1x2>().build());
        }
    }
}

/// The output, which shows codes as well.
struct Watched {
    output: Arc<Output>,
    shown: Shown,
}

impl Progress for Watched {
    fn event(&self, event: Event) {
        if matches!(&event, Event::ConnectionStateChange { state } if state == "connected") {
            terminal::restore();
        }
        if let Event::Code { code, .. } = &event {
            self.shown.show(code, &self.output);
        }
        self.output.event(event);
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
    if report.connection.is_none() {
        return text;
    }
    let transfer = &report.transfer;
    let count = |state| transfer.files.iter().filter(|file| file.state == state).count();
    let done = count(FileState::Done);
    let _ = write!(
        text,
        "{} {done} file{}, {}",
        if report.role == "sender" { "sent" } else { "received" },
        if done == 1 { "" } else { "s" },
        bytes(transfer.bytes)
    );
    let _ = write!(text, ": {} in {:.1} s", bytes(transfer.bytes_transferred), transfer.seconds);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is neither negative nor huge")]
    let rate = transfer.bytes_per_second as u64;
    let _ = write!(text, " ({}/s, {})", bytes(rate), report.path.unwrap_or("unknown path"));
    if transfer.resumed_from > 0 {
        let _ = write!(text, ", {} were there", bytes(transfer.resumed_from));
    }
    for (state, word) in
        [(FileState::Skipped, "skipped"), (FileState::Failed, "failed"), (FileState::Incomplete, "incomplete")]
    {
        if count(state) > 0 {
            let _ = write!(text, ", {} {word}", count(state));
        }
    }
    text
}
