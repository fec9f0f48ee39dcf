//! What is to be sent: paths of the user walked into a list of files, folders and at most one stream.

use super::error::TransferError;
use super::exclude::Exclude;
use super::manifest::{Entry, EntryKind, Manifest, Modified};
use super::name::Rules;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What to look at and what to leave out.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// Patterns of names that are left out.
    pub exclude: Vec<String>,
    /// Whether links inside of folders are followed; else they are left out. A path that was named itself always is.
    pub follow_symlinks: bool,
    /// What a stream is called.
    pub stream_name: String,
}

/// Where the content of an entry is.
pub enum Source {
    /// A folder has none.
    Folder,
    /// In a file.
    File(PathBuf),
    /// In a stream, which is read once.
    Stream(Box<dyn Read + Send>),
}

/// What is to be sent, and where it is.
#[derive(Default)]
pub struct Sources {
    /// What the receiver is told.
    pub manifest: Manifest,
    /// Where each entry is.
    pub places: Vec<Source>,
    /// What was left out although nobody asked for it, one line each.
    pub left_out: Vec<String>,
}

impl Sources {
    /// Walks `paths`; a path `-` stands for `stream`. Reads no content. Blocks.
    ///
    /// # Errors
    /// When something is not there or may not be read, has a name that is no UTF-8, or two would be sent by one name.
    pub fn scan(
        paths: &[PathBuf],
        mut stream: Option<Box<dyn Read + Send>>,
        options: &ScanOptions,
    ) -> Result<Self, TransferError> {
        let exclude = Exclude::new(&options.exclude);
        let mut sources = Self::default();
        let mut walk = Walk { sources: &mut sources, exclude: &exclude, follow: options.follow_symlinks };
        for path in paths {
            if path.as_os_str() == "-" {
                let Some(stream) = stream.take() else {
                    return Err(TransferError::SameName { path: "-".to_owned() });
                };
                let entry = Entry { path: options.stream_name.clone(), ..Entry::default() };
                walk.take(entry, Source::Stream(stream))?;
                continue;
            }
            let facts = fs::metadata(path).map_err(TransferError::read(path))?;
            let name = sent_name(path)?;
            walk.visit(path, name, &facts, true, &mut Vec::new())?;
        }
        if sources.places.is_empty() {
            let path = paths.first().cloned().unwrap_or_default();
            return Err(TransferError::Source { path, why: "nothing to send: everything is excluded" });
        }
        Ok(sources)
    }
}

/// The last part of a path as it is sent; that of `.` is its folder's.
fn sent_name(path: &Path) -> Result<String, TransferError> {
    let resolved;
    let named = match path.file_name() {
        Some(name) => name,
        None => {
            resolved = fs::canonicalize(path).map_err(TransferError::read(path))?;
            resolved.file_name().unwrap_or_else(|| std::ffi::OsStr::new("root"))
        }
    };
    utf8(path, named)
}

fn utf8(path: &Path, name: &std::ffi::OsStr) -> Result<String, TransferError> {
    let fail = || TransferError::Source { path: path.to_owned(), why: "its name is no UTF-8" };
    name.to_str().map(str::to_owned).ok_or_else(fail)
}

struct Walk<'a> {
    sources: &'a mut Sources,
    exclude: &'a Exclude,
    follow: bool,
}

impl Walk<'_> {
    fn take(&mut self, entry: Entry, place: Source) -> Result<(), TransferError> {
        let path = entry.path.clone();
        self.sources.manifest.push(entry, Rules::Unix).map_err(|error| match error {
            TransferError::Manifest { why } if why.contains("twice") => TransferError::SameName { path },
            other => other,
        })?;
        self.sources.places.push(place);
        Ok(())
    }

    fn leave_out(&mut self, path: &Path, why: &str) {
        self.sources.left_out.push(format!("{}: {why}", path.display()));
    }

    /// `above` holds the folders that lead here, so that a link back to one of them ends.
    fn visit(
        &mut self,
        path: &Path,
        name: String,
        facts: &Metadata,
        asked_for: bool,
        above: &mut Vec<(u64, u64)>,
    ) -> Result<(), TransferError> {
        if self.exclude.matches(&name, facts.is_dir()) {
            return Ok(());
        }
        if facts.is_dir() {
            let identity = identity(facts);
            if above.contains(&identity) {
                self.leave_out(path, "a link to a folder that it is in");
                return Ok(());
            }
            let modified = facts.modified().ok().map(Modified::from);
            let entry = Entry { path: name.clone(), kind: EntryKind::Folder, modified, ..Entry::default() };
            self.take(entry, Source::Folder)?;
            above.push(identity);
            let mut inside: Vec<PathBuf> = fs::read_dir(path)
                .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>())
                .map_err(TransferError::read(path))?;
            inside.sort_unstable();
            for path in inside {
                let part = utf8(&path, path.file_name().unwrap_or_default())?;
                self.visit_inside(&path, format!("{name}/{part}"), above)?;
            }
            above.pop();
            return Ok(());
        }
        if facts.is_file() {
            readable(path)?;
            return self.take(file_entry(name, facts), Source::File(path.to_owned()));
        }
        if !asked_for {
            self.leave_out(path, "neither a file nor a folder");
            return Ok(());
        }
        // A FIFO or a device that was named: `send-file <(command)`.
        let stream = fs::File::open(path).map_err(TransferError::read(path))?;
        self.take(Entry { path: name, ..Entry::default() }, Source::Stream(Box::new(stream)))
    }

    fn visit_inside(&mut self, path: &Path, name: String, above: &mut Vec<(u64, u64)>) -> Result<(), TransferError> {
        let facts = match fs::symlink_metadata(path) {
            Ok(facts) => facts,
            // Gone since its folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(TransferError::read(path)(error)),
        };
        if !facts.is_symlink() {
            return self.visit(path, name, &facts, false, above);
        }
        if self.exclude.matches(&name, false) {
            return Ok(());
        }
        if !self.follow {
            self.leave_out(path, "a symbolic link (--follow-symlinks sends what it leads to)");
            return Ok(());
        }
        match fs::metadata(path) {
            Ok(facts) => self.visit(path, name, &facts, false, above),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.leave_out(path, "a symbolic link that leads nowhere");
                Ok(())
            }
            Err(error) => Err(TransferError::read(path)(error)),
        }
    }
}

