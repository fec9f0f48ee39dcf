//! What an encoded picture of any codec says of itself before any decoding.

use super::{Codec, vp8_frame_header, vp9_frame_header, vp9_frames};

/// What an encoded picture says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether decoding can start here.
    pub key: bool,
    /// Width and height in pixels, where it states them: a key frame always does.
    pub size: Option<(u32, u32)>,
}

/// Reads the header of one frame of `codec`; `None` where it is too damaged to be read. Audio is always a key frame, and
/// of no size.
pub fn frame_header(codec: Codec, data: &[u8]) -> Option<FrameHeader> {
    match codec {
        Codec::Vp8 => {
            let header = vp8_frame_header(data)?;
            Some(FrameHeader { key: header.key, size: header.width.zip(header.height) })
        }
        Codec::Vp9 => {
            let header = vp9_frames(data).next().and_then(vp9_frame_header)?;
            Some(FrameHeader { key: header.key, size: header.width.zip(header.height) })
        }
        Codec::Opus => Some(FrameHeader { key: true, size: None }),
    }
}
