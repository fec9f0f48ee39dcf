//! Files that the peer sends during a call, each time it opens a channel for them.

use super::report::Ended;
use crate::error::Error;
use crate::ops::transfer::served::{CHANNEL, Incoming};
use crate::peer::{DataChannel, Traffic};
use crate::progress::Event;
use crate::transfer::TransferReport;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// What came so far.
#[derive(Default)]
pub(super) struct Came {
    /// The files; `None` as long as nobody sent any.
    pub report: Option<TransferReport>,
    /// What went wrong first.
    pub error: Option<Error>,
}

/// Where [`serve`] and whoever started it look at what came.
#[derive(Clone, Default)]
pub(super) struct Desk {
    came: Arc<Mutex<Came>>,
    /// Whether some are coming.
    busy: watch::Sender<bool>,
    /// Whether the session is lost.
    gone: watch::Sender<bool>,
}

impl Desk {
    pub(super) fn look(&self) -> MutexGuard<'_, Came> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_busy(&self) -> bool {
        *self.busy.borrow()
    }

    /// The session is lost: waits while files come by connections of their own. Gives whether some came, and all of them.
    pub(super) async fn outlive(&self) -> bool {
        let was_busy = self.is_busy();
        self.gone.send_replace(true);
        // The sender is ours.
        let _ = self.busy.subscribe().wait_for(|busy| !busy).await;
        was_busy && self.look().error.is_none()
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
        desk.busy.send_replace(true);
        let (received, ended) = incoming.receive(channel, traffic.clone(), relayed, desk.gone.subscribe()).await;
        let error = ended.err().map(|error| Error::from(error).at("transfer"));
        if let Some(error) = error.as_ref().filter(|_| !alone) {
            incoming.progress.event(Event::Warning { message: error.to_string() });
        }
        let mut came = desk.look();
        came.report.get_or_insert_default().add(received);
        let failed = error.is_some();
        came.error = came.error.take().or(error);
        drop(came);
        desk.busy.send_replace(false);
        if failed && alone {
            break;
        }
    }
    Ok(Ended::PeerHungUp)
}
