//! YUV4MPEG2: uncompressed pictures with a text header. 8-bit 4:2:0 is read as it is; 4:2:2, 4:4:4 and mono are
//! converted. Interlaced pictures are taken as they are stored.

use super::input::Input;
use super::source::Pass;
use crate::capture::CaptureError;
use crate::capture::range::limit_range;
use crate::media::{FramePool, FrameRate, I420, MediaTime, VideoFormat, VideoFrame};
use crate::stop::Stop;

/// How chroma is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chroma {
    C420,
    C422,
    C444,
    Mono,
}

impl Chroma {
    /// Width and height of a stored chroma plane.
    fn size(self, width: usize, height: usize) -> (usize, usize) {
        match self {
            Self::C420 => (width.div_ceil(2), height.div_ceil(2)),
            Self::C422 => (width.div_ceil(2), height),
            Self::C444 => (width, height),
            Self::Mono => (0, 0),
        }
    }
}

/// A y4m file whose header is read.
pub(super) struct Y4m {
    input: Input,
    format: VideoFormat,
    chroma: Chroma,
    full_range: bool,
    pool: FramePool,
    /// One stored picture, where it differs from ours.
    stored: Vec<u8>,
    count: u64,
}

impl Y4m {
    const LONGEST_LINE: u64 = 1024;

    pub(super) fn new(mut input: Input) -> Result<Self, CaptureError> {
        let header = input.line(Self::LONGEST_LINE)?.ok_or_else(|| input.damaged("the header breaks off"))?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let (mut width, mut height, mut frame_rate, mut chroma, mut full_range) = (0, 0, None, Chroma::C420, false);
        for field in header.split_ascii_whitespace().skip(1) {
            let Some((tag, value)) = field.split_at_checked(1) else { continue };
            match tag {
                "W" => width = value.parse().unwrap_or(0),
                "H" => height = value.parse().unwrap_or(0),
                "F" => {
                    let parts = value.split_once(':').and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?)));
                    let (numerator, denominator) =
                        parts.ok_or_else(|| input.damaged(&format!("'{value}' is no frame rate")))?;
                    frame_rate = FrameRate::new(numerator, denominator);
                }
                "C" => {
                    chroma = match value {
                        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Chroma::C420,
                        "422" => Chroma::C422,
                        "444" => Chroma::C444,
                        "mono" => Chroma::Mono,
                        _ => return Err(input.unsupported(&format!("y4m pixels in C{value}"))),
                    }
                }
                "X" if value == "COLORRANGE=FULL" => full_range = true,
                _ => {}
            }
        }
        if !(1..=16_384).contains(&width) || !(1..=16_384).contains(&height) {
            return Err(input.damaged("width and height must be 1 to 16384"));
        }
        // 0:0 stands for an unknown rate; others take 25 for it too.
        let frame_rate = frame_rate.unwrap_or(FrameRate::new(25, 1).expect("not zero"));
        let format = VideoFormat { width, height, frame_rate };
        Ok(Self { input, format, chroma, full_range, pool: FramePool::new(), stored: Vec::new(), count: 0 })
    }

    pub(super) fn format(&self) -> VideoFormat {
        self.format
    }

    fn picture(&mut self) -> Result<Option<I420>, CaptureError> {
        let (width, height) = (self.format.width as usize, self.format.height as usize);
        let (chroma_width, chroma_height) = self.chroma.size(width, height);
        let len = width * height + 2 * chroma_width * chroma_height;
        if self.chroma == Chroma::C420 && self.count > 0 {
            let mut picture = self.pool.take(self.format.width, self.format.height);
            return Ok((self.input.fill(picture.data_mut())? == len).then_some(picture));
        }
        // The first picture grows with what comes, so that a header alone cannot claim a gigabyte.
        if self.count == 0 {
            let Some(stored) = self.input.bytes(len as u64, len as u64)? else { return Ok(None) };
            self.stored = stored;
        } else if self.input.fill(&mut self.stored)? < len {
            return Ok(None);
        }
        let mut picture = self.pool.take(self.format.width, self.format.height);
        if self.chroma == Chroma::C420 {
            picture.data_mut().copy_from_slice(&self.stored);
            self.stored = Vec::new();
            return Ok(Some(picture));
        }
        let (luma, chroma) = self.stored.split_at(width * height);
        let (u, v) = chroma.split_at(chroma.len() / 2);
        let planes = picture.planes_mut();
        planes[0].copy_from_slice(luma);
        let [_, to_u, to_v] = planes;
        for (from, to) in [(u, to_u), (v, to_v)] {
            if self.chroma == Chroma::Mono {
                to.fill(128);
            } else {
                shrink(from, (chroma_width, chroma_height), to, (width.div_ceil(2), height.div_ceil(2)));
            }
        }
        Ok(Some(picture))
    }
}

/// Averages pixels of `from` into `to`, which has half the width, half the height, or both; odd sizes repeat the edge.
fn shrink(from: &[u8], (width, height): (usize, usize), to: &mut [u8], (to_width, to_height): (usize, usize)) {
    let (across, down) = (usize::from(width > to_width), usize::from(height > to_height));
    for (y, line) in to.chunks_exact_mut(to_width).enumerate() {
        let first = (y << down).min(height - 1);
        let second = (first + down).min(height - 1);
        for (x, pixel) in line.iter_mut().enumerate() {
            let left = (x << across).min(width - 1);
            let right = (left + across).min(width - 1);
            let sum: u16 = [(first, left), (first, right), (second, left), (second, right)]
                .iter()
                .map(|(y, x)| u16::from(from[y * width + x]))
                .sum();
            *pixel = u8::try_from((sum + 2) / 4).unwrap_or(u8::MAX);
        }
    }
}

impl Pass<VideoFrame> for Y4m {
    fn read(&mut self, _stop: &Stop) -> Result<Option<VideoFrame>, CaptureError> {
        let Some(line) = self.input.line(Self::LONGEST_LINE)? else { return Ok(None) };
        if !line.starts_with(b"FRAME") {
            return Err(self.input.damaged("a frame does not begin with FRAME"));
        }
        let Some(mut picture) = self.picture()? else {
            self.input.broke_off();
            return Ok(None);
        };
        if self.full_range {
            limit_range(&mut picture);
        }
        let time = self.format.frame_rate.time_of(self.count);
        self.count += 1;
        Ok(Some(VideoFrame::new(time, picture)))
    }

    fn end(&self) -> MediaTime {
        self.format.frame_rate.time_of(self.count)
    }
}
