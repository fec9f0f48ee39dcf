//! One picture of a surface, every pixel as it is shown.

use super::picture::{Order, Pixels};
use super::source::{Grab, Look};
use super::{ScreenError, Surface};
use crate::stop::Stop;
use std::time::{Duration, Instant};

/// A picture with all its colours, which video would share between neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// R, G and B of each pixel, line by line without padding.
    pub rgb: Vec<u8>,
}

/// How long a surface may take to show itself: compositors give a picture when something has changed.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The first picture that `grab` gives; `None` when stopped.
pub(super) fn take(grab: &mut dyn Grab, surface: &Surface, stop: &Stop) -> Result<Option<Snapshot>, ScreenError> {
    let began = Instant::now();
    let lost = |detail: &str| ScreenError::Lost { display: surface.id.clone(), detail: detail.to_owned() };
    loop {
        match grab.look()? {
            Look::Changed => break,
            Look::Ended => return Err(lost("it is gone")),
            Look::Same if began.elapsed() > PATIENCE => return Err(lost("it shows nothing")),
            Look::Same if stop.wait_for(LOOK_EVERY) => return Ok(None),
            Look::Same => {}
        }
    }
    let mut taken = None;
    grab.show(&mut |pixels| {
        taken = Some(copy(pixels).ok_or("pixels are missing")?);
        Ok(())
    })?;
    Ok(taken)
}

fn copy(pixels: Pixels<'_>) -> Option<Snapshot> {
    let Pixels { data, stride, skip, width, height, order } = pixels;
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for row in 0..height as usize {
        let row = data.get(row * stride + skip * 4..)?.get(..width as usize * 4)?;
        rgb.extend(row.chunks_exact(4).flat_map(|pixel| match order {
            Order::Bgr => [pixel[2], pixel[1], pixel[0]],
            Order::Rgb => [pixel[0], pixel[1], pixel[2]],
        }));
    }
    Some(Snapshot { width, height, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_keeps_its_colour_in_either_order_and_what_does_not_count_is_left_out() {
        // One column and one row of what does not count.
        let data: Vec<u8> = (0..3 * 3 * 4).collect();
        let pixels = Pixels { data: &data, stride: 12, skip: 1, width: 2, height: 2, order: Order::Rgb };
        assert_eq!(copy(pixels).unwrap().rgb, [4, 5, 6, 8, 9, 10, 16, 17, 18, 20, 21, 22]);
        let reversed = copy(Pixels { order: Order::Bgr, ..pixels }).unwrap();
        assert_eq!(reversed.rgb[..6], [6, 5, 4, 10, 9, 8]);
        assert_eq!(copy(Pixels { height: 4, ..pixels }), None);
    }
}
