//! What a probe is asked to do.

use crate::error::{Error, ErrorKind};
use crate::ice_server::{IceServer, Secret, ServerTransport, ServerUrl};
use crate::peer::{Interfaces, PeerError};
use crate::probe::{self, Credentials, Family, MIN_SIZE, Settings, Target, Trust};
use std::time::{Duration, SystemTime};

/// How REST credentials are made: see [`probe::mint`].
#[derive(Clone, Debug)]
pub struct Rest {
    /// The secret that the server shares.
    pub secret: Secret,
    /// The name behind the time of expiry.
    pub name: Option<String>,
    /// How long they hold.
    pub lifetime: Duration,
}

/// What a probe is asked to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The servers.
    pub servers: Vec<IceServer>,
    /// In place of the credentials of the TURN servers.
    pub rest: Option<Rest>,
    /// At which of their addresses.
    pub family: Family,
    /// From which of ours.
    pub interfaces: Interfaces,
    /// Whether the NAT in front of us is examined as well.
    pub nat: bool,
    /// Whether candidates are gathered in place of an examination.
    pub gather: bool,
    /// Whether it is enough that one of the servers is ok: for a matrix of transports and ports.
    pub any_suffices: bool,
    /// Whether certificates that do not hold end nothing.
    pub insecure: bool,
    /// The rest. `trust` and `local` come from the members above.
    pub settings: Settings,
}

/// The URLs of a server on every transport and port.
pub fn matrix(host: &str, ports: &[u16], turn: bool) -> Vec<String> {
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let each = ports.iter().flat_map(|port| ServerTransport::ALL.map(|transport| (*port, transport)));
    each.map(|(port, transport)| ServerUrl { turn, host: host.clone(), port, transport }.to_string()).collect()
}

impl Options {
    /// A permission lasts five minutes (RFC 8656 section 9), and is not renewed.
    const LONGEST: Duration = Duration::from_secs(240);
    /// Larger packets are sent in parts by IP, which relays seldom pass on.
    const MOST_SIZE: usize = 8192;

    pub(super) fn check(&self) -> Result<(), Error> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, "usage", message));
        let Settings { packets, size, interval, throughput, .. } = self.settings;
        if self.servers.is_empty() {
            return usage("no server to probe".to_owned());
        }
        if packets == 0 || !(MIN_SIZE..=Self::MOST_SIZE).contains(&size) {
            return usage(format!("packets must be 1 or more, of {MIN_SIZE} to {} bytes", Self::MOST_SIZE));
        }
        if interval.saturating_mul(packets) + throughput.unwrap_or_default() > Self::LONGEST {
            return usage(format!(
                "packets and throughput may take {} s together: a relay forgets its permissions after five minutes",
                Self::LONGEST.as_secs()
            ));
        }
        Ok(())
    }

    /// One target for each URL.
    pub(super) fn targets(&self) -> Result<Vec<Target>, Error> {
        let now = SystemTime::now();
        let mut targets = Vec::new();
        for server in &self.servers {
            let given = server.username.clone().zip(server.credential.clone());
            let given = given.map(|(username, password)| Credentials { username, password });
            for shown in &server.urls {
                let url = ServerUrl::parse(shown)?;
                let minted = self.rest.as_ref().filter(|_| url.turn);
                let credentials = match minted {
                    Some(rest) => Some(probe::mint(&rest.secret, rest.name.as_deref(), now, rest.lifetime)),
                    None => given.clone(),
                };
                if credentials.as_ref().is_some_and(|login| login.username.len() > probe::LONGEST_USERNAME) {
                    let why = format!("a user name has at most {} bytes (RFC 8489)", probe::LONGEST_USERNAME);
                    return Err(Error::new(ErrorKind::Usage, "usage", why));
                }
                targets.push(Target {
                    shown: shown.clone(),
                    credentials,
                    minted: minted.map(|rest| rest.lifetime),
                    url,
                });
            }
        }
        Ok(targets)
    }

    /// The settings, with what has to be found out on this machine.
    pub(super) fn settings(&self, targets: &[Target]) -> Result<Settings, Error> {
        let secure = targets.iter().any(|target| target.url.transport.is_secure());
        let mut local = Vec::new();
        if self.interfaces != Interfaces::All {
            let ours = self.interfaces.addresses(self.family).map_err(PeerError::erase)?;
            for ip in ours.into_iter().map(|address| address.ip()) {
                if !local.iter().any(|other: &std::net::IpAddr| other.is_ipv4() == ip.is_ipv4()) {
                    local.push(ip);
                }
            }
        }
        Ok(Settings {
            trust: if secure { Trust::of_system(self.insecure) } else { Trust::none() },
            local,
            ..self.settings.clone()
        })
    }
}
