//! `turn-probe`: what is wrong with STUN and TURN servers.
//!
//! ```text
//! URLs -> [probe::resolve] -> addresses -> [probe::examine], all side by side -> reports -> verdict
//!                                       -> [probe::nat_behaviour], --nat; [probe::gather], --gather
//! ```

mod options;
mod report;

pub use crate::peer::Interfaces;
pub use crate::probe::{
    Behaviour, Candidate, CandidateError, Certificate, Echo, Family, MIN_SIZE, Nat, Path, Prediction, RoundTrips,
    ServerReport, Settings, Stage, StageReport, Throughput, Trust, Udp, Verdict,
};
pub use options::{Options, Rest, matrix};
pub use report::{Outcome, Report, Summary};

use crate::error::{Error, ErrorKind};
use crate::peer::PeerError;
use crate::probe::{self, Target};
use crate::progress::Progress;
use crate::stop::Stop;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Examines all servers at all their addresses, side by side.
///
/// # Errors
/// When the options make no sense. What is wrong with a server is in the report.
pub async fn run(options: &Options, progress: Arc<dyn Progress>, stop: Stop) -> Result<Outcome, Error> {
    let began = Instant::now();
    options.check()?;
    let targets = options.targets()?;
    let settings = Arc::new(options.settings(&targets)?);
    let mut report = if options.gather {
        gather(targets, options, &settings, &stop).await?
    } else {
        let nat = async {
            match options.nat {
                true => Some(nat(&targets, options.family, &settings, &stop).await),
                false => None,
            }
        };
        let servers = examine_all(targets.clone(), options.family, &settings, &progress, &stop);
        let (servers, nat) = tokio::join!(servers, nat);
        Report { nat, ..Report::of(servers) }
    };
    if options.any_suffices && report.summary.ok > 0 {
        report.summary.verdict = Verdict::Ok;
    }
    report.summary.seconds = began.elapsed().as_secs_f64();
    Ok(Outcome { report, stopped: stop.reason() })
}

/// Runs again and again, from start to start `every` apart, until it is stopped or `duration` is over.
///
/// # Errors
/// See [`run`].
pub async fn run_every(
    options: &Options,
    every: Duration,
    duration: Option<Duration>,
    progress: Arc<dyn Progress>,
    stop: Stop,
    mut shown: impl FnMut(&Report),
) -> Result<Outcome, Error> {
    let end = duration.map(|duration| Instant::now() + duration);
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut worst = Verdict::Ok;
    let mut last = None;
    loop {
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            () = over => break,
            _ = tick.tick() => {}
        }
        let outcome = run(options, Arc::clone(&progress), stop.clone()).await?;
        if outcome.stopped.is_some() && outcome.report.servers.iter().any(|server| server.verdict.is_none()) {
            // A round that was cut short says nothing.
            last = last.or(Some(outcome));
            break;
        }
        worst = worst.max(outcome.report.summary.verdict);
        shown(&outcome.report);
        last = Some(outcome);
    }
    let mut outcome = last.unwrap_or_else(|| Outcome { report: Report::of(Vec::new()), stopped: None });
    outcome.report.summary.verdict = worst;
    // Being ended is how this ends.
    outcome.stopped = None;
    Ok(outcome)
}

/// Foretells whether two sides will find a direct path, from the JSON reports of `turn-probe --nat` on each.
///
/// # Errors
/// When one of them is no such report.
pub fn predict(one: &str, other: &str) -> Result<Report, Error> {
    let nat = |text: &str| -> Result<Nat, Error> {
        let fail = |why: String| {
            Error::new(ErrorKind::InvalidInput, "DataError", why)
                .with_hint("it must be what turn-probe --nat --json wrote")
        };
        let mut report: serde_json::Value =
            serde_json::from_str(text).map_err(|error| fail(format!("a report is not JSON: {error}")))?;
        let nat = report.get_mut("nat").map(serde_json::Value::take);
        let nat = nat.ok_or_else(|| fail("a report says nothing of a NAT".to_owned()))?;
        serde_json::from_value(nat).map_err(|error| fail(format!("a report's 'nat' cannot be read: {error}")))
    };
    Ok(Report { prediction: Some(probe::predict(&nat(one)?, &nat(other)?)), ..Report::of(Vec::new()) })
}

/// The addresses of the servers, each once, and what is wrong with those that have none.
async fn addresses(
    targets: Vec<Target>,
    family: Family,
    timeout: Duration,
    stop: &Stop,
) -> (Vec<(Target, SocketAddr)>, Vec<ServerReport>) {
    let mut tasks = JoinSet::new();
    for (place, target) in targets.into_iter().enumerate() {
        tasks.spawn(async move {
            let resolved = probe::resolve(&target, family, timeout).await;
            (place, target, resolved)
        });
    }
    let mut all = Vec::new();
    loop {
        tokio::select! {
            done = tasks.join_next() => match done {
                Some(done) => all.push(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))),
                None => break,
            },
            () = stop.stopped() => break,
        }
    }
    all.sort_by_key(|(place, ..)| *place);
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    for (_, target, resolved) in all {
        match resolved {
            Ok(resolved) => found.extend(resolved.addresses.into_iter().map(|address| (target.clone(), address))),
            Err(report) => lost.push(*report),
        }
    }
    (found, lost)
}

