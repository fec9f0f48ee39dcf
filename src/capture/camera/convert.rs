//! Pixels of a camera to I420.

use super::PixelFormat;
use crate::capture::range::limit_range;
use crate::media::I420;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvError, YuvPackedImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// How the bytes of one camera lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) format: PixelFormat,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Bytes from one line to the next, of the first plane.
    pub(super) stride: u32,
    /// Whether luma is 0 to 255 rather than 16 to 235.
    pub(super) full_range: bool,
}

/// A picture that is no picture; the next one may be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConvertError {
    #[error("{got} bytes came where a picture has {wanted}")]
    Short { got: usize, wanted: usize },
    #[error("JPEG: {0}")]
    Jpeg(String),
    #[error("JPEG of {0:?} pixels")]
    Size((usize, usize)),
    #[error(transparent)]
    Yuv(#[from] YuvError),
}

impl Layout {
    /// Bytes of a picture; what compressed ones have at least.
    fn bytes(&self) -> usize {
        let (stride, height) = (self.stride as usize, self.height as usize);
        match self.format {
            PixelFormat::Yu12 | PixelFormat::Yv12 => stride * height + 2 * stride.div_ceil(2) * height.div_ceil(2),
            PixelFormat::Nv12 | PixelFormat::Nv21 => stride * height + stride * height.div_ceil(2),
            PixelFormat::Yu16 => stride * height + 2 * stride.div_ceil(2) * height,
            PixelFormat::Mjpg | PixelFormat::Jpeg => 2,
            _ => stride * height,
        }
    }

    /// Fills `picture`, which has the size of the layout, from the bytes of one picture.
    pub(super) fn convert(&self, bytes: &[u8], picture: &mut I420) -> Result<(), ConvertError> {
        let wanted = self.bytes();
        if bytes.len() < wanted {
            return Err(ConvertError::Short { got: bytes.len(), wanted });
        }
        let (stride, height) = (self.stride as usize, self.height as usize);
        match self.format {
            PixelFormat::Yu12 | PixelFormat::Yv12 => self.planar(bytes, picture, height.div_ceil(2)),
            PixelFormat::Yu16 => self.planar(bytes, picture, height),
            PixelFormat::Nv12 | PixelFormat::Nv21 => {
                let (luma, chroma) = bytes.split_at(stride * height);
                let swapped = self.format == PixelFormat::Nv21;
                let across = picture.chroma_width() as usize;
                let [y, u, v] = picture.planes_mut();
                copy_lines(luma, stride, y, self.width as usize);
                let (first, second) = if swapped { (v, u) } else { (u, v) };
                let lines = first.chunks_exact_mut(across).zip(second.chunks_exact_mut(across));
                for ((first, second), pairs) in lines.zip(chroma.chunks(stride)) {
                    for ((a, b), pair) in first.iter_mut().zip(second).zip(pairs.chunks_exact(2)) {
                        (*a, *b) = (pair[0], pair[1]);
                    }
                }
            }
            PixelFormat::Grey => {
                let [y, u, v] = picture.planes_mut();
                copy_lines(bytes, stride, y, self.width as usize);
                u.fill(128);
                v.fill(128);
            }
            PixelFormat::Yuyv | PixelFormat::Uyvy | PixelFormat::Yvyu | PixelFormat::Vyuy => {
                let (width, height) = (self.width, self.height);
                let packed = YuvPackedImage { yuy: &bytes[..wanted], yuy_stride: self.stride, width, height };
                let mut planar = planar_image(picture);
                match self.format {
                    PixelFormat::Uyvy => yuv::uyvy422_to_yuv420(&mut planar, &packed)?,
                    PixelFormat::Yvyu => yuv::yvyu422_to_yuv420(&mut planar, &packed)?,
                    PixelFormat::Vyuy => yuv::vyuy422_to_yuv420(&mut planar, &packed)?,
                    _ => yuv::yuyv422_to_yuv420(&mut planar, &packed)?,
                }
            }
            PixelFormat::Rgb3 | PixelFormat::Bgr3 | PixelFormat::Xr24 | PixelFormat::Ar24 => {
                self.rgb(&bytes[..wanted], self.stride, picture)?;
                return Ok(());
            }
            PixelFormat::Mjpg | PixelFormat::Jpeg => {
                let pixels = self.decode_jpeg(bytes)?;
                self.rgb(&pixels, self.width * 3, picture)?;
                return Ok(());
            }
        }
        if self.full_range {
            limit_range(picture);
        }
        Ok(())
    }

