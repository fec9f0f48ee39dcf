//! Names of servers, and where they are.

use super::examine::Target;
use super::report::{ServerReport, Stage, StageReport};
use super::verdict::Verdict;
pub use crate::ice_server::Family;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Where a server is.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Addresses to examine.
    pub addresses: Vec<SocketAddr>,
    /// Addresses of a family that this machine has no route for, which is no fault of the server.
    pub without_route: Vec<SocketAddr>,
    /// How the look-up went; `None` where the URL held an address.
    pub stage: Option<StageReport>,
}

/// Looks up the host of `target`.
///
/// # Errors
/// The report of a server that cannot be found.
pub async fn resolve(target: &Target, family: Family, timeout: Duration) -> Result<Resolved, Box<ServerReport>> {
    let began = Instant::now();
    let (host, port) = (target.url.bare_host(), target.url.port);
    let literal = host.parse::<std::net::IpAddr>().is_ok();
    let found = tokio::time::timeout(timeout, tokio::net::lookup_host((host, port))).await;
    let found: Result<Vec<SocketAddr>, String> = match found {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(error.to_string().replace("failed to lookup address information: ", "")),
        Err(_) => Err(format!("no name server answered within {:.1} s", timeout.as_secs_f64())),
    };
    let mut addresses = found.map_err(|why| not_found(target, began, why))?;
    addresses.retain(|address| family.admits(&address.ip()));
    let mut once = std::collections::HashSet::new();
    addresses.retain(|address| once.insert(*address));
    if addresses.is_empty() {
        return Err(not_found(target, began, "it has no address of this family".to_owned()));
    }
    let list = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
    let seconds = began.elapsed().as_secs_f64();
    let stage = (!literal).then_some(StageReport {
        stage: Stage::Dns,
        ok: true,
        seconds,
        error_code: None,
        message: Some(list),
    });
    let (mut reachable, mut without_route): (Vec<_>, Vec<_>) = addresses.into_iter().partition(has_route);
    if reachable.is_empty() {
        std::mem::swap(&mut reachable, &mut without_route);
    }
    Ok(Resolved { addresses: reachable, without_route, stage })
}

fn has_route(address: &SocketAddr) -> bool {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    UdpSocket::bind(local).and_then(|socket| socket.connect(address)).is_ok()
}

fn not_found(target: &Target, began: Instant, why: String) -> Box<ServerReport> {
    let mut report = ServerReport::new(target, None);
    let seconds = began.elapsed().as_secs_f64();
    report.stages.push(StageReport {
        stage: Stage::Dns,
        ok: false,
        seconds,
        error_code: None,
        message: Some(why.clone()),
    });
    report.verdict = Some(Verdict::Dns);
    report.message = Some(format!("its name cannot be resolved: {why}"));
    Box::new(report)
}
