//! Gaussian blur of one plane: Filter Effects Module Level 1, section 9.9 (`feGaussianBlur`).
//!
//! From a deviation of 2 pixels on it is the three box blurs that the specification allows, which cost the same whatever
//! the deviation; below, the Gaussian itself. Both run along columns, 16 side by side; rows are turned into columns.

/// Columns that are worked on together: one register of bytes.
const LANES: usize = 16;
/// Adding it to a float from 0 to 255 leaves the rounded value in the lowest byte.
const ROUND: f32 = 8_388_608.0;

/// How one plane is blurred.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Blur {
    /// Not at all.
    Nothing,
    /// The weights of the middle and of each distance from it, in 65536ths.
    Gaussian(Vec<u16>),
    /// The lengths of three boxes, one after the other.
    Boxes([usize; 3]),
}

/// Memory that is kept from plane to plane.
#[derive(Default)]
pub(super) struct Scratch {
    strip: Vec<[u8; LANES]>,
    fine: Vec<[u16; LANES]>,
    sums: Vec<[i32; LANES]>,
    wide_sums: Vec<[i64; LANES]>,
}

impl Blur {
    /// A blur with this standard deviation in pixels.
    pub(super) fn new(deviation: f32) -> Self {
        if deviation < 0.05 {
            return Self::Nothing;
        }
        if deviation < 2.0 { Self::gaussian(deviation) } else { Self::boxes(deviation) }
    }

    /// That of chroma, whose pixels are twice as large, beside luma's.
    pub(super) fn of_chroma(luma_deviation: f32) -> Self {
        let Self::Boxes(luma) = Self::new(luma_deviation) else { return Self::new(luma_deviation / 2.0) };
        // Boxes of half the length would blur by up to a fifth less: those come together that blur most like luma's.
        let length = luma[0] / 2;
        let near = || length.saturating_sub(2).max(1)..=length + 3;
        let sizes = near().flat_map(|a| near().flat_map(move |b| near().map(move |c| [a, b, c])));
        // The even ones, off the middle, come in pairs.
        let centred = sizes.filter(|sizes| sizes.iter().sum::<usize>() % 2 == 1);
        let wanted = variance(&luma) / 4.0;
        let off = |sizes: &[usize; 3]| (variance(sizes) - wanted).abs();
        centred.min_by(|a, b| off(a).total_cmp(&off(b))).map_or(Self::Nothing, Self::Boxes)
    }

    fn gaussian(deviation: f32) -> Self {
        let weight = |distance: f32| (-distance * distance / (2.0 * deviation * deviation)).exp();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is at most 6")]
        let reach = (deviation * 3.0).ceil() as u16;
        let sides: Vec<f32> = (1..=reach).map(|distance| weight(f32::from(distance))).collect();
        let sum = 1.0 + 2.0 * sides.iter().sum::<f32>();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than 1, in 65536ths")]
        let mut weights: Vec<u16> = sides.iter().map(|weight| (weight / sum * 65_536.0).round() as u16).collect();
        // All together are 1, less what no 16 bits can hold, so that what is flat stays flat.
        let middle = 65_535 - weights.iter().map(|weight| 2 * weight).sum::<u16>();
        weights.insert(0, middle);
        Self::Gaussian(weights)
    }

    fn boxes(deviation: f32) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length in pixels")]
        let length = (deviation * 3.0 * std::f32::consts::TAU.sqrt() / 4.0 + 0.5) as usize;
        // Two even boxes, off the middle to either side, and one odd box are in the middle again.
        Self::Boxes([length, length, length + usize::from(length.is_multiple_of(2))])
    }

    /// How far it carries light, in pixels.
    pub(super) fn reach(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Gaussian(weights) => weights.len() - 1,
            Self::Boxes(lengths) => (lengths.iter().sum::<usize>() - 3) / 2,
        }
    }

    /// Blurs a plane whose surroundings are `outside` everywhere.
    pub(super) fn apply(&self, plane: &mut [u8], width: usize, outside: u8, scratch: &mut Scratch) {
        if *self == Self::Nothing || plane.is_empty() {
            return;
        }
        let height = plane.len() / width;
        scratch.strip.clear();
        scratch.strip.resize(width.max(height), [0; LANES]);
        for x in (0..width).step_by(LANES) {
            let lanes = LANES.min(width - x);
            for (row, line) in plane.chunks_exact(width).zip(&mut scratch.strip) {
                line[..lanes].copy_from_slice(&row[x..x + lanes]);
            }
            self.along(height, outside, scratch);
            for (row, line) in plane.chunks_exact_mut(width).zip(&scratch.strip) {
                row[x..x + lanes].copy_from_slice(&line[..lanes]);
            }
        }
        for rows in plane.chunks_mut(width * LANES) {
            for (lane, row) in rows.chunks_exact(width).enumerate() {
                for (line, value) in scratch.strip.iter_mut().zip(row) {
                    line[lane] = *value;
                }
            }
            self.along(width, outside, scratch);
            for (lane, row) in rows.chunks_exact_mut(width).enumerate() {
                for (line, value) in scratch.strip.iter().zip(row) {
                    *value = line[lane];
                }
            }
        }
    }

    /// Blurs the first `len` lines of the strip along its columns.
    fn along(&self, len: usize, outside: u8, scratch: &mut Scratch) {
        let strip = &mut scratch.strip[..len];
        match self {
            Self::Nothing => {}
            Self::Gaussian(weights) => gaussian(strip, weights, outside, &mut scratch.fine),
            // The largest sum is 255 times all three lengths.
            Self::Boxes(lengths) if lengths[2] <= 203 => boxes(strip, *lengths, outside, &mut scratch.sums),
            Self::Boxes(lengths) => boxes(strip, *lengths, outside, &mut scratch.wide_sums),
        }
    }
}

