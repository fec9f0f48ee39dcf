//! Files that the peer sends during a call, each time it opens a channel for them.

use super::report::Ended;
use crate::error::Error;
use crate::ops::transfer::served::{CHANNEL, Incoming};
use crate::peer::{DataChannel, Traffic};
use crate::progress::Event;
use crate::transfer::TransferReport;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// What came so far.
#[derive(Default)]
pub(super) struct Came {
    /// The files; `None` as long as nobody sent any.
    pub report: Option<TransferReport>,
    /// What went wrong first.
    pub error: Option<Error>,
    /// Whether some are coming.
    pub busy: bool,
}

/// Where [`serve`] and whoever started it look at what came.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<Mutex<Came>>);

impl Desk {
    pub(super) fn look(&self) -> MutexGuard<'_, Came> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the peer's channels: those for files, one after the other. Others are told of and left alone. With `alone`
/// there is nothing else to the call, so that it ends with the first transfer that fails.
pub(super) async fn serve(
    incoming: Incoming,
    mut channels: mpsc::Receiver<DataChannel>,
    (traffic, relayed): (Traffic, bool),
    alone: bool,
    desk: Desk,
) -> Result<Ended, Error> {
    while let Some(channel) = channels.recv().await {
        if !matches!(channel.opened().await, Ok(true)) {
            continue;
        }
        if channel.label() != CHANNEL {
            let message = format!("data channel '{}' of the peer is not served", channel.label().escape_debug());
            incoming.progress.event(Event::Warning { message });
            continue;
        }
        incoming.progress.event(Event::DataChannel { label: CHANNEL.to_owned() });
        desk.look().busy = true;
        let (received, ended) = incoming.receive(channel, traffic.clone(), relayed).await;
        let error = ended.err().map(|error| Error::from(error).at("transfer"));
        if let Some(error) = error.as_ref().filter(|_| !alone) {
            incoming.progress.event(Event::Warning { message: error.to_string() });
        }
        let mut came = desk.look();
        came.busy = false;
        came.report.get_or_insert_default().add(received);
        let failed = error.is_some();
        came.error = came.error.take().or(error);
        if failed && alone {
            break;
        }
    }
    Ok(Ended::PeerHungUp)
}
