//! How descriptions travel.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::call::{RoomError, RoomOptions, RoomUrl, SdpFormat, Signal};
use rtckit::ops::transfer::Code;
use std::path::PathBuf;

/// `--signal`, `--sdp-format`, `--trickle`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Signaling")]
pub struct SignalingArgs {
    /// The road to the other side: - (standard input and output, one description each way), exec:CMD (a command that
    /// speaks lines of JSON with trickle, e.g. 'exec:ssh pi rtckit answer --trickle'), file:DIR (two files in a
    /// folder), ws://HOST/ROOM or wss://HOST/ROOM (a room of rtckit signal, where the other side goes too). Reading recognises JSON, SDP, base64 and compact by itself
    #[arg(long, value_name = "ENDPOINT", default_value = "-", value_parser = endpoint)]
    pub signal: Endpoint,
    /// The form of the description we write
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = formats())]
    pub sdp_format: SdpFormat,
    /// Send candidates as they are found, as lines of JSON behind the description
    #[arg(long)]
    pub trickle: bool,
    /// Trust the authorities in this file (PEM) too when the road is wss://…, e.g. what 'rtckit signal --print-ca' wrote
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// What `--signal` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Stdio,
    Exec(String),
    Directory(PathBuf),
    Room(RoomUrl),
}

impl SignalingArgs {
    /// What these ask for where a code may take the place of a room: `code` was given, or is to be drawn.
    pub fn signal_by_code(self, code: Option<Code>, draws: bool) -> Result<Signal, Error> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, "usage", message));
        match (&self.signal, code) {
            (Endpoint::Room(url), code) if url.room().is_none() => {
                if code.is_none() && !draws {
                    return usage(
                        "give the code that send-file printed, or the room in which the other side is".to_owned(),
                    );
                }
                Ok(Signal::Code { server: RoomOptions { url: url.clone(), ca_file: self.ca_file }, code })
            }
            (_, Some(_)) => usage("a code is for a server of rooms: --signal ws://HOST or wss://HOST".to_owned()),
            (_, None) => self.signal(),
        }
    }

    /// What these ask for.
    pub fn signal(self) -> Result<Signal, Error> {
        if self.trickle && self.signal != Endpoint::Stdio {
            let message = "--trickle is for --signal -: exec:CMD and rooms always trickle, file:DIR never does";
            return Err(Error::new(ErrorKind::Usage, "usage", message));
        }
        let ca_file = self.ca_file;
        Ok(match self.signal {
            Endpoint::Stdio => Signal::Stdio { format: self.sdp_format, trickle: self.trickle },
            Endpoint::Exec(command) => Signal::Exec { command },
            Endpoint::Room(url) if url.room().is_none() => {
                return Err(Error::new(ErrorKind::Usage, "usage", format!("{url} names no room: use {url}ROOM")));
            }
            Endpoint::Room(url) => Signal::Room(RoomOptions { url, ca_file }),
            Endpoint::Directory(folder) => Signal::Directory { folder, format: self.sdp_format },
        })
    }
}

fn formats() -> impl TypedValueParser<Value = SdpFormat> {
    PossibleValuesParser::new(SdpFormat::ALL.map(SdpFormat::as_str)).try_map(|word| word.parse::<SdpFormat>())
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    match text.split_once(':') {
        None if text == "-" => Ok(Endpoint::Stdio),
        Some(("exec", command)) if !command.trim().is_empty() => Ok(Endpoint::Exec(command.to_owned())),
        Some(("file", folder)) if !folder.is_empty() => Ok(Endpoint::Directory(folder.into())),
        Some(("ws" | "wss", _)) => text.parse().map(Endpoint::Room).map_err(|error: RoomError| error.to_string()),
        _ => Err("use - (standard input and output), exec:CMD, file:DIR, ws://HOST/ROOM or wss://HOST/ROOM".to_owned()),
    }
}
