//! `send-file` and `receive-file`: files over a connection to one peer.
//!
//! ```text
//! send-file     paths -> transfer::Sources -> transfer::send -> data channel -> network
//! receive-file  network -> data channel -> transfer::receive -> files
//! ```
//!
//! The sender makes the offer and opens the channel; the receiver answers.

mod channel;
mod options;
mod report;
pub(in crate::ops) mod served;
mod streams;
#[cfg(test)]
mod tests;

pub use super::road::{Signal, Verify};
pub use crate::peer::{Config, NegotiateOptions};
pub use crate::signaling::{Code, CodeError, SdpFormat};
pub use crate::transfer::{Consent, Existing, FileReport, FileState, Offer, TransferReport};
pub use options::{Destination, Io, Job, Options, ReceiveOptions, SendOptions};
pub use report::{Outcome, Report};

use super::road::{self, Entrance, Road, Visit};
use crate::error::{Error, ErrorKind};
use crate::peer::{ConnectionState, DataChannel, PeerError, Role, Session, Timing, Upkeep, UpkeepTimes};
use crate::progress::{Event, Progress};
use crate::record::{Output, Target};
use crate::signaling::{Message, Part, Receives, RoomRole, Signaling};
use crate::stop::Stop;
use crate::transfer::{self, Bundle, CHANNEL, Connector, ScanOptions, Sources, Tally, TransferError};
use channel::{Channel, Further, LOOK_EVERY, stays_here};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::Far;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);
/// How long what came before a goodbye may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the peer may take to hang up when all is said.
const HANG_UP: Duration = Duration::from_secs(1);

/// Sends or receives files, until everything is safe at the receiver.
///
/// `process_start` is the zero of all timing. What was received of a file that is not whole is kept, and the next run goes
/// on from there.
pub async fn run(options: Options, io: Io, process_start: Instant, progress: Arc<dyn Progress>, stop: Stop) -> Outcome {
    let role = match &options.job {
        Job::Send(_) => "sender",
        Job::Receive(_) => "receiver",
    };
    let timing = Arc::new(Timing::new(process_start));
    let tally = Arc::new(Tally::new(Arc::clone(&progress)));
    let mut report = Report::new(role);
    let transfer = Transfer { progress, stop: stop.clone(), timing: Arc::clone(&timing), tally: Arc::clone(&tally) };
    let (receipt, mut done) = match prepare(&options) {
        Ok(receipt) => (receipt, transfer.run(options, io, &mut report).await),
        Err(error) => (None, Err(error)),
    };
    tally.end();
    report.transfer = tally.report();
    report.timing = timing.waterfall();
    report.complete = done.is_ok();
    if let (Some(receipt), Ok(())) = (receipt, &done) {
        done = write_receipt(receipt, &report);
    }
    match stop.reason() {
        Some(reason) if done.is_err() => Outcome { report, stopped: Some(reason), error: None },
        _ => Outcome { report, stopped: None, error: done.err() },
    }
}

/// What can be found wrong before the peer is bothered. Opens the receipt.
fn prepare(options: &Options) -> Result<Option<Output>, Error> {
    options.check()?;
    let open = |path: &std::path::PathBuf| Output::create(Target::File(path.clone()), options.existing_receipt());
    Ok(options.receipt.as_ref().map(open).transpose()?)
}

fn write_receipt(mut receipt: Output, report: &Report) -> Result<(), Error> {
    let internal = |error: serde_json::Error| Error::new(ErrorKind::Internal, "OperationError", error.to_string());
    let mut text = serde_json::to_vec_pretty(report).map_err(internal)?;
    text.push(b'\n');
    receipt.write(&text)?;
    receipt.finish()?;
    Ok(())
}

struct Transfer {
    progress: Arc<dyn Progress>,
    stop: Stop,
    timing: Arc<Timing>,
    tally: Arc<Tally>,
}

/// What the engine of this end works on.
enum Work {
    Send(Box<Sources>, transfer::SendOptions),
    Receive(transfer::ReceiveOptions),
}

