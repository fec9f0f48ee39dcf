//! A safe face for libvpx: contexts that free themselves, pictures that are borrowed for as long as they are read.
//!
//! What VP8 and VP9 share is here and in [`library_video`](super::library_video), what is their own in [`vp8`](super::vp8) and
//! [`vp9`](super::vp9).
#![allow(unsafe_code)] // libvpx is C. Every block says why it may.

use super::library_video::{FrameDecoder, FrameEncoder, LibraryError, Packet, copy_rows, layout, library, said};
use super::picture_clock::TICKS;
use super::settings::{RateControl, kilobits};
use super::{BitrateMode, CodecError, EncoderSettings};
use crate::media::{Codec, FramePool, I420, VideoFormat};
use std::ffi::{c_int, c_uint, c_ulong};
use std::mem::MaybeUninit;
use std::ptr;
use vpx_sys as sys;

/// The unit of timestamps.
const TIMEBASE: sys::vpx_rational = sys::vpx_rational { num: 1, den: TICKS.get().cast_signed() };

/// Which of its codecs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interface {
    Vp8,
    Vp9,
}

impl Interface {
    const fn codec(self) -> Codec {
        match self {
            Self::Vp8 => Codec::Vp8,
            Self::Vp9 => Codec::Vp9,
        }
    }

    /// By how many percent the bitrate may be missed, below and above.
    const fn tolerance(self) -> (c_uint, c_uint) {
        match self {
            Self::Vp8 => (100, 15),
            Self::Vp9 => (50, 50),
        }
    }
}

/// The settings that libvpx takes by `vpx_codec_control` and that are plain integers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Control {
    CpuUsed,
    NoiseSensitivity,
    StaticThreshold,
    TokenPartitions,
    MaxIntraBitratePct,
    ScreenContentMode,
    NoiseSensitivityVp9,
    TuneContent,
    AqMode,
    TileColumns,
    RowMt,
    FrameParallelDecoding,
}

impl Control {
    const fn id(self) -> c_int {
        use sys::vp8e_enc_control_id as id;
        (match self {
            Self::CpuUsed => id::VP8E_SET_CPUUSED,
            Self::NoiseSensitivity => id::VP8E_SET_NOISE_SENSITIVITY,
            Self::StaticThreshold => id::VP8E_SET_STATIC_THRESHOLD,
            Self::TokenPartitions => id::VP8E_SET_TOKEN_PARTITIONS,
            Self::MaxIntraBitratePct => id::VP8E_SET_MAX_INTRA_BITRATE_PCT,
            Self::ScreenContentMode => id::VP8E_SET_SCREEN_CONTENT_MODE,
            Self::NoiseSensitivityVp9 => id::VP9E_SET_NOISE_SENSITIVITY,
            Self::TuneContent => id::VP9E_SET_TUNE_CONTENT,
            Self::AqMode => id::VP9E_SET_AQ_MODE,
            Self::TileColumns => id::VP9E_SET_TILE_COLUMNS,
            Self::RowMt => id::VP9E_SET_ROW_MT,
            Self::FrameParallelDecoding => id::VP9E_SET_FRAME_PARALLEL_DECODING,
        }) as c_int
    }
}

/// A `vpx_codec_ctx_t` that was initialised, at an address that does not change.
struct Context(Box<sys::vpx_codec_ctx_t>);

// SAFETY: a context has no tie to the thread that made it; libvpx only asks that calls do not overlap, and every call
// here goes through `&mut`.
unsafe impl Send for Context {}

impl Context {
    /// A context that `init` has initialised.
    fn open(init: impl FnOnce(*mut sys::vpx_codec_ctx_t) -> sys::vpx_codec_err_t) -> Result<Self, LibraryError> {
        let mut ctx = Box::<sys::vpx_codec_ctx_t>::default();
        let code = init(&raw mut *ctx);
        // From here on `drop` destroys it. libvpx allows that after a failed init, too: it answers with an error.
        let mut context = Self(ctx);
        context.check(code)?;
        Ok(context)
    }

    fn check(&mut self, code: sys::vpx_codec_err_t) -> Result<(), LibraryError> {
        if code == sys::vpx_codec_err_t::VPX_CODEC_OK {
            return Ok(());
        }
        // SAFETY: both give null or a static or context-owned C string, which is copied before the context changes.
        Err(unsafe { said(sys::vpx_codec_err_to_string(code), sys::vpx_codec_error_detail(&raw mut *self.0)) })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was handed to an init function and is destroyed only here.
        unsafe { sys::vpx_codec_destroy(&raw mut *self.0) };
    }
}

/// An encoder of one picture size.
pub(super) struct Encoder {
    context: Context,
    config: sys::vpx_codec_enc_cfg_t,
}

// SAFETY: the context is `Send`; the configuration's only pointers are the statistics of two-pass encoding, which are
// libvpx's default of null here.
unsafe impl Send for Encoder {}

