//! The receiving end: hears what there is, says what it wants, and takes it.

use super::channel::{Frame, MessageChannel};
use super::error::TransferError;
use super::folder::{Existing, Layout};
use super::manifest::{EntryKind, Manifest};
use super::name::Rules;
use super::outcome::Tally;
use super::session;
use super::wire::{Control, Role};
use super::writer::{self, Job, Place, Written};
use crate::stop::Stop;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes of content that the sender may be ahead of what is written.
const WINDOW: u64 = 12 << 20;
/// Messages that may wait for the disk.
const WAITING: usize = 16;
/// How long writing may hold us up until the sender hears of it.
const HELD_UP: Duration = Duration::from_secs(1);
/// How long the last words may take.
const PARTING: Duration = Duration::from_secs(20);
/// Ids or beginnings in one message of the plan, so that it fits into what every peer takes.
const BATCH: usize = 100;

/// Where files go.
pub enum Destination {
    /// Into a folder or, for one file, to a file: what is there decides, and a `/` at the end says folder.
    Path(PathBuf),
    /// Into a stream, for one file.
    Stream(Box<dyn Write + Send>),
}

/// What the sender offers, for somebody to agree to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How many files.
    pub files: usize,
    /// Their sizes together; `None` when a size is not known.
    pub bytes: Option<u64>,
    /// The first of their names.
    pub first: String,
}

/// Asks whether an offer is welcome. Blocks.
pub type Consent = Box<dyn FnOnce(&Offer) -> bool + Send>;

/// How to receive.
pub struct ReceiveOptions {
    /// Where to.
    pub destination: Destination,
    /// What to do with files that exist.
    pub existing: Existing,
    /// Who is asked first.
    pub consent: Option<Consent>,
}

/// Receives what the peer sends, and returns once it is on the disk. Progress and what became of each file go to `tally`,
/// which holds good on failure as well; so do the parts of files that are not whole yet.
///
/// # Errors
/// When the offer is declined or cannot be taken, the peer breaks the protocol, the channel closes, `stop` is asked for,
/// or any of the files failed: the others are received all the same.
pub async fn receive(
    channel: &dyn MessageChannel,
    options: ReceiveOptions,
    tally: &Arc<Tally>,
    stop: &Stop,
) -> Result<(), TransferError> {
    let ended = run(channel, options, tally, stop).await;
    session::tell_of(channel, ended.as_ref().err()).await;
    ended
}

async fn run(
    channel: &dyn MessageChannel,
    options: ReceiveOptions,
    tally: &Arc<Tally>,
    stop: &Stop,
) -> Result<(), TransferError> {
    let prepared = tokio::select! {
        biased;
        () = stop.stopped() => return Err(TransferError::Stopped),
        prepared = prepare(channel, options, tally) => prepared?,
    };
    let (written, mut tidings) = mpsc::channel(WAITING * 4);
    let (messages, inbox) = mpsc::channel(WAITING);
    let thread = std::thread::Builder::new().name("transfer-write".to_owned());
    let thread = thread
        .spawn(move || writer::run(prepared, inbox, written))
        .map_err(|_| TransferError::Internal("cannot start the writing thread"))?;
    let (complete, told) = (AtomicBool::new(false), AtomicU64::new(0));
    let ended = tokio::select! {
        biased;
        () = stop.stopped() => Err(TransferError::Stopped),
        ended = report(channel, &mut tidings, &complete, &told) => ended,
        failed = take(channel, messages, &told) => Err(failed),
    };
    // `take` is gone and its queue with it: the thread writes what it still has, and ends.
    while tidings.recv().await.is_some() {}
    thread.join().map_err(|_| TransferError::Internal("the writing thread panicked"))?;
    // A sender that knows that everything is complete hangs up, maybe before we see our last words acknowledged.
    if !complete.load(Ordering::Relaxed) {
        ended?;
    }
    tally.verdict()
}

/// Up to the point where content flows.
async fn prepare(
    channel: &dyn MessageChannel,
    options: ReceiveOptions,
    tally: &Arc<Tally>,
) -> Result<Job, TransferError> {
    session::greet(channel, Role::Receiver).await?;
    let manifest = hear_manifest(channel).await?;
    tally.expect(&manifest);
    let ReceiveOptions { destination, existing, consent } = options;
    let planning = tokio::task::spawn_blocking(move || {
        let planned = match destination {
            Destination::Path(path) => {
                let layout = Layout::plan(&manifest, &path, existing)?;
                layout.check_space()?;
                let told = layout.for_sender(manifest.entries());
                (told, Place::Files(layout.targets), layout.root)
            }
            Destination::Stream(stream) => {
                if manifest.files() != 1 || manifest.entries().len() != 1 {
                    return Err(TransferError::Manifest { why: "only one file fits into a stream".to_owned() });
                }
                ((Vec::new(), Vec::new()), Place::Stream(stream), None)
            }
        };
        let offer = Offer {
            files: manifest.files(),
            bytes: manifest.is_sized().then(|| manifest.bytes()),
            first: manifest.entries().first().map(|entry| super::name::shown(&entry.path)).unwrap_or_default(),
        };
        if consent.is_none_or(|ask| ask(&offer)) { Ok((planned, manifest)) } else { Err(TransferError::Declined) }
    });
    let planned = planning.await.map_err(|_| TransferError::Internal("planning panicked"))?;
    let (((skip, have), place, root), manifest) = planned?;
    let mut skipped = vec![false; manifest.entries().len()];
    skip.iter().for_each(|file| skipped[*file as usize] = true);
    tally.plan(&skipped);
    for skip in skip.chunks(BATCH * 10) {
        session::say(channel, &Control::Plan { skip: skip.to_vec(), have: Vec::new() }).await?;
    }
    for have in have.chunks(BATCH) {
        session::say(channel, &Control::Plan { skip: Vec::new(), have: have.to_vec() }).await?;
    }
    session::say(
        channel,
        &Control::Go { window: Some(WINDOW), connections: Some(channel.further()).filter(|most| *most > 0) },
    )
    .await?;
    Ok(Job { entries: manifest.into_entries(), place, root, existing, tally: Arc::clone(tally) })
}

