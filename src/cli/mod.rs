//! The command line: the only code that knows clap, the terminal, the environment and signals.
//!
//! A command's own file turns its arguments into the options of an operation of the library, runs it and renders the report.
//! Parsing does nothing else: no runtime is started and no log opened before it is over.

mod args;
mod bars;
mod call;
mod capture;
mod config;
mod control;
mod descriptor;
mod devices;
mod early;
mod exit;
mod log;
mod man;
mod meter;
mod output;
mod people;
mod record;
mod run;
mod salt;
mod schema;
mod screen;
mod signal;
mod signals;
mod tap;
mod terminal;
mod transfer;
mod turn_probe;
mod value;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use config::{ParseError, Surroundings};
use early::Words;
use output::GlobalArgs;
use rtckit::error::{Error, ErrorKind};
use run::Context;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// WebRTC from the shell: call, answer, record, send files and inspect peer connections
#[derive(Parser, Debug)]
#[command(name = "rtckit", version, arg_required_else_help = true, subcommand_required = true, max_term_width = 100)]
#[command(after_help = "Examples:
  rtckit call --loopback --video=test --audio=test --duration 5s
  rtckit call --video=test           # give its line to the other side, and paste the answer
  rtckit answer --record call.webm < offer.json

Run 'rtckit help COMMAND' for the flags of a command.")]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make an offer, print it, read the answer, and send and receive
    #[command(after_help = "Examples:
  rtckit call --loopback --video=test --audio=test --record self.webm --duration 5s
  rtckit call --video=test --audio=test                  # the offer out, the answer in
  rtckit call --video=clip.webm --sdp-format compact
  rtckit call --chat --ice-server stun:stun.example.org  # then type lines
  rtckit call --data --events --events-file events.ndjson --duration 10s")]
    Call(Box<call::CallArgs>),
    /// Read an offer, print the answer, and send and receive
    #[command(after_help = "Examples:
  rtckit answer --record call.webm < offer.json
  rtckit answer --audio=test --video-output received.y4m
  rtckit answer --chat
  rtckit answer --receive-files inbox < offer.json         # what send-file sends")]
    Answer(Box<call::AnswerArgs>),
    /// Capture a camera or microphone, raw: to files, to standard output, as a picture, or only counted
    #[command(after_help = "Examples:
  rtckit capture --video --snapshot me.jpg
  rtckit capture --video=camera:/dev/video2 --width exact:1280 --height exact:720 -o clip.y4m --duration 10s
  rtckit capture --video -o - | ffplay -
  rtckit capture --video --width 1920 --explain --duration 1s")]
    Capture(Box<capture::CaptureArgs>),
    /// List cameras, microphones and speakers
    #[command(after_help = "Examples:
  rtckit devices
  rtckit devices --capabilities --json
  rtckit devices --watch --events
  rtckit devices --require videoinput || echo 'plug a camera in'")]
    Devices(devices::DevicesArgs),
    /// Record any source to a file or stream
    #[command(after_help = "Examples:
  rtckit record --video=test --audio=test --duration 10s -o test.webm
  rtckit record --video=clip.y4m --audio=clip.wav --video-bits-per-second 2M -o clip.mkv
  rtckit record --video=test --audio=test -o - | ffplay -
  rtckit record --audio=test -o sound.opus
  rtckit record --video=test --timeslice 1m --chunk-pattern 'out-%05d.webm'
  rtckit record --repair film.webm.part
  rtckit record --check film.webm
  rtckit record --is-type-supported 'video/webm;codecs=vp8,opus'

Signals and keys:
  SIGUSR1, and the key p on a terminal, pause and go on; a pause leaves no trace in the file.
  SIGINT, SIGTERM and SIGHUP, and the key q, complete the file: exit 0.")]
    Record(Box<record::RecordArgs>),
    /// Record a screen or a window, or list what there is
    #[command(after_help = "Examples:
  rtckit screen --list
  rtckit screen -o screen.webm --duration 30s
  rtckit screen --surface window --select Terminal --cursor never -o terminal.mkv
  rtckit screen --region 0,0,1280x720 --frame-rate 15 --video-bits-per-second 1M -o - | ffplay -

SIGUSR1, and the key p on a terminal, pause and go on. SIGINT, SIGTERM and SIGHUP, and the key q, complete the file: exit 0.")]
    Screen(Box<screen::ScreenCaptureArgs>),
    /// Send files and folders, or standard input, to a peer
    #[command(after_help = "Examples:
  rtckit send-file holiday/ notes.txt --signal 'exec:ssh pi rtckit receive-file --trickle -o /srv'
  rtckit send-file disk.img --signal file:/mnt/shared/meet
  tar c . | rtckit send-file - --name backup.tar > offer.json    # with the answer on its way back")]
    SendFile(Box<transfer::SendFileArgs>),
    /// Receive the files that a peer sends
    #[command(after_help = "Examples:
  rtckit receive-file -o Downloads --signal file:/mnt/shared/meet
  rtckit receive-file -o - --signal 'exec:ssh pi rtckit send-file --trickle backup.tar' | tar x
  rtckit receive-file --skip-existing < offer.json")]
    ReceiveFile(Box<transfer::ReceiveFileArgs>),
    /// Serve rooms in which peers meet, and a page for browsers
    #[command(after_help = "Examples:
  rtckit signal                                          # on this machine alone; its URL on standard output
  rtckit signal --listen 0.0.0.0:8443 --self-signed      # for the network around: browsers want TLS
  rtckit signal --print-ca > ca.pem                      # what other machines must trust for that
  rtckit signal --listen [::]:443 --tls-cert fullchain.pem --tls-key privkey.pem --events --events-file log.ndjson
  rtckit signal --ice-server turn:turn.example.org --rest-secret-file secret

