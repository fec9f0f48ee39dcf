//! Pictures of outputs that are mounted turned or mirrored, turned upright.

use wayland_client::protocol::wl_output::Transform;

/// Whether width and height change places.
pub(super) fn on_its_side(transform: Transform) -> bool {
    matches!(transform, Transform::_90 | Transform::_270 | Transform::Flipped90 | Transform::Flipped270)
}

/// The pixels, four bytes each, of an output of `width` by `height` that shows its desktop with `transform` (and upside down, if
/// `inverted`), as the desktop has them. Rows of the result have no gaps.
pub(super) fn upright(
    pixels: &[u8],
    stride: usize,
    (width, height): (usize, usize),
    transform: Transform,
    inverted: bool,
    into: &mut Vec<u8>,
) -> (usize, usize) {
    let (wide, high) = if on_its_side(transform) { (height, width) } else { (width, height) };
    into.clear();
    into.reserve(wide * high * 4);
    for y in 0..high {
        for x in 0..wide {
            let (column, row) = source((x, y), (width, height), transform);
            let row = if inverted { height - 1 - row } else { row };
            into.extend_from_slice(&pixels[row * stride + column * 4..][..4]);
        }
    }
    (wide, high)
}

/// Where on the output a pixel of the desktop is shown. The transforms of Wayland turn the desktop anticlockwise, after flipping
/// it around its vertical axis.
fn source((x, y): (usize, usize), (width, height): (usize, usize), transform: Transform) -> (usize, usize) {
    let (right, bottom) = (width - 1, height - 1);
    match transform {
        Transform::_90 => (y, bottom - x),
        Transform::_180 => (right - x, bottom - y),
        Transform::_270 => (right - y, x),
        Transform::Flipped => (right - x, y),
        Transform::Flipped90 => (y, x),
        Transform::Flipped180 => (x, bottom - y),
        Transform::Flipped270 => (right - y, bottom - x),
        _ => (x, y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pixel says its place.
    fn picture(width: usize, height: usize, stride: usize) -> Vec<u8> {
        let mut pixels = vec![0xee; stride * height];
        for y in 0..height {
            for x in 0..width {
                pixels[y * stride + x * 4..][..4].copy_from_slice(&[
                    u8::try_from(x).unwrap(),
                    u8::try_from(y).unwrap(),
                    0,
                    0,
                ]);
            }
        }
        pixels
    }

    #[test]
    fn every_transform_keeps_all_pixels_and_ends_upright() {
        let pixels = picture(3, 2, 16);
        let corner = |transform, inverted| {
            let mut into = Vec::new();
            let size = upright(&pixels, 16, (3, 2), transform, inverted, &mut into);
            let mut places: Vec<_> = into.chunks_exact(4).map(|pixel| (pixel[0], pixel[1])).collect();
            let first = places[0];
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), 6, "{transform:?}");
            (size, first)
        };
        assert_eq!(corner(Transform::Normal, false), ((3, 2), (0, 0)));
        assert_eq!(corner(Transform::Normal, true), ((3, 2), (0, 1)));
        // Turned anticlockwise, the desktop's top left corner is at the output's bottom left.
        assert_eq!(corner(Transform::_90, false), ((2, 3), (0, 1)));
        assert_eq!(corner(Transform::_180, false), ((3, 2), (2, 1)));
        assert_eq!(corner(Transform::_270, false), ((2, 3), (2, 0)));
        assert_eq!(corner(Transform::Flipped, false), ((3, 2), (2, 0)));
        assert_eq!(corner(Transform::Flipped180, false), ((3, 2), (0, 1)));
        assert_eq!(corner(Transform::Flipped90, false).0, (2, 3));
        assert_eq!(corner(Transform::Flipped270, false).0, (2, 3));
    }
}
