//! Screens and windows, of display servers that the tests start.

mod call;
mod command;
mod portal;
mod wayland;
mod x11;

use crate::support::have;
use std::path::Path;

/// Whether there is an X server to start, and what else these tests need.
fn equipped() -> bool {
    have("Xvfb") && have("openbox")
}

/// A file of pictures in Y4M, 4:2:0.
struct Pictures {
    width: usize,
    height: usize,
    frames: Vec<Vec<u8>>,
}

impl Pictures {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let header = std::str::from_utf8(&bytes[..end]).unwrap();
        let side = |letter: char| {
            let field = header.split(' ').find(|field| field.starts_with(letter)).unwrap();
            field[1..].parse::<usize>().unwrap()
        };
        let (width, height) = (side('W'), side('H'));
        let size = width * height + 2 * (width.div_ceil(2) * height.div_ceil(2));
        let mark = b"FRAME\n".len();
        let frames = bytes[end + 1..].chunks_exact(mark + size).map(|frame| frame[mark..].to_vec()).collect();
        Self { width, height, frames }
    }

    /// Y, U and V at a pixel of one frame.
    fn at(&self, frame: &[u8], (x, y): (usize, usize)) -> [u8; 3] {
        let (luma, chroma_width) = (self.width * self.height, self.width.div_ceil(2));
        let chroma = chroma_width * self.height.div_ceil(2);
        let at = luma + y / 2 * chroma_width + x / 2;
        [frame[y * self.width + x], frame[at], frame[at + chroma]]
    }

    /// Whether a pixel of one frame is of this colour, about.
    fn is(&self, frame: &[u8], at: (usize, usize), colour: [u8; 3]) -> bool {
        self.at(frame, at).iter().zip(colour).all(|(found, wanted)| found.abs_diff(wanted) < 25)
    }
}

/// Y, U and V of pure colours, ITU-R BT.601 limited range.
const RED: [u8; 3] = [82, 90, 240];
const GREEN: [u8; 3] = [145, 54, 34];
const BLACK: [u8; 3] = [16, 128, 128];
