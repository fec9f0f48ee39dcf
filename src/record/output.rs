//! Where bytes go: a file that appears under its name only when it is whole, or a stream.
//!
//! A file grows as `NAME.part` beside its final name, locked for as long as it is written. A `.part` that nobody has locked
//! was left by a run that died, and is replaced. [`Output::finish`] syncs it to the disk and gives it its name, which it
//! never takes from another file unless asked to. An output that is dropped instead leaves its `.part` when that is worth
//! keeping, see [`Output::keep_unfinished`].

use crate::error::{Classify, ErrorKind};
use crate::numbered::numbered;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// What to write to.
pub enum Target {
    /// A file. A FIFO or device of that name is written to as a stream.
    File(PathBuf),
    /// A stream such as standard output, and what to call it in reports (usually `-`).
    Stream(Box<dyn Write + Send>, String),
}

/// What to do when the file exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Fail.
    #[default]
    Refuse,
    /// Replace it, once the new one is whole.
    Overwrite,
    /// Leave it, and take the first free name of `name-1.ext`, `name-2.ext`, …
    Rename,
}

/// Why an output failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The file exists and is to be left alone.
    #[error("{path}: the file exists")]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A whole recording could not get its name, since a file of that name had appeared meanwhile.
    #[error("{path}: a file of this name appeared meanwhile; what was written is in {part}")]
    Taken {
        /// The name it should have got.
        path: PathBuf,
        /// Where it is.
        part: PathBuf,
    },
    /// Another process is writing the same file.
    #[error("{path}: another process is writing it")]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// The name does not stand for something that can be written.
    #[error("{path}: not a file")]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file, or the name of the stream.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl Classify for OutputError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Output
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } | Self::Taken { .. } => {
                Some("choose another name, or ask to overwrite it or to rename the output".to_owned())
            }
            _ => None,
        }
    }
}

/// What became of an output that was finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The file, under the name it really got; `None` for a stream.
    pub path: Option<PathBuf>,
    /// Its length in bytes.
    pub bytes: u64,
}

/// An output being written. Everything blocks on the disk or pipe behind it; nothing is buffered.
pub struct Output {
    place: Place,
    /// Where the next byte goes, in bytes from the start.
    position: u64,
    keep: bool,
    syncer: Option<Syncer>,
}

/// Brings a file to the disk again and again, without whoever writes it having to wait.
struct Syncer {
    /// One wish is enough, however much is written while the disk is at it.
    wishes: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Syncer {
    fn start(file: File) -> io::Result<Self> {
        let (wishes, wished) = sync_channel(1);
        let thread = std::thread::Builder::new().name("record-sync".to_owned()).spawn(move || {
            while wished.recv().is_ok() {
                // A disk that fails will fail the writer too, which reports it.
                let _ = file.sync_data();
            }
        })?;
        Ok(Self { wishes, thread })
    }

    fn end(self) {
        drop(self.wishes);
        // It cannot panic, and there would be nobody to tell.
        let _ = self.thread.join();
    }
}

enum Place {
    File {
        file: File,
        part: PathBuf,
        path: PathBuf,
        wanted: PathBuf,
        existing: Existing,
    },
    Stream {
        writer: Box<dyn Write + Send>,
        name: PathBuf,
    },
    /// Finished, or handed over to `finish`.
    Gone,
}

impl Output {
    /// Opens `target`, so that what cannot be written fails here and not at the end of a recording.
    ///
    /// # Errors
    /// When the file exists and `existing` is [`Existing::Refuse`], when another process is writing it, and when the
    /// operating system refuses.
    pub fn create(target: Target, existing: Existing) -> Result<Self, OutputError> {
        let place = match target {
            Target::Stream(writer, name) => Place::Stream { writer, name: name.into() },
            Target::File(wanted) => match fs::metadata(&wanted) {
                Ok(there) if there.is_dir() => return Err(OutputError::NotAFile { path: wanted }),
                Ok(there) if !there.is_file() => {
                    let file = OpenOptions::new().write(true).open(&wanted).map_err(at(&wanted))?;
                    Place::Stream { writer: Box::new(file), name: wanted }
                }
                _ => create_file(&wanted, existing)?,
            },
        };
        Ok(Self { place, position: 0, keep: false, syncer: None })
    }

    /// The file's final name as far as it is known, or the stream's.
    pub fn name(&self) -> &Path {
        match &self.place {
            Place::File { path, .. } => path,
            Place::Stream { name, .. } => name,
            Place::Gone => Path::new(""),
        }
    }

    /// The file that is being written; `None` for a stream.
    pub fn part(&self) -> Option<&Path> {
        match &self.place {
            Place::File { part, .. } => Some(part),
            _ => None,
        }
    }