impl Encoder {
    /// An encoder of one layer without a look into the future, whose key frames come on demand only.
    pub(super) fn open(
        interface: Interface,
        format: &VideoFormat,
        settings: &EncoderSettings,
        controls: &[(Control, c_int)],
    ) -> Result<Self, CodecError> {
        let codec = interface.codec();
        let bitrate = kilobits(codec, settings.bitrate)?;
        let rate = settings.rate_control(format.frame_rate);
        let mut encoder = Self::configured(interface, |config| {
            config.g_profile = 0;
            config.g_w = format.width;
            config.g_h = format.height;
            config.g_threads = settings.threads_for(format.width, format.height);
            config.g_timebase = TIMEBASE;
            config.g_error_resilient = 0;
            config.g_pass = sys::vpx_enc_pass::VPX_RC_ONE_PASS;
            config.g_lag_in_frames = 0;
            config.rc_dropframe_thresh = settings.drop_threshold();
            config.rc_resize_allowed = 0;
            config.rc_end_usage = match settings.bitrate_mode {
                BitrateMode::Constant => sys::vpx_rc_mode::VPX_CBR,
                BitrateMode::Variable => sys::vpx_rc_mode::VPX_VBR,
            };
            config.rc_target_bitrate = bitrate;
            config.rc_min_quantizer = rate.finest;
            config.rc_max_quantizer = RateControl::COARSEST;
            (config.rc_undershoot_pct, config.rc_overshoot_pct) = interface.tolerance();
            config.rc_buf_sz = RateControl::MOST_MS;
            config.rc_buf_initial_sz = rate.initial_ms;
            config.rc_buf_optimal_sz = rate.optimal_ms;
            config.kf_mode = sys::vpx_kf_mode::VPX_KF_DISABLED;
        })
        .map_err(library(codec))?;
        for (control, value) in controls.iter().chain(&[(Control::MaxIntraBitratePct, rate.most_intra_percent)]) {
            encoder.control(*control, *value).map_err(library(codec))?;
        }
        Ok(encoder)
    }

    /// An encoder with libvpx's defaults as changed by `configure`.
    fn configured(
        interface: Interface,
        configure: impl FnOnce(&mut sys::vpx_codec_enc_cfg_t),
    ) -> Result<Self, LibraryError> {
        // SAFETY: the interfaces are statics of libvpx.
        let interface = unsafe {
            match interface {
                Interface::Vp8 => sys::vpx_codec_vp8_cx(),
                Interface::Vp9 => sys::vpx_codec_vp9_cx(),
            }
        };
        let mut config = MaybeUninit::<sys::vpx_codec_enc_cfg_t>::zeroed();
        // SAFETY: `config` is writable for the size libvpx expects. Zeroes are no valid `g_bit_depth`, so it only counts as
        // initialised once libvpx has filled it.
        let mut config = unsafe {
            if sys::vpx_codec_enc_config_default(interface, config.as_mut_ptr(), 0)
                != sys::vpx_codec_err_t::VPX_CODEC_OK
            {
                return Err(LibraryError::new("this libvpx has no such encoder".to_owned()));
            }
            config.assume_init()
        };
        configure(&mut config);
        // SAFETY: the context is zeroed and writable; libvpx copies the configuration before it returns.
        let context = Context::open(|ctx| unsafe {
            sys::vpx_codec_enc_init_ver(ctx, interface, &raw const config, 0, sys::VPX_ENCODER_ABI_VERSION as c_int)
        })?;
        Ok(Self { context, config })
    }

    fn control(&mut self, control: Control, value: c_int) -> Result<(), LibraryError> {
        // SAFETY: every `Control` takes one int-sized argument, which is what is passed.
        let code = unsafe { sys::vpx_codec_control_(&raw mut *self.context.0, control.id(), value) };
        self.context.check(code)
    }
}

impl FrameEncoder for Encoder {
    fn set_kilobits(&mut self, kilobits: u32) -> Result<(), LibraryError> {
        let mut config = self.config;
        config.rc_target_bitrate = kilobits;
        // SAFETY: the context is initialised; libvpx copies the configuration.
        let code = unsafe { sys::vpx_codec_enc_config_set(&raw mut *self.context.0, &raw const config) };
        self.context.check(code)?;
        // What libvpx refuses is not kept.
        self.config = config;
        Ok(())
    }

