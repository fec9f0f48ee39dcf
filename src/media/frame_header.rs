//! What an encoded picture of any codec says of itself before any decoding.

use super::av1::av1_frame_header;
use super::h264::{h264_sequence, nal, nal_units};
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
        Codec::H264 => {
            let mut header = FrameHeader { key: false, size: None };
            for unit in nal_units(data) {
                match nal::kind(unit[0]) {
                    nal::SPS => header.size = h264_sequence(unit).map(|sequence| (sequence.width, sequence.height)),
                    // Nothing that matters comes behind the first slice. Without parameter sets it is of no use.
                    nal::IDR_SLICE => return Some(FrameHeader { key: header.size.is_some(), ..header }),
                    nal::SLICE..nal::IDR_SLICE => return Some(header),
                    _ => {}
                }
            }
            None
        }
        Codec::Av1 => {
            let header = av1_frame_header(data)?;
            Some(FrameHeader {
                key: header.key,
                size: header.sequence.map(|sequence| (sequence.width, sequence.height)),
            })
        }
        Codec::Opus | Codec::Pcmu | Codec::Pcma => Some(FrameHeader { key: true, size: None }),
    }
}
