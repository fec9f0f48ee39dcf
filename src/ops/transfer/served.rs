//! Files over a connection that serves more than them.

use super::channel::{Channel, Further};

pub(in crate::ops) use super::channel::LOOK_EVERY;

use crate::peer::{Config, DataChannel, NegotiateOptions, Traffic};
use crate::progress::Progress;
use crate::stop::Stop;
use crate::transfer::{self, Bundle, Connector, Destination, Existing, Tally, TransferError, TransferReport};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

pub(in crate::ops) use crate::transfer::CHANNEL;

/// What is done with files that the peer of a call sends.
#[derive(Clone)]
pub(in crate::ops) struct Incoming {
    /// The folder they go to, which is made if need be.
    pub folder: PathBuf,
    /// What to do with files that exist.
    pub existing: Existing,
    /// How further connections are made.
    pub connection: Config,
    pub stop: Stop,
    pub progress: Arc<dyn Progress>,
}

impl Incoming {
    /// Receives what comes by `channel`, of a connection with this `traffic`, until it is all in its place. When that connection is
    /// `gone` it goes on by others, if there are any.
    pub(in crate::ops) async fn receive(
        &self,
        channel: DataChannel,
        traffic: Traffic,
        relayed: bool,
        mut gone: watch::Receiver<bool>,
    ) -> (TransferReport, Result<(), TransferError>) {
        let further = Further {
            connection: self.connection.clone(),
            negotiate: NegotiateOptions::default(),
            stop: self.stop.clone(),
            // That is for who sends to know.
            within_machine: false,
        };
        let further = (!relayed).then(|| Arc::new(further) as Arc<dyn Connector>);
        let bundle = Bundle::new(Box::new(Channel::first(channel, traffic)), further);
        let tally = Arc::new(Tally::new(Arc::clone(&self.progress)));
        let destination = Destination::Path(self.folder.join(""));
        let options = transfer::ReceiveOptions { destination, existing: self.existing, consent: None };
        let ended = tokio::select! {
            biased;
            ended = transfer::receive(&bundle, options, &tally, &self.stop) => ended,
            lost = super::failed(&bundle) => Err(lost),
            () = async {
                // Whoever would say so may be gone as well.
                let _ = gone.wait_for(|gone| *gone).await;
                bundle.outlive_first().await;
            } => Err(TransferError::Closed),
        };
        bundle.close().await;
        tally.end();
        (tally.report(), ended)
    }
}