    fn encode(
        &mut self,
        picture: &I420,
        pts: i64,
        duration: u32,
        key: bool,
        out: &mut dyn FnMut(Packet<'_>),
    ) -> Result<(), LibraryError> {
        let mut image = sys::vpx_image_t::default();
        let data = picture.data().as_ptr().cast_mut();
        // SAFETY: `image` is writable; wrapping only computes fields, and `data` outlives `image`.
        let wrapped = unsafe {
            sys::vpx_img_wrap(
                &raw mut image,
                sys::vpx_img_fmt::VPX_IMG_FMT_I420,
                picture.width(),
                picture.height(),
                1,
                data,
            )
        };
        if wrapped.is_null() {
            return Err(LibraryError::new("cannot describe the picture".to_owned()));
        }
        // libvpx rounds the stride of odd widths up; ours are not padded, so the layout is told outright.
        for (index, (plane, stride)) in layout(picture)?.into_iter().enumerate() {
            (image.planes[index], image.stride[index]) = (plane, stride);
        }
        let flags = if key { sys::VPX_EFLAG_FORCE_KF.into() } else { 0 };
        // SAFETY: the planes cover `stride * rows` bytes each by the layout of `I420`, libvpx reads `d_w` by `d_h` pixels of
        // them (it checks both against its configuration), never writes to the source, and has copied it on return.
        let code = unsafe {
            sys::vpx_codec_encode(
                &raw mut *self.context.0,
                &raw const image,
                pts,
                c_ulong::from(duration),
                flags,
                c_ulong::from(sys::VPX_DL_REALTIME),
            )
        };
        self.context.check(code)?;
        let mut iterator = ptr::null();
        loop {
            // SAFETY: the iterator starts as null and is only libvpx's; a packet stays valid until the next call on the
            // context, and `out` cannot reach the context.
            let Some(packet) =
                (unsafe { sys::vpx_codec_get_cx_data(&raw mut *self.context.0, &raw mut iterator).as_ref() })
            else {
                return Ok(());
            };
            if packet.kind == sys::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                // SAFETY: the kind says that `frame` is the union's field, and its buffer holds `sz` bytes.
                let (frame, data) = unsafe {
                    let frame = packet.data.frame;
                    let len = usize::try_from(frame.sz).expect("a buffer in memory fits usize");
                    (frame, std::slice::from_raw_parts(frame.buf.cast::<u8>(), len))
                };
                out(Packet { data, key: frame.flags & sys::VPX_FRAME_IS_KEY != 0 });
            }
        }
    }
}

/// A decoder.
pub(super) struct Decoder {
    context: Context,
}

impl Decoder {
    pub(super) fn open(interface: Interface, threads: c_uint) -> Result<Self, LibraryError> {
        let config = sys::vpx_codec_dec_cfg_t { threads, w: 0, h: 0 };
        // SAFETY: the interfaces are statics of libvpx; the context is zeroed and writable; the configuration is read before
        // init returns, and libvpx keeps a copy.
        let context = Context::open(|ctx| unsafe {
            let interface = match interface {
                Interface::Vp8 => sys::vpx_codec_vp8_dx(),
                Interface::Vp9 => sys::vpx_codec_vp9_dx(),
            };
            sys::vpx_codec_dec_init_ver(ctx, interface, &raw const config, 0, sys::VPX_DECODER_ABI_VERSION as c_int)
        })?;
        Ok(Self { context })
    }
}

impl FrameDecoder for Decoder {
    fn decode(&mut self, data: &[u8], pool: &FramePool, out: &mut dyn FnMut(I420)) -> Result<(), LibraryError> {
        // An empty frame would be a flush to libvpx.
        let len = c_uint::try_from(data.len())
            .ok()
            .filter(|&len| len > 0)
            .ok_or_else(|| LibraryError::new("a frame of impossible length".to_owned()))?;
        // SAFETY: `data` is readable for `len` bytes and libvpx keeps no reference to it after `get_frame` below.
        let code = unsafe { sys::vpx_codec_decode(&raw mut *self.context.0, data.as_ptr(), len, ptr::null_mut(), 0) };
        self.context.check(code)?;
        let mut iterator = ptr::null();
        loop {
            // SAFETY: the iterator starts as null and is only libvpx's; the image stays valid until the next call on the
            // context, and `out` cannot reach the context.
            let Some(image) =
                (unsafe { sys::vpx_codec_get_frame(&raw mut *self.context.0, &raw mut iterator).as_ref() })
            else {
                return Ok(());
            };
            out(copy(image, pool)?);
        }
    }

    fn corrupted(&mut self) -> bool {
        let mut corrupted: c_int = 0;
        let id = sys::vp8_dec_control_id::VP8D_GET_FRAME_CORRUPTED as c_int;
        // SAFETY: this control writes one int through the pointer it is passed.
        let code = unsafe { sys::vpx_codec_control_(&raw mut *self.context.0, id, &raw mut corrupted) };
        code == sys::vpx_codec_err_t::VPX_CODEC_OK && corrupted != 0
    }
}

/// The picture in `image`, without libvpx's borders.
fn copy(image: &sys::vpx_image_t, pool: &FramePool) -> Result<I420, LibraryError> {
    if image.fmt != sys::vpx_img_fmt::VPX_IMG_FMT_I420 {
        return Err(LibraryError::new(format!("pictures of format {:?} are not I420", image.fmt)));
    }
    let mut picture = pool.take(image.d_w, image.d_h);
    let widths = [picture.width(), picture.chroma_width(), picture.chroma_width()].map(|width| width as usize);
    for (index, (to, width)) in picture.planes_mut().into_iter().zip(widths).enumerate() {
        // SAFETY: a decoded I420 image has `d_h` (chroma: half, rounded up) rows of `stride` bytes in each plane, of which
        // `d_w` (chroma: half, rounded up) are pixels.
        unsafe { copy_rows(image.planes[index], image.stride[index], width, to) };
    }
    Ok(picture)
}
