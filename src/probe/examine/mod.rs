//! The examination of one server at one of its addresses, step by step.
//!
//! connect, tls, binding, and for TURN allocate-challenge, allocate, permission, channel, echo, throughput, refresh and release.
//! The first step that fails decides the verdict; what was allocated is released whatever happens.

mod connect;
mod peers;

use super::allocation::{Held, MostlyOpen};
use super::certificate::Trust;
use super::echo::{self, Pace, Peer};
use super::exchange::{Client, Failure, judge};
use super::gather::CandidateError;
use super::link::Broken;
use super::nat;
use super::report::{ServerReport, Stage, StageReport};
use super::rest::Credentials;
use super::verdict::Verdict;
use super::wire::{self, Login, Reply, attribute, method};
use super::{Ending, explain};
use crate::ice_server::{ServerTransport, ServerUrl};
use crate::progress::{Event, Progress, Silent};
use crate::stop::Stop;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

/// A server to examine.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its URL as given, without credentials.
    pub shown: String,
    /// The same, taken apart.
    pub url: ServerUrl,
    /// For TURN.
    pub credentials: Option<Credentials>,
    /// The lifetime with which the credentials were just made, where they were.
    pub minted: Option<Duration>,
}

/// How servers are examined.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long all answers until there is an allocation may take together.
    pub timeout: Duration,
    /// Packets that are sent through the relay.
    pub packets: u32,
    /// Bytes in each of them.
    pub size: usize,
    /// The time between two of them.
    pub interval: Duration,
    /// For how long as much as goes is sent through the relay.
    pub throughput: Option<Duration>,
    /// Whom certificates must be signed by.
    pub trust: Trust,
    /// The part of the packets that may be lost, 0 to 1.
    pub max_loss: f64,
    /// The mean round trip through the relay that is still good.
    pub max_rtt: Option<Duration>,
    /// The days that a certificate must have left.
    pub min_cert_days: Option<f64>,
    /// The addresses of ours to use, at most one of a family; any where there is none.
    pub local: Vec<IpAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(4),
            packets: 50,
            size: 1200,
            interval: Duration::from_millis(20),
            throughput: None,
            trust: Trust::none(),
            max_loss: 0.05,
            max_rtt: None,
            min_cert_days: None,
            local: Vec::new(),
        }
    }
}

/// How often a server may send us on.
const MOST_ALTERNATES: usize = 3;
/// What a later step has at least.
const STEP: Duration = Duration::from_secs(1);
/// UDP, as REQUESTED-TRANSPORT has it.
const UDP: [u8; 4] = [17, 0, 0, 0];

/// Examines `target` at `address`. `dns` is how its name became that address.
pub async fn examine(
    target: &Target,
    address: SocketAddr,
    dns: Option<StageReport>,
    settings: &Settings,
    progress: &dyn Progress,
    stop: &Stop,
) -> ServerReport {
    let mut report = ServerReport::new(target, Some(address));
    report.stages.extend(dns);
    let deadline = Instant::now() + settings.timeout;
    let mut examination = Examination { target, settings, progress, stop, report, address, deadline, soft: None };
    let mut held = Held::default();
    let mut ended = examination.run(&mut held).await;
    let mut hops = 0;
    while let Err(Ending::Alternate(server)) = ended {
        // Nothing was allocated there, or it would not send us on.
        let _ = examination.release(&mut held).await;
        hops += 1;
        if hops > MOST_ALTERNATES {
            ended = Err(Ending::verdict(Verdict::Protocol, "it sends us on and on to other servers"));
            break;
        }
        let note = format!("it sent us on to {server}");
        examination.report.notes.push(note);
        examination.address = server;
        examination.deadline = Instant::now() + settings.timeout;
        held = Held::default();
        ended = Box::pin(examination.run(&mut held)).await;
    }
    let released = examination.release(&mut held).await;
    let ended = ended.and(released);
    examination.conclude(ended)
}

