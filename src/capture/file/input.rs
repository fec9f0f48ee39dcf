//! Bytes of a file or pipe, read forwards only.

use crate::capture::CaptureError;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where bytes come from: a path, or a stream that can be read once.
pub struct Location {
    name: String,
    from: From,
}

enum From {
    Path { path: PathBuf, regular: bool },
    Once(Box<dyn Read + Send>),
}

impl Location {
    /// A file; may be a pipe or a device, which can be read only once.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn of_path(path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        let metadata = std::fs::metadata(path)
            .map_err(|error| CaptureError::Open { source_name: name.clone(), error: Arc::new(error) })?;
        Ok(Self { name, from: From::Path { path: path.to_owned(), regular: metadata.is_file() } })
    }

    /// A stream called `name`.
    pub fn once(name: &str, stream: Box<dyn Read + Send>) -> Self {
        Self { name: name.to_owned(), from: From::Once(stream) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The path, where the file can be opened any number of times.
    pub(super) fn again(&self) -> Option<PathBuf> {
        match &self.from {
            From::Path { path, regular: true } => Some(path.clone()),
            _ => None,
        }
    }

    pub(super) fn into_input(self) -> Result<Input, CaptureError> {
        match self.from {
            From::Path { path, .. } => Input::open(&path),
            From::Once(stream) => Ok(Input::new(self.name, stream)),
        }
    }
}

/// A buffered reader that knows its name and position.
pub(super) struct Input {
    name: String,
    reader: BufReader<Box<dyn Read + Send>>,
    position: u64,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::new(name, Box::new(file))),
            Err(error) => Err(CaptureError::Open { source_name: name, error: Arc::new(error) }),
        }
    }

    fn new(name: String, stream: Box<dyn Read + Send>) -> Self {
        Self { name, reader: BufReader::with_capacity(64 * 1024, stream), position: 0 }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The first bytes, at most `count` and fewer only at the end; they will be read again. Only before anything was read.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], CaptureError> {
        let mut head = Vec::with_capacity(count);
        let result = (&mut self.reader).take(count as u64).read_to_end(&mut head);
        self.ok(result)?;
        let rest = std::mem::replace(&mut self.reader, BufReader::with_capacity(0, Box::new(io::empty())));
        self.reader = BufReader::with_capacity(64 * 1024, Box::new(Cursor::new(head).chain(rest)));
        // The chain's first read gives all of the head and nothing more.
        match self.reader.fill_buf() {
            Ok(head) => Ok(head),
            Err(error) => Err(CaptureError::Read { source_name: self.name.clone(), error: Arc::new(error) }),
        }
    }

    fn ok<T>(&self, result: io::Result<T>) -> Result<T, CaptureError> {
        result.map_err(|error| CaptureError::Read { source_name: self.name.clone(), error: Arc::new(error) })
    }

    /// Fills `buffer` as far as the bytes go and says how far that is.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, CaptureError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.ok(Err(error)),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    /// The next `N` bytes; `None` when there are fewer.
    pub(super) fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CaptureError> {
        let mut bytes = [0; N];
        Ok((self.fill(&mut bytes)? == N).then_some(bytes))
    }

    /// The next `count` bytes; `None` when there are fewer. Memory grows with what comes. More than `limit` is damage.
    pub(super) fn bytes(&mut self, count: u64, limit: u64) -> Result<Option<Vec<u8>>, CaptureError> {
        if count > limit {
            return Err(self.damaged(&format!("a size of {count} bytes is beyond reason")));
        }
        let mut bytes = Vec::new();
        let result = (&mut self.reader).take(count).read_to_end(&mut bytes);
        self.ok(result)?;
        self.position += bytes.len() as u64;
        Ok((bytes.len() as u64 == count).then_some(bytes))
    }

    /// Passes over `count` bytes; false when there are fewer.
    pub(super) fn skip(&mut self, count: u64) -> Result<bool, CaptureError> {
        let result = io::copy(&mut (&mut self.reader).take(count), &mut io::sink());
        let skipped = self.ok(result)?;
        self.position += skipped;
        Ok(skipped == count)
    }

    /// A line of at most `limit` bytes without its end; `None` at the end of the bytes.
    pub(super) fn line(&mut self, limit: u64) -> Result<Option<Vec<u8>>, CaptureError> {
        let mut line = Vec::new();
        let result = (&mut self.reader).take(limit).read_until(b'\n', &mut line);
        self.ok(result)?;
        self.position += line.len() as u64;
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            Some(_) if line.len() as u64 + 1 == limit => Err(self.damaged("a line does not end")),
            _ => Ok(None),
        }
    }

    /// What is here breaks the format.
    pub(super) fn damaged(&self, detail: &str) -> CaptureError {
        CaptureError::Damaged {
            source_name: self.name.clone(),
            place: format!("before byte {}", self.position),
            detail: detail.to_owned(),
        }
    }

    /// What is here is sound but nothing we can use.
    pub(super) fn unsupported(&self, codec: &str) -> CaptureError {
        CaptureError::UnsupportedCodec { source_name: self.name.clone(), codec: codec.to_owned() }
    }

    /// Notes that the bytes broke off inside of something.
    pub(super) fn broke_off(&self) {
        tracing::warn!(
            source = self.name,
            position = self.position,
            "the file breaks off here; using what came before"
        );
    }
}
