//! What an `OpusHead` says.

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
    use super::head_channels;

    #[test]
    fn mono_and_stereo_are_taken_and_all_else_is_named() {
        let head = |version: u8, channels: u8| [b"OpusHead", &[version, channels][..], &[0; 9]].concat();
        assert_eq!(head_channels(&head(1, 1)), Ok(1));
        assert_eq!(head_channels(&head(1, 2)), Ok(2));
        assert!(head_channels(&head(1, 6)).unwrap_err().contains("6 channels"));
        for bad in [&head(1, 0)[..], &head(16, 2), &head(1, 2)[..18], b"", b"OpusTags"] {
            assert!(head_channels(bad).unwrap_err().contains("damaged"));
        }
    }
}