async fn hear_manifest(channel: &dyn MessageChannel) -> Result<Manifest, TransferError> {
    let mut manifest = Manifest::default();
    loop {
        match session::hear(channel, Role::Receiver).await? {
            Control::Manifest { entries } => {
                entries.into_iter().try_for_each(|entry| manifest.push(entry, Rules::HERE))?;
            }
            Control::ManifestEnd { entries } => {
                if entries != manifest.entries().len() as u64 || entries == 0 {
                    return Err(TransferError::Manifest { why: "it has not as many entries as it says".to_owned() });
                }
                if let Some(entry) = manifest
                    .entries()
                    .iter()
                    .find(|entry| entry.kind == EntryKind::Folder && (entry.size.is_some() || entry.executable))
                {
                    let path = super::name::shown(&entry.path);
                    return Err(TransferError::Manifest { why: format!("a folder with a size: '{path}'") });
                }
                return Ok(manifest);
            }
            Control::Unknown => {}
            other => return Err(session::unexpected(&other)),
        }
    }
}

/// Takes what comes. Never returns when all goes well: the threads that write have the last word.
async fn take(channel: &dyn MessageChannel, messages: mpsc::Sender<bytes::Bytes>, told: &AtomicU64) -> TransferError {
    loop {
        match channel.receive().await {
            Some(Frame::Binary(message)) => {
                let handing_over = messages.send(message);
                tokio::pin!(handing_over);
                let handed_over = loop {
                    tokio::select! {
                        handed_over = &mut handing_over => break handed_over,
                        // Whoever sends shall know that we are held up, not the network.
                        () = tokio::time::sleep(HELD_UP) => {
                            let progress = Control::Progress { bytes: told.load(Ordering::Relaxed) };
                            if let Err(error) = session::say(channel, &progress).await {
                                return error;
                            }
                        }
                    }
                };
                if handed_over.is_err() {
                    // The writing thread has ended; `report` says how.
                    return std::future::pending().await;
                }
            }
            Some(Frame::Text(text)) => match session::understand(&text, Role::Receiver) {
                Ok(Control::Unknown) => {}
                Ok(Control::Bye {}) => return TransferError::Closed,
                Ok(other) => return session::unexpected(&other),
                Err(error) => return error,
            },
            None => return TransferError::Closed,
        }
    }
}

/// Tells the sender what is written, until it is all, or the writing failed; and tells it again when control moves.
async fn report(
    channel: &dyn MessageChannel,
    tidings: &mut mpsc::Receiver<Written>,
    complete: &AtomicBool,
    told: &AtomicU64,
) -> Result<(), TransferError> {
    let mut done = Vec::new();
    loop {
        let written = tokio::select! {
            written = tidings.recv() => written,
            () = channel.moved() => {
                say_again(channel, told, &done).await?;
                continue;
            }
        };
        match written {
            Some(Written::Taken(bytes)) => {
                told.store(bytes, Ordering::Relaxed);
                session::say(channel, &Control::Progress { bytes }).await?;
            }
            Some(Written::Done(files)) => {
                say_done(channel, &files).await?;
                done.extend(files);
            }
            Some(Written::Over(over)) => {
                over?;
                complete.store(true, Ordering::Relaxed);
                let parting = part(channel, told, &done);
                return tokio::time::timeout(PARTING, parting).await.unwrap_or(Ok(()));
            }
            None => return Err(TransferError::Internal("the writing thread is gone")),
        }
    }
}

async fn say_done(channel: &dyn MessageChannel, files: &[u32]) -> Result<(), TransferError> {
    for files in files.chunks(BATCH * 10) {
        session::say(channel, &Control::Done { files: files.to_vec() }).await?;
    }
    Ok(())
}

/// What was said last may have been lost with the connection by which it went.
async fn say_again(channel: &dyn MessageChannel, told: &AtomicU64, done: &[u32]) -> Result<(), TransferError> {
    session::say(channel, &Control::Progress { bytes: told.load(Ordering::Relaxed) }).await?;
    say_done(channel, done).await
}

/// Says that everything is complete, and sees to it that the sender hears so.
async fn part(channel: &dyn MessageChannel, told: &AtomicU64, done: &[u32]) -> Result<(), TransferError> {
    loop {
        session::say(channel, &Control::Complete {}).await?;
        let heard = async {
            channel.flushed().await;
            // The sender parts; one that just vanishes now must not hold us.
            tokio::time::sleep(session::LAST_WORDS * 4).await;
        };
        tokio::select! {
            () = heard => return Ok(()),
            () = channel.moved() => say_again(channel, told, done).await?,
        }
    }
}
