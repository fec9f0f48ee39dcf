//! `devices`: what `enumerateDevices` is to a page; mediacapture-main section 9.
//!
//! ```text
//! cameras, … -> DeviceInfo -> filter by kind -> Report
//!                                -> trial -----------^
//! ```

mod codecs;
mod list;
mod trial;
mod watch;

pub use crate::media::{DeviceInfo, DeviceKind, DeviceSalt};
pub use codecs::CodecInfo;
pub use trial::{Failure, Trial, test};
pub use watch::watch;

use crate::error::{Error, ErrorKind};
use serde::Serialize;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only these kinds; all, when empty.
    pub kinds: Vec<DeviceKind>,
    /// Whether to say what each can do.
    pub capabilities: bool,
    /// Whether to say which codecs there are.
    pub codecs: bool,
    /// Kinds of which there must be one.
    pub require: Vec<DeviceKind>,
    /// What the IDs are made with.
    pub salt: DeviceSalt,
}

/// The devices that are there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// By kind; the default of each first.
    pub devices: Vec<DeviceInfo>,
    /// What can be sent, received and recorded, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codecs: Option<Vec<CodecInfo>>,
    /// What became of the attempt to use each device, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<Vec<Trial>>,
}

/// A report, which is there also when something required is not.
pub struct Outcome {
    /// What was found.
    pub report: Report,
    /// What is missing.
    pub error: Option<Error>,
}

/// Lists the devices.
pub async fn run(options: Options) -> Outcome {
    let Options { kinds, capabilities, codecs, require, salt } = options;
    let wanted = move |kind: DeviceKind| kinds.is_empty() || kinds.contains(&kind);
    let asked = require.clone();
    let listing = tokio::task::spawn_blocking(move || {
        let devices = list::devices(&|kind| wanted(kind) || asked.contains(&kind), &salt);
        (devices, codecs.then(codecs::codecs))
    });
    let (mut devices, codecs) = match listing.await {
        Ok(listed) => listed,
        Err(error) => {
            let error = Error::new(ErrorKind::Internal, "OperationError", error.to_string());
            return Outcome { report: Report::default(), error: Some(error) };
        }
    };
    if !capabilities {
        devices.iter_mut().for_each(|device| device.capabilities = None);
    }
    let missing = require.into_iter().find(|kind| !devices.iter().any(|device| device.kind == *kind));
    let error =
        missing.map(|kind| Error::new(ErrorKind::Device, "NotFoundError", format!("there is no {kind}")).at("devices"));
    Outcome { report: Report { devices, codecs, tests: None }, error }
}
