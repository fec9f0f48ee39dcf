//! A barcode and a flash in the picture, by which latency, freezes and lip sync are measured.
//!
//! The barcode is a strip across the top of the picture: rows of black and white cells, proportional to the
//! picture so that a scaled copy reads as well. The first and last cell of each row are a known pattern that
//! gives the reader its black and white levels; the rest carry 96 bits, most significant first, row by row:
//! frame number (32), capture time (48), CRC-16/CCITT-FALSE of these ten bytes (16). Pictures of at least
//! 320x160 use 34 columns and 3 rows in the top eighth; smaller ones 16 columns and 7 rows in the top 7/16.
//! The reader tries both, so that a picture may be scaled across that border. Cells survive VP8 at a few hundred
//! kbit/s and scaling as long as they stay some three pixels large: half size from 640x480, double from 64x48.
//!
//! The flash is a square block at the bottom left, a sixth of the height (or width, if that is less), white during the
//! first 100 ms of each second of the timeline and black otherwise. It starts together with the
//! [chirp](super::chirp).

use super::{I420, MediaTime};

/// Black and white luma, ITU-R BT.601 limited range.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
const NEUTRAL: u8 = 128;

const TIME_BITS: u32 = 48;
const PAYLOAD: usize = 12;

/// The smallest picture that can carry a barcode.
pub const SMALLEST: (u32, u32) = (64, 48);

/// What the barcode says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barcode {
    /// The number of the frame, counted by its schedule from 0; wraps.
    pub frame: u32,
    /// The UNIX time of capture in microseconds. The picture carries the low 48 bits (8.9 years): compare with
    /// [`age_micros`](Self::age_micros).
    pub captured_micros: u64,
}

impl Barcode {
    /// Microseconds from its capture to the UNIX time `now_micros`; negative when the clocks disagree.
    pub fn age_micros(self, now_micros: u64) -> i64 {
        let shift = 64 - TIME_BITS;
        (now_micros.wrapping_sub(self.captured_micros) << shift).cast_signed() >> shift
    }

    fn to_bytes(self) -> [u8; PAYLOAD] {
        let mut bytes = [0; PAYLOAD];
        bytes[..4].copy_from_slice(&self.frame.to_be_bytes());
        bytes[4..10].copy_from_slice(&self.captured_micros.to_be_bytes()[2..]);
        let crc = crc16(&bytes[..10]);
        bytes[10..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; PAYLOAD]) -> Option<Self> {
        let [f0, f1, f2, f3, t0, t1, t2, t3, t4, t5, c0, c1] = *bytes;
        (crc16(&bytes[..10]) == u16::from_be_bytes([c0, c1])).then_some(Self {
            frame: u32::from_be_bytes([f0, f1, f2, f3]),
            captured_micros: u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
        })
    }
}

/// How cells cover the top of a picture.
#[derive(Clone, Copy)]
struct Layout {
    columns: usize,
    rows: usize,
    /// The strip's share of the height.
    share: (usize, usize),
}

impl Layout {
    const WIDE: Self = Self { columns: 34, rows: 3, share: (1, 8) };
    const SMALL: Self = Self { columns: 16, rows: 7, share: (7, 16) };

    fn of(width: u32, height: u32) -> Option<Self> {
        match (width, height) {
            (320.., 160..) => Some(Self::WIDE),
            (w, h) if w >= SMALLEST.0 && h >= SMALLEST.1 => Some(Self::SMALL),
            _ => None,
        }
    }

    fn x(self, width: usize, column: usize) -> usize {
        width * column / self.columns
    }

    fn y(self, height: usize, row: usize) -> usize {
        height * row * self.share.0 / (self.rows * self.share.1)
    }

    /// The cells in reading order; `None` marks the sync cells.
    fn cells(self) -> impl Iterator<Item = (usize, usize, Option<usize>)> {
        let inner = self.columns - 2;
        (0..self.rows).flat_map(move |row| {
            (0..self.columns).map(move |column| {
                let bit = (1..=inner).contains(&column).then(|| row * inner + column - 1);
                (column, row, bit.filter(|bit| *bit < PAYLOAD * 8))
            })
        })
    }

    /// Whether this sync cell is white: the left edge begins white, the right edge black, and both alternate.
    fn sync(self, column: usize, row: usize) -> bool {
        (column + 1 == self.columns) == (row % 2 == 1)
    }
}