impl Transfer {
    async fn run(self, options: Options, io: Io, report: &mut Report) -> Result<(), Error> {
        let (near, far) = streams::late();
        let Options { job, signal, mut connection, negotiate, verify, .. } = options;
        let (work, role) = self.prepare(job, far).await?;
        let entrance = Entrance::open(&signal, io.input, io.output, negotiate.timeout)?;
        let visit = Visit { patience: negotiate.meeting, verify, progress: &*self.progress, stop: &self.stop };
        let mut road = enter(entrance, role, visit, &mut connection).await?;
        let mut session = Session::new(&connection, Arc::clone(&self.timing)).await.map_err(PeerError::erase)?;
        let connected = self.connect(role, &negotiate, &mut session, &mut road).await;
        let channel = match connected {
            Ok(channel) => channel,
            Err(error) => {
                session.close().await;
                road.give_up().await;
                return Err(error);
            }
        };
        let (signaling, streams) = road.split();
        near.give(streams);
        let upkeep = session.upkeep(role, UpkeepTimes::within(negotiate.timeout)).await;
        let mut lifeline = Lifeline { upkeep, signaling };
        // Once it is over the path may be forgotten.
        report.connected_by(session.report().await);
        let within_machine = report.connection.as_ref().is_some_and(stays_here);
        #[cfg(test)]
        let within_machine = within_machine && connection.bad_network.as_ref().is_none_or(|bad| bad.one_in == 0);
        let further = Further { connection, negotiate, stop: self.stop.clone(), within_machine };
        // A relay is somebody else's: one allocation is enough.
        let further = (report.path != Some("relay")).then(|| Arc::new(further) as Arc<dyn Connector>);
        let bundle = Bundle::new(Box::new(Channel::first(channel, session.traffic())), further);
        let done = self.serve(work, &session, &bundle, &mut lifeline).await;
        let Lifeline { mut signaling, .. } = lifeline;
        report.connections = bundle.connections();
        bundle.close().await;
        if let Some(signaling) = signaling.as_mut() {
            let _ = tokio::time::timeout(GOODBYE, signaling.send(&Message::Bye)).await;
        }
        report.connected_by(session.report().await);
        session.close_now().await;
        // When the transfer failed, what the other side makes of that is no news.
        let closed = road::close(signaling).await;
        done.and(closed)
    }

    /// Everything that can be wrong with what is sent is found before the peer is bothered.
    async fn prepare(&self, job: Job, far: Far) -> Result<(Work, Role), Error> {
        let send = match job {
            Job::Receive(options) => {
                // A thousand small files are open until they are synced together.
                super::raise_descriptor_limit();
                let destination = match options.destination {
                    Destination::Path(path) => transfer::Destination::Path(path),
                    Destination::Stdout => transfer::Destination::Stream(Box::new(far.writer)),
                };
                let ReceiveOptions { existing, consent, .. } = options;
                return Ok((Work::Receive(transfer::ReceiveOptions { destination, existing, consent }), Role::Answer));
            }
            Job::Send(send) => send,
        };
        let limit_rate = send.limit_rate;
        let scanning = tokio::task::spawn_blocking(move || {
            let SendOptions { paths, exclude, follow_symlinks, stream_name, .. } = send;
            Sources::scan(&paths, Some(Box::new(far.reader)), &ScanOptions { exclude, follow_symlinks, stream_name })
        });
        let scanned = tokio::select! {
            biased;
            () = self.stop.stopped() => return Err(TransferError::Stopped.into()),
            scanned = scanning => scanned,
        };
        let internal =
            |error: tokio::task::JoinError| Error::new(ErrorKind::Internal, "OperationError", error.to_string());
        let sources = scanned.map_err(internal)?.map_err(|error| Error::from(error).at("scan"))?;
        for line in &sources.left_out {
            self.progress.event(Event::Warning { message: format!("not sent: {}", transfer::shown(line)) });
        }
        Ok((Work::Send(Box::new(sources), transfer::SendOptions { limit_rate }), Role::Call))
    }

    /// Connects, and opens the channel.
    async fn connect(
        &self,
        role: Role,
        options: &NegotiateOptions,
        session: &mut Session,
        road: &mut Road,
    ) -> Result<DataChannel, Error> {
        let ours = match role {
            Role::Call => Some(session.create_data_channel(&channel::init()).await.map_err(PeerError::erase)?),
            Role::Answer => None,
        };
        let signaling = road.signaling();
        if let Err(error) = session.connect(role, signaling, options, &self.stop).await {
            // A road that is broken or takes nothing more is no news now.
            let _ = tokio::time::timeout(GOODBYE, signaling.send(&Message::Bye)).await;
            return Err(error.erase());
        }
        let state = ConnectionState::Connected.as_str().to_owned();
        self.progress.event(Event::ConnectionStateChange { state });
        let opening = async {
            let channel = match ours {
                Some(channel) => channel,
                None => loop {
                    let channel = session.next_data_channel().await?;
                    if channel.label() == CHANNEL {
                        break channel;
                    }
                    let message =
                        format!("data channel '{}' of the peer is not served", transfer::shown(channel.label()));
                    self.progress.event(Event::Warning { message });
                },
            };
            channel.opened().await.is_ok_and(|opened| opened).then_some(channel)
        };
        let no_channel = || {
            Error::new(ErrorKind::Refused, "protocol", "the peer opened no channel for files")
                .with_hint("the other side must be rtckit send-file or receive-file")
        };
        tokio::select! {
            biased;
            () = self.stop.stopped() => Err(PeerError::Stopped.erase()),
            opened = tokio::time::timeout(options.timeout, opening) => opened.ok().flatten().ok_or_else(no_channel),
        }
    }

