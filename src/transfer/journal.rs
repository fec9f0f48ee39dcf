//! What is known of a part: which file it is the beginning of, and how much of it was on the disk for sure.
//!
//! Lines of JSON beside the part. The first says what the whole file is, so that the beginning of one version is never
//! taken for that of another; each that follows says that everything before an offset was synced. What lies behind the last of
//! them survives a kill, but maybe not a power cut: it is offered to the sender by its hash, and so is what lies before.

use super::manifest::{Entry, Modified};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Smaller files are sent again from their beginning, so their parts need no journal.
pub(super) const LEAST: u64 = 1 << 20;

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Whole {
    rtckit_part: u32,
    size: u64,
    modified: Option<Modified>,
}

#[derive(Serialize, Deserialize)]
struct Synced {
    synced: u64,
}

impl Whole {
    fn of(entry: &Entry) -> Option<Self> {
        let size = entry.size.filter(|size| *size >= LEAST)?;
        Some(Self { rtckit_part: 1, size, modified: entry.modified })
    }
}

/// Begins the journal of a part; `None` for a file that has none.
pub(super) fn begin(path: &Path, entry: &Entry) -> io::Result<Option<File>> {
    let Some(whole) = Whole::of(entry) else { return Ok(None) };
    // A link planted in a shared folder must not lead us to somebody's file.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
    line(&mut file, &whole)?;
    Ok(Some(file))
}

/// Goes on with the journal of a part.
pub(super) fn resume(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

/// Notes that everything before `offset` is on the disk.
pub(super) fn synced(journal: &mut File, offset: u64) -> io::Result<()> {
    line(journal, &Synced { synced: offset })?;
    journal.sync_data()
}

fn line(file: &mut File, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    file.write_all(&text)
}

/// Up to where the part was synced, if `path` is the journal of a part of this very file.
pub(super) fn read(path: &Path, entry: &Entry) -> Option<u64> {
    const MOST: u64 = 1 << 20;
    let expected = Whole::of(entry)?;
    if fs::symlink_metadata(path).ok().is_none_or(|facts| !facts.is_file() || facts.len() > MOST) {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let whole: Whole = serde_json::from_str(lines.next()?).ok()?;
    if whole != expected {
        return None;
    }
    // A line that a crash cut counts for nothing.
    Some(lines.filter_map(|line| serde_json::from_str::<Synced>(line).ok()).map(|line| line.synced).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_belongs_to_one_version_of_a_file_and_a_cut_line_counts_for_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("journal");
        let modified = Some(Modified { seconds: 5, nanoseconds: 6 });
        let entry = Entry { path: "a".into(), size: Some(LEAST), modified, ..Entry::default() };
        assert_eq!(read(&path, &entry), None);
        let mut journal = begin(&path, &entry).unwrap().unwrap();
        assert_eq!(read(&path, &entry), Some(0));
        synced(&mut journal, 100).unwrap();
        synced(&mut resume(&path).unwrap(), 200).unwrap();
        journal.write_all(b"{\"synced\":99").unwrap();
        assert_eq!(read(&path, &entry), Some(200));
        for other in [
            Entry { size: Some(LEAST + 1), ..entry.clone() },
            Entry { modified: Some(Modified { seconds: 5, nanoseconds: 7 }), ..entry.clone() },
            Entry { size: None, ..entry.clone() },
        ] {
            assert_eq!(read(&path, &other), None, "{other:?}");
        }
        fs::write(&path, b"\xff\x00garbage\n").unwrap();
        assert_eq!(read(&path, &entry), None);
        assert!(begin(&path, &Entry { size: Some(LEAST - 1), ..entry }).unwrap().is_none());
    }
}
