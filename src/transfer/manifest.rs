//! The list of what is sent, and what a receiver takes of it.

use super::error::TransferError;
use super::name::{self, Rules};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// As many files and folders fit into one transfer.
pub const MOST_ENTRIES: usize = 1_000_000;
/// As many bytes of names do.
pub const MOST_NAMES: usize = 128 << 20;
/// The largest file: 8 EiB less one, what offsets of files can say.
pub const MOST_SIZE: u64 = i64::MAX as u64;

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A file.
    #[default]
    File,
    /// A folder.
    Folder,
}

/// When a file was last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modified {
    /// Seconds since 1970, UTC.
    pub seconds: i64,
    /// And nanoseconds.
    #[serde(default)]
    pub nanoseconds: u32,
}

impl From<SystemTime> for Modified {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self { seconds: since.as_secs().cast_signed(), nanoseconds: since.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                let nanoseconds = (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000;
                let whole = before.as_secs() + u64::from(nanoseconds > 0);
                Self { seconds: whole.cast_signed().wrapping_neg(), nanoseconds }
            }
        }
    }
}

impl Modified {
    /// As the system has it; `None` when it cannot say so.
    pub fn to_system(self) -> Option<SystemTime> {
        let nanoseconds = Duration::from_nanos(u64::from(self.nanoseconds));
        let seconds = Duration::from_secs(self.seconds.unsigned_abs());
        let whole = if self.seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(seconds)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(seconds)
        };
        whole?.checked_add(nanoseconds)
    }
}

/// A file or folder that is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name, relative, `/` between its parts.
    pub path: String,
    /// What it is.
    #[serde(default)]
    pub kind: EntryKind,
    /// Bytes; absent when nobody knows before the end, and for folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes of it that are no holes; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated: Option<u64>,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Modified>,
    /// Whether it can be run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// What is sent, checked entry by entry.
#[derive(Debug, Default)]
pub struct Manifest {
    entries: Vec<Entry>,
    names: usize,
    bytes: u64,
    /// What each path is, to tell doubles and files that are used as folders.
    seen: HashMap<Box<str>, EntryKind>,
}

impl Manifest {
    /// Takes one more entry.
    ///
    /// # Errors
    /// When it is not acceptable: a name that leads elsewhere or was there before, too many, too large.
    pub fn push(&mut self, entry: Entry, rules: Rules) -> Result<(), TransferError> {
        let refuse = |why: &str| {
            let mut shown: String = name::shown(&entry.path);
            if let Some((end, _)) = shown.char_indices().nth(80) {
                shown.truncate(end);
            }
            Err(TransferError::Manifest { why: format!("{why}: '{shown}'") })
        };
        if let Some(why) = name::fault(&entry.path, rules) {
            return refuse(why);
        }
        self.names += entry.path.len();
        if self.entries.len() >= MOST_ENTRIES || self.names > MOST_NAMES {
            return Err(TransferError::Manifest {
                why: format!("more than {MOST_ENTRIES} entries, or names too long"),
            });
        }
        if entry.size.is_some_and(|size| size > MOST_SIZE) || entry.allocated > entry.size {
            return refuse("a size that no file has");
        }
        if entry.modified.is_some_and(|modified| modified.nanoseconds >= 1_000_000_000) {
            return refuse("a time that never was");
        }
        let mut above = entry.path.as_str();
        while let Some((folder, _)) = above.rsplit_once('/') {
            if self.seen.get(folder) == Some(&EntryKind::File) {
                return refuse("a file that is used as a folder");
            }
            above = folder;
        }
        if self.seen.insert(entry.path.as_str().into(), entry.kind).is_some() {
            return refuse("the same name twice");
        }
        let Some(bytes) = self.bytes.checked_add(entry.size.unwrap_or(0)) else {
            return refuse("more bytes than can be counted");
        };
        self.bytes = bytes;
        self.entries.push(entry);
        Ok(())
    }

    /// All entries; the index is the id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.entries.iter().filter(|entry| entry.kind == EntryKind::File).count()
    }

    /// The sizes of all of them together, as far as they are known.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether every size is known.
    pub fn is_sized(&self) -> bool {
        self.entries.iter().all(|entry| entry.kind == EntryKind::Folder || entry.size.is_some())
    }

    /// The entries, when nothing more is to be checked.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> Entry {
        Entry { path: path.into(), size: Some(size), ..Entry::default() }
    }

    #[test]
    fn a_manifest_that_lies_or_reaches_out_is_refused() {
        let folder = |path: &str| Entry { path: path.into(), kind: EntryKind::Folder, ..Entry::default() };
        for (entries, why) in [
            (vec![file("../a", 1)], ".."),
            (vec![file("a", 1), file("a", 2)], "twice"),
            (vec![folder("a"), file("a", 2)], "twice"),
            (vec![file("a", 1), file("a/b", 2)], "used as a folder"),
            (vec![file("a", 1), folder("a/b/c")], "used as a folder"),
            (vec![file("a", u64::MAX)], "size"),
            (vec![file("a", MOST_SIZE), file("b", MOST_SIZE), file("c", 2)], "counted"),
            (vec![Entry { allocated: Some(2), ..file("a", 1) }], "size"),
            (vec![Entry { modified: Some(Modified { seconds: 0, nanoseconds: 1 << 30 }), ..file("a", 1) }], "time"),
        ] {
            let mut manifest = Manifest::default();
            let refused = entries.into_iter().map(|entry| manifest.push(entry, Rules::Unix)).find_map(Result::err);
            assert!(refused.as_ref().is_some_and(|error| error.to_string().contains(why)), "{why}: {refused:?}");
        }
    }

    #[test]
    fn a_tree_is_taken_as_it_is() {
        let mut manifest = Manifest::default();
        let stream = Entry { path: "s".into(), ..Entry::default() };
        for entry in [Entry { kind: EntryKind::Folder, size: None, ..file("d", 0) }, file("d/a", 3), file("d/b", 4)] {
            manifest.push(entry, Rules::Unix).unwrap();
        }
        assert!(manifest.is_sized());
        manifest.push(stream, Rules::Unix).unwrap();
        assert_eq!((manifest.files(), manifest.bytes(), manifest.is_sized()), (3, 7, false));
    }

    #[test]
    fn times_before_and_after_1970_read_back() {
        for (seconds, nanoseconds) in [(0, 0), (1_700_000_000, 123_456_789), (-1, 0), (-1, 999_999_999), (-5, 1)] {
            let modified = Modified { seconds, nanoseconds };
            assert_eq!(Modified::from(modified.to_system().unwrap()), modified);
        }
        for seconds in [i64::MIN, i64::MAX] {
            // Systems differ in what they can say; none may panic.
            let modified = Modified { seconds, nanoseconds: 999_999_999 };
            assert!(modified.to_system().is_none_or(|time| Modified::from(time) == modified));
        }
    }
}
