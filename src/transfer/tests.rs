//! Both ends over a channel in memory, which can be made to lie.

mod refusals;

use super::*;
use crate::error::{Classify, Error, ErrorKind};
use crate::progress::Silent;
use crate::stop::{Stop, StopReason};
use bytes::BytesMut;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// What happens to a message on its way; `None` cuts the channel.
type Meddle = Box<dyn FnMut(Frame) -> Option<Frame> + Send>;

struct Memory {
    sender: Mutex<Option<mpsc::Sender<Frame>>>,
    receiver: AsyncMutex<mpsc::Receiver<Frame>>,
    meddle: Mutex<Meddle>,
    most: usize,
}

fn pair(most: usize) -> (Memory, Memory) {
    let (left, from_left) = mpsc::channel(8);
    let (right, from_right) = mpsc::channel(8);
    let end = |sender, receiver| Memory {
        sender: Mutex::new(Some(sender)),
        receiver: AsyncMutex::new(receiver),
        meddle: Mutex::new(Box::new(Some)),
        most,
    };
    (end(left, from_right), end(right, from_left))
}

#[async_trait::async_trait]
impl MessageChannel for Memory {
    async fn send(&self, frame: Frame) -> Result<(), Error> {
        let size = match &frame {
            Frame::Text(text) => text.len(),
            Frame::Binary(bytes) => bytes.len(),
        };
        assert!(size <= self.most, "a message of {size} bytes");
        let frame = (self.meddle.lock().unwrap())(frame);
        let sender = match frame {
            Some(_) => self.sender.lock().unwrap().clone(),
            None => self.sender.lock().unwrap().take().and(None),
        };
        let closed = || Error::new(ErrorKind::SessionLost, "NetworkError", "cut");
        sender.ok_or_else(closed)?.send(frame.ok_or_else(closed)?).await.map_err(|_| closed())
    }

    async fn receive(&self) -> Option<Frame> {
        self.receiver.lock().await.recv().await
    }

    fn max_message_size(&self) -> usize {
        self.most
    }

    async fn flushed(&self) {}
}

/// What both ends made of it, and their reports.
struct Both {
    sent: Result<(), TransferError>,
    received: Result<(), TransferError>,
    sender: TransferReport,
    receiver: TransferReport,
}

impl Both {
    fn ok(self) -> Self {
        assert!(self.sent.is_ok() && self.received.is_ok(), "{:?} {:?}", self.sent, self.received);
        assert_eq!(self.sender.files.len(), self.receiver.files.len());
        for (ours, theirs) in self.sender.files.iter().zip(&self.receiver.files) {
            assert_eq!((&ours.path, ours.size, &ours.blake3), (&theirs.path, theirs.size, &theirs.blake3));
            assert_eq!((ours.state, ours.resumed_from), (theirs.state, theirs.resumed_from), "{}", ours.path);
        }
        self
    }
}

struct Case {
    paths: Vec<PathBuf>,
    to: PathBuf,
    existing: Existing,
    most: usize,
    meddle: Option<Meddle>,
}

impl Case {
    fn new(from: &Path, to: &Path) -> Self {
        let (paths, to) = (vec![from.to_owned()], to.to_owned());
        Self { paths, to, existing: Existing::Refuse, most: 64 << 10, meddle: None }
    }

    fn existing(self, existing: Existing) -> Self {
        Self { existing, ..self }
    }

    /// Does something to what the sender says.
    fn meddle(self, meddle: impl FnMut(Frame) -> Option<Frame> + Send + 'static) -> Self {
        Self { meddle: Some(Box::new(meddle)), ..self }
    }

    async fn run(self) -> Both {
        let (near, far) = pair(self.most);
        if let Some(meddle) = self.meddle {
            *near.meddle.lock().unwrap() = meddle;
        }
        let sources = Sources::scan(&self.paths, None, &ScanOptions::default()).unwrap();
        let tally = || Arc::new(Tally::new(Arc::new(Silent)));
        let (sender, receiver) = (tally(), tally());
        let options =
            ReceiveOptions { destination: Destination::Path(self.to), existing: self.existing, consent: None };
        let far_tally = Arc::clone(&receiver);
        let receiving = tokio::spawn(async move {
            let received = receive(&far, options, &far_tally, &Stop::new()).await;
            drop(far);
            received
        });
        let sent = send(&near, sources, &SendOptions::default(), &sender, &Stop::new()).await;
        drop(near);
        let received = receiving.await.unwrap();
        Both { sent, received, sender: sender.report(), receiver: receiver.report() }
    }
}

fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(length).collect()
}

/// Every file and folder below, with its content.
fn tree(folder: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
                found.push((name, None));
            } else {
                found.push((name, Some(fs::read(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

fn scratch() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::create_dir(&from).unwrap();
    (scratch, from, to)
}

#[tokio::test]
async fn a_tree_arrives_as_it_is_in_messages_of_any_size() {
    let (_scratch, from, to) = scratch();
    fs::create_dir_all(from.join("a/leer é/名前")).unwrap();
    for (index, size) in [0, 1, 4095, 4096, 65_536, 65_537, 300_000].into_iter().enumerate() {
        fs::write(from.join(format!("a/{size}")), noise(size, u32::try_from(index).unwrap())).unwrap();
    }
    (0..300).for_each(|n| fs::write(from.join(format!("a/leer é/{n}")), n.to_string()).unwrap());
    #[cfg(unix)]
    fs::set_permissions(from.join("a/1"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for most in [1100, 5000, 16 << 10, 64 << 10, 256 << 10] {
        let mut case = Case::new(&from, &to);
        // Manifests are cut for messages of 16 KiB, which every peer takes.
        case.most = most;
        if most < 16 << 10 {
            case.paths = vec![from.join("a/300000")];
            case.to = to.join("small");
            fs::create_dir_all(&case.to).unwrap();
        }
        case.run().await.ok();
        if most < 16 << 10 {
            assert!(fs::read(to.join("small/300000")).unwrap() == noise(300_000, 6));
        } else {
            assert_eq!(tree(&to.join("from")), tree(&from));
            let time = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
            assert_eq!(time(to.join("from/a/1")), time(from.join("a/1")));
            assert_eq!(time(to.join("from/a")), time(from.join("a")));
            #[cfg(unix)]
            for (name, executable) in [("1", true), ("0", false)] {
                let facts = fs::metadata(to.join("from/a").join(name)).unwrap();
                let mode = std::os::unix::fs::PermissionsExt::mode(&facts.permissions());
                assert_eq!(mode & 0o100 != 0, executable, "{name}");
            }
        }
        fs::remove_dir_all(&to).unwrap();
    }
}

#[tokio::test]
async fn one_file_gets_the_name_that_was_asked_for_and_a_folder_is_used_as_one() {
    let (_scratch, from, to) = scratch();
    let file = from.join("x");
    fs::write(&file, "x").unwrap();
    Case::new(&file, &to).run().await.ok();
    assert_eq!(fs::read(&to).unwrap(), b"x");
    let folder = to.with_file_name("folder");
    fs::create_dir(&folder).unwrap();
    Case::new(&file, &folder).run().await.ok();
    assert_eq!(tree(&folder), [("x".to_owned(), Some(b"x".to_vec()))]);
    let both = Case::new(&from, &to).run().await;
    assert!(matches!(both.received, Err(TransferError::Place { .. })), "{:?}", both.received);
    let new = to.with_file_name("new/");
    Case::new(&file, &new).run().await.ok();
    assert_eq!(tree(&new), [("x".to_owned(), Some(b"x".to_vec()))]);
}

#[tokio::test]
async fn what_exists_is_left_alone_replaced_passed_over_or_joined_as_asked() {
    let (_scratch, from, to) = scratch();
    fs::write(from.join("a.txt"), "new a").unwrap();
    fs::write(from.join("b.txt"), "new b").unwrap();
    let there = to.join("from");
    fs::create_dir_all(&there).unwrap();
    let old = || fs::write(there.join("a.txt"), "old").unwrap();
    old();
    let refused = Case::new(&from, &to).run().await;
    assert!(matches!(refused.received, Err(TransferError::Exists { .. })), "{:?}", refused.received);
    assert!(matches!(refused.sent, Err(TransferError::Peer { code: Code::Exists, .. })), "{:?}", refused.sent);
    assert_eq!(tree(&there).len(), 1, "nothing was received");

    let both = Case::new(&from, &to).existing(Existing::Skip).run().await.ok();
    assert_eq!(both.receiver.files[0].state, FileState::Skipped);
    assert_eq!(fs::read(there.join("a.txt")).unwrap(), b"old");

    Case::new(&from, &to).existing(Existing::Rename).run().await.ok();
    assert_eq!(fs::read(there.join("a.txt")).unwrap(), b"old");
    assert_eq!(fs::read(there.join("a-1.txt")).unwrap(), b"new a");

    let again = Case::new(&from, &to).existing(Existing::Overwrite).run().await.ok();
    assert_eq!(fs::read(there.join("a.txt")).unwrap(), b"new a");
    assert_eq!(again.receiver.bytes_transferred, 5, "b.txt was there, with its size and time: only hashed");
    assert_eq!(tree(&there).len(), 3);
}

#[tokio::test]
async fn a_file_that_is_there_already_is_verified_and_not_sent_again() {
    let (_scratch, from, to) = scratch();
    fs::write(from.join("a"), noise(100_000, 1)).unwrap();
    fs::write(from.join("empty"), "").unwrap();
    Case::new(&from, &to).run().await.ok();
    let again = Case::new(&from, &to).run().await.ok();
    assert_eq!((again.sender.bytes_transferred, again.sender.resumed_from), (0, 100_000));

    // Same size and time, other content: no reason to lose either.
    let path = to.join("from/a");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, noise(100_000, 2)).unwrap();
    fs::File::open(&path).unwrap().set_modified(time).unwrap();
    let refused = Case::new(&from, &to).run().await;
    assert!(matches!(refused.received, Err(TransferError::Exists { .. })), "{:?}", refused.received);
    assert!(fs::read(&path).unwrap() == noise(100_000, 2));
    Case::new(&from, &to).existing(Existing::Overwrite).run().await.ok();
    assert!(fs::read(&path).unwrap() == noise(100_000, 1));
}

#[tokio::test]
async fn a_cut_anywhere_leaves_a_part_from_which_the_next_run_goes_on() {
    let (_scratch, from, to) = scratch();
    let content = noise(5 << 20, 7);
    fs::write(from.join("big"), &content).unwrap();
    fs::write(from.join("small"), "small").unwrap();
    let (mut runs, mut moved) = (0, 0);
    loop {
        let mut left = 20 + runs;
        let cut = Case::new(&from, &to).meddle(move |frame| {
            left -= i32::from(matches!(frame, Frame::Binary(_)));
            (left > 0).then_some(frame)
        });
        let both = cut.run().await;
        runs += 1;
        moved += both.receiver.bytes_transferred;
        if both.received.is_ok() {
            both.sent.unwrap();
            break;
        }
        assert!(matches!(both.received, Err(TransferError::Closed)), "{:?}", both.received);
        let names: Vec<_> = tree(&to).into_iter().map(|(name, _)| name).collect();
        assert!(!names.contains(&"from/big".to_owned()), "{names:?}");
        assert!(runs < 20, "it does not get on");
    }
    assert!(runs > 3, "it was never cut");
    assert_eq!(tree(&to.join("from")), tree(&from), "and nothing else stays behind");
    assert_eq!(moved, content.len() as u64 + 5, "nothing is sent twice");
}

#[tokio::test]
async fn a_part_of_another_version_or_with_damage_is_not_gone_on_with() {
    let (_scratch, from, to) = scratch();
    let cut_after = |count: i32| {
        let mut left = count;
        move |frame: Frame| {
            left -= i32::from(matches!(frame, Frame::Binary(_)));
            (left > 0).then_some(frame)
        }
    };
    fs::write(from.join("big"), noise(3 << 20, 7)).unwrap();
    Case::new(&from, &to).meddle(cut_after(20)).run().await.received.unwrap_err();
    let part = to.join("from/big.part");
    let mut damaged = fs::read(&part).unwrap();
    assert!(damaged.len() > 1 << 20);
    damaged[1000] ^= 1;
    fs::write(&part, damaged).unwrap();
    let both = Case::new(&from, &to).run().await.ok();
    assert_eq!(both.sender.resumed_from, 0);

    fs::write(from.join("big"), noise(3 << 20, 8)).unwrap();
    fs::remove_dir_all(&to).unwrap();
    Case::new(&from, &to).meddle(cut_after(20)).run().await.received.unwrap_err();
    fs::write(from.join("big"), noise((3 << 20) + 1, 9)).unwrap();
    let both = Case::new(&from, &to).run().await.ok();
    assert_eq!(both.sender.resumed_from, 0);
    assert_eq!(tree(&to.join("from")), tree(&from));
}

#[tokio::test]
#[cfg(unix)]
async fn holes_stay_holes_and_cost_nothing() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let (_scratch, from, to) = scratch();
    let file = fs::File::create(from.join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"middle", 40 << 20).unwrap();
    drop(file);
    if fs::metadata(from.join("sparse")).unwrap().blocks() > 1000 {
        return; // A file system without holes.
    }
    let both = Case::new(&from, &to).run().await.ok();
    assert!(both.sender.bytes_transferred < 1 << 20, "{}", both.sender.bytes_transferred);
    assert_eq!(both.receiver.bytes, 64 << 20);
    assert!(fs::metadata(to.join("from/sparse")).unwrap().blocks() < 1000);
    assert!(fs::read(to.join("from/sparse")).unwrap() == fs::read(from.join("sparse")).unwrap());
}

#[tokio::test]
async fn a_corrupted_message_is_noticed_and_nothing_gets_a_name() {
    let (_scratch, from, to) = scratch();
    fs::write(from.join("a"), noise(200_000, 1)).unwrap();
    let mut count = 0;
    let both = Case::new(&from, &to)
        .meddle(move |frame| match frame {
            Frame::Binary(bytes) => {
                count += 1;
                let mut bytes = BytesMut::from(&bytes[..]);
                if count == 2 {
                    bytes[5000] ^= 0x40;
                }
                Some(Frame::Binary(bytes.freeze()))
            }
            text => Some(text),
        })
        .run()
        .await;
    assert!(matches!(both.received, Err(TransferError::Hash { .. })), "{:?}", both.received);
    let sent = both.sent.unwrap_err();
    assert_eq!(sent.kind(), ErrorKind::Integrity, "{sent}");
    assert_eq!(tree(&to), [("from".to_owned(), None)], "no part of it stays behind");
}

#[tokio::test]
async fn a_lost_or_doubled_message_is_noticed() {
    for lost in [true, false] {
        let (_scratch, from, to) = scratch();
        fs::write(from.join("a"), noise(400_000, 1)).unwrap();
        let mut last = None;
        let mut count = 0;
        let both = Case::new(&from, &to)
            .meddle(move |frame| match frame {
                Frame::Binary(bytes) => {
                    count += 1;
                    let before = last.replace(bytes.clone());
                    Some(match before.filter(|_| count == 3 && !lost) {
                        Some(before) => Frame::Binary(before),
                        None if count == 3 => Frame::Text(r#"{"type":"nothing"}"#.to_owned()),
                        None => Frame::Binary(bytes),
                    })
                }
                text => Some(text),
            })
            .run()
            .await;
        assert!(matches!(both.received, Err(TransferError::Protocol { .. })), "{:?}", both.received);
    }
}

#[tokio::test]
async fn a_file_that_changes_or_goes_fails_alone_and_the_others_arrive() {
    let (_scratch, from, to) = scratch();
    for name in ["a", "b", "c", "d"] {
        fs::write(from.join(name), noise(2 << 20, 3)).unwrap();
    }
    let inside = from.clone();
    let mut first = true;
    let both = Case::new(&from, &to)
        .meddle(move |frame| {
            if matches!(frame, Frame::Binary(_)) && std::mem::take(&mut first) {
                // The reader is ahead by a few messages at most.
                fs::remove_file(inside.join("c")).unwrap();
                fs::write(inside.join("d"), noise(2 << 20, 4)).unwrap();
                fs::write(inside.join("d"), "short").unwrap();
            }
            Some(frame)
        })
        .run()
        .await;
    for ended in [both.sent, both.received] {
        let error = ended.unwrap_err();
        assert!(matches!(&error, TransferError::Partial { failed: 2, files: 4, code: Code::Changed, .. }), "{error:?}");
        assert!(error.to_string().contains("removed"), "{error}");
    }
    let states: Vec<_> = both.receiver.files.iter().map(|file| file.state).collect();
    assert_eq!(states, [FileState::Done, FileState::Done, FileState::Failed, FileState::Failed]);
    let names: Vec<_> = tree(&to).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["from", "from/a", "from/b"]);
}

#[tokio::test]
#[cfg(unix)]
async fn links_in_the_way_are_never_followed() {
    let (scratch, from, to) = scratch();
    fs::create_dir(from.join("sub")).unwrap();
    // So large that its part has a name.
    fs::write(from.join("sub/file"), noise(1 << 20, 1)).unwrap();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir_all(to.join("from")).unwrap();
    std::os::unix::fs::symlink(&outside, to.join("from/sub")).unwrap();
    for existing in [Existing::Refuse, Existing::Overwrite, Existing::Rename, Existing::Skip] {
        let both = Case::new(&from, &to).existing(existing).run().await;
        assert!(matches!(both.received, Err(TransferError::Place { .. })), "{:?}", both.received);
    }
    fs::remove_file(to.join("from/sub")).unwrap();
    fs::create_dir(to.join("from/sub")).unwrap();
    // A link where a file or its part should be.
    let precious = outside.join("precious");
    fs::write(&precious, "precious").unwrap();
    std::os::unix::fs::symlink(&precious, to.join("from/sub/file.part")).unwrap();
    Case::new(&from, &to).run().await.received.unwrap_err();
    fs::remove_file(to.join("from/sub/file.part")).unwrap();
    std::os::unix::fs::symlink(&precious, to.join("from/sub/file")).unwrap();
    Case::new(&from, &to).existing(Existing::Overwrite).run().await.ok();
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(!to.join("from/sub/file").is_symlink());
}

#[tokio::test]
async fn names_as_long_as_the_file_system_takes_have_parts_too() {
    let (_scratch, from, to) = scratch();
    let name = "n".repeat(255);
    fs::write(from.join(&name), noise(2 << 20, 1)).unwrap();
    Case::new(&from, &to).run().await.ok();
    assert_eq!(tree(&to.join("from")), tree(&from));
}

#[tokio::test]
async fn a_stop_ends_both_and_keeps_what_came() {
    let (_scratch, from, to) = scratch();
    fs::write(from.join("a"), noise(4 << 20, 1)).unwrap();
    let (near, far) = pair(64 << 10);
    let sources = Sources::scan(std::slice::from_ref(&from), None, &ScanOptions::default()).unwrap();
    let tally = || Arc::new(Tally::new(Arc::new(Silent)));
    let (stop, never) = (Stop::new(), Stop::new());
    let slow = SendOptions { limit_rate: Some(2 << 20) };
    let options =
        ReceiveOptions { destination: Destination::Path(to.clone()), existing: Existing::Refuse, consent: None };
    let (sender, receiver) = (tally(), tally());
    let stopping = async {
        while receiver.report().bytes_transferred < 1 << 20 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        stop.stop(StopReason::Interrupt);
    };
    let (sent, received, ()) =
        tokio::join!(send(&near, sources, &slow, &sender, &stop), receive(&far, options, &receiver, &never), stopping);
    assert!(matches!(sent, Err(TransferError::Stopped)), "{sent:?}");
    assert!(matches!(received, Err(TransferError::Peer { code: Code::Cancelled, .. })), "{received:?}");
    assert!(fs::metadata(to.join("from/a.part")).unwrap().len() >= 1 << 20);
    let both = Case::new(&from, &to).run().await.ok();
    assert!(both.sender.resumed_from >= 1 << 20);
}
