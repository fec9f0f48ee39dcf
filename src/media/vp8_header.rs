//! What a VP8 frame says of itself before any decoding: RFC 6386 section 9.1.

/// The uncompressed header of a VP8 frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Header {
    /// Whether decoding can start here.
    pub key: bool,
    /// Width in pixels, 1 ..= 16383, of a key frame; other frames keep the size of the last key frame and have `None`.
    pub width: Option<u32>,
    /// Height in pixels, 1 ..= 16383, of a key frame.
    pub height: Option<u32>,
    /// Whether the frame is to be shown; alternate reference frames are not.
    pub show: bool,
}

/// Reads the header of the VP8 frame at the start of `frame`; `None` when it is too short, lacks the start code of a key
/// frame, or has a key frame without extent.
pub fn vp8_frame_header(frame: &[u8]) -> Option<Vp8Header> {
    let tag = *frame.first_chunk::<3>()?;
    let key = tag[0] & 1 == 0;
    let show = tag[0] & 0x10 != 0;
    if !key {
        return Some(Vp8Header { key, width: None, height: None, show });
    }
    let [_, _, _, 0x9d, 0x01, 0x2a, size @ ..] = *frame.first_chunk::<10>()? else {
        return None;
    };
    // The two high bits of each are an upscaling hint that no decoder applies.
    let extent = |low: u8, high: u8| Some(u32::from(u16::from_le_bytes([low, high]) & 0x3fff)).filter(|&x| x > 0);
    let (width, height) = (extent(size[0], size[1])?, extent(size[2], size[3])?);
    Some(Vp8Header { key, width: Some(width), height: Some(height), show })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_tells_its_size_without_the_scaling_hint() {
        // 176x144, horizontal scale 1, vertical scale 2; shown.
        let frame = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 176, 0x40, 144, 0x80];
        let header = Vp8Header { key: true, width: Some(176), height: Some(144), show: true };
        assert_eq!(vp8_frame_header(&frame), Some(header));
    }

    #[test]
    fn other_frames_tell_only_whether_they_are_shown() {
        let header = |show| Some(Vp8Header { key: false, width: None, height: None, show });
        assert_eq!(vp8_frame_header(&[0x11, 0, 0]), header(true));
        assert_eq!(vp8_frame_header(&[0x01, 0, 0]), header(false));
    }

    #[test]
    fn damaged_headers_are_not_read() {
        let key = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 176, 0, 144, 0];
        for len in 0..key.len() {
            assert_eq!(vp8_frame_header(&key[..len]), None, "{len} bytes");
        }
        for (at, byte) in [(3, 0), (4, 0), (5, 0), (6, 0), (8, 0)] {
            let mut damaged = key;
            damaged[at] = byte;
            assert_eq!(vp8_frame_header(&damaged), None, "byte {at}");
        }
    }
}
