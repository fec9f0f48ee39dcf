//! How long an Opus packet sounds, from its first two bytes: RFC 6716 sections 3.1 and 3.2. Nothing is decoded.

/// Samples per channel at 48 kHz in this Opus packet, 120 ..= 5760; `None` when it is empty, holds no frame, or claims
/// more than the 120 ms that the RFC allows.
///
/// Opus always counts at 48 kHz, in RTP (RFC 7587) and in Ogg and Matroska alike, whatever rate the packet was coded at.
pub fn opus_packet_samples(packet: &[u8]) -> Option<usize> {
    let toc = *packet.first()?;
    let config = usize::from(toc >> 3);
    let frame = match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1920, 2880][config % 4],
        // Hybrid: 10, 20 ms.
        12..=15 => [480, 960][config % 2],
        // CELT: 2.5, 5, 10, 20 ms.
        _ => [120, 240, 480, 960][config % 4],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => usize::from(packet.get(1)? & 0x3f),
    };
    Some(frame * frames).filter(|samples| (1..=5760).contains(samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_of_the_rfc_table_has_its_duration() {
        let silk = [480, 960, 1920, 2880];
        let celt = [120, 240, 480, 960];
        let expected: Vec<usize> =
            [&silk[..], &silk, &silk, &silk[..2], &silk[..2], &celt, &celt, &celt, &celt].concat();
        assert_eq!(expected.len(), 32);
        for (config, samples) in (0u8..32).zip(expected) {
            for stereo in [0, 4] {
                let toc = config << 3 | stereo;
                assert_eq!(opus_packet_samples(&[toc]), Some(samples), "config {config}, one frame");
                for code in [1, 2] {
                    assert_eq!(opus_packet_samples(&[toc | code]), Some(samples * 2), "config {config}, two frames");
                }
                // The two high bits of the count byte are the VBR and padding flags, not count.
                assert_eq!(opus_packet_samples(&[toc | 3, 0xc0 | 1]), Some(samples), "config {config}, counted frames");
            }
        }
    }

    #[test]
    fn packets_the_rfc_forbids_have_no_duration() {
        assert_eq!(opus_packet_samples(&[]), None);
        assert_eq!(opus_packet_samples(&[3]), None, "code 3 without its count");
        assert_eq!(opus_packet_samples(&[31 << 3 | 3, 0]), None, "no frame");
        assert_eq!(opus_packet_samples(&[31 << 3 | 3, 6]), Some(5760), "120 ms");
        assert_eq!(opus_packet_samples(&[31 << 3 | 3, 7]), None, "140 ms");
        assert_eq!(opus_packet_samples(&[16 << 3 | 3, 48]), Some(5760), "48 frames of 2.5 ms");
        assert_eq!(opus_packet_samples(&[16 << 3 | 3, 63]), None);
    }
}
