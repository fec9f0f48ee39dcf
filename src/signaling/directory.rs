//! Signaling through a folder that both sides see: `offer.json` and `answer.json`, each whole from the moment it is there.
//!
//! Without trickle: one description each way. What an earlier run left behind is told apart by its age: whoever waits for
//! an answer touches its offer every half second, so an offer that nobody touched for [`STALE`] has no caller any more. Ages are
//! taken from the folder's own clock, so those of the machines need not agree; an offer that changes while we look is
//! alive whatever its age, which serves folders that are copied from machine to machine. An answer says which offer it
//! is for (see `peer::negotiate`), and one for another offer is left alone.

use super::{Description, DescriptionKind, Message, Reader, SdpFormat, Signaling, SignalingError};
use crate::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often to look for the other side's file.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a waiting caller touches its offer.
const TOUCH_EVERY: Duration = Duration::from_millis(500);
/// An offer that was not touched for this long has nobody who waits for its answer.
const STALE: Duration = Duration::from_secs(3);

/// One side's view of the folder. What it wrote is removed when it is closed or dropped.
pub struct Directory {
    folder: PathBuf,
    format: SdpFormat,
    ours: Option<Ours>,
    /// The time and length of an offer that was there when we came, and is too old.
    stale: Option<(SystemTime, u64)>,
    done: bool,
    touched: tokio::time::Instant,
}

/// What we wrote.
struct Ours {
    name: &'static str,
    text: String,
    /// The session id of an offer.
    session: Option<String>,
}

const OFFER: &str = "offer.json";
const ANSWER: &str = "answer.json";

