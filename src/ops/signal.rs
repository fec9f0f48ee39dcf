//! The server of rooms: `rtckit signal`.

use crate::error::{Error, ErrorKind};
use crate::ice_server::{Family, IceServer};
use crate::peer::Interfaces;
use crate::probe;
use crate::progress::{Event, Progress};
use crate::rooms::{self, Authority, Server, Tls, Totals};
use crate::stop::Stop;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

pub use crate::ops::turn_probe::Rest;
pub use crate::rooms::{Limits, RedisOptions};
pub use crate::trust::Security;

/// What is served, and to whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address or host name, and port; 0 is any that is free.
    pub listen: String,
    /// TLS.
    pub security: Security,
    /// What clients may ask for.
    pub limits: Limits,
    /// Origins of pages that may connect besides our own; `*` is all.
    pub origins: Vec<String>,
    /// A folder that is served in place of the built-in page.
    pub files: Option<PathBuf>,
    /// What clients are told to use.
    pub ice_servers: Vec<IceServer>,
    /// Credentials for its TURN servers, made anew for each client.
    pub rest: Option<Rest>,
    /// The Redis in which rooms are shared with other servers, if they are.
    pub redis: Option<RedisOptions>,
}

/// What a server did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it listened.
    pub urls: Vec<String>,
    /// The counts.
    #[serde(flatten)]
    pub totals: Totals,
    /// How long it listened.
    pub seconds: f64,
}

/// The certificate of the user's own authority in `folder`, which is made if it is not there: PEM.
///
/// # Errors
/// When it cannot be read or made.
pub fn authority(folder: &Path) -> Result<String, Error> {
    Ok(Authority::load_or_create(folder)?.pem().to_owned())
}

/// Serves until `stop`.
///
/// # Errors
/// When the address, the certificate, the folder or Redis cannot be used.
pub async fn run(options: Options, progress: Arc<dyn Progress>, stop: Stop) -> Result<Report, Error> {
    let Options { listen, security, limits, origins, files, ice_servers, rest, redis } = options;
    check(&limits, &ice_servers, rest.is_some())?;
    let tls = tls(&security, &listen)?;
    // Each client takes a descriptor.
    super::raise_descriptor_limit();
    let ice_servers = Arc::new(move || for_client(&ice_servers, rest.as_ref()));
    let secure = tls.is_some();
    let server =
        Server::bind(rooms::Options { listen: listen.clone(), tls, limits, origins, files, ice_servers, redis })
            .await?;
    let address = server.address();
    if !secure && !address.ip().is_loopback() {
        let message = "without TLS everybody on the way can read and change what is exchanged here, and browsers keep camera and \
                       microphone from the page: see --self-signed, --tls-cert";
        progress.event(Event::Warning { message: message.to_owned() });
    }
    let began = Instant::now();
    let urls = urls(&listen, address, secure);
    progress.event(Event::Listening { urls: urls.clone() });
    let totals = server.serve(progress, stop).await;
    Ok(Report { urls, totals, seconds: began.elapsed().as_secs_f64() })
}

/// What a server at `listen` accepts TLS connections with; `None` where it takes others.
pub(super) fn tls(security: &Security, listen: &str) -> Result<Option<Tls>, Error> {
    Ok(match security {
        Security::None => None,
        Security::Files { certificate, key } => Some(Tls::from_files(certificate, key)?),
        Security::SelfSigned { folder } => Some(Tls::issued(&Authority::load_or_create(folder)?, &names(listen))?),
    })
}

fn check(limits: &Limits, ice_servers: &[IceServer], minted: bool) -> Result<(), Error> {
    let usage = |message: String| Err(Error::new(ErrorKind::Usage, "usage", message));
    let Limits { max_peers, max_rooms, max_clients, max_message_size, max_rate, idle_timeout, .. } = limits;
    if *max_peers < 2 || *max_rooms == 0 || *max_clients == 0 || *max_rate == 0 || idle_timeout.is_zero() {
        return usage("a limit is too low for two peers to meet".to_owned());
    }
    if !(1024..=16 << 20).contains(max_message_size) {
        return usage("messages may have 1 KiB to 16 MiB".to_owned());
    }
    match ice_servers.iter().find(|server| server.lacks_credentials() && !minted) {
        Some(server) => usage(format!("{} needs a user name and a credential", server.urls.join(", "))),
        None => Ok(()),
    }
}