/// Draws `barcode` across the top of `picture`, black and white on neutral chroma. Pictures smaller than
/// [`SMALLEST`] are left as they are.
pub fn draw(picture: &mut I420, barcode: Barcode) {
    let Some(layout) = Layout::of(picture.width(), picture.height()) else { return };
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (chroma_width, strip) = (picture.chroma_width() as usize, layout.y(height, layout.rows));
    let bytes = barcode.to_bytes();
    let [luma, u, v] = picture.planes_mut();
    for chroma in [u, v] {
        chroma[..strip.div_ceil(2) * chroma_width].fill(NEUTRAL);
    }
    for (column, row, bit) in layout.cells() {
        let white = bit.map_or_else(|| layout.sync(column, row), |bit| bytes[bit / 8] >> (7 - bit % 8) & 1 == 1);
        // One line of a row is drawn cell by cell, the others are copies of it.
        let start = layout.y(height, row) * width;
        let cells = layout.x(width, column)..layout.x(width, column + 1);
        luma[start..start + width][cells].fill(if white { WHITE } else { BLACK });
    }
    for row in 0..layout.rows {
        let (first, end) = (layout.y(height, row), layout.y(height, row + 1));
        for line in first + 1..end {
            luma.copy_within(first * width..(first + 1) * width, line * width);
        }
    }
}

/// Reads the barcode of a picture that may have been coded and scaled. `None` when there is none or it is too damaged:
/// levels, sync cells, the distance of every cell from grey, and the CRC must all be right.
pub fn read(picture: &I420) -> Option<Barcode> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    if width < 32 || height < 24 {
        return None;
    }
    [Layout::WIDE, Layout::SMALL].into_iter().find_map(|layout| {
        let cell = |column: usize, row: usize| {
            let columns = middle(layout.x(width, column), layout.x(width, column + 1));
            let rows = middle(layout.y(height, row), layout.y(height, row + 1));
            mean(picture, columns, rows)
        };
        let (mut dark, mut light, mut counts) = (0, 0, (0, 0));
        for (column, row, bit) in layout.cells() {
            if bit.is_none() {
                let (sum, count) =
                    if layout.sync(column, row) { (&mut light, &mut counts.1) } else { (&mut dark, &mut counts.0) };
                *sum += cell(column, row);
                *count += 1;
            }
        }
        let (dark, light) = (dark / counts.0, light / counts.1);
        if light < dark + 60 {
            return None;
        }
        let (middle, margin) = ((dark + light) / 2, (light - dark) / 8);
        let mut bytes = [0_u8; PAYLOAD];
        for (column, row, bit) in layout.cells() {
            let level = cell(column, row);
            if level.abs_diff(middle) < margin {
                return None;
            }
            let white = level > middle;
            match bit {
                Some(bit) => bytes[bit / 8] |= u8::from(white) << (7 - bit % 8),
                None if white != layout.sync(column, row) => return None,
                None => {}
            }
        }
        Barcode::from_bytes(&bytes)
    })
}

/// Whether the flash is white at this time of the timeline.
pub fn flash_at(time: MediaTime) -> bool {
    time.micros().rem_euclid(1_000_000) < 100_000
}

/// Draws the flash block. Its place is scaled with the picture; below [`SMALLEST`] nothing is drawn.
pub fn draw_flash(picture: &mut I420, white: bool) {
    if picture.width() < SMALLEST.0 || picture.height() < SMALLEST.1 {
        return;
    }
    let (width, height, chroma_width) =
        (picture.width() as usize, picture.height() as usize, picture.chroma_width() as usize);
    let side = flash_side(picture);
    let [luma, u, v] = picture.planes_mut();
    for line in height - side..height {
        luma[line * width..][..side].fill(if white { WHITE } else { BLACK });
    }
    for chroma in [u, v] {
        for line in (height - side) / 2..height.div_ceil(2) {
            chroma[line * chroma_width..][..side.div_ceil(2)].fill(NEUTRAL);
        }
    }
}

/// Whether the flash block is white. Says nothing about whether there is one: ask pictures with a barcode only.
pub fn flash(picture: &I420) -> bool {
    let (height, side) = (picture.height() as usize, flash_side(picture));
    mean(picture, middle(0, side), middle(height - side, height)) > usize::from(u8::MAX / 2)
}

fn flash_side(picture: &I420) -> usize {
    (picture.width().min(picture.height()) as usize / 6).max(1)
}

/// The middle half of a span, at least one pixel, clear of edges that coding and scaling blur.
fn middle(start: usize, end: usize) -> std::ops::Range<usize> {
    let inset = end.saturating_sub(start) / 4;
    start + inset..(end - inset).max(start + inset + 1)
}

