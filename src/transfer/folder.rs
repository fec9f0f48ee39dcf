//! Where received files go: which name each gets, what is there already, and how a part becomes a file.
//!
//! Nothing is written before the whole manifest was held against the folder. A part grows as `NAME.part` beside its final name,
//! locked, or without a name if it is small; it gets the name once it is verified and synced, and never takes it from another
//! file unless asked to. No link inside of the folder is ever followed.

use super::error::TransferError;
use super::journal;
use super::manifest::{Entry, EntryKind, Manifest, Modified};
use super::name;
use super::session::MOST_BEGINNINGS;
use super::wire::Have;
use crate::numbered::numbered;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
#[cfg(target_os = "linux")]
use std::sync::LazyLock;

/// How many names are tried for one file of a peer that may send as many of one name as it likes.
const MOST_NAMES: usize = 10_000;

/// What to do with a file that is there and is not the one that is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Receive nothing at all.
    #[default]
    Refuse,
    /// Replace it, once the new one is whole.
    Overwrite,
    /// Leave it, and take the first free name of `name-1.ext`, `name-2.ext`, …
    Rename,
    /// Leave it, and do not receive that file.
    Skip,
}

/// What becomes of one entry.
pub(super) enum Target {
    /// A folder to be made.
    Folder(PathBuf),
    /// A file, and what is there of it.
    File(PathBuf, Beginnings),
    /// Nothing.
    Skip,
}

/// What is there of a file.
#[derive(Default)]
pub(super) enum Beginnings {
    /// Nothing.
    #[default]
    None,
    /// A file that seems to be it: its hash.
    Whole(blake3::Hash),
    /// A part: hashes of some beginnings of it, the longest last.
    Part(Vec<(u64, blake3::Hasher)>),
}

/// What becomes of all entries.
pub(super) struct Layout {
    pub targets: Vec<Target>,
    /// Bytes that are still to come.
    pub needed: u64,
    /// A folder that exists, on the file system that is written to.
    pub nearest: PathBuf,
    /// A folder to be made first.
    pub root: Option<PathBuf>,
}

impl Layout {
    /// Holds `manifest` against what is at `place`. Writes nothing; reads parts that can be gone on with. Blocks.
    pub(super) fn plan(manifest: &Manifest, place: &Path, existing: Existing) -> Result<Self, TransferError> {
        let entries = manifest.entries();
        let alone = matches!(entries, [entry] if entry.kind == EntryKind::File);
        let named_folder = place.as_os_str().as_encoded_bytes().ends_with(b"/");
        // Without the `/` at its end, with which a file would not be found.
        let named: PathBuf = place.components().collect();
        let facts = fs::metadata(&named).ok();
        let is_folder = facts.as_ref().is_some_and(Metadata::is_dir);
        if facts.is_some() && !is_folder && (named_folder || !alone) {
            return Err(TransferError::Place { path: place.to_owned(), why: "not a folder" });
        }
        let as_file = alone && !is_folder && !named_folder;
        let nearest = match (is_folder, place.parent()) {
            (true, _) => place.to_owned(),
            (false, Some(parent)) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if !nearest.is_dir() {
            let source = io::ErrorKind::NotFound.into();
            return Err(TransferError::Write { path: nearest, source });
        }
        let mut planner = Planner { existing, safe: HashSet::new(), taken: HashSet::new() };
        let mut needed = 0_u64;
        let mut targets = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = if as_file { place.to_owned() } else { place.join(name::to_path(&entry.path)) };
            if !as_file {
                planner.check_above(place, &path)?;
            }
            let target = match entry.kind {
                EntryKind::Folder => planner.folder(path)?,
                EntryKind::File => planner.file(path, entry)?,
            };
            if let Target::File(_, beginnings) = &target {
                let there = match beginnings {
                    Beginnings::None => 0,
                    Beginnings::Whole(_) => entry.size.unwrap_or(0),
                    Beginnings::Part(parts) => parts.last().map_or(0, |(offset, _)| *offset),
                };
                let size = entry.allocated.or(entry.size).unwrap_or(0);
                needed = needed.saturating_add(size.saturating_sub(there));
            }
            targets.push(target);
        }
        let root = (!as_file && !is_folder).then(|| place.to_owned());
        Ok(Self { targets, needed, nearest, root })
    }

