//! A safe face for libaom: contexts that free themselves, pictures that are borrowed for as long as they are read.
#![allow(unsafe_code)] // libaom is C. Every block says why it may.

use super::library_video::{FrameDecoder, FrameEncoder, LibraryError, Packet, copy_rows, layout, said};
use super::picture_clock::TICKS;
use crate::media::{FramePool, I420};
use libaom_sys as sys;
use std::ffi::{c_int, c_uint, c_ulong};
use std::mem::MaybeUninit;
use std::ptr;

/// The unit of timestamps.
pub(super) const TIMEBASE: sys::aom_rational = sys::aom_rational { num: 1, den: TICKS.get().cast_signed() };

/// A `aom_codec_ctx_t` that was initialised, at an address that does not change.
struct Context(Box<sys::aom_codec_ctx_t>);

// SAFETY: a context has no tie to the thread that made it; libaom only asks that calls do not overlap, and every call
// here goes through `&mut`.
unsafe impl Send for Context {}

impl Context {
    /// A context that `init` has initialised.
    fn open(init: impl FnOnce(*mut sys::aom_codec_ctx_t) -> sys::aom_codec_err_t) -> Result<Self, LibraryError> {
        // SAFETY: the structure is plain data and pointers, for which zeroes are what libaom itself begins with.
        let mut ctx = Box::new(unsafe { MaybeUninit::<sys::aom_codec_ctx_t>::zeroed().assume_init() });
        let code = init(&raw mut *ctx);
        // From here on `drop` destroys it. libaom allows that after a failed init, too: it answers with an error.
        let context = Self(ctx);
        context.check(code)?;
        Ok(context)
    }

    fn check(&self, code: sys::aom_codec_err_t) -> Result<(), LibraryError> {
        if code == sys::AOM_CODEC_OK {
            return Ok(());
        }
        // SAFETY: both give null or a static or context-owned C string, which is copied before the context changes.
        Err(unsafe { said(sys::aom_codec_err_to_string(code), sys::aom_codec_error_detail(&raw const *self.0)) })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was handed to an init function and is destroyed only here.
        unsafe { sys::aom_codec_destroy(&raw mut *self.0) };
    }
}

/// An encoder of one picture size, in libaom's real-time mode.
pub(super) struct Encoder {
    context: Context,
    config: sys::aom_codec_enc_cfg_t,
}

// SAFETY: the context is `Send`; the configuration's only pointers are the statistics of two-pass encoding, which are
// libaom's default of null here.
unsafe impl Send for Encoder {}

impl Encoder {
    /// An encoder with libaom's defaults as changed by `configure`.
    pub(super) fn open(configure: impl FnOnce(&mut sys::aom_codec_enc_cfg_t)) -> Result<Self, LibraryError> {
        // SAFETY: the interface is a static of libaom.
        let interface = unsafe { sys::aom_codec_av1_cx() };
        let mut config = MaybeUninit::<sys::aom_codec_enc_cfg_t>::zeroed();
        // SAFETY: `config` is writable for the size libaom expects, and only counts as initialised once it has been filled.
        let mut config = unsafe {
            if sys::aom_codec_enc_config_default(interface, config.as_mut_ptr(), sys::AOM_USAGE_REALTIME)
                != sys::AOM_CODEC_OK
            {
                return Err(LibraryError::new("this libaom has no encoder for real time".to_owned()));
            }
            config.assume_init()
        };
        configure(&mut config);
        // SAFETY: the context is zeroed and writable; libaom copies the configuration before it returns.
        let context = Context::open(|ctx| unsafe {
            sys::aom_codec_enc_init_ver(ctx, interface, &raw const config, 0, sys::AOM_ENCODER_ABI_VERSION as c_int)
        })?;
        Ok(Self { context, config })
    }

    /// Sets one of the settings that are plain integers.
    pub(super) fn control(&mut self, control: Control, value: c_int) -> Result<(), LibraryError> {
        // SAFETY: every `Control` takes one int-sized argument, which is what is passed.
        let code = unsafe { sys::aom_codec_control(&raw mut *self.context.0, control.id(), value) };
        self.context.check(code)
    }
}