/// The address that the relay gives us, and where it sees us. It is released before this returns.
pub(super) async fn relayed_address(
    target: &Target,
    address: SocketAddr,
    settings: &Settings,
    stop: &Stop,
) -> Result<(SocketAddr, Option<SocketAddr>), Option<CandidateError>> {
    let report = ServerReport::new(target, Some(address));
    let deadline = Instant::now() + settings.timeout;
    let progress = &Silent;
    let mut examination = Examination { target, settings, progress, stop, report, address, deadline, soft: None };
    let mut held = Held::default();
    let allocated = async {
        let main = held.main.insert(examination.connect().await?);
        examination.challenge(main).await?;
        examination.allocate(main, &mut held.relayed).await
    };
    let allocated = allocated.await;
    let relayed = held.relayed;
    let _ = examination.release(&mut held).await;
    let report = examination.report;
    match (allocated, relayed) {
        (Ok(()), Some(relayed)) => Ok((relayed, report.mapped_address)),
        (Err(Ending::Verdict { verdict, error_code, message, .. }), _) => Err(Some(CandidateError {
            url: report.url,
            address: Some(address),
            error_code: error_code.unwrap_or(CandidateError::UNREACHABLE),
            error_text: message,
            verdict,
        })),
        (Err(Ending::Alternate(server)), _) => Err(Some(CandidateError {
            url: report.url,
            address: Some(address),
            error_code: 300,
            error_text: format!("it sends us on to {server}"),
            verdict: Verdict::Protocol,
        })),
        _ => Err(None),
    }
}

struct Examination<'a> {
    target: &'a Target,
    settings: &'a Settings,
    progress: &'a dyn Progress,
    stop: &'a Stop,
    report: ServerReport,
    address: SocketAddr,
    deadline: Instant,
    /// A verdict that let the examination go on.
    soft: Option<Ending>,
}

