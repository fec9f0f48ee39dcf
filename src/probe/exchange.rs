//! Requests and their responses over a [`Link`], RFC 8489 section 6: retransmission, matching, integrity, and nonces that went
//! stale.

use super::allocation::MostlyOpen;
use super::link::{Arrival, Broken, Link};
use super::wire::{self, ErrorCode, Incoming, Login, Malformed, Reply, Writer, attribute, method};
use crate::stop::Stop;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use stun_types::message::MessageClass;

/// The first retransmission time-out, RFC 8489 section 6.2.1; it doubles each time.
const RTO: Duration = Duration::from_millis(500);
/// How long a right response may still come after a wrong one.
const AFTER_SUSPICION: Duration = Duration::from_millis(1200);
/// New nonces that are tried in a row.
const MOST_NONCES: usize = 3;
/// Data that may wait to be looked at.
const MOST_DATA: usize = 4096;

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing came.
    Silent { waited: Duration },
    /// The network refuses, or the server closed or reset the connection.
    Broken(Broken),
    /// What came breaks the protocol.
    Protocol(String),
    /// An error response.
    Refused(ErrorCode),
    /// 300: another server is to be asked.
    Alternate(SocketAddr),
    /// 438 again and again.
    StaleNonce,
    /// The run is to end.
    Stopped,
}

/// Data that a peer sent through the relay.
#[derive(Debug)]
pub(super) struct Relayed {
    pub at: Instant,
    pub from: Origin,
    pub data: Vec<u8>,
}

/// How relayed data says whom it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Channel(u16),
    Peer(SocketAddr),
}

/// A session with a server.
pub(super) struct Client {
    pub link: Link,
    pub login: Option<Login>,
    /// Whether anything valid came from the server.
    pub heard: bool,
    /// Whether an allocation was asked for that may exist.
    pub asked: bool,
    /// The allocation of a server that asked for no credentials.
    pub open: Option<MostlyOpen>,
    data: VecDeque<Relayed>,
    /// Transactions that were answered.
    past: Vec<u128>,
    stop: Stop,
}

impl Client {
    pub(super) fn new(link: Link, stop: Stop) -> Self {
        Self {
            link,
            login: None,
            heard: false,
            asked: false,
            open: None,
            data: VecDeque::new(),
            past: Vec::new(),
            stop,
        }
    }

    /// Goes on although the run is to end.
    pub(super) fn outlive(&mut self, stop: Stop) {
        self.stop = stop;
    }

    /// Sends a request without credentials and gives its response, whatever it says, if one comes until `deadline`.
    pub(super) async fn ask(
        &mut self,
        method: u16,
        write: impl Fn(&mut Writer),
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let transaction = wire::new_transaction();
        let mut writer = Writer::new(MessageClass::Request, method, transaction);
        write(&mut writer);
        self.transact(writer.finish(), method, transaction, deadline).await
    }

    /// Sends a request without credentials; an error response is a failure.
    pub(super) async fn request(
        &mut self,
        method: u16,
        write: impl Fn(&mut Writer),
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        judge(self.ask(method, write, deadline).await?)
    }

    /// Sends a request with credentials, again with the new nonce when the server says that it went stale.
    pub(super) async fn authenticated(
        &mut self,
        method: u16,
        write: impl Fn(&mut Writer),
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let Some(mut login) = self.login.clone() else { return self.request(method, write, deadline).await };
        for _ in 0..MOST_NONCES {
            let transaction = wire::new_transaction();
            let mut writer = Writer::new(MessageClass::Request, method, transaction);
            write(&mut writer);
            writer.authenticate(&login);
            let reply = self.transact(writer.finish(), method, transaction, deadline).await?;
            let stale = reply.class == MessageClass::Error && reply.error_code().is_some_and(|code| code.code == 438);
            match reply.attribute(attribute::NONCE) {
                Some(nonce) if stale && nonce.len() <= wire::LONGEST_TEXT => login.nonce = nonce.to_vec(),
                _ if stale => return Err(Failure::Protocol("438 Stale Nonce came without a valid NONCE".to_owned())),
                _ => return judge(reply),
            }
            self.login = Some(login.clone());
        }
        Err(Failure::StaleNonce)
    }