/// What may not be read is found before the peer is bothered.
fn readable(path: &Path) -> Result<(), TransferError> {
    #[cfg(unix)]
    return rustix::fs::access(path, rustix::fs::Access::READ_OK)
        .map_err(|error| TransferError::read(path)(error.into()));
    #[cfg(not(unix))]
    fs::File::open(path).map(drop).map_err(TransferError::read(path))
}

#[cfg(unix)]
fn identity(facts: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (facts.dev(), facts.ino())
}

#[cfg(not(unix))]
fn identity(_facts: &Metadata) -> (u64, u64) {
    // No link is followed into a folder twice as deep as any path may be.
    (0, 0)
}

fn file_entry(path: String, facts: &Metadata) -> Entry {
    let size = facts.len();
    #[cfg(unix)]
    let (executable, allocated) = {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        // `st_blocks` counts 512 bytes, whatever the file system's blocks are.
        (facts.permissions().mode() & 0o111 != 0, Some(facts.blocks() * 512).filter(|bytes| *bytes < size))
    };
    #[cfg(not(unix))]
    let (executable, allocated) = (false, None);
    let modified = facts.modified().ok().map(Modified::from);
    Entry { path, kind: EntryKind::File, size: Some(size), allocated, modified, executable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(paths: &[&Path], options: &ScanOptions) -> Result<Sources, TransferError> {
        let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
        Sources::scan(&paths, None, options)
    }

    fn names(sources: &Sources) -> Vec<&str> {
        sources.manifest.entries().iter().map(|entry| entry.path.as_str()).collect()
    }

    #[test]
    #[cfg(unix)]
    fn a_tree_is_walked_in_order_and_links_only_when_asked() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        fs::create_dir_all(tree.join("b/empty")).unwrap();
        fs::write(tree.join("a.txt"), "a").unwrap();
        fs::write(tree.join("b/c.o"), "object").unwrap();
        std::os::unix::fs::symlink("a.txt", tree.join("link")).unwrap();
        std::os::unix::fs::symlink("..", tree.join("b/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", tree.join("dangling")).unwrap();

        let plain = scan(&[&tree], &ScanOptions::default()).unwrap();
        assert_eq!(names(&plain), ["tree", "tree/a.txt", "tree/b", "tree/b/c.o", "tree/b/empty"]);
        assert_eq!(plain.left_out.len(), 3, "{:?}", plain.left_out);

        let options = ScanOptions { follow_symlinks: true, exclude: vec!["*.o".into()], ..ScanOptions::default() };
        let followed = scan(&[&tree], &options).unwrap();
        assert_eq!(names(&followed), ["tree", "tree/a.txt", "tree/b", "tree/b/empty", "tree/link"]);
        assert_eq!(followed.left_out.len(), 2, "{:?}", followed.left_out);
    }

    #[test]
    fn what_cannot_be_sent_is_found_before_anything_is() {
        let scratch = tempfile::tempdir().unwrap();
        let nowhere = scratch.path().join("nowhere");
        assert!(matches!(scan(&[&nowhere], &ScanOptions::default()), Err(TransferError::Read { .. })));
        fs::create_dir(scratch.path().join("d")).unwrap();
        fs::write(scratch.path().join("d/x"), "").unwrap();
        fs::write(scratch.path().join("x"), "").unwrap();
        let twice = [scratch.path().join("x"), scratch.path().join("d/x")];
        let error = scan(&[&twice[0], &twice[1]], &ScanOptions::default()).err().unwrap();
        assert!(matches!(&error, TransferError::SameName { path } if path == "x"), "{error}");
        let options = ScanOptions { exclude: vec!["x".into()], ..ScanOptions::default() };
        assert!(matches!(scan(&[&twice[0]], &options), Err(TransferError::Source { .. })));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_name_that_is_no_utf8_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        assert!(matches!(scan(&[scratch.path()], &ScanOptions::default()), Err(TransferError::Source { .. })));
    }
}
