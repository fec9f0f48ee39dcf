//! The threads of one operation, and the pace at which they read.

use crate::error::{Error, ErrorKind};
use crate::media::Source;
use crate::pipeline::queue::{Item, Sender};
use crate::pipeline::{Clock, Paced, Timed, Worker};
use crate::stop::Stop;
use std::time::Instant;
use tokio::task::JoinSet;

/// How fast sources are read that do not pace themselves.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) enum Pace {
    /// Each item when it is due on this clock.
    Clock(Clock),
    /// As fast as they and what follows them go.
    AsRead,
}

impl Pace {
    /// `source` at this pace; live ones have their own.
    pub(in crate::ops) fn of<T: Timed + 'static>(self, live: bool, source: Box<dyn Source<T>>) -> Box<dyn Source<T>> {
        match self {
            Self::Clock(clock) if !live => Box::new(Paced::new(source, clock)),
            _ => source,
        }
    }
}

/// Running threads, which all heed one stop.
pub(in crate::ops) struct Threads {
    running: JoinSet<Result<(), Error>>,
    stop: Stop,
}

impl Threads {
    /// None yet. They end soon after `stop`.
    pub(in crate::ops) fn new(stop: &Stop) -> Self {
        Self { running: JoinSet::new(), stop: stop.clone() }
    }

    /// What they heed.
    pub(in crate::ops) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Whether none is running, and the results of all were taken.
    pub(in crate::ops) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Runs `work` on a thread called `name`. Needs a tokio runtime around it.
    pub(in crate::ops) fn work(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.running.spawn(Worker::spawn(name, work)?.finished());
        Ok(())
    }

    /// Runs a thread that moves items from a source into a queue until either ends.
    pub(in crate::ops) fn feed<T: Item>(
        &mut self,
        name: &'static str,
        mut source: Box<dyn Source<T>>,
        queue: Sender<T>,
    ) -> Result<(), Error> {
        let stop = self.stop.clone();
        self.work(name, move || {
            while let Some(item) = source.next(&stop).map_err(|error| error.at("capture"))? {
                // What a source gives when it is stopped marks its end.
                if queue.send(item).is_err() || stop.is_stopped() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The result of the next thread that ends; `None` when none is running. Cancel-safe.
    pub(in crate::ops) async fn ended(&mut self) -> Option<Result<(), Error>> {
        let done = self.running.join_next().await?;
        Some(done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string()))))
    }

    /// Waits until `deadline` for all to end, and gives the first failure. What still runs then waits for an input that
    /// nothing interrupts, such as a pipe that nobody writes to, and ends with the process.
    pub(in crate::ops) async fn finish(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut first = Ok(());
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline.into(), self.ended()).await {
            first = first.and(done);
        }
        if !self.is_empty() {
            tracing::debug!("{} threads still wait for their input", self.running.len());
        }
        first
    }
}
