//! What is to be done to pictures of one size: worked out once, then run for each.

use super::blur::{Blur, Scratch};
use super::list::{FilterFunction, FilterList, Shadow};
use super::matrix::ColorMatrix;
use super::points::Points;
use super::{BLACK, widths};
use crate::media::I420;

/// The work for one size.
pub(super) struct Plan {
    pub(super) size: (u32, u32),
    /// Pixels on each side by which the working picture is larger; even.
    pub(super) margin: u32,
    stages: Vec<Stage>,
}

enum Stage {
    Points(Points),
    /// Luma, and chroma, whose pixels are twice as large.
    Blur([Blur; 2]),
    /// What to add to each plane.
    Light([Vec<i16>; 3]),
}

impl Plan {
    pub(super) fn new(list: &FilterList, size: (u32, u32)) -> Self {
        let margin = margin(list, size);
        let mut planner = Planner {
            size: (size.0 + 2 * margin, size.1 + 2 * margin),
            opacity: Opacity::of_picture(size, margin),
            stages: Vec::new(),
            scratch: Scratch::default(),
        };
        for function in list.functions() {
            planner.add(function);
        }
        Self { size, margin, stages: planner.stages }
    }

    pub(super) fn run(&self, picture: &mut I420, scratch: &mut Scratch) {
        let widths = widths(picture);
        for stage in &self.stages {
            match stage {
                Stage::Points(points) => points.apply(picture),
                Stage::Blur([luma, chroma]) => {
                    for (plane, values) in picture.planes_mut().into_iter().enumerate() {
                        let blur = if plane == 0 { luma } else { chroma };
                        blur.apply(values, widths[plane], BLACK[plane], scratch);
                    }
                }
                Stage::Light(light) => {
                    for (values, light) in picture.planes_mut().into_iter().zip(light) {
                        for (value, light) in values.iter_mut().zip(light) {
                            *value = value.saturating_add_signed_16(*light);
                        }
                    }
                }
            }
        }
    }

    /// How many passes over the picture it takes.
    #[cfg(test)]
    pub(super) fn passes(&self) -> usize {
        self.stages.len()
    }

    #[cfg(test)]
    pub(super) fn matrices(&self) -> usize {
        let points =
            self.stages.iter().filter_map(|stage| if let Stage::Points(points) = stage { Some(points) } else { None });
        points.map(Points::len).sum()
    }
}

trait AddSigned {
    fn saturating_add_signed_16(self, other: i16) -> Self;
}

impl AddSigned for u8 {
    fn saturating_add_signed_16(self, other: i16) -> Self {
        let sum = i16::from(self).saturating_add(other).clamp(0, 255);
        sum.to_le_bytes()[0]
    }
}

/// How far beyond its edge a picture matters: as far as what comes behind the first filter that moves light reaches, but no
/// further than the picture is long.
fn margin(list: &FilterList, (width, height): (u32, u32)) -> u32 {
    let reaches = list.functions().iter().filter_map(|function| match function {
        FilterFunction::Blur(radius) => Some(Blur::new(*radius).reach()).filter(|reach| *reach > 0),
        FilterFunction::DropShadow(shadow) => {
            let offset = shadow.x.abs().max(shadow.y.abs()).ceil();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the largest picture")]
            let offset = offset as usize;
            Some(offset + Blur::new(shadow.radius).reach())
        }
        _ => None,
    });
    let reach = u32::try_from(reaches.skip(1).sum::<usize>()).unwrap_or(u32::MAX);
    reach.min(width.max(height)).next_multiple_of(2)
}

/// How opaque each pixel of the working picture is.
struct Opacity {
    width: usize,
    values: Vec<u8>,
    /// Whether all are opaque.
    whole: bool,
}

impl Opacity {
    fn of_picture((width, height): (u32, u32), margin: u32) -> Self {
        let (width, height, margin) = (width as usize, height as usize, margin as usize);
        let row_width = width + 2 * margin;
        let mut values = vec![0; row_width * (height + 2 * margin)];
        for row in values.chunks_exact_mut(row_width).skip(margin).take(height) {
            row[margin..margin + width].fill(255);
        }
        Self { width: row_width, values, whole: margin == 0 }
    }

    fn scale(&mut self, amount: f32) {
        for value in &mut self.values {
            *value = byte(f32::from(*value) * amount);
        }
        self.whole &= amount >= 1.0;
    }

    fn blur(&mut self, blur: &Blur, scratch: &mut Scratch) {
        blur.apply(&mut self.values, self.width, 0, scratch);
        self.whole &= *blur == Blur::Nothing;
    }

