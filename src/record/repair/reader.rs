//! Elements of a file that may be damaged, from its beginning to its end.

use crate::record::ebml::id;
use std::fs::File;
use std::io::{self, BufReader, Read};

/// Reads forwards, and knows where it is.
pub(super) struct Reader {
    reader: BufReader<File>,
    pub position: u64,
    pub length: u64,
    /// Bytes that were passed over.
    pub left_out: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Head {
    pub id: u32,
    /// `None` when it is not known.
    pub size: Option<u64>,
}

impl Reader {
    pub fn new(file: File, length: u64) -> Self {
        Self { reader: BufReader::with_capacity(1 << 16, file), position: 0, length, left_out: 0 }
    }

    pub fn rest(&self) -> u64 {
        self.length.saturating_sub(self.position)
    }

    pub fn read(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(out)?;
        self.position += out.len() as u64;
        Ok(())
    }

    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let by = i64::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.reader.seek_relative(by)?;
        self.position += bytes;
        Ok(())
    }

    /// The next id and size; `None` at the end of the file and where there is no element.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let mut bytes = [0; 12];
        if self.rest() < 2 {
            return Ok(None);
        }
        self.read(&mut bytes[..1])?;
        let id_length = bytes[0].leading_zeros() as usize + 1;
        if id_length > 4 || self.rest() < id_length as u64 {
            return Ok(None);
        }
        self.read(&mut bytes[1..=id_length])?;
        let size_length = bytes[id_length].leading_zeros() as usize + 1;
        if size_length > 8 || self.rest() < size_length as u64 - 1 {
            return Ok(None);
        }
        self.read(&mut bytes[id_length + 1..id_length + size_length])?;
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        let mask = (1u64 << (7 * size_length)) - 1;
        let size = number(&bytes[id_length..id_length + size_length]) & mask;
        let id = u32::try_from(number(&bytes[..id_length])).unwrap_or(0);
        Ok(Some(Head { id, size: Some(size).filter(|size| *size != mask) }))
    }

    /// The content of an element; `None` when the file ends within it or it claims more than `most`.
    pub fn body(&mut self, size: Option<u64>, most: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(size) = size.filter(|size| *size <= most && *size <= self.rest()) else { return Ok(None) };
        let mut body = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read(&mut body)?;
        Ok(Some(body))
    }

    /// Passes over what cannot be read, to just behind the id of the next cluster; false when there is none.
    pub fn find_cluster(&mut self) -> io::Result<bool> {
        let mut last = 0u32;
        let mut byte = [0];
        while self.rest() > 0 {
            self.read(&mut byte)?;
            self.left_out += 1;
            last = last << 8 | u32::from(byte[0]);
            if last == id::CLUSTER {
                self.left_out -= 4;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The size that stands behind an id which was read already.
    pub fn size(&mut self) -> io::Result<Option<u64>> {
        let mut bytes = [0; 8];
        if self.rest() == 0 {
            return Ok(Some(0));
        }
        self.read(&mut bytes[..1])?;
        let length = bytes[0].leading_zeros() as usize + 1;
        if length > 8 || self.rest() < length as u64 - 1 {
            return Ok(Some(0));
        }
        self.read(&mut bytes[1..length])?;
        let mask = (1u64 << (7 * length)) - 1;
        let size = bytes[..length].iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte)) & mask;
        Ok(Some(size).filter(|size| *size != mask))
    }
}