    /// Whether [`write_at`](Self::write_at) works.
    pub fn is_seekable(&self) -> bool {
        matches!(self.place, Place::File { .. })
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// From now on the `.part` is worth keeping if this output is never finished.
    pub fn keep_unfinished(&mut self) {
        self.keep = true;
    }

    /// From now on what is written reaches the disk as soon as the disk can take it, so that it survives a loss of power.
    /// Does nothing for a stream, and where there is no thread to be had.
    pub fn keep_durable(&mut self) {
        if let (Place::File { file, part, .. }, None) = (&self.place, &self.syncer) {
            self.syncer = file.try_clone().and_then(Syncer::start).ok();
            if let Ok(folder) = File::open(folder_of(part)) {
                // Its name must be on the disk too. Some file systems cannot sync a directory.
                let _ = folder.sync_all();
            }
        }
    }

    /// Appends `bytes`. When a file takes only a part of them, that part is cut off again, so that the file ends where the
    /// last whole write did.
    ///
    /// # Errors
    /// When the disk is full, the pipe closed, and so on.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        match &mut self.place {
            Place::File { file, part, .. } => {
                if let Err(error) = file.write_all(bytes) {
                    // The first error is the one to report.
                    let _ = file.set_len(self.position).and_then(|()| file.seek(SeekFrom::Start(self.position)));
                    return Err(at(part)(error));
                }
            }
            Place::Stream { writer, name } => {
                writer.write_all(bytes).and_then(|()| writer.flush()).map_err(at(name))?;
            }
            Place::Gone => {}
        }
        self.position += bytes.len() as u64;
        if let Some(syncer) = &self.syncer {
            // Full: it is about to be done anyhow.
            let _ = syncer.wishes.try_send(());
        }
        Ok(())
    }

