//! What a transfer is asked to do.

use crate::error::{Error, ErrorKind};
use crate::ops::road::{Input, Output, Signal, Verify};
use crate::peer::{Config, NegotiateOptions};
use crate::record::Existing as ExistingOutput;
use crate::transfer::{self, Consent, Existing};
use std::path::PathBuf;

/// The streams of the process, given by the binary; the library opens none itself.
pub struct Io {
    /// Where signaling reads, and a source called `-`.
    pub input: Input,
    /// Where signaling writes, and the destination called `-`.
    pub output: Output,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// Files and folders; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// Patterns of names inside of folders that are left out: see `transfer::ScanOptions`.
    pub exclude: Vec<String>,
    /// Whether links inside of folders are followed.
    pub follow_symlinks: bool,
    /// What standard input is called at the other side.
    pub stream_name: String,
    /// At most so many bytes per second.
    pub limit_rate: Option<u64>,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            exclude: Vec::new(),
            follow_symlinks: false,
            stream_name: "stdin".to_owned(),
            limit_rate: None,
        }
    }
}

/// Where files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A folder or, for one file, a file.
    Path(PathBuf),
    /// Standard output, for one file.
    Stdout,
}

/// What becomes of what is received.
pub struct ReceiveOptions {
    /// Where to.
    pub destination: Destination,
    /// What to do with files that exist.
    pub existing: Existing,
    /// Who is asked first; without it every offer is welcome.
    pub consent: Option<Consent>,
}

impl Default for ReceiveOptions {
    fn default() -> Self {
        Self { destination: Destination::Path(".".into()), existing: Existing::default(), consent: None }
    }
}

/// Which end this is.
pub enum Job {
    /// Sends.
    Send(SendOptions),
    /// Receives.
    Receive(ReceiveOptions),
}

/// What a transfer is asked to do.
pub struct Options {
    /// Which end this is.
    pub job: Job,
    /// How the sides find each other.
    pub signal: Signal,
    /// Servers, policy, interfaces.
    pub connection: Config,
    /// Time-outs of the set-up.
    pub negotiate: NegotiateOptions,
    /// Who compares the check string when the sides meet by a code, if anybody shall.
    pub verify: Option<Verify>,
    /// A file for the report, as JSON.
    pub receipt: Option<PathBuf>,
}

impl Options {
    /// A transfer with everything else as it is by default.
    pub fn new(job: Job) -> Self {
        Self {
            job,
            signal: Signal::default(),
            connection: Config::default(),
            negotiate: NegotiateOptions::default(),
            verify: None,
            receipt: None,
        }
    }

    /// Whether standard input or output carries content.
    pub(super) fn uses_streams(&self) -> bool {
        match &self.job {
            Job::Send(send) => send.paths.iter().any(|path| path.as_os_str() == "-"),
            Job::Receive(receive) => receive.destination == Destination::Stdout,
        }
    }

    /// What is done when the receipt exists: what is done with files.
    pub(super) fn existing_receipt(&self) -> ExistingOutput {
        match &self.job {
            Job::Receive(ReceiveOptions { existing: Existing::Overwrite, .. }) => ExistingOutput::Overwrite,
            Job::Receive(ReceiveOptions { existing: Existing::Rename, .. }) => ExistingOutput::Rename,
            _ => ExistingOutput::Refuse,
        }
    }

    /// Whether what is asked for fits together.
    pub(super) fn check(&self) -> Result<(), Error> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, "usage", message));
        if self.signal.one_way().is_some() {
            return usage("WHIP and WHEP carry sound and pictures, no files".to_owned());
        }
        if self.signal == Signal::Loopback {
            return usage("a transfer has two ends: there is no loopback".to_owned());
        }
        if self.uses_streams() && matches!(self.signal, Signal::Stdio { trickle: true, .. }) {
            return usage("with --trickle signaling keeps standard input and output: no file can use them".to_owned());
        }
        if self.verify.is_some() && !matches!(self.signal, Signal::Code { .. }) {
            return usage("there is a check string only where the sides meet by a code".to_owned());
        }
        if let Job::Send(send) = &self.job {
            if send.paths.is_empty() {
                return usage("nothing to send".to_owned());
            }
            if let Some(why) = transfer::fault(&send.stream_name, transfer::Rules::HERE) {
                return usage(format!("'{}' cannot be a name: {why}", transfer::shown(&send.stream_name)));
            }
            if send.limit_rate == Some(0) {
                return usage("a rate of 0 sends nothing".to_owned());
            }
        }
        Ok(())
    }
}