/// How much boxes blur together.
fn variance(lengths: &[usize; 3]) -> f32 {
    lengths.iter().map(|length| (length * length - 1) as f32 / 12.0).sum()
}

fn gaussian(strip: &mut [[u8; LANES]], weights: &[u16], outside: u8, fine: &mut Vec<[u16; LANES]>) {
    // A loop whose length is known keeps its sums in registers: half the time.
    match *weights {
        [a, b] => gaussian_over(strip, [a, b], outside, fine),
        [a, b, c] => gaussian_over(strip, [a, b, c], outside, fine),
        [a, b, c, d] => gaussian_over(strip, [a, b, c, d], outside, fine),
        [a, b, c, d, e] => gaussian_over(strip, [a, b, c, d, e], outside, fine),
        [a, b, c, d, e, f] => gaussian_over(strip, [a, b, c, d, e, f], outside, fine),
        [a, b, c, d, e, f, g] => gaussian_over(strip, [a, b, c, d, e, f, g], outside, fine),
        _ => {}
    }
}

/// In 16 bits, of which the lower 7 are a fraction: eight columns then fit into one register.
fn gaussian_over<const N: usize>(
    strip: &mut [[u8; LANES]],
    weights: [u16; N],
    outside: u8,
    fine: &mut Vec<[u16; LANES]>,
) {
    const FRACTION: u32 = 7;
    let around = [u16::from(outside) << FRACTION; LANES];
    fine.clear();
    fine.resize(N - 1, around);
    fine.extend(strip.iter().map(|line| line.map(|value| u16::from(value) << FRACTION)));
    fine.resize(strip.len() + 2 * (N - 1), around);
    for (at, line) in strip.iter_mut().enumerate() {
        let near = &fine[at..at + 2 * N - 1];
        let mut sum = [1 << (FRACTION - 1); LANES];
        for lane in 0..LANES {
            sum[lane] += part(near[N - 1][lane], weights[0]);
        }
        for distance in 1..N {
            let (before, behind) = (&near[N - 1 - distance], &near[N - 1 + distance]);
            for lane in 0..LANES {
                sum[lane] += part(before[lane] + behind[lane], weights[distance]);
            }
        }
        for lane in 0..LANES {
            line[lane] = (sum[lane] >> FRACTION).to_le_bytes()[0];
        }
    }
}

/// `value` times a weight in 65536ths.
fn part(value: u16, weight: u16) -> u16 {
    ((u32::from(value) * u32::from(weight)) >> 16) as u16
}

fn low_byte(rounded: f32) -> u8 {
    rounded.to_bits().to_le_bytes()[0]
}

/// A number that box sums fit into.
trait Sum: Copy + Default {
    fn from_difference(value: u8, outside: u8) -> Self;
    fn slide(self, enters: Self, leaves: Self) -> Self;
    fn float(self) -> f32;
}

impl Sum for i32 {
    fn from_difference(value: u8, outside: u8) -> Self {
        Self::from(value) - Self::from(outside)
    }

    fn slide(self, enters: Self, leaves: Self) -> Self {
        self.wrapping_add(enters).wrapping_sub(leaves)
    }

    fn float(self) -> f32 {
        self as f32
    }
}

impl Sum for i64 {
    fn from_difference(value: u8, outside: u8) -> Self {
        Self::from(value) - Self::from(outside)
    }

    fn slide(self, enters: Self, leaves: Self) -> Self {
        self.wrapping_add(enters).wrapping_sub(leaves)
    }

    fn float(self) -> f32 {
        self as f32
    }
}

