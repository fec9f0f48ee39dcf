//! The sending end: tells what there is, hears what is wanted, and sends it as fast as the channel takes it.

use super::channel::MessageChannel;
use super::error::TransferError;
use super::manifest::Entry;
use super::outcome::Tally;
use super::reader::{self, Happened, Plan, Produced};
use super::session;
use super::source::Sources;
use super::wire::{Control, Have, Role};

use crate::stop::Stop;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How often the reader may hand messages on ahead of the channel.
const READ_AHEAD: usize = 2;

/// How to send.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOptions {
    /// At most so many bytes of content per second.
    pub limit_rate: Option<u64>,
}

/// Sends everything in `sources`, and returns once the receiver has it safe. Progress and what became of each file go to
/// `tally`, which holds good on failure as well.
///
/// # Errors
/// When the peer declines or breaks the protocol, the channel closes, `stop` is asked for, or any of the files failed: the
/// others are sent all the same.
pub async fn send(
    channel: &dyn MessageChannel,
    sources: Sources,
    options: &SendOptions,
    tally: &Arc<Tally>,
    stop: &Stop,
) -> Result<(), TransferError> {
    let sending = Sending { channel, options, tally };
    let ended = tokio::select! {
        biased;
        () = stop.stopped() => Err(TransferError::Stopped),
        ended = sending.run(sources) => ended,
    };
    session::tell_of(channel, ended.as_ref().err()).await;
    ended
}

struct Sending<'a> {
    channel: &'a dyn MessageChannel,
    options: &'a SendOptions,
    tally: &'a Arc<Tally>,
}

