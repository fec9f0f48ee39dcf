//! A whole call in one process: both peers, the real network stack, and how long each picture took to get across.
//!
//!     cargo run --release --example loopback_call
//!
//! An operation of [`rtckit::ops`] does what the subcommand of the same name does, without a command line.

#![allow(clippy::print_stdout, reason = "it is a program")]

use rtckit::ops::call::{self, Io, Options, ReceiveOptions, Role, Signal, SourceOptions, SourceSpec};
use rtckit::ops::control::Requests;
use rtckit::progress::{Event, Progress};
use rtckit::stop::Stop;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shows what happens meanwhile.
struct Show;

impl Progress for Show {
    fn event(&self, event: Event) {
        println!("{event:?}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options {
        signal: Signal::Loopback,
        send: SourceOptions { video: SourceSpec::Test, audio: SourceSpec::Test, ..SourceOptions::default() },
        receive: ReceiveOptions { measure: true, ..ReceiveOptions::default() },
        duration: Some(Duration::from_secs(3)),
        ..Options::new(Role::Call)
    };
    // No chat, no pipe, no media on standard input or output.
    let io = Io {
        input: Box::new(tokio::io::empty()),
        output: Box::new(tokio::io::sink()),
        media_input: None,
        media_output: None,
        screen: None,
    };
    let outcome = call::run(options, io, Requests::none(), Instant::now(), Arc::new(Show), Stop::new()).await;
    if let Some(error) = outcome.error {
        return Err(error.into());
    }
    // The other side of a loopback call is `peer`: it received, so it measured.
    let measured = outcome.report.peer.and_then(|peer| peer.measured).ok_or("nothing was measured")?;
    let latency = measured.latency.ok_or("no picture arrived")?;
    println!(
        "{} pictures, capture to decoded: median {:.1} ms, 95 % within {:.1} ms, {} missing",
        measured.frames_measured,
        latency.median * 1e3,
        latency.p95 * 1e3,
        measured.frames_missing
    );
    Ok(())
}
