//! EBML in memory, RFC 8794: what readers and writers of Matroska both need to take small elements apart.

/// The variable-size integer that `bytes` begin with, and its length; `None` inside when all its bits are ones, which in a
/// size means unknown.
pub fn vint(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
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

/// The identifier, with its marker bits, and size that `bytes` begin with, and the length of both.
pub fn head(bytes: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    let id_len = bytes.first()?.leading_zeros() as usize + 1;
    if id_len > 4 {
        return None;
    }
    let id = bytes.get(..id_len)?.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let (size, size_len) = vint(bytes.get(id_len..)?)?;
    Some((id, size, id_len + size_len))
}

/// The elements inside `content`, as (identifier, content). Ends at the first one that does not fit.
pub fn elements(mut content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, size, len) = head(content)?;
        let end = len.checked_add(usize::try_from(size?).ok()?)?;
        let body = content.get(len..end)?;
        content = &content[end..];
        Some((id, body))
    })
}

/// The content of an unsigned integer element; empty is 0.
pub fn uint(content: &[u8]) -> Option<u64> {
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
