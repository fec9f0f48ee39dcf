//! What changes each pixel by itself: from Y′CbCr to R′G′B′, through the matrices, and back, in one pass over the picture.
#![allow(unsafe_code)] // Compiled twice, for processors with AVX2 too: a third less time. The one block says why it may.

use super::matrix::ColorMatrix;
use crate::media::I420;

/// Pixels of a row that are worked on together.
const LANES: usize = 32;
const CHROMA: usize = LANES / 2;
/// Adding it to a float from 0 to 255 leaves the rounded value in the lowest byte.
const ROUND: f32 = 8_388_608.0;

/// Luma, and the two chromas of four pixels, from colours of 0 to 255: BT.601 in limited range.
const LUMA: [f32; 3] = [65.481 / 255.0, 128.553 / 255.0, 24.966 / 255.0];
const U: [f32; 3] = [-37.797 / 1020.0, -74.203 / 1020.0, 112.0 / 1020.0];
const V: [f32; 3] = [112.0 / 1020.0, -93.786 / 1020.0, -18.214 / 1020.0];

type Lanes = [f32; LANES];

/// Matrices one after the other, each clamped, on colours multiplied with their opacity.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    steps: Vec<Step>,
    /// The opacity of each pixel of the picture before the first step; everywhere 255 if there is none.
    opacity: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// Its constants are for a pixel that was opaque before the first step.
    matrix: ColorMatrix,
    /// What is left of the opacity then.
    left: f32,
}

impl Points {
    /// No step yet, on a picture of this opacity.
    pub(super) fn new(opacity: Option<Vec<u8>>) -> Self {
        Self { steps: Vec::new(), opacity }
    }

    fn left(&self) -> f32 {
        self.steps.last().map_or(1.0, |step| step.left)
    }

    /// Adds a matrix; it is folded into the one before it where that gives the same.
    pub(super) fn push(&mut self, mut matrix: ColorMatrix) {
        if let Some(last) = self.steps.last_mut().filter(|last| last.left >= 1.0)
            && let Some(folded) = last.matrix.then(&matrix)
        {
            last.matrix = folded;
            return;
        }
        let left = self.left();
        for row in &mut matrix.0 {
            row[3] *= left;
        }
        self.steps.push(Step { matrix, left });
    }

    /// Makes everything so much more transparent.
    pub(super) fn fade(&mut self, opacity: f32) {
        if self.steps.is_empty() {
            self.steps.push(Step { matrix: ColorMatrix::IDENTITY, left: 1.0 });
        }
        if let Some(last) = self.steps.last_mut() {
            last.left *= opacity;
            for value in last.matrix.0.iter_mut().flatten() {
                *value *= opacity;
            }
        }
    }

    /// Whether it never clamps anything.
    pub(super) fn is_linear(&self) -> bool {
        matches!(self.steps[..], [step] if step.left >= 1.0 && step.matrix.stays_inside())
    }

    /// The same on a picture of another opacity.
    pub(super) fn on(self, opacity: Option<Vec<u8>>) -> Self {
        Self { opacity, ..self }
    }

    /// How often a pixel is multiplied by a matrix.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Changes the picture, whose size is that of the opacity.
    pub(super) fn apply(&self, picture: &mut I420) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[target_feature(enable = "avx2")]
            fn with_avx2(points: &Points, picture: &mut I420) {
                points.apply_plainly(picture);
            }
            // SAFETY: the processor has what the function is compiled for.
            unsafe { with_avx2(self, picture) };
            return;
        }
        self.apply_plainly(picture);
    }

    #[inline(always)]
    fn apply_plainly(&self, picture: &mut I420) {
        let (width, chroma_width) = (picture.width() as usize, picture.chroma_width() as usize);
        let [y, u, v] = picture.planes_mut();
        let mut opacity = self.opacity.as_ref().map(|opacity| opacity.chunks(width * 2));
        let chroma = u.chunks_exact_mut(chroma_width).zip(v.chunks_exact_mut(chroma_width));
        for (rows, (u, v)) in y.chunks_mut(width * 2).zip(chroma) {
            // Behind an odd height comes no second row.
            let (upper, lower) = rows.split_at_mut(width);
            let opacity = opacity.as_mut().and_then(Iterator::next).map(|rows| rows.split_at(width));
            for x in (0..width).step_by(LANES) {
                let mut block = Block::load(upper, lower, u, v, x);
                let opacity = opacity
                    .map(|(upper, lower)| [load(upper, x), load(if lower.is_empty() { upper } else { lower }, x)]);
                match &opacity {
                    None => self.change(&mut block, |_| Opaque),
                    Some(opacity) => self.change(&mut block, |row: usize| Seen(opacity[row].map(f32::from))),
                }
                block.store(upper, lower, u, v, x);
            }
        }
    }

    #[inline(always)]
    fn change<M: Most>(&self, block: &mut Block, opacity: impl Fn(usize) -> M) {
        let mut sums = [[0.0; LANES]; 3];
        for row in 0..2 {
            let most = opacity(row);
            let mut colors = block.colors(row, &most);
            for step in &self.steps {
                step.change(&mut colors, &most);
            }
            let [r, g, b] = &colors;
            for lane in 0..LANES {
                let luma = LUMA[0] * r[lane] + LUMA[1] * g[lane] + LUMA[2] * b[lane];
                block.y[row][lane] = low_byte(luma + (16.0 + ROUND));
            }
            for (sum, color) in sums.iter_mut().zip(&colors) {
                for lane in 0..LANES {
                    sum[lane] += color[lane];
                }
            }
        }
        for at in 0..CHROMA {
            let [r, g, b] = [0, 1, 2].map(|color: usize| sums[color][2 * at] + sums[color][2 * at + 1]);
            let u = U[0] * r + U[1] * g + U[2] * b;
            let v = V[0] * r + V[1] * g + V[2] * b;
            block.u[at] = low_byte(u + (128.0 + ROUND));
            block.v[at] = low_byte(v + (128.0 + ROUND));
        }
    }
}

