//! The pointer of an X server: where it is, what it looks like, and whether it is to be seen.

use super::super::cursor::{Covered, CursorCapture, CursorImage};
use super::display::Display;
use super::stream::Connection;
use std::time::Instant;
use x11rb::cookie::Cookie;
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::xfixes;
use x11rb::protocol::xproto::{ConnectionExt as _, QueryPointerReply, TranslateCoordinatesReply, Window};

/// Where the pointer is, and the window under it, as asked for but not answered yet.
pub(super) struct Asked<'a> {
    pointer: Cookie<'a, Connection, QueryPointerReply>,
    origin: Option<Cookie<'a, Connection, TranslateCoordinatesReply>>,
}

/// The pointer over a surface.
pub(super) struct Pointer {
    mode: CursorCapture,
    image: CursorImage,
    stale: bool,
    at: Option<(i32, i32)>,
    moved: Option<Instant>,
    seen: Option<(i32, i32)>,
}

impl Pointer {
    /// `None` where it is never seen, or the server cannot say what it looks like.
    pub(super) fn new(display: &Display, mode: CursorCapture) -> Result<Option<Self>, ConnectionError> {
        if mode == CursorCapture::Never || !display.has.fixes {
            return Ok(None);
        }
        let changes = xfixes::CursorNotifyMask::DISPLAY_CURSOR;
        xfixes::select_cursor_input(&display.connection, display.root, changes)?;
        Ok(Some(Self { mode, image: CursorImage::default(), stale: true, at: None, moved: None, seen: None }))
    }

    /// The server says that it looks different now.
    pub(super) fn note_change(&mut self) {
        self.stale = true;
    }

    /// Asks where it is.
    pub(super) fn ask(display: &Display, window: Option<Window>) -> Result<Asked<'_>, ConnectionError> {
        let connection = &display.connection;
        let pointer = connection.query_pointer(display.root)?;
        let origin = window.map(|window| connection.translate_coordinates(window, display.root, 0, 0)).transpose()?;
        Ok(Asked { pointer, origin })
    }

    /// Takes the answer; whether it is to be drawn differently from the last time. It is hidden where another window than
    /// `top`, if that is given, lies under it.
    pub(super) fn take(
        &mut self,
        display: &Display,
        asked: Asked<'_>,
        top: Option<Window>,
    ) -> Result<bool, ReplyError> {
        let answer = asked.pointer.reply()?;
        let origin = asked.origin.map(Cookie::reply).transpose()?;
        let origin = origin.map_or((0, 0), |origin| (i32::from(origin.dst_x), i32::from(origin.dst_y)));
        let place = (i32::from(answer.root_x), i32::from(answer.root_y));
        let now = Instant::now();
        if self.at.replace(place).is_some_and(|before| before != place) {
            self.moved = Some(now);
        }
        let over = answer.same_screen && top.is_none_or(|top| answer.child == top);
        let shown = over && self.mode.shows(self.moved, now);
        let seen = shown.then_some((place.0 - origin.0, place.1 - origin.1));
        let mut changed = seen != self.seen;
        self.seen = seen;
        if seen.is_some() && std::mem::take(&mut self.stale) {
            self.image = image(display)?;
            changed = true;
        }
        Ok(changed)
    }

    /// Draws it over the pixels of the rectangle whose top left corner is at `x`, `y` of the window.
    pub(super) fn draw(&self, pixels: &mut [u8], (x, y): (i32, i32), width: u32, height: u32) -> Option<Covered> {
        let (left, top) = self.seen?;
        Some(self.image.draw(pixels, width, height, (left - x, top - y)))
    }
}

fn image(display: &Display) -> Result<CursorImage, ReplyError> {
    let reply = xfixes::get_cursor_image(&display.connection)?.reply()?;
    Ok(CursorImage {
        width: reply.width.into(),
        height: reply.height.into(),
        hot: (reply.xhot.into(), reply.yhot.into()),
        argb: reply.cursor_image,
    })
}
