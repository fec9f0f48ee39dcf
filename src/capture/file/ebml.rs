//! EBML, RFC 8794: identifiers, sizes and elements, as a stream and in memory.

use super::input::Input;
use crate::capture::CaptureError;

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
    let head = head(&bytes).map(|(head, _)| head);
    Ok(Some(head.unwrap_or(Head { id: 0, size: None })))
}

/// The head that `bytes` begin with, and its length.
fn head(bytes: &[u8]) -> Option<(Head, usize)> {
    let id_len = bytes.first()?.leading_zeros() as usize + 1;
    if id_len > 4 {
        return None;
    }
    let id = bytes.get(..id_len)?.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let (size, size_len) = vint(bytes.get(id_len..)?)?;
    Some((Head { id, size }, id_len + size_len))
}

/// The variable-size integer that `bytes` begin with, and its length; `None` inside when all its bits are ones.
pub(super) fn vint(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let first = *bytes.first()?;
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return None;
    }
    let rest = bytes.get(1..len)?;
    let value = rest.iter().fold(u64::from(first), |value, byte| value << 8 | u64::from(*byte));
    let mask = (1_u64 << (7 * len)) - 1;
    Some(((value & mask != mask).then_some(value & mask), len))
}

/// The elements inside `content`, as (identifier, content). Ends at the first one that does not fit.
pub(super) fn elements(mut content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (head, len) = head(content)?;
        let end = len.checked_add(usize::try_from(head.size?).ok()?)?;
        let body = content.get(len..end)?;
        content = &content[end..];
        Some((head.id, body))
    })
}

/// The content of an unsigned integer element; empty is 0.
pub(super) fn uint(content: &[u8]) -> Option<u64> {
    (content.len() <= 8).then(|| content.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length_and_the_unknown_size() {
        assert_eq!(vint(&[0x81]), Some((Some(1), 1)));
        assert_eq!(vint(&[0x40, 0x02]), Some((Some(2), 2)));
        assert_eq!(vint(&[0x01, 0, 0, 0, 0, 0, 0, 9]), Some((Some(9), 8)));
        assert_eq!(vint(&[0xFF]), Some((None, 1)));
        assert_eq!(vint(&[0x01, 255, 255, 255, 255, 255, 255, 255]), Some((None, 8)));
        assert_eq!(vint(&[0x40]), None);
        assert_eq!(vint(&[0x00, 1, 1, 1, 1, 1, 1, 1, 1]), None);
    }

    #[test]
    fn elements_end_where_one_does_not_fit() {
        let found: Vec<_> = elements(&[0xD7, 0x81, 5, 0x42, 0x86, 0x80, 0x83, 0x82, 1]).collect();
        assert_eq!(found, [(0xD7, &[5][..]), (0x4286, &[][..])]);
    }
}