/// The settings that libaom takes by `aom_codec_control` and that are plain integers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Control {
    AqMode,
    Cdef,
    CoefficientCostUpdates,
    CpuUsed,
    DeltaQMode,
    GlobalMotion,
    IntraBlockCopy,
    MaxIntraBitratePct,
    ModeCostUpdates,
    MotionVectorCostUpdates,
    Obmc,
    OrderHint,
    Palette,
    ReferenceFrameMotionVectors,
    RowMt,
    TileColumns,
    TplModel,
    TuneContent,
    WarpedMotion,
}

impl Control {
    const fn id(self) -> c_int {
        (match self {
            Self::AqMode => sys::AV1E_SET_AQ_MODE,
            Self::Cdef => sys::AV1E_SET_ENABLE_CDEF,
            Self::CoefficientCostUpdates => sys::AV1E_SET_COEFF_COST_UPD_FREQ,
            Self::CpuUsed => sys::AOME_SET_CPUUSED,
            Self::DeltaQMode => sys::AV1E_SET_DELTAQ_MODE,
            Self::GlobalMotion => sys::AV1E_SET_ENABLE_GLOBAL_MOTION,
            Self::IntraBlockCopy => sys::AV1E_SET_ENABLE_INTRABC,
            Self::MaxIntraBitratePct => sys::AOME_SET_MAX_INTRA_BITRATE_PCT,
            Self::ModeCostUpdates => sys::AV1E_SET_MODE_COST_UPD_FREQ,
            Self::MotionVectorCostUpdates => sys::AV1E_SET_MV_COST_UPD_FREQ,
            Self::Obmc => sys::AV1E_SET_ENABLE_OBMC,
            Self::OrderHint => sys::AV1E_SET_ENABLE_ORDER_HINT,
            Self::Palette => sys::AV1E_SET_ENABLE_PALETTE,
            Self::ReferenceFrameMotionVectors => sys::AV1E_SET_ENABLE_REF_FRAME_MVS,
            Self::RowMt => sys::AV1E_SET_ROW_MT,
            Self::TileColumns => sys::AV1E_SET_TILE_COLUMNS,
            Self::TplModel => sys::AV1E_SET_ENABLE_TPL_MODEL,
            Self::TuneContent => sys::AV1E_SET_TUNE_CONTENT,
            Self::WarpedMotion => sys::AV1E_SET_ENABLE_WARPED_MOTION,
        }) as c_int
    }
}

impl FrameEncoder for Encoder {
    fn set_kilobits(&mut self, kilobits: u32) -> Result<(), LibraryError> {
        let mut config = self.config;
        config.rc_target_bitrate = kilobits;
        // SAFETY: the context is initialised; libaom copies the configuration.
        let code = unsafe { sys::aom_codec_enc_config_set(&raw mut *self.context.0, &raw const config) };
        self.context.check(code)?;
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
        let mut image = MaybeUninit::<sys::aom_image_t>::zeroed();
        let data = picture.data().as_ptr().cast_mut();
        // SAFETY: `image` is writable and zeroed; wrapping only computes fields, and `data` outlives `image`.
        let mut image = unsafe {
            let wrapped = sys::aom_img_wrap(
                image.as_mut_ptr(),
                sys::AOM_IMG_FMT_I420,
                picture.width(),
                picture.height(),
                1,
                data,
            );
            if wrapped.is_null() {
                return Err(LibraryError::new("cannot describe the picture".to_owned()));
            }
            image.assume_init()
        };
        // libaom rounds the stride of odd widths up; ours are not padded, so the layout is told outright.
        for (index, (plane, stride)) in layout(picture)?.into_iter().enumerate() {
            (image.planes[index], image.stride[index]) = (plane, stride);
        }
        let flags = if key { sys::AOM_EFLAG_FORCE_KF.into() } else { 0 };
        // SAFETY: the planes cover `stride * rows` bytes each by the layout of `I420`, libaom reads `d_w` by `d_h` pixels of
        // them (it checks both against its configuration), never writes to the source, and has copied it on return.
        let code = unsafe {
            sys::aom_codec_encode(&raw mut *self.context.0, &raw const image, pts, c_ulong::from(duration), flags)
        };
        self.context.check(code)?;
        let mut iterator = ptr::null();
        loop {
            // SAFETY: the iterator starts as null and is only libaom's; a packet stays valid until the next call on the
            // context, and `out` cannot reach the context.
            let Some(packet) =
                (unsafe { sys::aom_codec_get_cx_data(&raw mut *self.context.0, &raw mut iterator).as_ref() })
            else {
                return Ok(());
            };
            if packet.kind == sys::AOM_CODEC_CX_FRAME_PKT {
                // SAFETY: the kind says that `frame` is the union's field, and its buffer holds `sz` bytes.
                let (frame, data) = unsafe {
                    let frame = packet.data.frame;
                    (frame, std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz))
                };
                out(Packet { data, key: frame.flags & sys::AOM_FRAME_IS_KEY != 0 });
            }
        }
    }
}

