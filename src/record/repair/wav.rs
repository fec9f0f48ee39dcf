//! Gives a WAV file the sizes that its header lacks when its writer was killed, or wrote a stream.
//!
//! ```text
//! RIFF or RF64 | chunks … | data, of unknown or impossible size
//!     -> the same chunks and samples, every size as the file has it; past 4 GiB an RF64 with its ds64 (EBU Tech 3306)
//! ```

use super::{COPY_BYTES, MOST_HEADER_BYTES, Repaired, Trouble};
use crate::record::output::Output;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// A chunk's name and size.
const CHUNK_HEAD_BYTES: u64 = 8;
/// `RIFF`, its size, `WAVE`.
const RIFF_HEAD_BYTES: usize = 12;
/// RIFF size, data size, sample count and the length of an empty table.
const DS64_BYTES: u32 = 28;

const CUT_OFF: Trouble = Trouble::Hopeless("it ends before its samples begin");

/// Whether a file that begins with `magic` is a WAV file.
pub(super) fn is_wav(magic: &[u8]) -> bool {
    matches!(magic, b"RIFF" | b"RF64")
}

/// Copies `file`, of `length` bytes, with its sizes put right.
pub(super) fn mend(file: &mut File, length: u64, mut output: Output) -> Result<Repaired, Trouble> {
    let header = Header::read(file)?;
    let begin = header.bytes.len() as u64;
    let there = length.saturating_sub(begin);
    let (data, end) = match header.claimed {
        // What follows the samples stays as well.
        Some(claimed) if claimed > 0 && claimed <= there => (claimed, length),
        _ => {
            let data = there - there % header.block;
            (data, begin + data)
        }
    };
    if data < header.block {
        return Err(Trouble::Hopeless("it holds no sample"));
    }
    let riff = end - CHUNK_HEAD_BYTES;
    let frames = data / header.block;
    let rate = u64::from(header.rate);
    output.write(&header.sized(riff, data, frames)?)?;

    file.seek(SeekFrom::Start(begin))?;
    let mut rest = file.take(end - begin);
    let mut bytes = vec![0; COPY_BYTES];
    loop {
        match rest.read(&mut bytes)? {
            0 => break,
            read => output.write(&bytes[..read])?,
        }
    }
    let finished = output.finish()?;
    Ok(Repaired {
        path: finished.path.unwrap_or_default(),
        bytes: finished.bytes,
        duration: frames as f64 / rate as f64,
        frames,
        cues: 0,
        bytes_left_out: length - end,
    })
}

/// All that stands before the samples.
struct Header {
    bytes: Vec<u8>,
    /// Where the body of the first chunk is, if it has room for the sizes of an RF64.
    ds64: Option<usize>,
    /// Samples a second.
    rate: u32,
    /// Bytes of one sample of all channels.
    block: u64,
    /// The size of the samples, if it says one.
    claimed: Option<u64>,
}

impl Header {
    fn read(file: &mut File) -> Result<Self, Trouble> {
        file.rewind()?;
        let mut bytes = Vec::new();
        take(file, &mut bytes, RIFF_HEAD_BYTES as u64)?;
        if !is_wav(&bytes[..4]) || &bytes[8..] != b"WAVE" {
            return Err(Trouble::Hopeless("it is a RIFF file, but not of sound"));
        }
        let (mut ds64, mut format) = (None, None);
        loop {
            let head = take(file, &mut bytes, CHUNK_HEAD_BYTES)?;
            let (name, size) = (&bytes[head..head + 4], word(&bytes, head + 4));
            if name == b"data" {
                let Some((rate, block)) = format else {
                    return Err(Trouble::Hopeless("what its samples are is not said before they begin"));
                };
                let claimed = match size {
                    u32::MAX => ds64.map(|at: usize| long(&bytes, at + 8)),
                    size => Some(u64::from(size)),
                };
                return Ok(Self { bytes, ds64, rate, block, claimed });
            }
            let name = <[u8; 4]>::try_from(name).unwrap_or_default();
            // Chunks are padded to even lengths.
            let padded = u64::from(size) + u64::from(size % 2);
            if padded > MOST_HEADER_BYTES - bytes.len() as u64 {
                return Err(CUT_OFF);
            }
            let body = take(file, &mut bytes, padded)?;
            match &name {
                b"ds64" | b"JUNK" if head == RIFF_HEAD_BYTES && size >= DS64_BYTES => ds64 = Some(body),
                b"fmt " if size >= 16 => {
                    let (rate, block) = (word(&bytes, body + 4), word(&bytes, body + 12) & 0xFFFF);
                    format = Some((rate, u64::from(block))).filter(|(rate, block)| *rate > 0 && *block > 0);
                }
                _ => {}
            }
        }
    }

    /// Its bytes with these sizes: of all behind the first eight bytes, of the samples, and their number.
    fn sized(mut self, riff: u64, data: u64, frames: u64) -> Result<Vec<u8>, Trouble> {
        let size_at = self.bytes.len() - 4;
        if let (Ok(riff), Ok(data)) = (u32::try_from(riff), u32::try_from(data)) {
            self.bytes[..4].copy_from_slice(b"RIFF");
            self.bytes[4..8].copy_from_slice(&riff.to_le_bytes());
            self.bytes[size_at..].copy_from_slice(&data.to_le_bytes());
            if let Some(at) = self.ds64 {
                self.bytes[at - 8..at - 4].copy_from_slice(b"JUNK");
            }
            return Ok(self.bytes);
        }
        let Some(at) = self.ds64 else {
            return Err(Trouble::Hopeless("it is longer than 4 GiB, and its header has no room to say so"));
        };
        self.bytes[..4].copy_from_slice(b"RF64");
        self.bytes[4..8].copy_from_slice(&[0xFF; 4]);
        self.bytes[size_at..].copy_from_slice(&[0xFF; 4]);
        self.bytes[at - 8..at - 4].copy_from_slice(b"ds64");
        for (slot, value) in [riff, data, frames].into_iter().enumerate() {
            self.bytes[at + 8 * slot..][..8].copy_from_slice(&value.to_le_bytes());
        }
        self.bytes[at + 24..at + 28].fill(0);
        Ok(self.bytes)
    }
}

/// Reads `count` bytes onto the end of `bytes`, and says where they begin.
fn take(file: &mut File, bytes: &mut Vec<u8>, count: u64) -> Result<usize, Trouble> {
    let begin = bytes.len();
    let read = file.take(count).read_to_end(bytes)?;
    if (read as u64) < count { Err(CUT_OFF) } else { Ok(begin) }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}
