//! Full range to limited range.

use crate::media::I420;

/// Full range (0 to 255) to limited (16 to 235, chroma 16 to 240).
pub(super) fn limit_range(picture: &mut I420) {
    let table = |span: u16, low: u16| -> [u8; 256] {
        std::array::from_fn(|value| {
            let value = u16::try_from(value).unwrap_or(u16::MAX);
            u8::try_from((value * span + 127) / 255 + low).unwrap_or(u8::MAX)
        })
    };
    let tables = [table(219, 16), table(224, 16), table(224, 16)];
    for (plane, table) in picture.planes_mut().into_iter().zip(tables) {
        plane.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
    }
}