impl Examination<'_> {
    async fn run(&mut self, held: &mut Held) -> Result<(), Ending> {
        let client = self.connect().await?;
        let main = held.main.insert(client);
        self.binding(main).await?;
        if !self.target.url.turn {
            return self.check_certificate();
        }
        self.challenge(main).await?;
        self.allocate(main, &mut held.relayed).await?;
        let Some(relayed) = held.relayed else { return Ok(()) };
        let mut peer = self.permission(held, relayed).await?;
        let Some(main) = held.main.as_mut() else { return Ok(()) };
        let went = self.through(main, relayed, &mut peer).await;
        // The second allocation is released with the first.
        if let Peer::Allocation(client) = peer {
            held.other = Some(*client);
        }
        went?;
        self.refresh(held).await?;
        self.check_certificate()
    }

    /// Notes how a step went.
    fn note<T>(&mut self, stage: Stage, began: Instant, done: &Result<T, Ending>, message: Option<String>) {
        let (error_code, message) = match done {
            Ok(_) => (None, message),
            Err(ending) => (ending.error_code(), Some(ending.message())),
        };
        let seconds = began.elapsed().as_secs_f64();
        self.push(StageReport { stage, ok: done.is_ok(), seconds, error_code, message });
    }

    fn push(&mut self, step: StageReport) {
        self.progress.event(Event::Stage {
            url: self.target.shown.clone(),
            address: Some(self.address.to_string()),
            stage: step.stage.as_str(),
            ok: step.ok,
            seconds: step.seconds,
            error_code: step.error_code,
            message: step.message.clone(),
        });
        self.report.stages.push(step);
    }

    /// When a step must be over: at the common deadline, and no sooner than in a second.
    fn due(&self) -> Instant {
        self.deadline.max(Instant::now() + STEP)
    }

    fn failed(&self, failure: Failure, heard: bool) -> Ending {
        explain::failure(failure, heard, self.target.url.transport)
    }

    async fn binding(&mut self, client: &mut Client) -> Result<(), Ending> {
        let began = Instant::now();
        // A relay need not answer it, and there must be time left to find out.
        let patience = if self.target.url.turn { self.settings.timeout / 2 } else { self.settings.timeout };
        let due = self.deadline.min(began + patience);
        let (asked, elsewhere) = self.ask_for_binding(client, due).await;
        let silent = matches!(asked, Err(Failure::Silent { .. })) && elsewhere.is_none();
        let asked = asked.map_err(|failure| match (failure, elsewhere) {
            (Failure::Silent { .. }, Some(from)) => explain::answered_from(from),
            (failure, _) => self.failed(failure, client.heard),
        });
        let mapped = asked.and_then(|reply| {
            self.learn(&reply);
            reply.mapped_address().ok_or_else(|| Ending::verdict(Verdict::Protocol, "its response says no address"))
        });
        self.note(Stage::Binding, began, &mapped, mapped.as_ref().ok().map(|mapped| format!("we are {mapped}")));
        match mapped {
            Ok(mapped) => self.report.mapped_address = Some(mapped),
            // Some relays do nothing else than relaying.
            Err(Ending::Verdict { verdict: Verdict::Auth | Verdict::Forbidden, .. }) if self.target.url.turn => {}
            Err(_) if silent && self.target.url.turn => {}
            Err(ending) => return Err(ending),
        }
        Ok(())
    }

    /// Asks for a binding. Where the answer is late, finds out whether it comes from another address than the one that was asked,
    /// which the socket of `client` does not hear.
    async fn ask_for_binding(&self, client: &mut Client, due: Instant) -> (Result<Reply, Failure>, Option<SocketAddr>) {
        let asked = client.request(method::BINDING, |_| {}, due);
        if self.target.url.transport != ServerTransport::Udp {
            return (asked.await, None);
        }
        let (mut asked, mut elsewhere) = (pin!(asked), pin!(nat::answers_from(self.address, &self.settings.local)));
        let (mut looking, mut from) = (true, None);
        loop {
            tokio::select! {
                biased;
                asked = &mut asked => return (asked, from),
                found = &mut elsewhere, if looking => (looking, from) = (false, found),
            }
        }
    }

    fn learn(&mut self, reply: &Reply) {
        if let Some(software) = reply.attribute(attribute::SOFTWARE) {
            self.report.software = Some(wire::printable(software));
        }
    }

    /// Asks for an allocation without credentials, which tells realm and nonce.
    async fn challenge(&mut self, client: &mut Client) -> Result<(), Ending> {
        let began = Instant::now();
        let write = |writer: &mut wire::Writer| writer.attribute(attribute::REQUESTED_TRANSPORT, &UDP);
        let asked = client.ask(method::ALLOCATE, write, self.deadline).await;
        let stun_answers = self.report.mapped_address.is_some();
        let challenged = match asked {
            Err(Failure::Silent { .. }) if stun_answers => {
                Err(Ending::verdict(Verdict::StunOnly, "it answers STUN requests and no TURN request"))
            }
            Err(failure) => Err(self.failed(failure, client.heard)),
            Ok(reply) => {
                self.learn(&reply);
                self.take_challenge(client, reply)
            }
        };
        let shown = self.report.realm.as_ref().map(|realm| format!("realm {realm}"));
        self.note(Stage::AllocateChallenge, began, &challenged, shown);
        challenged
    }

    fn take_challenge(&mut self, client: &mut Client, reply: Reply) -> Result<(), Ending> {
        let code = reply.error_code().map(|error| error.code);
        if !matches!(code, Some(401 | 438)) {
            if judge(reply.clone()).is_ok() {
                client.asked = true;
                client.open = Some(MostlyOpen(reply));
                self.report.notes.push("it relays for anybody: it asked for no credentials".to_owned());
                return Ok(());
            }
            return judge(reply)
                .map(|_| ())
                .map_err(|failure| explain::challenge_refused(failure, self.report.mapped_address.is_some()));
        }
        let text = |kind| reply.attribute(kind).and_then(|value| std::str::from_utf8(value).ok());
        let (Some(realm), Some(nonce)) = (text(attribute::REALM), reply.attribute(attribute::NONCE)) else {
            return Err(Ending::verdict(Verdict::Protocol, "it asks for credentials without REALM and NONCE"));
        };
        let algorithms = reply.attribute(attribute::PASSWORD_ALGORITHMS).map(<[u8]>::to_vec);
        let lengths = [realm.len(), nonce.len(), algorithms.as_ref().map_or(0, Vec::len)];
        if lengths.into_iter().any(|length| length > wire::LONGEST_TEXT) {
            return Err(Ending::verdict(Verdict::Protocol, "its REALM, NONCE or PASSWORD-ALGORITHMS are too long"));
        }
        // RFC 8489 section 9.2.5: a bid for weaker credentials.
        if algorithms.is_none() && wire::promises_algorithms(nonce) {
            let why = "its NONCE promises PASSWORD-ALGORITHMS and there are none: somebody on the way may have taken them out";
            return Err(Ending::verdict(Verdict::Protocol, why));
        }
        self.report.realm = Some(wire::printable(realm.as_bytes()));
        if let Some(Credentials { username, password }) = &self.target.credentials {
            client.login = Some(Login::new(username, password, realm, nonce.to_vec(), algorithms));
        }
        Ok(())
    }

    async fn allocate(&mut self, client: &mut Client, relayed: &mut Option<SocketAddr>) -> Result<(), Ending> {
        let began = Instant::now();
        let allocated = match client.open.take() {
            Some(MostlyOpen(reply)) => Ok(reply),
            None if client.login.is_none() => {
                Err(Ending::verdict(Verdict::Auth, "it asks for credentials and none were given")
                    .with_hint(Some("give --username and --credential-file, or RTCKIT_CREDENTIAL".to_owned())))
            }
            None => client.allocate(self.address.is_ipv6(), self.due()).await.map_err(|failure| match failure {
                Failure::Refused(error) if matches!(error.code, 401 | 441) => {
                    explain::login_refused(&error, self.target, self.report.realm.as_deref())
                }
                failure => self.failed(failure, client.heard),
            }),
        };
        let address = allocated.and_then(|reply| {
            self.learn(&reply);
            self.report.lifetime = reply.number(attribute::LIFETIME);
            if let Some(mapped) = reply.mapped_address() {
                self.report.mapped_address = Some(mapped);
            }
            let address = reply.xor_address(attribute::XOR_RELAYED_ADDRESS);
            address.filter(|address| !address.ip().is_unspecified() && address.port() != 0).ok_or_else(|| {
                Ending::verdict(Verdict::Protocol, "it allocates, and says no address that anybody could send to")
            })
        });
        self.note(
            Stage::Allocate,
            began,
            &address,
            address.as_ref().ok().map(|address| format!("our relay is {address}")),
        );
        let address = address?;
        self.report.relayed_address = Some(address);
        *relayed = Some(address);
        Ok(())
    }

    /// Echo and throughput.
    async fn through(&mut self, main: &mut Client, relayed: SocketAddr, peer: &mut Peer) -> Result<(), Ending> {
        let Settings { packets, size, interval, throughput, max_loss, max_rtt, .. } = *self.settings;
        let began = Instant::now();
        let pace = Pace { packets, size, interval };
        let echoed = echo::echo(main, relayed, peer, pace, self.stop).await;
        let echoed = echoed.map_err(|broken: Broken| explain::broken(broken, true));
        let judged = match &echoed {
            Err(ending) => Err(ending.clone()),
            Ok(_) if self.stop.is_stopped() => Err(Ending::Stopped),
            Ok(echo) => explain::echo(echo, max_loss),
        };
        let shown = echoed.as_ref().ok().map(explain::echo_in_words);
        self.note(Stage::Echo, began, &judged, shown);
        self.report.echo = echoed.ok();
        match judged {
            Err(lossy @ Ending::Verdict { verdict: Verdict::Lossy, .. }) => self.soften(lossy),
            other => other?,
        }
        let trips = self.report.echo.as_ref().and_then(|echo| echo.round_trip_time);
        if let (Some(limit), Some(trips)) = (max_rtt, trips)
            && trips.avg > limit.as_secs_f64()
        {
            let (avg, limit) = (trips.avg * 1e3, limit.as_secs_f64() * 1e3);
            let why = format!("round trips take {avg:.1} ms, more than {limit:.1} ms");
            self.soften(Ending::verdict(Verdict::Threshold, why));
        }
        let Some(duration) = throughput else { return Ok(()) };
        let began = Instant::now();
        if let Peer::Allocation(other) = peer {
            // Without a channel of its own each packet would come in an indication.
            let _ = other.bind(wire::CHANNEL, relayed, self.due()).await;
        }
        let measured = echo::throughput(main, relayed, peer, size, duration, self.stop).await;
        let measured = measured.map_err(|broken| explain::broken(broken, true));
        let shown = measured.as_ref().ok().map(|went| format!("{:.1} Mbit/s", went.bits_per_second / 1e6));
        self.note(Stage::Throughput, began, &measured, shown);
        self.report.throughput = Some(measured?);
        if self.stop.is_stopped() { Err(Ending::Stopped) } else { Ok(()) }
    }

    async fn refresh(&mut self, held: &mut Held) -> Result<(), Ending> {
        let Some(main) = held.main.as_mut() else { return Ok(()) };
        let began = Instant::now();
        let due = Instant::now() + STEP;
        let lifetime = self.report.lifetime.unwrap_or(600);
        let refreshed = main.refresh(lifetime, due).await.map_err(|failure| self.failed(failure, true));
        self.note(Stage::Refresh, began, &refreshed, None);
        refreshed
    }

    /// Deletes what was allocated, even when the run is to end.
    async fn release(&mut self, held: &mut Held) -> Result<(), Ending> {
        let began = Instant::now();
        if !held.may_be_allocated() {
            return Ok(());
        }
        let released = held.release(Instant::now() + STEP).await;
        let known = held.relayed.is_some();
        let released = released.map_err(|failure| self.failed(failure, true));
        if known {
            self.note(Stage::Release, began, &released, None);
            return released;
        }
        Ok(())
    }

    /// A verdict that lets the examination go on; the first one stays.
    fn soften(&mut self, ending: Ending) {
        self.soft.get_or_insert(ending);
    }

    fn check_certificate(&mut self) -> Result<(), Ending> {
        let days = self.report.certificate.as_ref().map(|certificate| certificate.days_left);
        if let (Some(limit), Some(days)) = (self.settings.min_cert_days, days)
            && days < limit
        {
            let why = format!("its certificate has {days:.1} days left, fewer than {limit}");
            self.soften(Ending::verdict(Verdict::Threshold, why));
        }
        Ok(())
    }

    fn conclude(mut self, ended: Result<(), Ending>) -> ServerReport {
        let ending = ended.err().or(self.soft.take());
        match ending {
            None => self.report.verdict = Some(Verdict::Ok),
            Some(Ending::Stopped) => self.report.message = Some("ended before all was known".to_owned()),
            Some(Ending::Alternate(server)) => {
                self.report.verdict = Some(Verdict::Protocol);
                self.report.message = Some(format!("it sends us on to {server} in the middle of a session"));
            }
            Some(Ending::Verdict { verdict, message, hint, .. }) => {
                self.report.verdict = Some(verdict);
                self.report.message = Some(message);
                self.report.hint = hint;
            }
        }
        self.report.announce(self.progress);
        self.report
    }
}
