//! How descriptions travel.

use super::{secret, secret_file};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rtckit::error::{Error, ErrorKind};
use rtckit::ice_server::Secret;
use rtckit::ops::call::{
    RoomError, RoomOptions, RoomUrl, SdpFormat, Signal, WhipListenOptions, WhipOptions, WhipProtocol,
};
use rtckit::ops::signal::Security;
use rtckit::ops::transfer::Code;
use std::path::PathBuf;

/// `--signal`, `--sdp-format`, `--trickle`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Signaling")]
pub struct SignalingArgs {
    /// The road to the other side: - (standard input and output, one description each way), exec:CMD (a command that
    /// speaks lines of JSON with trickle, e.g. 'exec:ssh pi rtckit answer --trickle'), file:DIR (two files in a
    /// folder), ws://HOST/ROOM or wss://HOST/ROOM (a room of rtckit signal, where the other side goes too),
    /// whip+https://HOST/PATH (publish to a server by WHIP), whep+https://HOST/PATH (play from one by WHEP; both
    /// with http too), whip-listen:HOST:PORT (WHIP clients publish to us), whep-listen:HOST:PORT (a WHEP player plays from
    /// us). Reading recognises JSON, SDP, base64 and compact by itself
    #[arg(long, value_name = "ENDPOINT", default_value = "-", value_parser = endpoint)]
    pub signal: Endpoint,
    /// The form of the description we write
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = formats())]
    pub sdp_format: SdpFormat,
    /// Send candidates as they are found, as lines of JSON behind the description, by WHIP and WHEP in PATCH requests
    #[arg(long)]
    pub trickle: bool,
    /// Trust the authorities in this file (PEM) too when the road is wss://…, whip+https://… or whep+https://…, e.g. what 'rtckit signal --print-ca' wrote
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A file with the bearer token of WHIP and WHEP: the one that a server wants, or that our clients must have
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The bearer token of WHIP and WHEP; better in RTCKIT_TOKEN or --token-file, where ps does not show it
    #[arg(long, value_name = "SECRET", conflicts_with = "token_file", value_parser = secret)]
    pub token: Option<Secret>,
}

/// What `--signal` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Stdio,
    Exec(String),
    Directory(PathBuf),
    Room(RoomUrl),
    Whip(WhipProtocol, String),
    WhipListen(WhipProtocol, String),
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
        if self.trickle && !matches!(self.signal, Endpoint::Stdio | Endpoint::Whip(..)) {
            let message = "--trickle is for --signal -, whip+ and whep+: exec:CMD and rooms always trickle, file:DIR and listeners \
                           never do";
            return Err(Error::new(ErrorKind::Usage, "usage", message));
        }
        let ca_file = self.ca_file;
        let token = match self.token_file {
            Some(path) => Some(secret_file(&path, "--token-file")?),
            None => self.token,
        };
        Ok(match self.signal {
            Endpoint::Stdio => Signal::Stdio { format: self.sdp_format, trickle: self.trickle },
            Endpoint::Exec(command) => Signal::Exec { command },
            Endpoint::Room(url) if url.room().is_none() => {
                return Err(Error::new(ErrorKind::Usage, "usage", format!("{url} names no room: use {url}ROOM")));
            }
            Endpoint::Room(url) => Signal::Room(RoomOptions { url, ca_file }),
            Endpoint::Directory(folder) => Signal::Directory { folder, format: self.sdp_format },
            Endpoint::Whip(protocol, url) => {
                Signal::Whip(WhipOptions { protocol, url, token, trickle: self.trickle, ca_file })
            }
            Endpoint::WhipListen(protocol, address) => {
                let security = Security::None;
                Signal::WhipListen(WhipListenOptions { protocol, address, token, security })
            }
        })
    }
}

fn formats() -> impl TypedValueParser<Value = SdpFormat> {
    PossibleValuesParser::new(SdpFormat::ALL.map(SdpFormat::as_str)).try_map(|word| word.parse::<SdpFormat>())
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let whip = |url: &str, protocol| Ok(Endpoint::Whip(protocol, url.to_owned()));
    match text.split_once(':') {
        Some(("whip+http" | "whip+https", _)) => whip(&text[5..], WhipProtocol::Whip),
        Some(("whep+http" | "whep+https", _)) => whip(&text[5..], WhipProtocol::Whep),
        Some(("whip-listen", address)) => Ok(Endpoint::WhipListen(WhipProtocol::Whip, listened(address)?)),
        Some(("whep-listen", address)) => Ok(Endpoint::WhipListen(WhipProtocol::Whep, listened(address)?)),
        None if text == "-" => Ok(Endpoint::Stdio),
        Some(("exec", command)) if !command.trim().is_empty() => Ok(Endpoint::Exec(command.to_owned())),
        Some(("file", folder)) if !folder.is_empty() => Ok(Endpoint::Directory(folder.into())),
        Some(("ws" | "wss", _)) => text.parse().map(Endpoint::Room).map_err(|error: RoomError| error.to_string()),
        _ => Err("use - (standard input and output), exec:CMD, file:DIR, ws://HOST/ROOM, wss://HOST/ROOM, whip+https://…, whep+https://…, whip-listen:HOST:PORT \
                  or whep-listen:HOST:PORT".to_owned()),
    }
}

/// `HOST:PORT`.
fn listened(address: &str) -> Result<String, String> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(address.to_owned()),
        _ => Err("no HOST:PORT to listen on, such as 127.0.0.1:8080; port 0 is any that is free".to_owned()),
    }
}