/// The most that a colour can be: its opacity, from 0 to 255.
trait Most {
    fn of(&self, lane: usize) -> f32;
}

/// The picture is opaque.
struct Opaque;

impl Most for Opaque {
    #[inline(always)]
    fn of(&self, _: usize) -> f32 {
        255.0
    }
}

/// So much of each pixel is seen.
struct Seen(Lanes);

impl Most for Seen {
    #[inline(always)]
    fn of(&self, lane: usize) -> f32 {
        self.0[lane]
    }
}

impl Step {
    #[inline(always)]
    fn change(&self, colors: &mut [Lanes; 3], most: &impl Most) {
        let Self { matrix: ColorMatrix(rows), left } = self;
        let [r, g, b] = *colors;
        for (row, out) in rows.iter().zip(colors) {
            for lane in 0..LANES {
                let value = row[0] * r[lane] + row[1] * g[lane] + row[2] * b[lane] + row[3] * most.of(lane);
                out[lane] = clamp(value, most.of(lane) * left);
            }
        }
    }
}

/// Two rows of pixels and the chroma that they share.
struct Block {
    y: [[u8; LANES]; 2],
    u: [u8; CHROMA],
    v: [u8; CHROMA],
}

impl Block {
    #[inline(always)]
    fn load(upper: &[u8], lower: &[u8], u: &[u8], v: &[u8], x: usize) -> Self {
        let y = [load(upper, x), load(if lower.is_empty() { upper } else { lower }, x)];
        Self { y, u: load(u, x / 2), v: load(v, x / 2) }
    }

    #[inline(always)]
    fn store(&self, upper: &mut [u8], lower: &mut [u8], u: &mut [u8], v: &mut [u8], x: usize) {
        store(&self.y[0], upper, x);
        if !lower.is_empty() {
            store(&self.y[1], lower, x);
        }
        store(&self.u, u, x / 2);
        store(&self.v, v, x / 2);
    }

    /// Red, green and blue of one row, by BT.601 in limited range.
    #[inline(always)]
    fn colors(&self, row: usize, most: &impl Most) -> [Lanes; 3] {
        let (mut red, mut green, mut blue) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for at in 0..CHROMA {
            let (u, v) = (f32::from(self.u[at]) - 128.0, f32::from(self.v[at]) - 128.0);
            let (r, g, b) = (1.596_027 * v, -0.391_762 * u - 0.812_968 * v, 2.017_232 * u);
            for lane in [2 * at, 2 * at + 1] {
                (red[lane], green[lane], blue[lane]) = (r, g, b);
            }
        }
        for lane in 0..LANES {
            let luma = 1.164_384 * (f32::from(self.y[row][lane]) - 16.0);
            red[lane] = clamp(red[lane] + luma, most.of(lane));
            green[lane] = clamp(green[lane] + luma, most.of(lane));
            blue[lane] = clamp(blue[lane] + luma, most.of(lane));
        }
        [red, green, blue]
    }
}

/// The values from `x` on; behind the end of a row its last value goes on.
#[inline(always)]
fn load<const N: usize>(row: &[u8], x: usize) -> [u8; N] {
    let mut values = [row[row.len() - 1]; N];
    match row.get(x..x + N) {
        Some(whole) => values.copy_from_slice(whole),
        None => load_end(&mut values, &row[x..]),
    }
    values
}

#[cold]
fn load_end(values: &mut [u8], end: &[u8]) {
    values[..end.len()].copy_from_slice(end);
}

#[inline(always)]
fn store<const N: usize>(values: &[u8; N], row: &mut [u8], x: usize) {
    match row.get_mut(x..x + N) {
        Some(whole) => whole.copy_from_slice(values),
        None => store_end(values, &mut row[x..]),
    }
}

#[cold]
fn store_end(values: &[u8], end: &mut [u8]) {
    let count = end.len();
    end.copy_from_slice(&values[..count]);
}

/// Two comparisons, which is what the processor has an instruction for.
#[inline(always)]
fn clamp(value: f32, most: f32) -> f32 {
    let value = if value > 0.0 { value } else { 0.0 };
    if value < most { value } else { most }
}

#[inline(always)]
fn low_byte(rounded: f32) -> u8 {
    rounded.to_bits().to_le_bytes()[0]
}