    /// Runs the engine while the session lives.
    async fn serve(
        &self,
        work: Work,
        session: &Session,
        bundle: &Bundle,
        lifeline: &mut Lifeline,
    ) -> Result<(), Error> {
        self.progress.event(Event::DataChannel { label: CHANNEL.to_owned() });
        let receives = matches!(work, Work::Receive(_));
        let engine = async {
            Course::Engine(match work {
                Work::Send(sources, options) => {
                    transfer::send(bundle, *sources, &options, &self.tally, &self.stop).await
                }
                Work::Receive(options) => transfer::receive(bundle, options, &self.tally, &self.stop).await,
            })
        };
        let gone = async {
            let gone = lifeline.gone(session).await;
            bundle.outlive_first().await;
            Course::Gone(gone)
        };
        let lost = async { Course::Lost(failed(bundle).await) };
        // Whatever is sent or received wakes the engine, and that alone is looked at then.
        let mut courses = FuturesUnordered::<LocalBoxFuture<'_, Course>>::new();
        courses.extend([engine.boxed_local(), gone.boxed_local(), lost.boxed_local()]);
        let ended = match courses.select_next_some().await {
            Course::Engine(ended) => ended,
            Course::Lost(lost) => Err(lost),
            Course::Gone(gone) => {
                // What came before the end is still to be read: it may be why. The channel ends with the session.
                let reading = async {
                    loop {
                        if let Course::Engine(ended) = courses.select_next_some().await {
                            return ended;
                        }
                    }
                };
                let closing = async {
                    session.close().await;
                    std::future::pending().await
                };
                let ended = tokio::select! {
                    ended = tokio::time::timeout(LAST_WORDS, reading) => ended,
                    ended = closing => ended,
                };
                match ended {
                    Ok(Err(TransferError::Closed | TransferError::Channel(_))) | Err(_) => return Err(told(gone)),
                    Ok(ended) => ended,
                }
            }
        };
        drop(courses);
        if ended.is_ok() && receives {
            // The sender hangs up once it knows; if we did first, it might not.
            let _ = tokio::time::timeout(HANG_UP, lifeline.gone(session)).await;
        }
        ended.map_err(|error| Error::from(error).at("transfer"))
    }
}

/// What a transfer comes to.
enum Course {
    /// The engine is through.
    Engine(Result<(), TransferError>),
    /// The peer is gone.
    Gone(PeerError),
    /// Content is lost.
    Lost(TransferError),
}

/// What keeps the first connection up.
struct Lifeline {
    upkeep: Upkeep,
    signaling: Option<Box<dyn Signaling>>,
}

impl Lifeline {
    /// Waits until the peer is gone, keeping the connection up by what signaling still brings.
    async fn gone(&mut self, session: &Session) -> PeerError {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let Self { upkeep, signaling } = self;
        loop {
            tokio::select! {
                _ = look.tick() => session.suit_timers(),
                due = upkeep.due(session, signaling) => match upkeep.attend(due, session, signaling).await {
                    Ok(happened) => tracing::debug!("{happened:?}"),
                    Err(gone) => return gone,
                },
            }
        }
    }
}

/// Goes to where the peer is met, and sees to it that one of us sends and the other receives.
async fn enter(entrance: Entrance, role: Role, visit: Visit<'_>, connection: &mut Config) -> Result<Road, Error> {
    let (role, does, receives) = match role {
        Role::Call => (RoomRole::Offer, "sends", vec![]),
        Role::Answer => (RoomRole::Answer, "receives", vec![Receives::Files]),
    };
    let part = Part { role, receives: Some(receives) };
    let (road, met) = Box::pin(entrance.enter(part, visit)).await?;
    if let Some(met) = met {
        if met.other == role {
            road.give_up().await;
            let message = format!("the other side {does} as well");
            return Err(Error::new(ErrorKind::Refused, "refused", message).at("signaling"));
        }
        road::take_ice_servers(&met, connection);
    }
    Ok(road)
}

/// What is wrong with the connections, once there was time to hear what the peer says of it.
async fn failed(bundle: &Bundle) -> TransferError {
    let lost = bundle.run().await;
    tokio::time::sleep(LAST_WORDS).await;
    lost
}

/// A peer that hung up in the middle, or vanished.
fn told(gone: PeerError) -> Error {
    match gone {
        PeerError::HungUp => Error::from(TransferError::Closed).at("transfer"),
        gone => gone
            .erase()
            .with_hint("start both sides again: what was received is kept, and the transfer goes on from there"),
    }
}