GET /healthz says whether it serves, GET /metrics counts in OpenMetrics. SIGINT, SIGTERM and SIGHUP end it in order: exit 0.")]
    Signal(Box<signal::SignalArgs>),
    /// Say what is wrong with STUN and TURN servers
    #[command(after_help = "Examples:
  rtckit turn-probe stun:stun.example.org
  RTCKIT_CREDENTIAL=secret rtckit turn-probe turn:turn.example.org 'turns:turn.example.org?transport=tcp' --username me
  rtckit turn-probe turn:turn.example.org --rest-secret-file secret --throughput --json")]
    TurnProbe(Box<turn_probe::TurnProbeArgs>),
    /// Write the completion script of a shell to stdout
    #[command(after_help = "Examples:
  rtckit completions bash > ~/.local/share/bash-completion/completions/rtckit
  rtckit completions zsh > ~/.zfunc/_rtckit")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages
    #[command(after_help = "Examples:
  rtckit man | man -l -
  rtckit man ~/.local/share/man/man1")]
    Man {
        /// The folder for all pages; without it the first page goes to stdout
        dir: Option<PathBuf>,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let began = Instant::now();
    let args: Vec<OsString> = std::env::args_os().collect();
    let variable = |name: &str| std::env::var_os(name);
    let around = Surroundings { variable: &variable, config: config::default_file(&variable) };
    let command = definition();
    let words = Words::of(&args, &command);
    let parsed = config::matches(&command, &args, &around).and_then(|matches| {
        let warning = matches.subcommand().and_then(|(_, chosen)| args::secrets_in_argv(chosen));
        Ok((Cli::from_arg_matches(&matches).map_err(ParseError::Clap)?, warning))
    });
    let code = match parsed {
        Ok((cli, warning)) => run(cli, warning, words, began),
        Err(ParseError::Clap(error)) => early::refused(&error, &words),
        Err(ParseError::Config(error)) => early::fail(&error.into(), &words, None),
    };
    people::flush();
    code
}

/// The command line as `--help` shows it.
fn definition() -> clap::Command {
    let lengthen = |command: clap::Command| {
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        command.after_help(format!("{examples}\n\n{}", exit::help()))
    };
    lengthen(Cli::command()).mut_subcommands(lengthen)
}

fn run(cli: Cli, warning: Option<&'static str>, words: Words, began: Instant) -> ExitCode {
    let Cli { global, command } = cli;
    log::start(&global);
    let context = |command| Context { command, global: global.clone(), words: words.clone(), warning, began };
    match command {
        Command::Call(args) => call::call(*args, &context("call")),
        Command::Answer(args) => call::answer(*args, &context("answer")),
        Command::Capture(args) => capture::capture(*args, &context("capture")),
        Command::Devices(args) => devices::devices(args, &context("devices")),
        Command::Screen(args) => screen::screen(*args, &context("screen")),
        Command::Record(args) => record::record(*args, &context("record")),
        Command::SendFile(args) => transfer::send_file(*args, &context("send-file")),
        Command::ReceiveFile(args) => transfer::receive_file(*args, &context("receive-file")),
        Command::Signal(args) => signal::signal(*args, &context("signal")),
        Command::TurnProbe(args) => turn_probe::run(*args, context("turn-probe")),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut definition(), "rtckit", &mut script);
            ended(output::product(&script), &context("completions"))
        }
        Command::Man { dir } => ended(write_man(dir), &context("man")),
    }
}

fn ended(done: Result<(), Error>, context: &Context) -> ExitCode {
    done.map_or_else(|error| context.fail(&error), |()| ExitCode::SUCCESS)
}

fn write_man(dir: Option<PathBuf>) -> Result<(), Error> {
    let fail = |what: String, error: std::io::Error| {
        Error::new(ErrorKind::Output, "output", format!("cannot write {what}: {error}"))
    };
    let pages = man::pages(Cli::command()).map_err(|error| fail("the man pages".to_owned(), error))?;
    let Some(dir) = dir else { return output::product(&pages[0].1) };
    std::fs::create_dir_all(&dir).map_err(|error| fail(dir.display().to_string(), error))?;
    for (name, page) in pages {
        let path = dir.join(name);
        std::fs::write(&path, page).map_err(|error| fail(path.display().to_string(), error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        definition().debug_assert();
    }
}