async fn nat(targets: &[Target], family: Family, settings: &Settings, stop: &Stop) -> Nat {
    // Whatever the transport is: STUN over UDP has its own port only where TLS does not use it.
    let plain = targets.iter().filter(|target| !target.url.transport.is_secure()).cloned().collect();
    let (found, _) = addresses(plain, family, settings.timeout, stop).await;
    let mut servers: Vec<SocketAddr> = found.into_iter().map(|(_, address)| address).collect();
    // NAT is a matter of IPv4; where there is none, IPv6 is looked at.
    if servers.iter().any(SocketAddr::is_ipv4) {
        servers.retain(SocketAddr::is_ipv4);
    }
    let mut once = HashSet::new();
    servers.retain(|server| once.insert(*server));
    probe::nat_behaviour(&servers, &settings.local, stop).await
}

async fn gather(targets: Vec<Target>, options: &Options, settings: &Settings, stop: &Stop) -> Result<Report, Error> {
    let ours = options.interfaces.addresses(options.family).map_err(PeerError::erase)?;
    let ours: Vec<IpAddr> = ours.into_iter().map(|address| address.ip()).collect();
    let count = targets.len();
    let (found, lost) = addresses(targets, options.family, settings.timeout, stop).await;
    let mut gathered = probe::gather(&found, &ours, settings, stop).await;
    gathered.errors.extend(lost.into_iter().map(|report| CandidateError {
        url: report.url,
        address: None,
        error_code: CandidateError::UNREACHABLE,
        error_text: report.message.unwrap_or_default(),
        verdict: Verdict::Dns,
    }));
    let mut report = Report::of(Vec::new());
    report.summary.servers = count;
    let failed: HashSet<&str> = gathered.errors.iter().map(|error| error.url.as_str()).collect();
    report.summary.ok = count.saturating_sub(failed.len());
    report.summary.verdict = gathered.errors.iter().map(|error| error.verdict).max().unwrap_or(Verdict::Ok);
    Ok(Report { candidates: Some(gathered.candidates), candidate_errors: Some(gathered.errors), ..report })
}

async fn examine_all(
    targets: Vec<Target>,
    family: Family,
    settings: &Arc<Settings>,
    progress: &Arc<dyn Progress>,
    stop: &Stop,
) -> Vec<ServerReport> {
    let mut tasks = JoinSet::new();
    for (place, target) in targets.into_iter().enumerate() {
        let (settings, progress, stop) = (Arc::clone(settings), Arc::clone(progress), stop.clone());
        tasks.spawn(async move { (place, examine_one(target, family, settings, progress, stop).await) });
    }
    let mut reports = Vec::new();
    while let Some(done) = tasks.join_next().await {
        // A task only fails to join when it panicked, which is a bug that must be seen.
        reports.push(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    reports.sort_by_key(|(place, _)| *place);
    reports.into_iter().flat_map(|(_, reports)| reports).collect()
}

/// One server, at all its addresses.
async fn examine_one(
    target: Target,
    family: Family,
    settings: Arc<Settings>,
    progress: Arc<dyn Progress>,
    stop: Stop,
) -> Vec<ServerReport> {
    let resolved = tokio::select! {
        resolved = probe::resolve(&target, family, settings.timeout) => resolved,
        () = stop.stopped() => return Vec::new(),
    };
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(report) => {
            report.announce(progress.as_ref());
            return vec![*report];
        }
    };
    let target = Arc::new(target);
    let mut tasks = JoinSet::new();
    for (place, address) in resolved.addresses.iter().copied().enumerate() {
        let (target, settings, progress, stop) =
            (Arc::clone(&target), Arc::clone(&settings), Arc::clone(&progress), stop.clone());
        let stage = resolved.stage.clone();
        tasks.spawn(async move {
            let report = probe::examine(&target, address, stage, &settings, progress.as_ref(), &stop).await;
            (place, report)
        });
    }
    let mut reports = Vec::new();
    while let Some(done) = tasks.join_next().await {
        reports.push(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    reports.sort_by_key(|(place, _)| *place);
    let mut reports: Vec<_> = reports.into_iter().map(|(_, report)| report).collect();
    for address in resolved.without_route {
        if let Some(first) = reports.first_mut() {
            first.notes.push(format!("not examined at {}: this machine has no route to it", address.ip()));
        }
    }
    reports
}