impl Directory {
    /// Signaling through `folder`, which is made if only it itself is missing.
    ///
    /// # Errors
    /// When it cannot be made or is no folder.
    pub fn open(folder: &Path, format: SdpFormat) -> Result<Self, SignalingError> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(folder)(error)),
            _ => {}
        }
        if !folder.is_dir() {
            return Err(at(folder)(io::ErrorKind::NotADirectory.into()));
        }
        let touched = tokio::time::Instant::now();
        Ok(Self { folder: folder.to_owned(), format, ours: None, stale: None, done: false, touched })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Another caller that waits in this folder; one that was killed seems to for a while.
    async fn await_no_caller(&self) -> Result<(), SignalingError> {
        let offer = self.path(OFFER);
        let begin = tokio::time::Instant::now();
        while self.age(&offer)?.is_some_and(|age| age < STALE) {
            if begin.elapsed() > STALE + TOUCH_EVERY {
                return Err(SignalingError::Taken { path: offer });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// How old a file is by the clock of its folder; `None` when it is not there.
    fn age(&self, path: &Path) -> Result<Option<Duration>, SignalingError> {
        let written = match fs::metadata(path).and_then(|facts| facts.modified()) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(path)(error)),
        };
        let probe = self.folder.join(format!(".now-{}", std::process::id()));
        let now = fs::File::create(&probe).and_then(|file| file.metadata()?.modified());
        // A folder in which we may not write answers nothing anyhow; that is told when we do.
        let _ = fs::remove_file(&probe);
        Ok(Some(now.unwrap_or_else(|_| SystemTime::now()).duration_since(written).unwrap_or_default()))
    }

    fn publish(
        &mut self,
        name: &'static str,
        message: &Message,
        session: Option<String>,
    ) -> Result<(), SignalingError> {
        let path = self.path(name);
        let draft = self.folder.join(format!(".{name}-{}", std::process::id()));
        let text = self.format.encode(message);
        let write = || {
            let mut file = fs::File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&draft);
            at(&path)(error)
        })?;
        self.ours = Some(Ours { name, text, session });
        Ok(())
    }

    /// The description in the file `name`, if it is there and of now.
    fn look(&mut self, name: &'static str) -> Result<Option<Description>, SignalingError> {
        let path = self.path(name);
        let read = |path: &Path| Ok((fs::read(path)?, fs::metadata(path)?));
        let (bytes, facts) = match read(&path) {
            Ok(read) => read,
            Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        if name == OFFER {
            let seen = (facts.modified().unwrap_or(SystemTime::UNIX_EPOCH), facts.len());
            let changed = self.stale.is_some_and(|stale| stale != seen);
            if !changed && self.age(&path)?.is_some_and(|age| age >= STALE) {
                if self.stale.replace(seen).is_none() {
                    tracing::warn!("{}: an old offer, its caller is gone; waiting for a new one", path.display());
                }
                return Ok(None);
            }
        }
        let mut reader = Reader::new();
        reader.push(&bytes);
        let message = match reader.next()? {
            Some(message) => Some(message),
            None => reader.finish()?,
        };
        match message {
            Some(Message::Description(description)) => Ok(Some(description)),
            _ => Err(SignalingError::Empty),
        }
    }

    fn remove_ours(&mut self) {
        if let Some(ours) = self.ours.take() {
            let path = self.path(ours.name);
            // The other side may have removed it, and others may use the folder by now.
            if fs::read(&path).is_ok_and(|text| text == ours.text.as_bytes()) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.remove_ours();
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SignalingError + use<> {
    let path = path.to_owned();
    |source| SignalingError::File { path, source }
}

/// What follows `prefix` on its line of the SDP.
fn line<'a>(sdp: &'a str, prefix: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix(prefix))
}

#[async_trait::async_trait]
impl Signaling for Directory {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        let Message::Description(description) = message else { return Ok(()) };
        if description.kind == DescriptionKind::Offer {
            self.await_no_caller().await?;
            let _ = fs::remove_file(self.path(ANSWER));
            let id = line(&description.sdp, "o=").and_then(|origin| origin.split_whitespace().nth(1));
            self.publish(OFFER, message, id.map(str::to_owned))?;
            self.touched = tokio::time::Instant::now();
        } else {
            self.publish(ANSWER, message, None)?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        if self.done {
            return Ok(None);
        }
        loop {
            let offer = self.ours.as_ref().filter(|ours| ours.name == OFFER).map(|ours| ours.session.clone());
            let found = self.look(if offer.is_some() { ANSWER } else { OFFER })?;
            match (found, &offer) {
                (Some(answer), Some(id)) => {
                    let reply_to = line(&answer.sdp, super::IN_REPLY_TO);
                    if reply_to.is_none() || reply_to == id.as_deref() {
                        self.done = true;
                        let _ = fs::remove_file(self.path(ANSWER));
                        self.remove_ours();
                        return Ok(Some(Message::Description(answer)));
                    }
                }
                (Some(offer), None) => {
                    self.done = true;
                    return Ok(Some(Message::Description(offer)));
                }
                (None, _) => {}
            }
            if offer.is_some() && self.touched.elapsed() >= TOUCH_EVERY {
                self.touched = tokio::time::Instant::now();
                let path = self.path(OFFER);
                let touch = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                touch.map_err(at(&path))?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn trickles(&self) -> bool {
        false
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.remove_ours();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(id: &str) -> Message {
        let sdp = super::super::sdp::tests::OFFER.to_owned();
        let origin = line(&sdp, "o=").unwrap().split_whitespace().nth(1).unwrap().to_owned();
        Message::Description(Description { kind: DescriptionKind::Offer, sdp: sdp.replace(&origin, id) })
    }

    fn answer(to: &str) -> Message {
        let Message::Description(Description { sdp, .. }) = offer("7") else { unreachable!() };
        let at = sdp.find("\r\nm=").unwrap() + 2;
        let sdp = format!("{}{}{to}\r\n{}", &sdp[..at], super::super::IN_REPLY_TO, &sdp[at..]);
        Message::Description(Description { kind: DescriptionKind::Answer, sdp })
    }

    #[tokio::test]
    async fn an_offer_and_its_answer_cross_and_nothing_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut caller = Directory::open(folder.path(), SdpFormat::Compact).unwrap();
        let mut callee = Directory::open(folder.path(), SdpFormat::Json).unwrap();
        caller.send(&offer("11")).await.unwrap();
        assert_eq!(callee.receive().await.unwrap(), Some(offer("11")));
        callee.send(&answer("11")).await.unwrap();
        assert_eq!(caller.receive().await.unwrap(), Some(answer("11")));
        assert_eq!((caller.receive().await.unwrap(), callee.receive().await.unwrap()), (None, None));
        caller.close().await.unwrap();
        callee.close().await.unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn an_offer_whose_caller_is_gone_is_passed_over_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut gone = Directory::open(folder.path(), SdpFormat::Json).unwrap();
        gone.send(&offer("1")).await.unwrap();
        std::mem::forget(gone);
        let left = fs::File::open(folder.path().join(OFFER)).unwrap();
        left.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let mut callee = Directory::open(folder.path(), SdpFormat::Json).unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(100), callee.receive());
        assert!(waiting.await.is_err(), "a stale offer was taken");
        let mut caller = Directory::open(folder.path(), SdpFormat::Json).unwrap();
        caller.send(&offer("2")).await.unwrap();
        assert_eq!(callee.receive().await.unwrap(), Some(offer("2")));
    }

    #[tokio::test]
    async fn an_answer_to_another_offer_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut caller = Directory::open(folder.path(), SdpFormat::Json).unwrap();
        caller.send(&offer("11")).await.unwrap();
        let mut late = Directory::open(folder.path(), SdpFormat::Json).unwrap();
        late.send(&answer("10")).await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(100), caller.receive());
        assert!(waiting.await.is_err(), "the answer to another offer was taken");
        late.send(&answer("11")).await.unwrap();
        assert_eq!(caller.receive().await.unwrap(), Some(answer("11")));
    }

    #[tokio::test]
    async fn two_callers_in_one_folder_are_one_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Directory::open(folder.path(), SdpFormat::Json).unwrap();
        first.send(&offer("1")).await.unwrap();
        let waits = tokio::spawn(async move { first.receive().await });
        let mut second = Directory::open(folder.path(), SdpFormat::Json).unwrap();
        let error = second.send(&offer("2")).await.unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Output, "{error}");
        waits.abort();
    }
}
