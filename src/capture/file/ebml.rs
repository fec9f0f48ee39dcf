//! EBML, RFC 8794, as a stream: identifiers and sizes. In memory: [`media::ebml`](crate::media::ebml).

use super::input::Input;
use crate::capture::CaptureError;
use crate::media::ebml;
pub(super) use crate::media::ebml::{elements, uint, vint};

/// The head of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The identifier with its marker bits.
    pub(super) id: u32,
    /// Bytes of content; `None` when unknown.
    pub(super) size: Option<u64>,
}

/// Reads the next head of a stream; `None` at its end, even inside the head. An identifier that cannot be is given as `id` 0.
pub(super) fn read_head(input: &mut Input) -> Result<Option<Head>, CaptureError> {
    let mut bytes = [0; 12];
    if input.fill(&mut bytes[..1])? == 0 {
        return Ok(None);
    }
    let id_len = match bytes[0].leading_zeros() {
        zeros @ 0..4 => zeros as usize + 1,
        _ => return Ok(Some(Head { id: 0, size: None })),
    };
    // The rest of the identifier and the first byte of the size.
    if input.fill(&mut bytes[1..=id_len])? < id_len {
        return Ok(None);
    }
    let more = bytes[id_len].leading_zeros() as usize;
    if more >= 8 {
        return Ok(Some(Head { id: 0, size: None }));
    }
    if input.fill(&mut bytes[id_len + 1..][..more])? < more {
        return Ok(None);
    }
    let head = ebml::head(&bytes).map(|(id, size, _)| Head { id, size });
    Ok(Some(head.unwrap_or(Head { id: 0, size: None })))
}