    fn planar(&self, bytes: &[u8], picture: &mut I420, chroma_lines: usize) {
        let (stride, height, width) = (self.stride as usize, self.height as usize, self.width as usize);
        let chroma_stride = stride.div_ceil(2);
        let (luma, chroma) = bytes.split_at(stride * height);
        let (first, second) = chroma.split_at(chroma_stride * chroma_lines);
        let across = picture.chroma_width() as usize;
        let [y, u, v] = picture.planes_mut();
        copy_lines(luma, stride, y, width);
        let (to_first, to_second) = if self.format == PixelFormat::Yv12 { (v, u) } else { (u, v) };
        for (from, to) in [(first, to_first), (second, to_second)] {
            if chroma_lines == height && height > 1 {
                halve_lines(from, chroma_stride, to, across);
            } else {
                copy_lines(from, chroma_stride, to, across);
            }
        }
    }

    /// R, G and B, always of full range.
    fn rgb(&self, pixels: &[u8], stride: u32, picture: &mut I420) -> Result<(), YuvError> {
        let (range, matrix, mode) = (YuvRange::Limited, YuvStandardMatrix::Bt601, YuvConversionMode::Balanced);
        let convert = match self.format {
            PixelFormat::Bgr3 => yuv::bgr_to_yuv420,
            PixelFormat::Xr24 | PixelFormat::Ar24 => yuv::bgra_to_yuv420,
            _ => yuv::rgb_to_yuv420,
        };
        convert(&mut planar_image(picture), pixels, stride, range, matrix, mode)
    }

    /// R, G and B of a whole JPEG. Of one that is cut off or spoilt a reader of files would show what it can; of a camera the
    /// next one comes soon.
    fn decode_jpeg(&self, bytes: &[u8]) -> Result<Vec<u8>, ConvertError> {
        let failed = |error: zune_jpeg::errors::DecodeErrors| ConvertError::Jpeg(format!("{error:?}"));
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB).set_strict_mode(true);
        let marked;
        let bytes = if has_huffman_tables(bytes) {
            bytes
        } else {
            marked = [START_OF_IMAGE, USUAL_TABLES, bytes.get(2..).unwrap_or_default()].concat();
            &marked[..]
        };
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers().map_err(failed)?;
        let size = decoder.info().map(|info| (usize::from(info.width), usize::from(info.height)));
        match size {
            Some((width, height)) if (width, height) == (self.width as usize, self.height as usize) => {}
            other => return Err(ConvertError::Size(other.unwrap_or_default())),
        }
        decoder.decode().map_err(failed)
    }
}

const START_OF_IMAGE: &[u8] = &[0xff, 0xd8];
/// The segment by which AVI files say that a JPEG goes by the tables of T.81 annex K.
const USUAL_TABLES: &[u8] = b"\xff\xe0\x00\x07AVI1\x00";

