//! A window under X11 or Wayland.

use super::{PlaybackError, Screen, color};
use crate::media::I420;
use minifb::{ScaleMode, WindowOptions};

/// A window that is opened with the first picture, in its size, and fits whatever it shows.
pub struct Window {
    title: String,
    open: Option<minifb::Window>,
    pixels: Vec<u32>,
}

impl Window {
    /// The longest side of a window at first.
    const MOST: usize = 1280;

    /// A window to be, if there is a display for it: `None` where there is neither `WAYLAND_DISPLAY` nor `DISPLAY`.
    pub fn on_display(title: &str) -> Option<Self> {
        let named = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        (named("WAYLAND_DISPLAY") || named("DISPLAY")).then(|| Self {
            title: title.to_owned(),
            open: None,
            pixels: Vec::new(),
        })
    }

    fn open(title: &str, width: usize, height: usize) -> Result<minifb::Window, PlaybackError> {
        let options =
            WindowOptions { resize: true, scale_mode: ScaleMode::AspectRatioStretch, ..WindowOptions::default() };
        let divisor = width.max(height).div_ceil(Self::MOST).max(1);
        let window = minifb::Window::new(title, (width / divisor).max(1), (height / divisor).max(1), options);
        let mut window = window.map_err(|error| PlaybackError::NoWindow(error.to_string()))?;
        // Whoever shows pictures keeps their time.
        window.set_target_fps(0);
        Ok(window)
    }
}

impl Screen for Window {
    fn show(&mut self, picture: &I420) -> Result<(), PlaybackError> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let window = match &mut self.open {
            Some(window) => window,
            None => self.open.insert(Self::open(&self.title, width, height)?),
        };
        if !window.is_open() {
            return Err(PlaybackError::Closed);
        }
        self.pixels.clear();
        self.pixels.extend((0..width * height).map(|at| {
            let [red, green, blue] = color(picture, at % width, at / width);
            u32::from_be_bytes([0, red, green, blue])
        }));
        window
            .update_with_buffer(&self.pixels, width, height)
            .map_err(|error| PlaybackError::NoWindow(error.to_string()))
    }

    fn idle(&mut self) -> Result<(), PlaybackError> {
        let Some(window) = &mut self.open else { return Ok(()) };
        window.update();
        if window.is_open() { Ok(()) } else { Err(PlaybackError::Closed) }
    }
}