/// The servers as one client is told of them.
fn for_client(servers: &[IceServer], rest: Option<&Rest>) -> Vec<IceServer> {
    let minted = rest.map(|rest| probe::mint(&rest.secret, rest.name.as_deref(), SystemTime::now(), rest.lifetime));
    let login = |mut server: IceServer| {
        if let (Some(minted), true) = (&minted, server.urls.iter().any(|url| url.starts_with("turn"))) {
            (server.username, server.credential) = (Some(minted.username.clone()), Some(minted.password.clone()));
        }
        server
    };
    servers.iter().cloned().map(login).collect()
}

/// The host of an address as it was given, where it is a name.
fn host_name(listen: &str) -> Option<&str> {
    let (host, _) = listen.rsplit_once(':')?;
    (!host.is_empty() && host.trim_matches(['[', ']']).parse::<IpAddr>().is_err()).then_some(host)
}

/// What this machine may be called by those who connect to it.
fn names(listen: &str) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(host_name(listen).map(str::to_owned));
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if !own.is_empty() && own.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
        if !own.contains('.') {
            names.push(format!("{own}.local"));
        }
        names.push(own);
    }
    names.extend(addresses().iter().map(IpAddr::to_string));
    names
        .extend(listen.parse::<SocketAddr>().ok().filter(|at| !at.ip().is_unspecified()).map(|at| at.ip().to_string()));
    names.sort();
    names.dedup();
    names
}

/// The addresses of this machine. None is no failure: it may not be connected.
fn addresses() -> Vec<IpAddr> {
    Interfaces::All.addresses(Family::Any).unwrap_or_default().iter().map(SocketAddr::ip).collect()
}

/// Where the page is, the best of them first.
fn urls(listen: &str, address: SocketAddr, secure: bool) -> Vec<String> {
    let scheme = if secure { "https" } else { "http" };
    let port = address.port();
    let at = |ip: IpAddr| format!("{scheme}://{}/", SocketAddr::new(ip, port));
    if let Some(name) = host_name(listen) {
        return vec![format!("{scheme}://{name}:{port}/")];
    }
    if !address.ip().is_unspecified() {
        return vec![at(address.ip())];
    }
    let reached = |ip: &IpAddr| !ip.is_loopback() && (address.is_ipv6() || ip.is_ipv4());
    let mut urls: Vec<String> = addresses().into_iter().filter(reached).map(at).collect();
    urls.push(at(Ipv4Addr::LOCALHOST.into()));
    urls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice_server::Secret;
    use std::time::Duration;

    #[test]
    fn each_client_gets_credentials_of_its_own_for_turn_alone() {
        let servers = [IceServer::parse("stun:a.example").unwrap(), IceServer::parse("turn:a.example").unwrap()];
        assert!(check(&Limits::default(), &servers, false).is_err());
        let rest = Rest { secret: Secret::new("north"), name: None, lifetime: Duration::from_secs(60) };
        check(&Limits::default(), &servers, true).unwrap();
        let told = for_client(&servers, Some(&rest));
        assert!(told[0].username.is_none() && told[1].credential.is_some());
        assert_eq!(for_client(&servers[..1], None), servers[..1]);
    }

    #[test]
    fn urls_are_such_that_can_be_opened() {
        let urls = |listen: &str, secure| urls(listen, listen.parse().unwrap(), secure);
        assert_eq!(urls("127.0.0.1:8443", false), ["http://127.0.0.1:8443/"]);
        assert_eq!(urls("[::1]:8443", true), ["https://[::1]:8443/"]);
        let all = urls("0.0.0.0:1", true);
        assert!(all.iter().all(|url| !url.contains("0.0.0.0")) && all.last().unwrap() == "https://127.0.0.1:1/");
        let named = super::urls("localhost:0", "127.0.0.1:77".parse().unwrap(), false);
        assert_eq!(named, ["http://localhost:77/"]);
    }
}