/// A decoder.
pub(super) struct Decoder {
    context: Context,
}

impl Decoder {
    pub(super) fn open(threads: c_uint) -> Result<Self, LibraryError> {
        let config = sys::aom_codec_dec_cfg_t { threads, w: 0, h: 0, allow_lowbitdepth: 1 };
        // SAFETY: the interface is a static of libaom; the context is zeroed and writable; the configuration is read before
        // init returns, and libaom keeps a copy.
        let context = Context::open(|ctx| unsafe {
            let interface = sys::aom_codec_av1_dx();
            sys::aom_codec_dec_init_ver(ctx, interface, &raw const config, 0, sys::AOM_DECODER_ABI_VERSION as c_int)
        })?;
        Ok(Self { context })
    }
}

impl FrameDecoder for Decoder {
    fn decode(&mut self, data: &[u8], pool: &FramePool, out: &mut dyn FnMut(I420)) -> Result<(), LibraryError> {
        // To libaom that would be a flush.
        if data.is_empty() {
            return Err(LibraryError::new("an empty frame".to_owned()));
        }
        // SAFETY: `data` is readable for its length and libaom keeps no reference to it after `get_frame` below.
        let code =
            unsafe { sys::aom_codec_decode(&raw mut *self.context.0, data.as_ptr(), data.len(), ptr::null_mut()) };
        self.context.check(code)?;
        let mut iterator = ptr::null();
        loop {
            // SAFETY: the iterator starts as null and is only libaom's; the image stays valid until the next call on the
            // context, and `out` cannot reach the context.
            let Some(image) =
                (unsafe { sys::aom_codec_get_frame(&raw mut *self.context.0, &raw mut iterator).as_ref() })
            else {
                return Ok(());
            };
            out(copy(image, pool)?);
        }
    }

    fn corrupted(&mut self) -> bool {
        let mut corrupted: c_int = 0;
        let id = sys::AOMD_GET_FRAME_CORRUPTED as c_int;
        // SAFETY: this control writes one int through the pointer it is passed.
        let code = unsafe { sys::aom_codec_control(&raw mut *self.context.0, id, &raw mut corrupted) };
        code == sys::AOM_CODEC_OK && corrupted != 0
    }
}

/// The picture in `image`, without libaom's borders.
fn copy(image: &sys::aom_image_t, pool: &FramePool) -> Result<I420, LibraryError> {
    if image.fmt != sys::AOM_IMG_FMT_I420 || image.bit_depth != 8 {
        return Err(LibraryError::new("pictures of another format than 8 bits and 4:2:0".to_owned()));
    }
    let mut picture = pool.take(image.d_w, image.d_h);
    let widths = [picture.width(), picture.chroma_width(), picture.chroma_width()].map(|width| width as usize);
    for (index, (to, width)) in picture.planes_mut().into_iter().zip(widths).enumerate() {
        if image.monochrome != 0 && index > 0 {
            to.fill(128);
            continue;
        }
        // SAFETY: a decoded I420 image has `d_h` (chroma: half, rounded up) rows of `stride` bytes in each plane, of which
        // `d_w` (chroma: half, rounded up) are pixels.
        unsafe { copy_rows(image.planes[index], image.stride[index], width, to) };
    }
    Ok(picture)
}