    /// The same, moved and blurred: the shape of a shadow.
    fn shadow(&self, shadow: &Shadow, scratch: &mut Scratch) -> Vec<u8> {
        let height = self.values.len() / self.width;
        let mut shape = vec![0; self.values.len()];
        for (y, row) in shape.chunks_exact_mut(self.width).enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                *value = self.between(x as f32 - shadow.x, y as f32 - shadow.y, height);
            }
        }
        Blur::new(shadow.radius).apply(&mut shape, self.width, 0, scratch);
        shape
    }

    /// The value at a place between four pixels.
    fn between(&self, x: f32, y: f32, height: usize) -> u8 {
        let at = |x: f32, y: f32| {
            #[expect(clippy::cast_possible_truncation, reason = "bounded by the size of pictures")]
            let (x, y) = (x as i64, y as i64);
            let place = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
            (place.0 < self.width && place.1 < height).then(|| self.values[place.1 * self.width + place.0])
        };
        let (left, top) = (x.floor(), y.floor());
        let (right_part, lower_part) = (x - left, y - top);
        let corners = [
            (at(left, top), (1.0 - right_part) * (1.0 - lower_part)),
            (at(left + 1.0, top), right_part * (1.0 - lower_part)),
            (at(left, top + 1.0), (1.0 - right_part) * lower_part),
            (at(left + 1.0, top + 1.0), right_part * lower_part),
        ];
        byte(corners.into_iter().map(|(value, part)| f32::from(value.unwrap_or(0)) * part).sum())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn byte(value: f32) -> u8 {
    value.round() as u8
}

struct Planner {
    /// Of the working picture.
    size: (u32, u32),
    opacity: Opacity,
    stages: Vec<Stage>,
    scratch: Scratch,
}

impl Planner {
    fn add(&mut self, function: &FilterFunction) {
        match function {
            FilterFunction::Blur(radius) => {
                let blur = Blur::new(*radius);
                if blur != Blur::Nothing {
                    self.add_blur(blur, Blur::of_chroma(*radius));
                }
            }
            FilterFunction::DropShadow(shadow) => self.add_shadow(shadow),
            FilterFunction::Opacity(amount) if *amount < 1.0 => {
                self.points().fade(*amount);
                self.opacity.scale(*amount);
            }
            function => {
                if let Some(matrix) = ColorMatrix::of(function).filter(|matrix| *matrix != ColorMatrix::IDENTITY) {
                    self.points().push(matrix);
                }
            }
        }
    }

    /// What clamps nothing is the same before a blur and behind it, where it may be folded into what follows.
    fn add_blur(&mut self, luma: Blur, chroma: Blur) {
        self.opacity.blur(&luma, &mut self.scratch);
        let behind = match self.stages.pop_if(|stage| matches!(stage, Stage::Points(points) if points.is_linear())) {
            Some(Stage::Points(points)) => Some(points),
            _ => None,
        };
        self.stages.push(Stage::Blur([luma, chroma]));
        if let Some(points) = behind {
            let opacity = (!self.opacity.whole).then(|| self.opacity.values.clone());
            self.stages.push(Stage::Points(points.on(opacity)));
        }
    }

    /// The pass over the pixels that comes next, which may have begun already.
    fn points(&mut self) -> &mut Points {
        if !matches!(self.stages.last(), Some(Stage::Points(_))) {
            let opacity = (!self.opacity.whole).then(|| self.opacity.values.clone());
            self.stages.push(Stage::Points(Points::new(opacity)));
        }
        match self.stages.last_mut() {
            Some(Stage::Points(points)) => points,
            _ => unreachable!("pushed just now"),
        }
    }

    /// The picture lies on its shadow, so of the shadow only what the picture lets through is seen.
    fn add_shadow(&mut self, shadow: &Shadow) {
        let shape = self.opacity.shadow(shadow, &mut self.scratch);
        let [r, g, b, a] = shadow.color;
        let mut shown = Vec::with_capacity(shape.len());
        for (shape, above) in shape.iter().zip(&mut self.opacity.values) {
            let seen = f32::from(*shape) * a * (1.0 - f32::from(*above) / 255.0);
            shown.push(seen / 255.0);
            *above = byte(f32::from(*above) + seen);
        }
        if shown.iter().all(|shown| *shown == 0.0) {
            return;
        }
        let planes = [
            65.481 * r + 128.553 * g + 24.966 * b,
            -37.797 * r - 74.203 * g + 112.0 * b,
            112.0 * r - 93.786 * g - 18.214 * b,
        ];
        #[expect(clippy::cast_possible_truncation, reason = "at most 255 either way")]
        let light = |plane: f32, shown: &[f32]| -> Vec<i16> {
            shown.iter().map(|part| (plane * part).round() as i16).collect()
        };
        let quarters = self.quarters(&shown);
        self.stages.push(Stage::Light([
            light(planes[0], &shown),
            light(planes[1], &quarters),
            light(planes[2], &quarters),
        ]));
    }

    /// The mean over each pixel of chroma.
    fn quarters(&self, values: &[f32]) -> Vec<f32> {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let mut means = Vec::new();
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                let (right, below) = ((x + 1).min(width - 1), (y + 1).min(height - 1));
                let sum: f32 =
                    [(x, y), (right, y), (x, below), (right, below)].iter().map(|(x, y)| values[y * width + x]).sum();
                means.push(sum / 4.0);
            }
        }
        means
    }
}
