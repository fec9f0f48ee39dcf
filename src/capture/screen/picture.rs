//! From the pixels of a display to pictures of constant size.

use super::geometry::{Fit, Region};
use crate::media::{FramePool, I420};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

/// How the four bytes of a pixel are ordered in memory; the fourth means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Blue, green, red.
    Bgr,
    /// Red, green, blue.
    Rgb,
}

/// Pixels of four bytes each, borrowed from where the display server put them.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    /// Whole rows of `stride` bytes, from the first that counts to the last.
    pub(super) data: &'a [u8],
    /// Bytes from row to row, a multiple of four.
    pub(super) stride: usize,
    /// Pixels at the left that do not count.
    pub(super) skip: usize,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) order: Order,
}

impl<'a> Pixels<'a> {
    /// The same without what is outside of `region`; `None` when that is all.
    pub(super) fn cropped(self, region: Option<Region>) -> Option<Self> {
        let Some(region) = region else { return Some(self) };
        let side = |start: u32, extent: u32, room: u32| Some(extent.min(room.checked_sub(start)?)).filter(|n| *n > 0);
        let width = side(region.x, region.width, self.width)?;
        let height = side(region.y, region.height, self.height)?;
        let data = self.data.get(region.y as usize * self.stride..)?;
        Some(Self { data, skip: self.skip + region.x as usize, width, height, ..self })
    }
}

/// Makes I420 pictures of one size of pixels of any size.
pub(super) struct Converter {
    size: (u32, u32),
    pool: FramePool,
    resizer: Resizer,
    scaled: Vec<u8>,
}

impl Converter {
    /// For pictures of `width` by `height` pixels.
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { size: (width, height), pool: FramePool::new(), resizer: Resizer::new(), scaled: Vec::new() }
    }

    /// The picture that `pixels` show, in a black frame if its shape is another or it is smaller. An error is a
    /// contradiction in `pixels`.
    pub(super) fn convert(&mut self, pixels: Pixels<'_>) -> Result<I420, String> {
        let fit = Fit::new((pixels.width, pixels.height), self.size);
        let bytes = pixels.stride * pixels.height as usize;
        let rows = pixels.data.get(..bytes).ok_or("rows are missing")?;
        let tight = fit.width as usize * 4;
        let (from, stride) = if (fit.width, fit.height) != (pixels.width, pixels.height) {
            self.scale(rows, pixels, fit)?;
            (&*self.scaled, tight)
        } else if pixels.skip > 0 {
            // The converter takes whole rows only.
            self.scaled.clear();
            for row in rows.chunks_exact(pixels.stride) {
                let row = row.get(pixels.skip * 4..).and_then(|row| row.get(..tight)).ok_or("columns are missing")?;
                self.scaled.extend_from_slice(row);
            }
            (&*self.scaled, tight)
        } else {
            (rows, pixels.stride)
        };
        let mut picture = self.pool.take(fit.width, fit.height);
        write(&mut picture, from, stride, pixels.order)?;
        if (fit.width, fit.height) == self.size { Ok(picture) } else { Ok(self.framed(&picture, fit)) }
    }

    /// `picture` in a black frame.
    fn framed(&self, picture: &I420, fit: Fit) -> I420 {
        let mut frame = self.pool.take(self.size.0, self.size.1);
        let strides = [frame.width(), frame.chroma_width(), frame.chroma_width()].map(|stride| stride as usize);
        let widths = [picture.width(), picture.chroma_width(), picture.chroma_width()].map(|width| width as usize);
        let starts = [(fit.x, fit.y), (fit.x / 2, fit.y / 2), (fit.x / 2, fit.y / 2)];
        let channels = frame.planes_mut().into_iter().zip(picture.planes()).zip([16, 128, 128]);
        for (index, ((into, from), black)) in channels.enumerate() {
            into.fill(black);
            let (x, y) = (starts[index].0 as usize, starts[index].1 as usize);
            let rows = into.chunks_exact_mut(strides[index]).skip(y);
            for (into, from) in rows.zip(from.chunks_exact(widths[index])) {
                into[x..][..widths[index]].copy_from_slice(from);
            }
        }
        frame
    }

    fn scale(&mut self, rows: &[u8], pixels: Pixels<'_>, fit: Fit) -> Result<(), String> {
        let columns = u32::try_from(pixels.stride / 4).map_err(|error| error.to_string())?;
        let from = ImageRef::new(columns, pixels.height, rows, PixelType::U8x4).map_err(|error| error.to_string())?;
        self.scaled.resize(fit.width as usize * fit.height as usize * 4, 0);
        let mut into = Image::from_slice_u8(fit.width, fit.height, &mut self.scaled, PixelType::U8x4)
            .map_err(|error| error.to_string())?;
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .crop(pixels.skip as f64, 0.0, f64::from(pixels.width), f64::from(pixels.height))
            .use_alpha(false);
        self.resizer.resize(&from, &mut into, &options).map_err(|error| error.to_string())
    }
}

