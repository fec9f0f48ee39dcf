//! CSS filters on pictures, in the pixel maths of Filter Effects Module Level 1.
//!
//! ```text
//! I420 -> [matrices on R'G'B', in one pass] -> [blur of each plane] -> [light of a shadow, added] -> … -> I420
//! ```
//!
//! A filter works in sRGB on pictures that are opaque at first, and shows its result on black, as a page with a black
//! background does. Only the filters decide how opaque each pixel is, never the picture: that is worked out once per size,
//! and a picture is always kept multiplied with its opacity. Blurring and adding light are linear then, so they need no
//! R'G'B' and no picture of the opacity.
//!
//! What is blurred or cast beyond the picture's edge may come back by a later filter. Where the list allows that, the work is
//! done on a larger picture.

mod blur;
mod list;
mod matrix;
mod plan;
mod points;

pub use list::{FilterError, FilterFunction, FilterList, Shadow};

use crate::media::{FramePool, I420, VideoFrame};
use plan::Plan;

/// Applies a filter list to pictures, whose size may change at any time.
pub struct PictureFilter {
    list: FilterList,
    plan: Option<Plan>,
    pool: FramePool,
    scratch: blur::Scratch,
}

impl PictureFilter {
    /// A filter for one track.
    pub fn new(list: FilterList) -> Self {
        Self { list, plan: None, pool: FramePool::new(), scratch: blur::Scratch::default() }
    }

    /// The picture as the filters show it.
    pub fn apply(&mut self, frame: &VideoFrame) -> VideoFrame {
        if self.list.is_empty() {
            return frame.clone();
        }
        let size = (frame.width(), frame.height());
        let plan = match self.plan.take() {
            Some(plan) if plan.size == size => self.plan.insert(plan),
            _ => self.plan.insert(Plan::new(&self.list, size)),
        };
        let mut picture = self.pool.take(size.0 + 2 * plan.margin, size.1 + 2 * plan.margin);
        if plan.margin == 0 {
            picture.data_mut().copy_from_slice(frame.data());
            plan.run(&mut picture, &mut self.scratch);
            return VideoFrame::new(frame.time, picture);
        }
        surround(frame, &mut picture, plan.margin);
        plan.run(&mut picture, &mut self.scratch);
        let mut inner = self.pool.take(size.0, size.1);
        cut(&picture, &mut inner, plan.margin);
        VideoFrame::new(frame.time, inner)
    }
}

/// What stands for black, or for nothing, in each plane.
const BLACK: [u8; 3] = [16, 128, 128];

/// The width of each plane.
fn widths(picture: &I420) -> [usize; 3] {
    let chroma = picture.chroma_width() as usize;
    [picture.width() as usize, chroma, chroma]
}

/// Copies a picture into the middle of a larger one.
fn surround(inner: &I420, outer: &mut I420, margin: u32) {
    let (from, to) = (widths(inner), widths(outer));
    let margins = [margin as usize, margin as usize / 2, margin as usize / 2];
    for (plane, target) in outer.planes_mut().into_iter().enumerate() {
        target.fill(BLACK[plane]);
        let rows = target.chunks_exact_mut(to[plane]).skip(margins[plane]);
        for (row, source) in rows.zip(inner.planes()[plane].chunks_exact(from[plane])) {
            row[margins[plane]..margins[plane] + from[plane]].copy_from_slice(source);
        }
    }
}

/// Copies the middle of a larger picture.
fn cut(outer: &I420, inner: &mut I420, margin: u32) {
    let (from, to) = (widths(outer), widths(inner));
    let margins = [margin as usize, margin as usize / 2, margin as usize / 2];
    for (plane, target) in inner.planes_mut().into_iter().enumerate() {
        let rows = outer.planes()[plane].chunks_exact(from[plane]).skip(margins[plane]);
        for (row, source) in target.chunks_exact_mut(to[plane]).zip(rows) {
            row.copy_from_slice(&source[margins[plane]..margins[plane] + to[plane]]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test values are small")]
mod tests;
