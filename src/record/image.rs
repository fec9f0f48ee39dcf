//! One picture as a PNG or JPEG file.

use super::output::{Existing, Finished, Output, OutputError, Target};
use crate::error::{Classify, ErrorKind};
use crate::media::I420;
use std::path::Path;
use yuv::{YuvError, YuvPlanarImage, YuvRange, YuvStandardMatrix};

/// How hard JPEG tries, of 100: nobody sees a difference above.
const JPEG_QUALITY: u8 = 92;

/// A kind of image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// Without loss.
    Png,
    /// Small.
    Jpeg,
}

impl ImageFormat {
    /// The format that a name ends with.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg),
            _ => None,
        }
    }
}

/// Why an image was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file or stream failed.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The picture cannot be coded.
    #[error("a picture of {width}x{height} cannot be coded: {detail}")]
    Encode {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// What the library says.
        detail: String,
    },
}

impl Classify for ImageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Output(_) => ErrorKind::Output,
            Self::Encode { .. } => ErrorKind::InvalidInput,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Output(_) => "output",
            Self::Encode { .. } => "EncodingError",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Output(error) => error.hint(),
            Self::Encode { .. } => None,
        }
    }
}

/// R, G and B of each pixel, full range, line by line without padding.
///
/// # Errors
/// Never for pictures of a size that exists.
pub fn rgb(picture: &I420) -> Result<Vec<u8>, YuvError> {
    let (width, height, chroma) = (picture.width(), picture.height(), picture.chroma_width());
    let [y_plane, u_plane, v_plane] = picture.planes();
    let planes = YuvPlanarImage {
        y_plane,
        y_stride: width,
        u_plane,
        u_stride: chroma,
        v_plane,
        v_stride: chroma,
        width,
        height,
    };
    let mut pixels = vec![0; width as usize * height as usize * 3];
    yuv::yuv420_to_rgb(&planes, &mut pixels, width * 3, YuvRange::Limited, YuvStandardMatrix::Bt601)?;
    Ok(pixels)
}

/// An image file or stream that is open and waits for its picture.
pub struct ImageSink {
    output: Output,
    format: ImageFormat,
}

impl ImageSink {
    /// Opens the output.
    ///
    /// # Errors
    /// When it exists or cannot be created.
    pub fn create(target: Target, existing: Existing, format: ImageFormat) -> Result<Self, ImageError> {
        Ok(Self { output: Output::create(target, existing)?, format })
    }

    /// Writes the picture and completes the file. Blocks on the disk or pipe behind it.
    ///
    /// # Errors
    /// When the output fails, or the format does not take pictures of this size.
    pub fn write(self, picture: &I420) -> Result<Finished, ImageError> {
        let (width, height) = (picture.width(), picture.height());
        let failed = |detail: String| ImageError::Encode { width, height, detail };
        let pixels = rgb(picture).map_err(|error| failed(error.to_string()))?;
        self.write_rgb(&pixels, width, height)
    }

    /// The same for a picture of R, G and B of each pixel, line by line without padding.
    ///
    /// # Errors
    /// As those of [`write`](Self::write).
    pub fn write_rgb(mut self, pixels: &[u8], width: u32, height: u32) -> Result<Finished, ImageError> {
        let failed = |detail: String| ImageError::Encode { width, height, detail };
        let bytes = match self.format {
            ImageFormat::Png => png(pixels, width, height).map_err(|error| failed(error.to_string()))?,
            ImageFormat::Jpeg => jpeg(pixels, width, height).map_err(failed)?,
        };
        self.output.write(&bytes)?;
        Ok(self.output.finish()?)
    }
}

fn png(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

fn jpeg(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, String> {
    let too_large = |_| "JPEG ends at 65535 pixels".to_owned();
    let (width, height) = (u16::try_from(width).map_err(too_large)?, u16::try_from(height).map_err(too_large)?);
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, JPEG_QUALITY);
    encoder.encode(pixels, width, height, jpeg_encoder::ColorType::Rgb).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::foreign;

    /// Left half red, right half blue, odd in size.
    fn flag() -> I420 {
        let mut picture = I420::new(65, 33);
        let (width, chroma) = (65, picture.chroma_width() as usize);
        let [y, u, v] = picture.planes_mut();
        let fill = |plane: &mut [u8], width: usize, left: u8, right: u8| {
            for (at, value) in plane.iter_mut().enumerate() {
                *value = if at % width < width / 2 { left } else { right };
            }
        };
        fill(y, width, 82, 41);
        fill(u, chroma, 90, 240);
        fill(v, chroma, 240, 110);
        picture
    }

    #[test]
    fn both_formats_are_read_back_by_ffmpeg_with_their_colours() {
        let Some(tools) = foreign::ffmpeg() else { return };
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.jpg"] {
            let path = folder.path().join(name);
            let format = ImageFormat::of_path(&path).unwrap();
            let sink = ImageSink::create(Target::File(path.clone()), Existing::Refuse, format).unwrap();
            sink.write(&flag()).unwrap();
            tools.assert_clean(&path);
            let pixels = tools.decoded(&path, &["-pix_fmt", "rgb24", "-f", "rawvideo"]);
            assert_eq!(pixels.len(), 65 * 33 * 3, "{name}");
            let at = |x: usize, y: usize| &pixels[(y * 65 + x) * 3..][..3];
            for (x, wanted) in [(8, [255, 0, 0]), (56, [0, 0, 255])] {
                let near = at(x, 16).iter().zip(wanted).all(|(got, wanted): (&u8, u8)| got.abs_diff(wanted) <= 4);
                assert!(near, "{name}: {:?} for {wanted:?}", at(x, 16));
            }
        }
    }

    #[test]
    fn an_image_that_exists_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.PNG");
        std::fs::write(&path, "mine").unwrap();
        let format = ImageFormat::of_path(&path).unwrap();
        let refused = ImageSink::create(Target::File(path.clone()), Existing::Refuse, format).err();
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Output));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert_eq!(ImageFormat::of_path(Path::new("a.webm")), None);
    }
}
