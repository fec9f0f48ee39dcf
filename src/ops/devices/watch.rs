//! Devices that come and go; mediacapture-main `devicechange`.

use super::{Options, Outcome, Report, list};
use crate::media::{DeviceInfo, DeviceKind};
use crate::progress::{Event, Progress};
use crate::stop::Stop;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked. No device is opened for that.
const LOOK: Duration = Duration::from_millis(500);
/// How often sound systems are asked, which costs more.
const ASK: Duration = Duration::from_secs(2);
/// After a change there are often more, and drivers take a moment.
const SETTLE: Duration = Duration::from_millis(300);

/// Tells of each change until `stop`, and gives the devices that are there then.
pub async fn watch(options: Options, progress: Arc<dyn Progress>, stop: Stop) -> Outcome {
    let mut outcome = super::run(options.clone()).await;
    let mut seen = seen().await;
    let hears = options.kinds.is_empty()
        || options.kinds.iter().any(|kind| matches!(kind, DeviceKind::AudioInput | DeviceKind::AudioOutput));
    let mut asked = Instant::now();
    progress.event(Event::Watching { devices: outcome.report.devices.len() });
    loop {
        tokio::select! {
            () = stop.stopped() => return outcome,
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = self::seen().await;
        // What a sound server makes up leaves no trace in the kernel.
        let ask = hears && asked.elapsed() >= ASK;
        if now == seen && !ask {
            continue;
        }
        if now != seen {
            tokio::time::sleep(SETTLE).await;
            seen = self::seen().await;
        }
        asked = Instant::now();
        let next = super::run(options.clone()).await;
        let (added, removed) = changes(&outcome.report, &next.report);
        if !added.is_empty() || !removed.is_empty() {
            progress.event(Event::DeviceChange { added, removed });
        }
        outcome = next;
    }
}

async fn seen() -> Vec<String> {
    tokio::task::spawn_blocking(list::fingerprint).await.unwrap_or_default()
}

fn changes(before: &Report, after: &Report) -> (Vec<DeviceInfo>, Vec<DeviceInfo>) {
    let missing_in = |from: &Report, other: &Report| {
        let is_there = |device: &DeviceInfo| other.devices.iter().any(|it| it.device_id == device.device_id);
        from.devices.iter().filter(|device| !is_there(device)).cloned().collect()
    };
    (missing_in(after, before), missing_in(before, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::DeviceSalt;

    fn report(names: &[&str]) -> Report {
        let device = |name: &&str| DeviceInfo {
            device_id: DeviceSalt::default().device_id(DeviceKind::VideoInput, name),
            group_id: String::new(),
            kind: DeviceKind::VideoInput,
            label: (*name).to_owned(),
            default: false,
            path: None,
            capabilities: None,
        };
        Report { devices: names.iter().map(device).collect(), ..Report::default() }
    }

    #[test]
    fn what_came_and_what_went_is_told_apart() {
        let (added, removed) = changes(&report(&["a", "b"]), &report(&["b", "c"]));
        assert_eq!((added[0].label.as_str(), added.len()), ("c", 1));
        assert_eq!((removed[0].label.as_str(), removed.len()), ("a", 1));
    }
}