/// Whether a JPEG defines Huffman tables before its scan. Many cameras leave them out and mean the usual ones.
fn has_huffman_tables(jpeg: &[u8]) -> bool {
    const DEFINE_TABLES: u8 = 0xc4;
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = jpeg.get(START_OF_IMAGE.len()..).unwrap_or_default();
    while let [0xff, marker, behind @ ..] = rest {
        match (*marker, behind) {
            (DEFINE_TABLES, _) => return true,
            (START_OF_SCAN, _) => return false,
            // Any number of these may stand before a marker.
            (0xff, _) => rest = &rest[1..],
            (_, [high, low, ..]) => {
                rest = behind.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    // What is not made of segments is the decoder's to judge.
    true
}

fn planar_image(picture: &mut I420) -> YuvPlanarImageMut<'_, u8> {
    let (width, height, chroma_width) = (picture.width(), picture.height(), picture.chroma_width());
    let [y, u, v] = picture.planes_mut();
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: chroma_width,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: chroma_width,
        width,
        height,
    }
}

fn copy_lines(from: &[u8], stride: usize, to: &mut [u8], width: usize) {
    if stride == width {
        to.copy_from_slice(&from[..to.len()]);
        return;
    }
    for (line, to) in from.chunks(stride).zip(to.chunks_exact_mut(width)) {
        to.copy_from_slice(&line[..width]);
    }
}

/// The mean of each two lines.
fn halve_lines(from: &[u8], stride: usize, to: &mut [u8], width: usize) {
    for (pair, to) in from.chunks(2 * stride).zip(to.chunks_exact_mut(width)) {
        let (upper, lower) = pair.split_at(stride.min(pair.len()));
        let lower = if lower.is_empty() { upper } else { lower };
        for ((a, b), to) in upper.iter().zip(lower).zip(to) {
            *to = a.midpoint(*b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 16;
    const HEIGHT: usize = 6;

    /// A picture of smooth colours: what all formats can carry.
    fn original() -> I420 {
        let mut picture = I420::new(16, 6);
        let across = picture.chroma_width() as usize;
        let [y, u, v] = picture.planes_mut();
        for (at, value) in y.iter_mut().enumerate() {
            *value = u8::try_from(60 + at % WIDTH * 4 + at / WIDTH * 5).unwrap();
        }
        for (at, value) in u.iter_mut().enumerate() {
            *value = u8::try_from(100 + at % across * 2).unwrap();
        }
        for (at, value) in v.iter_mut().enumerate() {
            *value = u8::try_from(140 - at % across * 2).unwrap();
        }
        picture
    }

    /// The original in `format`, with lines `padding` bytes longer than they need to be.
    fn stored(format: PixelFormat, padding: usize) -> (Vec<u8>, u32) {
        let picture = original();
        let [y, u, v] = picture.planes();
        let half = WIDTH / 2;
        let chroma = |plane: &[u8], x: usize, line: usize| plane[line / 2 * half + x / 2];
        let mut bytes = Vec::new();
        let pad = |bytes: &mut Vec<u8>, count: usize| bytes.extend(std::iter::repeat_n(255, count));
        let lines = |bytes: &mut Vec<u8>, plane: &[u8], width: usize, padding: usize, twice: bool| {
            for line in plane.chunks(width) {
                for _ in 0..=usize::from(twice) {
                    bytes.extend(line);
                    pad(bytes, padding);
                }
            }
        };
        let packed = |order: [usize; 4]| {
            let mut bytes = Vec::new();
            for line in 0..HEIGHT {
                for x in (0..WIDTH).step_by(2) {
                    let four = [y[line * WIDTH + x], chroma(u, x, line), y[line * WIDTH + x + 1], chroma(v, x, line)];
                    bytes.extend(order.map(|at| four[at]));
                }
                pad(&mut bytes, padding);
            }
            bytes
        };
        let stride = match format {
            PixelFormat::Yuyv | PixelFormat::Uyvy | PixelFormat::Yvyu | PixelFormat::Vyuy => {
                bytes = packed(match format {
                    PixelFormat::Uyvy => [1, 0, 3, 2],
                    PixelFormat::Yvyu => [0, 3, 2, 1],
                    PixelFormat::Vyuy => [3, 0, 1, 2],
                    _ => [0, 1, 2, 3],
                });
                2 * WIDTH + padding
            }
            PixelFormat::Yu12 | PixelFormat::Yv12 | PixelFormat::Yu16 => {
                lines(&mut bytes, y, WIDTH, padding, false);
                let planes = if format == PixelFormat::Yv12 { [v, u] } else { [u, v] };
                for plane in planes {
                    lines(&mut bytes, plane, half, padding / 2, format == PixelFormat::Yu16);
                }
                WIDTH + padding
            }
            PixelFormat::Nv12 | PixelFormat::Nv21 => {
                lines(&mut bytes, y, WIDTH, padding, false);
                let (first, second) = if format == PixelFormat::Nv12 { (u, v) } else { (v, u) };
                let pairs: Vec<u8> = first.iter().zip(second).flat_map(|(a, b)| [*a, *b]).collect();
                lines(&mut bytes, &pairs, WIDTH, padding, false);
                WIDTH + padding
            }
            _ => {
                lines(&mut bytes, y, WIDTH, padding, false);
                WIDTH + padding
            }
        };
        (bytes, u32::try_from(stride).unwrap())
    }

    fn converted(format: PixelFormat, bytes: &[u8], stride: u32) -> I420 {
        let layout = Layout { format, width: 16, height: 6, stride, full_range: false };
        let mut picture = I420::new(16, 6);
        layout.convert(bytes, &mut picture).unwrap();
        picture
    }

    #[test]
    fn every_arrangement_of_yuv_gives_the_same_picture_padded_or_not() {
        for format in PixelFormat::ALL {
            if matches!(
                format,
                PixelFormat::Rgb3
                    | PixelFormat::Bgr3
                    | PixelFormat::Xr24
                    | PixelFormat::Ar24
                    | PixelFormat::Mjpg
                    | PixelFormat::Jpeg
                    | PixelFormat::Grey
            ) {
                continue;
            }
            for padding in [0, 32] {
                let (bytes, stride) = stored(format, padding);
                assert_eq!(converted(format, &bytes, stride).data(), original().data(), "{format} with {padding}");
            }
        }
    }

    #[test]
    fn grey_keeps_its_luma_and_has_no_colour() {
        let (bytes, stride) = stored(PixelFormat::Grey, 8);
        let picture = converted(PixelFormat::Grey, &bytes, stride);
        assert_eq!(picture.planes()[0], original().planes()[0]);
        assert!(picture.planes()[1..].iter().all(|plane| plane.iter().all(|value| *value == 128)));
    }

    #[test]
    fn primary_colours_come_out_as_bt601_has_them() {
        // R, G, B and the Y, U, V that BT.601 in limited range makes of them.
        for (rgb, yuv) in [
            ([255, 0, 0], [82, 90, 240]),
            ([0, 255, 0], [145, 54, 34]),
            ([0, 0, 255], [41, 240, 110]),
            ([255, 255, 255], [235, 128, 128]),
            ([0, 0, 0], [16, 128, 128]),
        ] {
            let [r, g, b] = rgb;
            for (format, pixel) in [
                (PixelFormat::Rgb3, vec![r, g, b]),
                (PixelFormat::Bgr3, vec![b, g, r]),
                (PixelFormat::Xr24, vec![b, g, r, 7]),
                (PixelFormat::Ar24, vec![b, g, r, 255]),
            ] {
                let stride = u32::try_from(16 * pixel.len()).unwrap();
                let picture = converted(format, &pixel.repeat(16 * 6), stride);
                for (plane, wanted) in picture.planes().into_iter().zip(yuv) {
                    assert!(plane[0].abs_diff(wanted) <= 1, "{format} {rgb:?}: {} for {wanted}", plane[0]);
                }
            }
            let mut jpeg = Vec::new();
            let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 100);
            encoder.encode(&rgb.repeat(16 * 6), 16, 6, jpeg_encoder::ColorType::Rgb).unwrap();
            // Cameras leave room behind the image.
            jpeg.extend([0; 64]);
            let picture = converted(PixelFormat::Mjpg, &jpeg, 0);
            for (plane, wanted) in picture.planes().into_iter().zip(yuv) {
                assert!(plane[0].abs_diff(wanted) <= 3, "JPEG {rgb:?}: {} for {wanted}", plane[0]);
            }
        }
    }

    /// A picture of which no part is like another, as JPEG with the usual tables.
    fn noisy_jpeg() -> (Layout, Vec<u8>) {
        let mut state = 1_u32;
        let pixels: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(64 * 64 * 3)
        .collect();
        let mut jpeg = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 80);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_1);
        encoder.encode(&pixels, 64, 64, jpeg_encoder::ColorType::Rgb).unwrap();
        (Layout { format: PixelFormat::Mjpg, width: 64, height: 64, stride: 0, full_range: false }, jpeg)
    }

    #[test]
    fn a_jpeg_without_huffman_tables_goes_by_the_usual_ones() {
        let (layout, jpeg) = noisy_jpeg();
        let (mut kept, mut rest) = (jpeg[..2].to_vec(), &jpeg[2..]);
        while rest[1] != 0xda {
            let (segment, behind) = rest.split_at(2 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
            kept.extend(if segment[1] == 0xc4 { &[] } else { segment });
            rest = behind;
        }
        kept.extend(rest);
        assert!(kept.len() + 400 < jpeg.len());
        let [mut with, mut without] = [I420::new(64, 64), I420::new(64, 64)];
        layout.convert(&jpeg, &mut with).unwrap();
        layout.convert(&kept, &mut without).unwrap();
        assert_eq!(with.data(), without.data());
    }

    #[test]
    fn a_damaged_picture_is_an_error_and_no_panic() {
        let mut jpeg = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
        encoder.encode(&[90; 16 * 6 * 3], 16, 6, jpeg_encoder::ColorType::Rgb).unwrap();
        let layout = Layout { format: PixelFormat::Mjpg, width: 16, height: 6, stride: 0, full_range: false };
        let mut picture = I420::new(16, 6);
        for cut in [0, 1, 2, 20, 100] {
            assert!(layout.convert(&jpeg[..cut.min(jpeg.len())], &mut picture).is_err(), "{cut}");
        }
        let (large, jpeg_of_large) = noisy_jpeg();
        let mut picture_of_large = I420::new(64, 64);
        large.convert(&jpeg_of_large, &mut picture_of_large).unwrap();
        for cut in (100..jpeg_of_large.len() - 64).step_by(97) {
            assert!(large.convert(&jpeg_of_large[..cut], &mut picture_of_large).is_err(), "cut off at {cut}");
        }
        let mut spoilt = jpeg_of_large.clone();
        // Bits that are no code of the usual tables.
        let middle = spoilt.len() * 3 / 4;
        spoilt[middle..middle + 32].as_chunks_mut().0.fill([0xff, 0]);
        assert!(large.convert(&spoilt, &mut picture_of_large).is_err(), "spoilt");
        assert!(Layout { width: 32, ..layout }.convert(&jpeg, &mut I420::new(32, 6)).is_err(), "another size");
        for format in PixelFormat::ALL {
            let stride = 64;
            assert!(Layout { format, stride, ..layout }.convert(&[0; 100], &mut picture).is_err(), "{format}");
        }
    }
}
