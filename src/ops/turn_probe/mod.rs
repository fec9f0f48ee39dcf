//! `turn-probe`: what is wrong with STUN and TURN servers.
//!
//! ```text
//! URLs -> [probe::resolve] -> addresses -> [probe::examine], all side by side -> reports -> verdict
//! ```

mod options;
mod report;

pub use crate::peer::Interfaces;
pub use crate::probe::{
    Certificate, Echo, Family, MIN_SIZE, RoundTrips, ServerReport, Settings, Stage, StageReport, Throughput, Trust,
    Verdict,
};
pub use options::{Options, Rest};
pub use report::{Outcome, Report, Summary};

use crate::error::Error;
use crate::probe::{self, Target};
use crate::progress::Progress;
use crate::stop::Stop;
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
    let servers = examine_all(targets, options.family, &settings, &progress, &stop).await;
    let report = Report::new(servers, began.elapsed());
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
    let mut outcome =
        last.unwrap_or_else(|| Outcome { report: Report::new(Vec::new(), Duration::ZERO), stopped: None });
    outcome.report.summary.verdict = worst;
    // Being ended is how this ends.
    outcome.stopped = None;
    Ok(outcome)
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
        Err(report) => return vec![*report],
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
