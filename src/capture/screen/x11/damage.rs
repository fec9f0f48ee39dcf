//! What of a drawable has changed: the Damage extension.

use super::display::Display;
use super::image::Area;
use x11rb::NONE;
use x11rb::connection::Connection as _;
use x11rb::errors::{ReplyError, ReplyOrIdError};
use x11rb::protocol::damage;
use x11rb::protocol::xfixes::{self, FetchRegionReply};
use x11rb::protocol::xproto::{Drawable, Rectangle};

/// Changes of one drawable and of everything in it.
pub(super) struct Tracker {
    damage: damage::Damage,
    region: xfixes::Region,
    pending: bool,
}

/// Rows from `first` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) first: u16,
    pub(super) end: u16,
}

/// Rows this near to each other are fetched as one: a request costs as much as some rows.
const NEAR: u16 = 64;

impl Tracker {
    pub(super) fn new(display: &Display, drawable: Drawable) -> Result<Self, ReplyOrIdError> {
        let connection = &display.connection;
        let (damage, region) = (connection.generate_id()?, connection.generate_id()?);
        xfixes::create_region(connection, region, &[])?;
        damage::create(connection, damage, drawable, damage::ReportLevel::NON_EMPTY)?;
        Ok(Self { damage, region, pending: false })
    }

    /// The server says that something changed.
    pub(super) fn note(&mut self, event: &damage::NotifyEvent) {
        self.pending |= event.damage == self.damage;
    }

    /// The rows of `area` that changed since the last time. Costs nothing where nothing changed.
    pub(super) fn take(&mut self, display: &Display, area: Area) -> Result<Vec<Band>, ReplyError> {
        if !std::mem::take(&mut self.pending) {
            return Ok(Vec::new());
        }
        damage::subtract(&display.connection, self.damage, NONE, self.region)?;
        let FetchRegionReply { rectangles, .. } = xfixes::fetch_region(&display.connection, self.region)?.reply()?;
        Ok(bands(&rectangles, area))
    }

    pub(super) fn free(self, display: &Display) {
        // Both are gone already where the drawable or the connection is.
        let _ = damage::destroy(&display.connection, self.damage);
        let _ = xfixes::destroy_region(&display.connection, self.region);
    }
}

/// The rows of `area`, from its top, that the rectangles touch.
fn bands(rectangles: &[Rectangle], area: Area) -> Vec<Band> {
    let (left, top) = (i32::from(area.x), i32::from(area.y));
    let (right, bottom) = (left + i32::from(area.width), top + i32::from(area.height));
    let rows = rectangles.iter().filter_map(|rectangle| {
        let (x, y) = (i32::from(rectangle.x), i32::from(rectangle.y));
        let beside = x >= right || x + i32::from(rectangle.width) <= left;
        let first = y.max(top) - top;
        let end = (y + i32::from(rectangle.height)).min(bottom) - top;
        let (first, end) = (u16::try_from(first).ok()?, u16::try_from(end).ok()?);
        (!beside && first < end).then_some(Band { first, end })
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by_key(|band| band.first);
    let mut bands: Vec<Band> = Vec::new();
    for band in rows {
        match bands.last_mut() {
            Some(last) if band.first <= last.end.saturating_add(NEAR) => last.end = last.end.max(band.end),
            _ => bands.push(band),
        }
    }
    bands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_the_rows_inside_of_the_area_with_near_ones_joined() {
        let area = Area { x: 100, y: 50, width: 200, height: 1000 };
        let rectangle = |x, y, width, height| Rectangle { x, y, width, height };
        let of = |rectangles: &[Rectangle]| -> Vec<_> {
            bands(rectangles, area).into_iter().map(|band| (band.first, band.end)).collect()
        };
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[rectangle(0, 0, 50, 50), rectangle(0, 60, 100, 9), rectangle(300, 60, 9, 9)]), []);
        assert_eq!(of(&[rectangle(-10, -10, 2000, 61)]), [(0, 1)]);
        assert_eq!(of(&[rectangle(0, 900, 2000, 2000)]), [(850, 1000)]);
        assert_eq!(of(&[rectangle(150, 500, 5, 5), rectangle(150, 60, 5, 5)]), [(10, 15), (450, 455)]);
        assert_eq!(of(&[rectangle(150, 60, 5, 5), rectangle(150, 100, 5, 5), rectangle(150, 61, 1, 1)]), [(10, 55)]);
        assert_eq!(of(&[rectangle(0, i16::MIN, u16::MAX, u16::MAX)]), [(0, 1000)]);
    }
}