    /// Whether there is room for what is to come.
    pub(super) fn check_space(&self) -> Result<(), TransferError> {
        #[cfg(unix)]
        if let Ok(facts) = rustix::fs::statvfs(&self.nearest) {
            let free = facts.f_bavail.saturating_mul(facts.f_frsize);
            // File systems without blocks say nothing about room.
            if facts.f_blocks > 0 && self.needed > free {
                return Err(TransferError::NoSpace { path: self.nearest.clone(), needed: self.needed, free });
            }
        }
        Ok(())
    }

    /// What the sender is told: files that are not wanted, and beginnings that are there.
    pub(super) fn for_sender(&self, entries: &[Entry]) -> (Vec<u32>, Vec<Have>) {
        let (mut skip, mut have) = (Vec::new(), Vec::new());
        for (file, (target, entry)) in (0..).zip(self.targets.iter().zip(entries)) {
            match target {
                Target::Skip => skip.push(file),
                Target::File(_, Beginnings::Whole(hash)) => {
                    have.push(Have { file, offset: entry.size.unwrap_or(0), blake3: hash.to_hex().to_string() });
                }
                Target::File(_, Beginnings::Part(parts)) => have.extend(parts.iter().map(|(offset, hasher)| Have {
                    file,
                    offset: *offset,
                    blake3: hasher.finalize().to_hex().to_string(),
                })),
                Target::Folder(_) | Target::File(_, Beginnings::None) => {}
            }
        }
        (skip, have)
    }
}

struct Planner {
    existing: Existing,
    /// Folders that were found to be folders, or missing.
    safe: HashSet<PathBuf>,
    /// Names that earlier entries will get.
    taken: HashSet<PathBuf>,
}

impl Planner {
    fn check_above(&mut self, root: &Path, path: &Path) -> Result<(), TransferError> {
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
            if self.safe.contains(folder) {
                return Ok(());
            }
            match fs::symlink_metadata(folder) {
                Ok(facts) if facts.is_dir() => {}
                Ok(facts) => return Err(not_a_folder(folder, &facts)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(TransferError::write(folder)(error)),
            }
            self.safe.insert(folder.to_owned());
        }
        Ok(())
    }

    fn folder(&mut self, path: PathBuf) -> Result<Target, TransferError> {
        match fs::symlink_metadata(&path) {
            Ok(facts) if !facts.is_dir() => Err(not_a_folder(&path, &facts)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TransferError::write(path)(error)),
            _ => Ok(Target::Folder(path)),
        }
    }

    fn file(&mut self, wanted: PathBuf, entry: &Entry) -> Result<Target, TransferError> {
        for path in numbered(&wanted).take(MOST_NAMES) {
            if self.taken.contains(&path) {
                continue;
            }
            let facts = match fs::symlink_metadata(&path) {
                Ok(facts) => facts,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.taken.insert(path.clone());
                    let beginnings = read_part(&path, entry)?;
                    return Ok(Target::File(path, beginnings));
                }
                Err(error) => return Err(TransferError::write(path)(error)),
            };
            if facts.is_dir() {
                return Err(TransferError::Place { path, why: "a folder of this name exists" });
            }
            if self.existing == Existing::Skip {
                return Ok(Target::Skip);
            }
            if let Some(hash) = read_whole(&path, &facts, entry)? {
                self.taken.insert(path.clone());
                return Ok(Target::File(path, Beginnings::Whole(hash)));
            }
            match self.existing {
                Existing::Refuse | Existing::Skip => return Err(TransferError::Exists { path }),
                Existing::Overwrite => {
                    self.taken.insert(path.clone());
                    let beginnings = read_part(&path, entry)?;
                    return Ok(Target::File(path, beginnings));
                }
                Existing::Rename => {}
            }
        }
        Err(TransferError::Exists { path: wanted })
    }
}

fn not_a_folder(path: &Path, facts: &Metadata) -> TransferError {
    let why = if facts.is_symlink() { "a symbolic link where a folder should be" } else { "not a folder" };
    TransferError::Place { path: path.to_owned(), why }
}

/// The name of the part of a file, and that of its journal.
pub(super) fn part_names(path: &Path) -> (PathBuf, PathBuf) {
    const JOURNAL: &str = ".part.journal";
    let name = path.file_name().unwrap_or_default();
    let mut stem = name.to_owned();
    if name.len() + JOURNAL.len() > name::MOST_PART {
        stem = format!(".{}", &blake3::hash(name.as_encoded_bytes()).to_hex()[..32]).into();
    }
    let with = |ending: &str| {
        let mut name = stem.clone();
        name.push(ending);
        path.with_file_name(name)
    };
    (with(".part"), with(JOURNAL))
}