    /// Replaces what was written at `offset` and leaves the end where it is. Files only.
    ///
    /// # Errors
    /// When the operating system refuses, and on a stream.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        match &mut self.place {
            Place::File { file, part, .. } => file
                .seek(SeekFrom::Start(offset))
                .and_then(|_| file.write_all(bytes))
                .and_then(|()| file.seek(SeekFrom::Start(self.position)))
                .map(|_| ())
                .map_err(at(part)),
            Place::Stream { name, .. } => Err(at(name)(io::ErrorKind::NotSeekable.into())),
            Place::Gone => Ok(()),
        }
    }

    /// Syncs a file to the disk and gives it its final name; flushes a stream.
    ///
    /// # Errors
    /// When the disk refuses or the name was taken meanwhile. The `.part` stays then, whole.
    pub fn finish(mut self) -> Result<Finished, OutputError> {
        let bytes = self.position;
        if let Some(syncer) = self.syncer.take() {
            syncer.end();
        }
        match std::mem::replace(&mut self.place, Place::Gone) {
            Place::File { file, part, path, wanted, existing } => {
                file.sync_all().map_err(at(&part))?;
                let path = publish(&part, path, &wanted, existing)?;
                if let Some(folder) = File::open(folder_of(&path)).ok().filter(|_| cfg!(unix)) {
                    // Some file systems cannot sync a directory; the file itself is safe.
                    let _ = folder.sync_all();
                }
                Ok(Finished { path: Some(path), bytes })
            }
            Place::Stream { mut writer, name } => {
                writer.flush().map_err(at(&name))?;
                Ok(Finished { path: None, bytes })
            }
            Place::Gone => Ok(Finished { path: None, bytes }),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(syncer) = self.syncer.take() {
            syncer.end();
        }
        if let Place::File { part, .. } = &self.place
            && !self.keep
        {
            // Still locked here, so it is ours. A file that cannot be removed is no reason to fail a drop.
            let _ = fs::remove_file(part);
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OutputError + use<> {
    let path = path.to_owned();
    |source| OutputError::Io { path, source }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether something of this name is there, a dangling link included.
fn is_taken(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn create_file(wanted: &Path, existing: Existing) -> Result<Place, OutputError> {
    if wanted.file_name().is_none() {
        return Err(OutputError::NotAFile { path: wanted.to_owned() });
    }
    for path in numbered(wanted) {
        if existing != Existing::Overwrite && is_taken(&path) {
            if existing == Existing::Rename {
                continue;
            }
            return Err(OutputError::Exists { path });
        }
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        match claim(&part) {
            Ok(Some(file)) => return Ok(Place::File { file, part, path, wanted: wanted.to_owned(), existing }),
            Ok(None) if existing == Existing::Rename => {}
            Ok(None) => return Err(OutputError::Busy { path }),
            Err(error) => return Err(at(&part)(error)),
        }
    }
    Err(OutputError::Exists { path: wanted.to_owned() })
}

/// Opens and locks `part`, empty; `None` when another process holds it.
fn claim(part: &Path) -> io::Result<Option<File>> {
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            // A link planted in a shared directory must not lead us to somebody's file.
            std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
        }
        let file = options.open(part)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            // File systems without locks: two writers of one name then are the user's to avoid.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // Between the opening and the lock its owner may have given it its final name, or removed it.
        if is_same_file(&file, part)? {
            file.set_len(0)?;
            return Ok(Some(file));
        }
    }
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_same_file(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

/// Gives a whole file that lies about as `part` the name `path`, as `existing` says.
pub(super) fn give_name(part: &Path, path: &Path, existing: Existing) -> Result<PathBuf, OutputError> {
    publish(part, path.to_owned(), path, existing)
}

/// Gives `part` its name, or the next free one when it may be renamed.
fn publish(part: &Path, path: PathBuf, wanted: &Path, existing: Existing) -> Result<PathBuf, OutputError> {
    match existing {
        Existing::Overwrite => fs::rename(part, &path).map(|()| path).map_err(at(part)),
        Existing::Refuse => match move_to_free_name(part, &path) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OutputError::Taken { path, part: part.to_owned() })
            }
            Err(error) => Err(at(part)(error)),
        },
        Existing::Rename => {
            for path in std::iter::once(path).chain(numbered(wanted)) {
                match move_to_free_name(part, &path) {
                    Ok(()) => return Ok(path),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(at(part)(error)),
                }
            }
            Err(OutputError::Taken { path: wanted.to_owned(), part: part.to_owned() })
        }
    }
}

/// Renames without ever replacing a file. `rename` replaces, so the new name is made as a link, which does not.
fn move_to_free_name(part: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(part, path) {
        Ok(()) => {
            // The recording is whole under its name; a second name for it is untidy, no failure.
            let _ = fs::remove_file(part);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // FAT and some network file systems have no links: own the name by creating it, then replace our own file.
        Err(_) => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            fs::rename(part, path).inspect_err(|_| {
                let _ = fs::remove_file(path);
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path, existing: Existing) -> Result<Output, OutputError> {
        Output::create(Target::File(path.to_owned()), existing)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_only_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.webm");
        let mut output = file(&path, Existing::Refuse).unwrap();
        output.write(b"hello world").unwrap();
        output.write_at(0, b"H").unwrap();
        output.write(b"!").unwrap();
        assert_eq!(names(folder.path()), ["a.webm.part"]);
        assert_eq!(output.finish().unwrap(), Finished { path: Some(path.clone()), bytes: 12 });
        assert_eq!(names(folder.path()), ["a.webm"]);
        assert_eq!(fs::read(&path).unwrap(), b"Hello world!");
    }

    #[test]
    fn an_existing_file_is_left_alone_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.b.webm");
        fs::write(&path, "old").unwrap();
        let Err(error) = file(&path, Existing::Refuse) else { panic!("refused") };
        assert_eq!(error.kind(), ErrorKind::Output);
        assert!(error.to_string().contains("a.b.webm: the file exists"), "{error}");
        assert_eq!(names(folder.path()), ["a.b.webm"], "not even a .part");

        for expected in ["a.b-1.webm", "a.b-2.webm"] {
            let finished = file(&path, Existing::Rename).unwrap().finish().unwrap();
            assert_eq!(finished.path.unwrap(), folder.path().join(expected));
        }
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let mut output = file(&path, Existing::Overwrite).unwrap();
        output.write(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old", "until the new one is whole");
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_appears_meanwhile_survives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let mut refused = file(&path, Existing::Refuse).unwrap();
        refused.write(b"ours").unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(refused.finish(), Err(OutputError::Taken { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(fs::read(folder.path().join("a.wav.part")).unwrap(), b"ours");

        let path = folder.path().join("b.wav");
        let renamed = file(&path, Existing::Rename).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert_eq!(renamed.finish().unwrap().path.unwrap(), folder.path().join("b-1.wav"));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }

    #[test]
    fn two_writers_never_share_a_part_and_a_dead_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.webm");
        fs::write(folder.path().join("a.webm.part"), "left by a run that died").unwrap();
        let mut first = file(&path, Existing::Overwrite).unwrap();
        first.write(b"one").unwrap();
        assert!(matches!(file(&path, Existing::Overwrite), Err(OutputError::Busy { .. })));
        let second = file(&path, Existing::Rename).unwrap();
        assert_eq!(second.finish().unwrap().path.unwrap(), folder.path().join("a-1.webm"));
        first.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_dropped_output_leaves_only_what_is_worth_keeping() {
        let folder = tempfile::tempdir().unwrap();
        drop(file(&folder.path().join("empty"), Existing::Refuse).unwrap());
        let mut useful = file(&folder.path().join("useful"), Existing::Refuse).unwrap();
        useful.write(b"x").unwrap();
        useful.keep_unfinished();
        drop(useful);
        assert_eq!(names(folder.path()), ["useful.part"]);
    }

    #[test]
    fn what_cannot_be_written_fails_at_the_start_and_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = file(&folder.path().join("missing/a.webm"), Existing::Refuse) else { panic!("no folder") };
        assert!(error.to_string().contains("missing/a.webm.part: No such file"), "{error}");
        assert!(matches!(file(folder.path(), Existing::Overwrite), Err(OutputError::NotAFile { .. })));
        assert!(file(Path::new(""), Existing::Overwrite).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("a.webm.part")).unwrap();
        assert!(file(&folder.path().join("a.webm"), Existing::Overwrite).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_a_stream_and_a_full_one_says_so() {
        let mut output = file(Path::new("/dev/full"), Existing::Refuse).unwrap();
        assert!(!output.is_seekable());
        let error = output.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Output);
        assert!(error.to_string().starts_with("/dev/full: No space left on device"), "{error}");
    }
}
