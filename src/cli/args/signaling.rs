//! How descriptions travel.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::call::{SdpFormat, Signal};
use std::path::PathBuf;

/// `--signal`, `--sdp-format`, `--trickle`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Signaling")]
pub struct SignalingArgs {
    /// The road to the other side: - (standard input and output, one description each way), exec:CMD (a command that
    /// speaks lines of JSON with trickle, e.g. 'exec:ssh pi rtckit answer --trickle'), file:DIR (two files in a
    /// folder). Reading recognises JSON, SDP, base64 and compact by itself
    #[arg(long, value_name = "ENDPOINT", default_value = "-", value_parser = endpoint)]
    pub signal: Endpoint,
    /// The form of the description we write
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = formats())]
    pub sdp_format: SdpFormat,
    /// Send candidates as they are found, as lines of JSON behind the description
    #[arg(long)]
    pub trickle: bool,
}

/// What `--signal` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Stdio,
    Exec(String),
    Directory(PathBuf),
}

impl SignalingArgs {
    /// What these ask for.
    pub fn signal(self) -> Result<Signal, Error> {
        if self.trickle && self.signal != Endpoint::Stdio {
            let message = "--trickle is for --signal -: exec:CMD always trickles, file:DIR never does";
            return Err(Error::new(ErrorKind::Usage, "usage", message));
        }
        Ok(match self.signal {
            Endpoint::Stdio => Signal::Stdio { format: self.sdp_format, trickle: self.trickle },
            Endpoint::Exec(command) => Signal::Exec { command },
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
        _ => Err("use - (standard input and output), exec:CMD or file:DIR".to_owned()),
    }
}