/// The hash of a file that has the size and the time of the one that is sent.
fn read_whole(path: &Path, facts: &Metadata, entry: &Entry) -> Result<Option<blake3::Hash>, TransferError> {
    let same_time = entry.modified.is_some() && facts.modified().ok().map(Modified::from) == entry.modified;
    if !facts.is_file() || entry.size != Some(facts.len()) || !same_time {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(TransferError::write(path))?;
    let hashed = hash_up_to(&mut file, &[facts.len()]).map_err(TransferError::write(path))?;
    Ok(hashed.last().map(|(_, hasher)| hasher.finalize()))
}

/// The beginnings that the part of a file has, if it has a part and that is of this file.
fn read_part(path: &Path, entry: &Entry) -> Result<Beginnings, TransferError> {
    let (part, journal) = part_names(path);
    let Some(synced) = journal::read(&journal, entry) else { return Ok(Beginnings::None) };
    let Ok(mut file) = open_part(&part, false) else { return Ok(Beginnings::None) };
    let length = file.metadata().map_err(TransferError::write(&part))?.len().min(entry.size.unwrap_or(0));
    let mut offsets: Vec<u64> = [synced, length].into_iter().filter(|offset| (1..=length).contains(offset)).collect();
    offsets.dedup();
    offsets.truncate(MOST_BEGINNINGS);
    let beginnings = hash_up_to(&mut file, &offsets).map_err(TransferError::write(&part))?;
    Ok(if beginnings.is_empty() { Beginnings::None } else { Beginnings::Part(beginnings) })
}

/// Hashes of the beginnings of a file that end at `offsets`, which must be in order; as far as the file goes.
fn hash_up_to(file: &mut File, offsets: &[u64]) -> io::Result<Vec<(u64, blake3::Hasher)>> {
    let mut block = vec![0; 1 << 20];
    let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
    let mut found = Vec::new();
    for offset in offsets {
        while at < *offset {
            let length = usize::try_from(offset - at).unwrap_or(usize::MAX).min(block.len());
            let count = file.read(&mut block[..length])?;
            if count == 0 {
                return Ok(found);
            }
            hasher.update(&block[..count]);
            at += count as u64;
        }
        found.push((at, hasher.clone()));
    }
    Ok(found)
}

fn open_part(part: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create);
    #[cfg(unix)]
    {
        // A link planted in a shared folder must not lead us to somebody's file; a FIFO must not hold us.
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    let file = options.open(part)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    Ok(file)
}

/// A file that grows.
pub(super) struct Part {
    pub file: File,
    pub path: PathBuf,
    /// `None` for a file without a name, which is gone when it is closed.
    named: Option<Named>,
}

/// Where a part is until it is whole.
struct Named {
    part: PathBuf,
    journal: Option<File>,
    journal_path: PathBuf,
}

impl Part {
    /// Opens the part of `path`, locked, with `offset` bytes of it kept; without a name if it is small.
    pub(super) fn open(path: &Path, entry: &Entry, offset: u64, existing: Existing) -> Result<Self, TransferError> {
        if existing != Existing::Overwrite
            && entry.size.is_some_and(|size| size < journal::LEAST)
            && let Some(file) = open_unnamed(path)
        {
            return Ok(Self { file, path: path.to_owned(), named: None });
        }
        let (part, journal_path) = part_names(path);
        let fail = || TransferError::write(&part);
        let file = open_part(&part, true).map_err(fail())?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(TransferError::Place { path: path.to_owned(), why: "another process is receiving it" });
            }
            // File systems without locks: two receivers of one name then are the user's to avoid.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let length = file.metadata().map_err(fail())?.len();
        if length < offset {
            return Err(TransferError::Place { path: part, why: "it became shorter meanwhile" });
        }
        if length > offset {
            file.set_len(offset).map_err(fail())?;
        }
        (&file).seek(SeekFrom::Start(offset)).map_err(fail())?;
        let journal =
            if offset > 0 { journal::resume(&journal_path).map(Some) } else { journal::begin(&journal_path, entry) };
        let journal = journal.map_err(TransferError::write(&journal_path))?;
        Ok(Self { file, path: path.to_owned(), named: Some(Named { part, journal, journal_path }) })
    }

    /// The file that is being written.
    pub(super) fn name(&self) -> &Path {
        self.named.as_ref().map_or(&self.path, |named| &named.part)
    }

    /// What is noted of it, for a file that can be gone on with.
    pub(super) fn journal(&self) -> Option<&File> {
        self.named.as_ref()?.journal.as_ref()
    }

    /// Gives the file the time and the right to be run of the one that was sent.
    pub(super) fn dress(&self, entry: &Entry) -> Result<(), TransferError> {
        #[cfg(unix)]
        if entry.executable {
            use std::os::unix::fs::PermissionsExt;
            let mut permissions = self.file.metadata().map_err(TransferError::write(self.name()))?.permissions();
            // Whoever may read it may run it.
            permissions.set_mode(permissions.mode() | (permissions.mode() & 0o444) >> 2);
            self.file.set_permissions(permissions).map_err(TransferError::write(self.name()))?;
        }
        if let Some(time) = entry.modified.and_then(Modified::to_system) {
            self.file.set_modified(time).map_err(TransferError::write(self.name()))?;
        }
        Ok(())
    }

    /// Gives the part, synced by now, its name. Gives the name it got.
    pub(super) fn publish(self, existing: Existing) -> Result<PathBuf, TransferError> {
        let path = match (&self.named, existing) {
            (Some(named), Existing::Overwrite) => {
                fs::rename(&named.part, &self.path).map_err(TransferError::write(&self.path))?;
                self.path.clone()
            }
            _ => self.publish_free(existing)?,
        };
        if let Some(Named { journal: Some(_), journal_path, .. }) = &self.named {
            // The file is whole; a journal that stays behind is untidy, no failure.
            let _ = fs::remove_file(journal_path);
        }
        Ok(path)
    }

    fn publish_free(&self, existing: Existing) -> Result<PathBuf, TransferError> {
        for path in numbered(&self.path).take(MOST_NAMES) {
            let moved = match &self.named {
                Some(named) => move_to_free_name(&named.part, &path),
                None => give_name(&self.file, &path),
            };
            match moved {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if existing != Existing::Rename {
                        break;
                    }
                }
                Err(error) => return Err(TransferError::write(path)(error)),
            }
        }
        Err(TransferError::Exists { path: self.path.clone() })
    }

    /// Removes what was received of a file that will not be completed, or keeps what can be gone on with.
    pub(super) fn abandon(self, keep: bool) {
        let Some(named) = self.named else { return };
        let length = self.file.metadata().map_or(0, |facts| facts.len());
        if keep && named.journal.is_some() && length > 0 {
            return;
        }
        // Still locked, so they are ours. What cannot be removed is no reason to fail.
        let _ = fs::remove_file(&named.part);
        if named.journal.is_some() {
            let _ = fs::remove_file(&named.journal_path);
        }
    }
}

