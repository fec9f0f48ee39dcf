//! How long a call lasts: its `--duration` from the moment it is up; where files are written, from the one with which they begin,
//! since they are to hold that much.

use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What a call waits at least for its files to begin.
const BEGINNING: Duration = Duration::from_secs(1);

/// When a call that is up is over.
pub(super) struct Lasting {
    duration: Option<Duration>,
    until: tokio::time::Instant,
    /// When the files begin; `None` without files, and once it was taken note of.
    files: Option<watch::Receiver<Option<Instant>>>,
}

impl Lasting {
    /// Of a call that is up from now on.
    pub fn begin(duration: Option<Duration>, files: Option<watch::Receiver<Option<Instant>>>) -> Self {
        let least = if files.is_some() { BEGINNING } else { Duration::ZERO };
        let until = tokio::time::Instant::now() + duration.unwrap_or_default().max(least);
        Self { duration, until, files }
    }

    /// Completes when it is over. Cancel-safe.
    pub async fn over(&mut self) {
        let Some(duration) = self.duration else { return std::future::pending().await };
        loop {
            let Some(files) = &mut self.files else { return tokio::time::sleep_until(self.until).await };
            tokio::select! {
                () = tokio::time::sleep_until(self.until) => return,
                Ok(_) = files.wait_for(Option::is_some) => {}
            }
            let begin = *files.borrow();
            self.files = None;
            if let Some(begin) = begin {
                self.until = tokio::time::Instant::from_std(begin) + duration;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_lasts_from_when_it_is_up_and_its_files_hold_as_much() {
        let short = Duration::from_millis(50);
        let now = tokio::time::Instant::now();
        Lasting::begin(Some(short), None).over().await;
        assert!((short..BEGINNING).contains(&now.elapsed()), "without files");
        let (files, begun) = watch::channel(None);
        let mut lasting = Lasting::begin(Some(short), Some(begun));
        assert!(lasting.until >= now + BEGINNING, "they get the time to begin");
        files.send_replace(Some(now.into_std() + Duration::from_millis(200)));
        lasting.over().await;
        assert_eq!(lasting.until, now + Duration::from_millis(250));
        let mut endless = Lasting::begin(None, None);
        assert!(tokio::time::timeout(short, endless.over()).await.is_err());
    }
}
