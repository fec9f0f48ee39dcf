//! Groups of arguments that commands share.

mod codecs;
mod connection;
mod constraints;
mod media;
mod recording;
mod screen;
mod session;
mod signaling;
mod tls;

pub use codecs::{CodecArgs, HintArgs};
pub use connection::{ConnectionArgs, RestArgs, ServerArgs, family, secret, secret_file};
pub use constraints::ConstraintArgs;
pub use media::MediaArgs;
pub use recording::RecordingArgs;
pub use screen::ScreenArgs;
pub use session::{DataArgs, ReceiveArgs, RunArgs, SetupArgs};
pub use signaling::{Endpoint, SignalingArgs};
pub use tls::{TlsArgs, authority_folder};

use clap::ArgMatches;
use clap::parser::ValueSource;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The text of a file that a flag names, of which there may not be more than anybody writes.
pub fn read_text(path: &Path) -> io::Result<String> {
    const MOST: u64 = 16 << 20;
    let mut text = String::new();
    match File::open(path)?.take(MOST + 1).read_to_string(&mut text)? as u64 {
        ..=MOST => Ok(text),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB")),
    }
}

/// What to tell a user who put a secret where every user of the machine can read it.
pub fn secrets_in_argv(matches: &ArgMatches) -> Option<&'static str> {
    let given = |id: &str| match matches.try_get_raw(id) {
        Ok(Some(values)) if matches.value_source(id) == Some(ValueSource::CommandLine) => {
            values.map(|value| value.to_string_lossy().into_owned()).collect()
        }
        _ => Vec::new(),
    };
    if !given("token").is_empty() {
        return Some(
            "a token on the command line can be read by every user of this machine: use --token-file or RTCKIT_TOKEN",
        );
    }
    if given("redis").iter().any(|url| url.contains('@') || url.contains("pass=")) {
        return Some("the password of --redis can be read by every user of this machine: use RTCKIT_REDIS");
    }
    let open = !given("credential").is_empty()
        || given("ice_server").iter().chain(&given("urls")).any(|url| url.contains('@'))
        || given("ice_servers").iter().any(|text| text.contains("\"credential\""));
    open.then_some("a secret on the command line can be read by every user of this machine: use --credential-file or RTCKIT_CREDENTIAL")
}