/// Opens a file that has no name yet, beside where it will be; `None` where there is no such thing, or anything is in the way.
fn open_unnamed(path: &Path) -> Option<File> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        static NAMEABLE: LazyLock<bool> = LazyLock::new(|| Path::new("/proc/self/fd").is_dir());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        NAMEABLE.then(|| openat(CWD, folder, flags, Mode::from_bits_retain(0o666)).ok())?.map(File::from)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

/// Gives a file that [`open_unnamed`] opened its name, if that is free.
fn give_name(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, linkat};
        use std::os::fd::AsRawFd;
        let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, path);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Removes the journal that a run left behind which was killed between naming a file and removing it.
pub(super) fn tidy(path: &Path, entry: &Entry) {
    let (_, journal) = part_names(path);
    if journal::read(&journal, entry).is_some() {
        let _ = fs::remove_file(journal);
    }
}

/// Renames without ever replacing a file.
fn move_to_free_name(part: &Path, path: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, part, CWD, path, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
            done => return Ok(done?),
        }
    }
    match fs::hard_link(part, path) {
        Ok(()) => fs::remove_file(part),
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

/// Syncs parts to the disk: all at once where there are many.
pub(super) fn sync(parts: &[&Part]) -> Result<(), TransferError> {
    #[cfg(target_os = "linux")]
    if parts.len() > 4 {
        use std::os::unix::fs::MetadataExt;
        let mut devices: HashMap<u64, &Part> = HashMap::new();
        for part in parts {
            devices.insert(part.file.metadata().map_err(TransferError::write(part.name()))?.dev(), part);
        }
        for part in devices.into_values() {
            rustix::fs::syncfs(&part.file).map_err(|error| TransferError::write(part.name())(error.into()))?;
        }
        return Ok(());
    }
    parts.iter().try_for_each(|part| part.file.sync_all().map_err(TransferError::write(part.name())))
}

/// Syncs the folders in which files got their names.
pub(super) fn sync_folders<'a>(paths: impl Iterator<Item = &'a PathBuf>) {
    let folders: HashSet<&Path> = paths.filter_map(|path| path.parent()).collect();
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        // Some file systems cannot sync a folder; the files themselves are safe.
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
    }
}
