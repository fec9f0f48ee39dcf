//! Filter functions that change each pixel by itself, as matrices: Filter Effects Module Level 1, section 13 (shorthands).

use super::list::FilterFunction;

/// Red, green and blue from red, green and blue, each 0 ..= 1: three rows of three factors and a constant.
///
/// It holds for colours multiplied with their opacity as well, once the constant is too. What comes out is clamped to
/// 0 ..= 1 before anything else happens to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ColorMatrix(pub(super) [[f32; 4]; 3]);

impl ColorMatrix {
    /// Changes nothing.
    pub(super) const IDENTITY: Self = Self::scale(1.0, 0.0);

    const fn scale(slope: f32, intercept: f32) -> Self {
        Self([[slope, 0.0, 0.0, intercept], [0.0, slope, 0.0, intercept], [0.0, 0.0, slope, intercept]])
    }

    /// The matrix of a function; `None` for those that move pixels or make them transparent.
    pub(super) fn of(function: &FilterFunction) -> Option<Self> {
        Some(match *function {
            // Luma weights and sepia tone as the shorthands have them.
            FilterFunction::Grayscale(amount) => Self::towards([[0.2126, 0.7152, 0.0722]; 3], amount),
            FilterFunction::Sepia(amount) => {
                Self::towards([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], amount)
            }
            FilterFunction::Saturate(amount) => Self::towards([[0.213, 0.715, 0.072]; 3], 1.0 - amount),
            FilterFunction::HueRotate(degrees) => Self::hue_rotate(degrees),
            FilterFunction::Invert(amount) => Self::scale(1.0 - 2.0 * amount, amount),
            FilterFunction::Brightness(amount) => Self::scale(amount, 0.0),
            FilterFunction::Contrast(amount) => Self::scale(amount, 0.5 - 0.5 * amount),
            FilterFunction::Opacity(_) | FilterFunction::Blur(_) | FilterFunction::DropShadow(_) => return None,
        })
    }

    /// So much of the way from the identity to `end`.
    fn towards(end: [[f32; 3]; 3], amount: f32) -> Self {
        let mut matrix = Self::scale(1.0 - amount, 0.0);
        for (row, end) in matrix.0.iter_mut().zip(end) {
            for (value, end) in row.iter_mut().zip(end) {
                *value += amount * end;
            }
        }
        matrix
    }

    /// The `hueRotate` of `feColorMatrix`, section 9.6.
    fn hue_rotate(degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let luma = [0.213, 0.715, 0.072];
        let along = [[0.787, -0.715, -0.072], [-0.213, 0.285, -0.072], [-0.213, -0.715, 0.928]];
        let across = [[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]];
        Self(std::array::from_fn(|row| {
            let value = |column: usize| luma[column] + cos * along[row][column] + sin * across[row][column];
            [value(0), value(1), value(2), 0.0]
        }))
    }

    /// Whether every colour stays inside of 0 ..= 1, so that clamping its result changes nothing.
    pub(super) fn stays_inside(&self) -> bool {
        self.0.iter().all(|[r, g, b, constant]| {
            let sum = |sign: f32| [r, g, b].into_iter().map(|factor| (factor * sign).max(0.0)).sum::<f32>();
            constant - sum(-1.0) >= -1e-4 && constant + sum(1.0) <= 1.0 + 1e-4
        })
    }

    /// Both in one, first `self`; `None` where the clamping between them matters.
    pub(super) fn then(&self, next: &Self) -> Option<Self> {
        self.stays_inside().then(|| {
            Self(std::array::from_fn(|row| {
                std::array::from_fn(|column| {
                    let through: f32 = (0..3).map(|via| next.0[row][via] * self.0[via][column]).sum();
                    through + if column == 3 { next.0[row][3] } else { 0.0 }
                })
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: ColorMatrix, b: ColorMatrix) -> bool {
        a.0.iter().flatten().zip(b.0.iter().flatten()).all(|(a, b)| (a - b).abs() < 2e-3)
    }

    #[test]
    fn the_amount_that_changes_nothing_is_the_identity() {
        use FilterFunction::*;
        let still = [Grayscale(0.0), Sepia(0.0), Saturate(1.0), HueRotate(0.0), HueRotate(720.0), Invert(0.0)];
        for function in still.iter().chain(&[Brightness(1.0), Contrast(1.0)]) {
            let matrix = ColorMatrix::of(function).unwrap();
            assert!(close(matrix, ColorMatrix::IDENTITY), "{function}: {matrix:?}");
        }
    }

    #[test]
    fn matrices_fold_only_where_no_clamping_is_lost() {
        let of = |function| ColorMatrix::of(&function).unwrap();
        let gray = of(FilterFunction::Grayscale(1.0));
        let twice = gray.then(&of(FilterFunction::Invert(1.0))).unwrap();
        assert!(close(twice, ColorMatrix([[-0.2126, -0.7152, -0.0722, 1.0]; 3])), "{twice:?}");
        let back = of(FilterFunction::Invert(1.0)).then(&of(FilterFunction::Invert(1.0))).unwrap();
        assert!(close(back, ColorMatrix::IDENTITY));
        for overflows in [FilterFunction::Brightness(2.0), FilterFunction::Sepia(1.0), FilterFunction::HueRotate(90.0)]
        {
            assert_eq!(of(overflows).then(&gray), None, "{overflows}");
        }
        let rotated = of(FilterFunction::HueRotate(180.0));
        assert!(close(
            rotated,
            ColorMatrix([[-0.574, 1.43, 0.144, 0.0], [0.426, 0.43, 0.144, 0.0], [0.426, 1.43, -0.856, 0.0]])
        ));
    }
}