/// Three running sums, each over the last values of the one before it, and one division at the end.
fn boxes<S: Sum>(strip: &mut [[u8; LANES]], lengths: [usize; 3], outside: u8, rings: &mut Vec<[S; LANES]>) {
    let late = (lengths.iter().sum::<usize>() - 3) / 2;
    #[expect(clippy::cast_precision_loss, reason = "a weight")]
    let weight = 1.0 / lengths.iter().map(|length| *length as f32).product::<f32>();
    let bias = f32::from(outside) + ROUND;
    rings.clear();
    rings.resize(lengths.iter().sum(), [S::default(); LANES]);
    let (first, rest) = rings.split_at_mut(lengths[0]);
    let (second, third) = rest.split_at_mut(lengths[1]);
    let mut at = [0; 3];
    let mut sums = [[S::default(); LANES]; 3];
    for now in 0..strip.len() + late {
        let mut value = [S::default(); LANES];
        if let Some(line) = strip.get(now) {
            for lane in 0..LANES {
                value[lane] = S::from_difference(line[lane], outside);
            }
        }
        for (box_number, ring) in [&mut *first, &mut *second, &mut *third].into_iter().enumerate() {
            let oldest = &mut ring[at[box_number]];
            let sum = &mut sums[box_number];
            for lane in 0..LANES {
                sum[lane] = sum[lane].slide(value[lane], oldest[lane]);
            }
            *oldest = value;
            value = *sum;
            at[box_number] += 1;
            if at[box_number] == lengths[box_number] {
                at[box_number] = 0;
            }
        }
        if let Some(line) = now.checked_sub(late).and_then(|due| strip.get_mut(due)) {
            for lane in 0..LANES {
                line[lane] = low_byte(value[lane].float() * weight + bias);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test values are small")]
mod tests {
    use super::*;

    fn blurred(deviation: f32, plane: &[u8], width: usize, outside: u8) -> Vec<u8> {
        let mut plane = plane.to_vec();
        Blur::new(deviation).apply(&mut plane, width, outside, &mut Scratch::default());
        plane
    }

    #[test]
    fn what_is_flat_stays_flat() {
        for deviation in [0.0, 0.3, 1.0, 1.99, 2.0, 5.0, 31.0, 150.0] {
            for value in [0, 16, 128, 235, 255] {
                let plane = vec![value; 37 * 21];
                assert_eq!(blurred(deviation, &plane, 37, value), plane, "{deviation} {value}");
            }
        }
    }

    /// 20 on the left, 220 on the right.
    fn step(width: usize, height: usize) -> Vec<u8> {
        (0..width * height).map(|at| if at % width < width / 2 { 20 } else { 220 }).collect()
    }

    #[test]
    fn a_step_becomes_the_integral_of_the_gaussian() {
        for deviation in [1.0f32, 1.5, 2.0, 3.0, 4.7, 12.0] {
            let reach = (deviation * 4.0) as usize + 3;
            let (width, height) = (reach * 4, reach * 2 + 1);
            let blurred = blurred(deviation, &step(width, height), width, 20);
            for at in reach..reach * 3 {
                let distance = at as f32 + 0.5 - (width / 2) as f32;
                let expected = 20.0 + 200.0 * normal(distance / deviation);
                let got = f32::from(blurred[reach * width + at]);
                assert!((got - expected).abs() < 6.0, "{deviation} at {distance}: {got}, expected {expected}");
            }
        }
    }

    #[test]
    fn both_axes_are_blurred_alike() {
        for deviation in [0.6, 1.5, 2.0, 3.0, 120.0] {
            let (width, height) = (53, 38);
            let plane = step(width, height);
            let turned: Vec<u8> = (0..width * height).map(|at| plane[at % height * width + at / height]).collect();
            let (plane, turned) = (blurred(deviation, &plane, width, 20), blurred(deviation, &turned, height, 20));
            for (at, value) in turned.iter().enumerate() {
                let other = plane[at % height * width + at / height];
                assert!(value.abs_diff(other) <= 1, "{deviation}: {value} and {other}");
            }
        }
    }

    /// The integral of the normal distribution, by steps.
    fn normal(to: f32) -> f32 {
        let steps = 2000;
        let width = (to + 6.0) / steps as f32;
        let density = |x: f32| (-x * x / 2.0).exp() / std::f32::consts::TAU.sqrt();
        (0..steps).map(|step| density(-6.0 + (step as f32 + 0.5) * width) * width).sum()
    }

    #[test]
    fn light_is_carried_no_further_than_said_and_none_is_lost() {
        for deviation in [0.5, 1.9, 2.0, 2.5, 7.0] {
            let reach = Blur::new(deviation).reach();
            let size = 2 * reach + 9;
            let mut plane = vec![0u8; size * size];
            for y in 0..3 {
                for x in 0..3 {
                    plane[(reach + 3 + y) * size + reach + 3 + x] = 255;
                }
            }
            let plane = blurred(deviation, &plane, size, 0);
            let lit = |x: usize, y: usize| plane[y * size + x] > 0;
            for edge in 0..size {
                for far in [0, 1, 2, size - 3, size - 2, size - 1] {
                    assert!(!lit(edge, far) && !lit(far, edge), "{deviation}");
                }
            }
            let sum: u64 = plane.iter().map(|value| u64::from(*value)).sum();
            assert!(sum.abs_diff(9 * 255) < 400, "{deviation}: {sum}");
        }
    }
}
