//! Pictures for people: in a window where there is a display, else in the terminal. Level 1 of the house: imports level 0 only.
//!
//! A [`Screen`] shows pictures one by one, on the thread that made it. When a picture is due is up to whoever shows it.

mod terminal;
mod window;

pub use terminal::Terminal;
pub use window::Window;

use crate::error::{Classify, ErrorKind};
use crate::media::I420;

/// Something that shows pictures.
pub trait Screen {
    /// Shows a picture, of any size.
    ///
    /// # Errors
    /// When it cannot be shown any more, or whoever watches has closed it.
    fn show(&mut self, picture: &I420) -> Result<(), PlaybackError>;

    /// Looks after the screen while there is no picture: to be called a few times a second.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    fn idle(&mut self) -> Result<(), PlaybackError>;
}

/// Why pictures are not shown.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaybackError {
    /// Neither X11 nor Wayland, or they refuse.
    #[error("no window can be opened: {0}")]
    NoWindow(String),
    /// Whoever watched has closed it.
    #[error("the window was closed")]
    Closed,
    /// The terminal takes nothing more.
    #[error("cannot write to the terminal: {0}")]
    Terminal(String),
}

impl Classify for PlaybackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Terminal(_) => ErrorKind::Output,
            _ => ErrorKind::Device,
        }
    }
}

/// Red, green and blue of a pixel: BT.601 in limited range.
fn color(picture: &I420, x: usize, y: usize) -> [u8; 3] {
    let [luma, u, v] = picture.planes();
    let chroma = y / 2 * picture.chroma_width() as usize + x / 2;
    let luma = 298 * (i32::from(luma[y * picture.width() as usize + x]) - 16);
    let (u, v) = (i32::from(u[chroma]) - 128, i32::from(v[chroma]) - 128);
    [luma + 409 * v, luma - 100 * u - 208 * v, luma + 516 * u].map(|part| {
        let part = ((part + 128) >> 8).clamp(0, 255);
        u8::try_from(part).unwrap_or(u8::MAX)
    })
}