impl Sending<'_> {
    async fn run(&self, sources: Sources) -> Result<(), TransferError> {
        session::greet(self.channel, Role::Sender).await?;
        if self.channel.max_message_size() < reader::LEAST_MESSAGE {
            return Err(TransferError::protocol("it takes no messages of a useful size"));
        }
        self.tally.expect(&sources.manifest);
        self.send_manifest(&sources).await?;
        let (skip, have, window) = self.hear_plan(sources.manifest.entries()).await?;
        self.tally.plan(&skip);
        let most = self.channel.max_message_size().min(256 << 10);
        let rate = self.options.limit_rate.unwrap_or(u64::MAX);
        let steady = usize::try_from(rate / 10).unwrap_or(usize::MAX).max(512);
        let plan = Plan {
            entries: sources.manifest.into_entries(),
            places: sources.places,
            skip,
            have,
            chunk: reader::chunk_for(most).min(steady),
            most: (reader::chunk_for(most) + 1024).min(most),
        };
        let (produced, messages) = mpsc::channel(READ_AHEAD);
        let thread = std::thread::Builder::new().name("transfer-read".to_owned());
        let thread = thread
            .spawn(move || reader::run(plan, produced))
            .map_err(|_| TransferError::Internal("cannot start the reading thread"))?;
        let (taken, taken_by_peer) = watch::channel(0_u64);
        let ended = tokio::select! {
            // Everything was sent: what the receiver says decides.
            ended = self.listen(&taken) => ended,
            failed = self.pump(messages, window, taken_by_peer) => Err(failed),
        };
        // The other half was dropped with its end of the queue, so the thread ends at its next message; one that is stuck in a
        // read (a pipe that nobody fills) ends with the process.
        if thread.is_finished() {
            thread.join().map_err(|_| TransferError::Internal("the reading thread panicked"))?;
        }
        if ended.is_ok() {
            session::part(self.channel).await;
        }
        ended.and_then(|()| self.tally.verdict())
    }

    async fn send_manifest(&self, sources: &Sources) -> Result<(), TransferError> {
        // A message of the smallest size that every peer takes.
        const BATCH: usize = 14 << 10;
        let entries = sources.manifest.entries();
        let (mut batch, mut size) = (Vec::new(), 0);
        for entry in entries {
            let length = entry.path.len() * 2 + 160;
            if size + length > BATCH && !batch.is_empty() {
                session::say(self.channel, &Control::Manifest { entries: std::mem::take(&mut batch) }).await?;
                size = 0;
            }
            size += length;
            batch.push(entry.clone());
        }
        session::say(self.channel, &Control::Manifest { entries: batch }).await?;
        session::say(self.channel, &Control::ManifestEnd { entries: entries.len() as u64 }).await
    }

    /// What is not wanted, what is there in part, and how far we may run ahead.
    async fn hear_plan(&self, entries: &[Entry]) -> Result<(Vec<bool>, HashMap<u32, Vec<Have>>, u64), TransferError> {
        let (mut skipped, mut parts) = (vec![false; entries.len()], HashMap::<u32, Vec<Have>>::new());
        loop {
            match session::hear(self.channel, Role::Sender).await? {
                Control::Plan { skip, have } => {
                    let known = |file: u32| (file as usize) < entries.len();
                    if !skip.iter().copied().chain(have.iter().map(|have| have.file)).all(known) {
                        return Err(TransferError::protocol("it plans for a file that was not offered"));
                    }
                    skip.into_iter().for_each(|file| skipped[file as usize] = true);
                    for part in have {
                        let parts = parts.entry(part.file).or_default();
                        if parts.len() < session::MOST_BEGINNINGS {
                            parts.push(part);
                        }
                    }
                }
                Control::Go { window, connections } => {
                    let wanted = entries.iter().zip(&skipped).filter(|(_, skipped)| !**skipped);
                    let content = wanted.map(|(entry, _)| entry.size.unwrap_or(0)).fold(0, u64::saturating_add);
                    self.channel.spread(connections.unwrap_or(0), content);
                    return Ok((skipped, parts, window.unwrap_or(u64::MAX).max(1 << 20)));
                }
                Control::Unknown => {}
                other => return Err(session::unexpected(&other)),
            }
        }
    }

    /// Sends what is read. Never returns when all went well: the receiver has the last word.
    async fn pump(
        &self,
        mut messages: mpsc::Receiver<Vec<Produced>>,
        window: u64,
        mut taken: watch::Receiver<u64>,
    ) -> TransferError {
        let mut pace = Pace::new(self.options.limit_rate);
        let mut sent = 0_u64;
        let mut ready = Vec::new().into_iter();
        loop {
            let Some(Produced { message, origin, content, happened }) = ready.next() else {
                match messages.recv().await {
                    Some(more) => ready = more.into_iter(),
                    None => break,
                }
                continue;
            };
            for what in happened {
                match what {
                    Happened::Began(file, offset) => self.tally.began(file, offset),
                    Happened::Ended(file, size, hash) => self.tally.read(file, size, &hash),
                    Happened::Failed(file, error) => self.tally.failed(file, &error),
                }
            }
            pace.wait(content).await;
            let ahead = |taken: &u64| sent.saturating_sub(*taken) <= window;
            if taken.wait_for(ahead).await.is_err() {
                break;
            }
            if let Err(error) = self.channel.send_content(message.into(), origin).await {
                // The peer may have said why before it went; whoever listens finds out first.
                tokio::time::sleep(session::LAST_WORDS).await;
                return TransferError::Channel(error);
            }
            sent += content;
            self.tally.moved(content);
        }
        std::future::pending().await
    }

    /// Hears the receiver until it is content.
    async fn listen(&self, taken: &watch::Sender<u64>) -> Result<(), TransferError> {
        loop {
            match session::hear(self.channel, Role::Sender).await? {
                Control::Progress { bytes } => {
                    taken.send_if_modified(|taken| {
                        let more = bytes > *taken;
                        *taken = bytes.max(*taken);
                        more
                    });
                }
                Control::Done { files } => files.into_iter().for_each(|file| self.tally.done(file)),
                Control::Complete {} => return Ok(()),
                Control::Unknown => {}
                other => return Err(session::unexpected(&other)),
            }
        }
    }
}

/// Holds content back to a rate.
struct Pace {
    rate: Option<u64>,
    due: Instant,
}

impl Pace {
    fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), due: Instant::now() }
    }

    async fn wait(&mut self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        // What was not used of the rate is gone: no burst after a pause.
        self.due = self.due.max(Instant::now() - Duration::from_millis(50));
        tokio::time::sleep_until(self.due).await;
        self.due += Duration::from_secs_f64(bytes as f64 / rate as f64);
    }
}