/// Fills `picture` from as many pixels, in whole rows.
fn write(picture: &mut I420, from: &[u8], stride: usize, order: Order) -> Result<(), String> {
    let (width, height, chroma) = (picture.width(), picture.height(), picture.chroma_width());
    let [y, u, v] = picture.planes_mut();
    let mut planes = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: chroma,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: chroma,
        width,
        height,
    };
    let convert = match order {
        Order::Bgr => yuv::bgra_to_yuv420,
        Order::Rgb => yuv::rgba_to_yuv420,
    };
    let stride = u32::try_from(stride).map_err(|error| error.to_string())?;
    let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
    convert(&mut planes, from, stride, range, matrix, YuvConversionMode::Balanced).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 3] = [82, 90, 240];
    const BLACK: [u8; 3] = [16, 128, 128];

    fn at(picture: &I420, x: u32, y: u32) -> [u8; 3] {
        let [luma, u, v] = picture.planes();
        let chroma = (y / 2 * picture.chroma_width() + x / 2) as usize;
        [luma[(y * picture.width() + x) as usize], u[chroma], v[chroma]]
    }

    fn near(found: [u8; 3], wanted: [u8; 3]) -> bool {
        found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 2)
    }

    /// `width` by `height` red pixels behind `skip` blue ones in each row.
    fn red(width: u32, height: u32, skip: usize) -> Vec<u8> {
        let row = [[255, 0, 0, 9]].repeat(skip).into_iter().chain([[0, 0, 255, 9]].repeat(width as usize));
        let row: Vec<u8> = row.flatten().collect();
        row.repeat(height as usize)
    }

    #[test]
    fn pixels_of_any_size_and_order_keep_their_colour_and_their_place() {
        for (width, height) in [(64, 48), (128, 96), (31, 17), (200, 48), (65, 301), (1, 1)] {
            for (order, wanted) in [(Order::Bgr, RED), (Order::Rgb, [41, 240, 110])] {
                let data = red(width, height, 3);
                let stride = (width as usize + 3) * 4;
                let pixels = Pixels { data: &data, stride, skip: 3, width, height, order };
                let picture = Converter::new(64, 48).convert(pixels).unwrap();
                let fit = Fit::new((width, height), (64, 48));
                let (x, y) = (fit.x + fit.width / 2, fit.y + fit.height / 2);
                assert!(near(at(&picture, x, y), wanted), "{width}x{height}: {:?}", at(&picture, x, y));
                if fit.x > 1 || fit.y > 1 {
                    assert_eq!(at(&picture, 0, 0), BLACK, "{width}x{height}");
                    assert_eq!(at(&picture, 63, 47), BLACK, "{width}x{height}");
                }
            }
        }
    }

    #[test]
    fn a_crop_keeps_what_is_in_the_region() {
        let data: Vec<u8> = (0..64 * 48 * 4).map(|at| if at / 4 / 64 == 10 { 255 } else { 0 }).collect();
        let pixels = Pixels { data: &data, stride: 64 * 4, skip: 0, width: 64, height: 48, order: Order::Bgr };
        let crop = |x, y, width, height| pixels.cropped(Some(Region { x, y, width, height }));
        let row = crop(60, 10, 10, 1).unwrap();
        assert_eq!((row.width, row.height), (4, 1));
        let picture = Converter::new(4, 1).convert(row).unwrap();
        assert!(picture.planes()[0].iter().all(|luma| *luma > 230), "{:?}", picture.planes()[0]);
        assert!(crop(64, 0, 1, 1).is_none() && crop(0, 48, 1, 1).is_none());
    }

    #[test]
    fn too_few_bytes_are_an_error() {
        let data = red(64, 48, 0);
        for (width, height) in [(64, 49), (128, 96)] {
            let pixels = Pixels { data: &data, stride: 64 * 4, skip: 0, width, height, order: Order::Bgr };
            assert!(Converter::new(64, 48).convert(pixels).is_err(), "{width}x{height}");
        }
    }
}
