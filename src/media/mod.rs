//! The vocabulary every other module speaks: time, frames, formats, constraints and the stage traits.
//!
//! Pure data and arithmetic: nothing here opens a device, starts a thread or talks to a network.
//! It sits at level 0 of the house and imports only its level-0 neighbours `error` and `stop`.

pub mod av1;
pub mod barcode;
mod bits;
pub mod chirp;
mod codec_list;
mod constraint;
mod degradation;
mod device;
pub mod ebml;
mod format;
mod frame;
mod frame_header;
pub mod h264;
mod h264_level;
mod opus_toc;
mod sample_clock;
mod scale;
mod stage;
mod time;
mod vp8_header;
mod vp9_header;

pub use codec_list::{AudioCodecs, CodecList, CodecListError, ListedKind, Pictures, Sounds, VideoCodecs};
pub use constraint::{
    AudioConstraints, AudioSettings, BooleanConstraint, Choice, ConsideredVideo, Constraint, ConstraintError,
    ConstraintSet, FacingMode, MediaStreamConstraints, Overconstrained, Property, ResizeMode, RuledOut, Settings,
    StringConstraint, Term, Value, Verdict, VideoChoice, VideoConstraints, VideoMode, VideoOffer, VideoSettings, check,
    distance, pick_whole, select, select_video,
};
pub use degradation::DegradationPreference;
pub use device::{Capabilities, DeviceInfo, DeviceKind, DeviceSalt, NoSuchDevice, Range};
pub use format::{AudioFormat, Codec, ContentHint, FrameRate, MediaKind, UnknownCodec, VideoFormat};
pub use frame::{AudioFrame, EncodedFrame, FramePool, I420, VideoFrame};
pub use frame_header::{FrameHeader, frame_header};
pub use h264_level::{H264Level, is_constrained_baseline};
pub use opus_toc::opus_packet_samples;
pub use sample_clock::SampleClock;
pub use scale::{ScaleError, Scaler};
pub use stage::{
    AudioDecoder, AudioEncoder, AudioInput, EncoderControl, Loss, MediaInput, Sink, Source, VideoDecoder, VideoEncoder,
    VideoInput,
};
pub use time::MediaTime;
pub use vp8_header::{Vp8Header, vp8_frame_header};
pub use vp9_header::{Vp9Header, vp9_frame_header, vp9_frames};
