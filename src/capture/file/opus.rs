//! What the first bytes of an Opus packet and the `OpusHead` say.

/// The length of a packet in samples at 48 kHz, from its TOC (RFC 6716 section 3.1). `None` when it is no valid packet.
pub(super) fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..16 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3F),
    };
    Some(frame * count).filter(|samples| (1..=5760).contains(samples))
}

/// The channels of an `OpusHead` (RFC 7845 section 5.1).
///
/// # Errors
/// A description of what cannot be used: more than stereo, or no `OpusHead` at all.
pub(super) fn head_channels(head: &[u8]) -> Result<u16, String> {
    match head {
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels @ 1..=2, ..]
            if version >> 4 == 0 && head.len() >= 19 =>
        {
            Ok(u16::from(*channels))
        }
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels, ..]
            if version >> 4 == 0 && *channels > 2 =>
        {
            Err(format!("Opus in {channels} channels (mono and stereo are read)"))
        }
        _ => Err("Opus with a damaged header".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_rfc_6716_table_2() {
        for (packet, samples) in [
            (&[0_u8 << 3][..], Some(480)),
            (&[3 << 3], Some(2880)),
            (&[13 << 3], Some(960)),
            (&[16 << 3], Some(120)),
            (&[31 << 3 | 1], Some(1920)),
            (&[31 << 3 | 3, 3], Some(2880)),
            (&[3 << 3 | 3, 3], None),
            (&[31 << 3 | 3, 0], None),
            (&[31 << 3 | 3], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), samples, "{packet:?}");
        }
    }
}