    /// Sends data to a peer without a channel.
    pub(super) fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(MessageClass::Indication, method::SEND, wire::new_transaction());
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        writer.attribute(attribute::DATA, data);
        writer.finish_bare()
    }

    async fn transact(
        &mut self,
        message: Vec<u8>,
        method: u16,
        transaction: u128,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let began = Instant::now();
        let (mut rto, mut resend) = (RTO, began + RTO);
        let (mut suspicion, mut until) = (None, deadline);
        self.link.send(message.clone()).await;
        loop {
            let wake = if self.link.stream { until } else { until.min(resend) };
            let stop = self.stop.clone();
            let arrival = tokio::select! {
                biased;
                () = stop.stopped() => return Err(Failure::Stopped),
                arrival = self.link.receive() => arrival,
                () = tokio::time::sleep_until(wake.into()) => {
                    if Instant::now() >= until {
                        return Err(self.nothing(began, suspicion));
                    }
                    rto *= 2;
                    resend = Instant::now() + rto;
                    self.link.send(message.clone()).await;
                    continue;
                }
            };
            match self.take(arrival, method, transaction)? {
                Taken::Reply(reply) => return Ok(*reply),
                Taken::Other => {}
                // It may be forged or late: the right one may still come, RFC 8489 section 6.3.
                Taken::Suspicious(why) => {
                    until = until.min(Instant::now() + AFTER_SUSPICION);
                    suspicion.get_or_insert(why);
                }
            }
        }
    }

    fn nothing(&self, began: Instant, suspicion: Option<String>) -> Failure {
        let waited = began.elapsed();
        match (suspicion, self.link.partial()) {
            (Some(why), _) => Failure::Protocol(why),
            (None, 0) => Failure::Silent { waited },
            (None, bytes) => Failure::Protocol(format!(
                "{bytes} bytes of a message came and not the rest, within {:.1} s",
                waited.as_secs_f64()
            )),
        }
    }

    /// Looks at what came while a response to `transaction` is due.
    fn take(&mut self, arrival: Arrival, method: u16, transaction: u128) -> Result<Taken, Failure> {
        let bytes = match arrival.what {
            Ok(bytes) => bytes,
            Err(Broken::Foreign(why)) => return Err(Failure::Protocol(why.to_string())),
            Err(broken) => return Err(Failure::Broken(broken)),
        };
        let reply = match wire::read(&bytes) {
            Ok(Incoming::Stun(reply)) => reply,
            Ok(Incoming::Channel { number, data }) => {
                self.keep(Relayed { at: arrival.at, from: Origin::Channel(number), data });
                return Ok(Taken::Other);
            }
            Err(Malformed::Fingerprint) => {
                return Ok(Taken::Suspicious("the FINGERPRINT of its response is wrong".into()));
            }
            Err(why) => return Ok(Taken::Suspicious(why.to_string())),
        };
        match reply.class {
            MessageClass::Indication => {
                self.keep_indication(arrival.at, &reply);
                Ok(Taken::Other)
            }
            MessageClass::Request => Ok(Taken::Suspicious("it sent a request in place of a response".to_owned())),
            // What was sent twice is answered twice.
            _ if self.past.contains(&reply.transaction) => Ok(Taken::Other),
            _ if reply.transaction != transaction => {
                Ok(Taken::Suspicious("its response carries another transaction ID than the request".to_owned()))
            }
            _ if reply.method != method => {
                Ok(Taken::Suspicious("its response is to another method than the request".to_owned()))
            }
            _ => match self.check_integrity(&reply) {
                Ok(()) => {
                    self.heard = true;
                    self.past.push(transaction);
                    Ok(Taken::Reply(Box::new(reply)))
                }
                Err(why) => Ok(Taken::Suspicious(why.to_owned())),
            },
        }
    }

    /// RFC 8489 section 9.2.5: what answers an authenticated request is signed, but for the errors of authentication.
    fn check_integrity(&self, reply: &Reply) -> Result<(), &'static str> {
        let Some(login) = self.login.as_ref().filter(|_| reply.method != method::BINDING) else { return Ok(()) };
        let code = reply.error_code().map(|error| error.code);
        if reply.class == MessageClass::Error && (matches!(code, Some(400 | 401 | 438 | 441)) || !reply.has_integrity())
        {
            return Ok(());
        }
        match (reply.has_integrity(), reply.is_signed_by(login)) {
            (_, true) => Ok(()),
            (true, false) => Err("the MESSAGE-INTEGRITY of its response is wrong"),
            (false, _) => Err("its response carries no MESSAGE-INTEGRITY"),
        }
    }

    fn keep_indication(&mut self, at: Instant, reply: &Reply) {
        let peer = reply.xor_address(attribute::XOR_PEER_ADDRESS);
        if let (method::DATA, Some(peer), Some(data)) = (reply.method, peer, reply.attribute(attribute::DATA)) {
            self.keep(Relayed { at, from: Origin::Peer(peer), data: data.to_vec() });
        }
    }

    fn keep(&mut self, data: Relayed) {
        if self.data.len() < MOST_DATA {
            self.data.push_back(data);
        }
    }

    /// The next data that a peer sent. What is broken ends it; what is no data is passed over.
    pub(super) async fn relayed(&mut self) -> Result<Relayed, Broken> {
        loop {
            if let Some(data) = self.data.pop_front() {
                return Ok(data);
            }
            let arrival = self.link.receive().await;
            match wire::read(&arrival.what?) {
                Ok(Incoming::Stun(reply)) => self.keep_indication(arrival.at, &reply),
                Ok(Incoming::Channel { number, data }) => {
                    return Ok(Relayed { at: arrival.at, from: Origin::Channel(number), data });
                }
                Err(_) => {}
            }
        }
    }
}

enum Taken {
    Reply(Box<Reply>),
    Other,
    Suspicious(String),
}

/// A response, told apart into success and the kinds of error.
pub(super) fn judge(reply: Reply) -> Result<Reply, Failure> {
    if reply.class == MessageClass::Success {
        return Ok(reply);
    }
    match reply.error_code() {
        Some(ErrorCode { code: 300, .. }) => match reply.address(attribute::ALTERNATE_SERVER) {
            Some(server) => Err(Failure::Alternate(server)),
            None => Err(Failure::Protocol("300 Try Alternate came without ALTERNATE-SERVER".to_owned())),
        },
        Some(error) => Err(Failure::Refused(error)),
        None => Err(Failure::Protocol("its error response carries no valid ERROR-CODE".to_owned())),
    }
}