/// The mean luma of at most 8 by 8 pixels spread over a rectangle.
fn mean(picture: &I420, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> usize {
    let [luma, ..] = picture.planes();
    let width = picture.width() as usize;
    let (mut sum, mut count) = (0, 0);
    for y in rows.clone().step_by(rows.len().div_ceil(8)) {
        for x in columns.clone().step_by(columns.len().div_ceil(8)) {
            sum += luma.get(y * width + x).copied().map_or(0, usize::from);
            count += 1;
        }
    }
    sum / count.max(1)
}

/// CRC-16/CCITT-FALSE: polynomial 0x1021, initial value 0xFFFF.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test values are small")]
mod tests {
    use super::*;

    const SAMPLE: Barcode = Barcode { frame: 0xDEAD_BEEF, captured_micros: 0x0000_6543_21FE_DCBA };

    fn noisy(width: u32, height: u32, seed: u32) -> I420 {
        let mut picture = I420::new(width, height);
        let mut state = seed | 1;
        for byte in picture.data_mut() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = state.to_be_bytes()[0];
        }
        picture
    }

    /// Bilinear scaling of the luma, as a browser does it.
    fn scaled(picture: &I420, width: u32, height: u32) -> I420 {
        let mut result = I420::new(width, height);
        let (from_width, from_height) = (picture.width() as usize, picture.height() as usize);
        let source = picture.planes()[0];
        let luma = &mut result.planes_mut()[0];
        for y in 0..height as usize {
            for x in 0..width as usize {
                let at = |n: usize, to: u32, from: usize| {
                    let position = ((n as f64 + 0.5) * from as f64 / f64::from(to) - 0.5).clamp(0.0, from as f64 - 1.0);
                    (position as usize, position.fract())
                };
                let ((x0, fx), (y0, fy)) = (at(x, width, from_width), at(y, height, from_height));
                let (x1, y1) = ((x0 + 1).min(from_width - 1), (y0 + 1).min(from_height - 1));
                let pixel = |x: usize, y: usize| f64::from(source[y * from_width + x]);
                let top = pixel(x0, y0) * (1.0 - fx) + pixel(x1, y0) * fx;
                let bottom = pixel(x0, y1) * (1.0 - fx) + pixel(x1, y1) * fx;
                luma[y * width as usize + x] = (top * (1.0 - fy) + bottom * fy) as u8;
            }
        }
        result
    }

    #[test]
    fn every_size_from_the_smallest_to_4k_reads_back_what_was_drawn() {
        for (width, height) in
            [(64, 48), (65, 49), (176, 144), (319, 159), (320, 180), (641, 479), (720, 1280), (3840, 2160)]
        {
            let mut picture = noisy(width, height, 7);
            draw(&mut picture, SAMPLE);
            assert_eq!(read(&picture), Some(SAMPLE), "{width}x{height}");
        }
    }

    #[test]
    fn a_scaled_picture_reads_the_same() {
        for (width, height) in [(640, 480), (1280, 720), (641, 481)] {
            let mut picture = noisy(width, height, 3);
            draw(&mut picture, SAMPLE);
            for factor in [0.5, 0.61, 0.75, 1.3, 2.0] {
                let to = |n: u32| (f64::from(n) * factor) as u32;
                let small = scaled(&picture, to(width), to(height));
                assert_eq!(read(&small), Some(SAMPLE), "{width}x{height} times {factor}");
            }
        }
    }

    #[test]
    fn pictures_without_a_barcode_and_damaged_barcodes_read_as_nothing() {
        for seed in 0..500 {
            assert_eq!(read(&noisy(64, 48, seed * 7919)), None);
        }
        assert_eq!(read(&I420::new(640, 480)), None);
        let mut clean = I420::new(640, 480);
        draw(&mut clean, SAMPLE);
        for column in 1..33 {
            let mut damaged = I420::new(640, 480);
            damaged.data_mut().copy_from_slice(clean.data());
            for y in 0..20 {
                for x in column * 640 / 34..(column + 1) * 640 / 34 {
                    let pixel = &mut damaged.data_mut()[y * 640 + x];
                    *pixel = 251 - *pixel;
                }
            }
            assert_eq!(read(&damaged), None, "one flipped cell in column {column}");
        }
    }

    #[test]
    fn pictures_too_small_are_left_alone() {
        for (width, height) in [(63, 48), (64, 47), (16, 16), (1, 1)] {
            let mut picture = noisy(width, height, 5);
            let before = picture.data().to_vec();
            draw(&mut picture, SAMPLE);
            draw_flash(&mut picture, true);
            assert_eq!(picture.data(), before);
            assert_eq!(read(&picture), None);
        }
    }

    #[test]
    fn the_flash_reads_in_any_size_and_lasts_a_tenth_of_each_second() {
        for (width, height) in [(64, 48), (65, 49), (1280, 720), (480, 640)] {
            let mut picture = noisy(width, height, 9);
            draw_flash(&mut picture, true);
            assert!(flash(&picture) && flash(&scaled(&picture, width * 2 / 3, height * 2 / 3)));
            draw_flash(&mut picture, false);
            assert!(!flash(&picture));
        }
        let flashes = |ms: i64| flash_at(MediaTime::from_micros(ms * 1000));
        assert!(flashes(0) && flashes(99) && !flashes(100) && !flashes(999) && flashes(5000));
    }

    #[test]
    fn age_is_right_across_the_wrap_of_48_bits() {
        let edge = (1 << TIME_BITS) - 1000;
        let barcode = Barcode { frame: 0, captured_micros: edge };
        assert_eq!(barcode.age_micros(edge + 40_000), 40_000);
        assert_eq!(barcode.age_micros(edge - 5), -5);
    }
}
