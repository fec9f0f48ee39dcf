//! One surface of an X server, kept up to date.

use super::super::cursor::Covered;
use super::super::picture::{Order, Pixels};
use super::super::source::{Grab, Look, Take};
use super::super::surface::number;
use super::super::{Region, ScreenError, ScreenOptions, Surface, SurfaceKind};
use super::damage::{Band, Tracker};
use super::display::Display;
use super::image::{Area, Image};
use super::pointer::Pointer;
use x11rb::connection::Connection as _;
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConnectionExt as _, Drawable, EventMask, MapState, Pixmap, Window,
};
use x11rb::protocol::{Event, composite, randr};

/// How many looks in a row may find that the surface has just changed its size.
const MOST_RACES: u32 = 50;

/// A monitor or window that is being captured.
pub(super) struct X11Grab {
    display: Display,
    target: Target,
    region: Option<Region>,
    order: Order,
    /// What is captured, where there is anything to capture now.
    place: Option<Place>,
    tracker: Option<Tracker>,
    pointer: Option<Pointer>,
    /// The surface may have another size or place now.
    moved: bool,
    /// Nothing that was fetched can be relied on.
    stale: bool,
    races: u32,
}

enum Target {
    Monitor { id: String },
    Window { window: Window, pixmap: Option<Pixmap>, top: Window },
}

/// A drawable, the part of it to capture, and the corner of that part.
type Found = (Drawable, Area, (i32, i32));

struct Place {
    drawable: Drawable,
    /// In the drawable.
    area: Area,
    /// The top left corner of the area in the root window, or in the window that is captured.
    corner: (i32, i32),
    image: Image,
}

impl X11Grab {
    pub(super) fn new(display: Display, surface: &Surface, options: &ScreenOptions) -> Result<Self, ScreenError> {
        let lost = |error: ReplyOrIdError| display.lost(error);
        let (target, drawable, order) = match surface.kind {
            SurfaceKind::Monitor => {
                let screen = display.screen();
                let order = display.order(screen.root_depth, screen.root_visual)?;
                watch_desktop(&display).map_err(|error| display.lost(error))?;
                (Target::Monitor { id: surface.id.clone() }, display.root, order)
            }
            SurfaceKind::Window => {
                let window = number(&surface.id).unwrap_or_default();
                let (depth, visual, top) = watch_window(&display, window).map_err(|error| display.lost(error))?;
                let order = display.order(depth, visual)?;
                (Target::Window { window, pixmap: None, top }, window, order)
            }
        };
        let tracker = if display.has.damage { Some(Tracker::new(&display, drawable).map_err(lost)?) } else { None };
        let pointer = Pointer::new(&display, options.cursor).map_err(|error| display.lost(error))?;
        let region = options.region;
        let (place, races) = (None, 0);
        Ok(Self { display, target, region, order, place, tracker, pointer, moved: true, stale: true, races })
    }

    /// Takes what the server has told us; whether the surface is still there.
    fn take_events(&mut self) -> Result<bool, ConnectionError> {
        while let Some(event) = self.display.connection.poll_for_event()? {
            let captured = match self.target {
                Target::Monitor { .. } => self.display.root,
                Target::Window { window, .. } => window,
            };
            match event {
                Event::DamageNotify(event) => self.tracker.iter_mut().for_each(|tracker| tracker.note(&event)),
                Event::XfixesCursorNotify(_) => self.pointer.iter_mut().for_each(Pointer::note_change),
                Event::DestroyNotify(event) if event.window == captured => return Ok(false),
                Event::ConfigureNotify(event) => self.moved |= event.window == captured,
                Event::MapNotify(event) => self.moved |= event.window == captured,
                Event::UnmapNotify(event) => self.moved |= event.window == captured,
                Event::ReparentNotify(event) => self.moved |= event.window == captured,
                Event::RandrScreenChangeNotify(_) | Event::RandrNotify(_) => self.moved = true,
                Event::Error(error) => tracing::debug!("the X server refused something: {error:?}"),
                _ => {}
            }
        }
        Ok(true)
    }

    /// Finds out where the surface is now; whether it still exists.
    fn settle(&mut self) -> Result<bool, ScreenError> {
        let found = match &self.target {
            Target::Monitor { id } => {
                let monitors = self.display.monitors()?;
                let Some(monitor) = monitors.into_iter().find(|monitor| monitor.id == *id) else { return Ok(false) };
                let (width, height) = (monitor.width, monitor.height);
                clip((monitor.x, monitor.y), (width, height), self.region)
                    .map(|(area, _)| (self.display.root, area, (area.x.into(), area.y.into())))
            }
            Target::Window { .. } => match self.settle_window() {
                Ok(found) => found,
                Err(ReplyError::X11Error(error)) => {
                    tracing::debug!("the window is gone: {error:?}");
                    return Ok(false);
                }
                Err(error) => return Err(self.display.lost(error)),
            },
        };
        self.place = match (found, self.place.take()) {
            (None, place) => {
                if let Some(place) = place {
                    place.image.free(&self.display);
                }
                None
            }
            (Some((drawable, area, corner)), Some(Place { image, .. }))
                if (image.width, image.height) == (area.width, area.height) =>
            {
                Some(Place { drawable, area, corner, image })
            }
            (Some((drawable, area, corner)), old) => {
                if let Some(place) = old {
                    place.image.free(&self.display);
                }
                let image = Image::new(&self.display, area.width, area.height)?;
                tracing::debug!("capturing {area:?}, shared memory: {}", image.is_shared());
                Some(Place { drawable, area, corner, image })
            }
        };
        (self.moved, self.stale) = (false, true);
        Ok(true)
    }

    /// The drawable that holds the window's pixels, and the part to capture. `None` while it is not on the screen.
    fn settle_window(&mut self) -> Result<Option<Found>, ReplyError> {
        let Target::Window { window, pixmap, top } = &mut self.target else { return Ok(None) };
        let (connection, has) = (&self.display.connection, self.display.has);
        if let Some(old) = pixmap.take() {
            connection.free_pixmap(old)?;
        }
        let (attributes, geometry) = (connection.get_window_attributes(*window)?, connection.get_geometry(*window)?);
        let (attributes, geometry) = (attributes.reply()?, geometry.reply()?);
        *top = ancestor(&self.display, *window)?;
        if attributes.map_state != MapState::VIEWABLE {
            return Ok(None);
        }
        let border = if has.composite { geometry.border_width } else { 0 };
        let (mut drawable, mut size) = (*window, (u32::from(geometry.width), u32::from(geometry.height)));
        if has.composite {
            // Pixels that other windows hide are only in the window's own pixmap, which is another after each resize.
            let id = connection.generate_id().map_err(|_| ConnectionError::UnknownError)?;
            match composite::name_window_pixmap(connection, *window, id)?.check() {
                Ok(()) => {}
                // It was unmapped in between, and we are told.
                Err(ReplyError::X11Error(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
            *pixmap = Some(id);
            let whole = connection.get_geometry(id)?.reply()?;
            let inner = |side: u16| u32::from(side).saturating_sub(2 * u32::from(border)).max(1);
            (drawable, size) = (id, (inner(whole.width), inner(whole.height)));
        }
        let border = i32::from(border);
        Ok(clip((border, border), size, self.region).map(|(area, corner)| (drawable, area, corner)))
    }

    fn raced(&mut self, error: ReplyError) -> Result<Look, ScreenError> {
        self.races += 1;
        if self.races > MOST_RACES || !matches!(error, ReplyError::X11Error(_)) {
            return Err(self.display.lost(error));
        }
        self.moved = true;
        Ok(Look::Same)
    }
}

impl Grab for X11Grab {
    fn look(&mut self) -> Result<Look, ScreenError> {
        let there = self.take_events().map_err(|error| self.display.lost(error))?;
        if !there || (self.moved && !self.settle()?) {
            return Ok(Look::Ended);
        }
        let Some(place) = &mut self.place else { return Ok(Look::Same) };
        let (window, top) = match self.target {
            Target::Monitor { .. } => (None, None),
            Target::Window { window, top, .. } => (Some(window), Some(top)),
        };
        let asked = self.pointer.as_ref().map(|_| Pointer::ask(&self.display, window)).transpose();
        let asked = asked.map_err(|error| self.display.lost(error))?;
        let known = match &mut self.tracker {
            // Taken even if all is fetched: what changed before must not be news at the next look.
            Some(tracker) => tracker.take(&self.display, damage_area(place, window)),
            None => Ok(vec![Band { first: 0, end: place.area.height }]),
        };
        let bands = if self.stale { known.map(|_| vec![Band { first: 0, end: place.area.height }]) } else { known };
        let fetched = bands.and_then(|bands| {
            place.image.fetch(&self.display, place.drawable, place.area, &bands)?;
            Ok(!bands.is_empty())
        });
        let pointed = match (&mut self.pointer, asked) {
            (Some(pointer), Some(asked)) => pointer.take(&self.display, asked, top),
            _ => Ok(false),
        };
        match (fetched, pointed) {
            (Ok(fetched), Ok(pointed)) => {
                (self.stale, self.races) = (false, 0);
                Ok(if fetched || pointed { Look::Changed } else { Look::Same })
            }
            (Err(error), _) | (_, Err(error)) => self.raced(error),
        }
    }

    fn show(&mut self, to: &mut Take<'_>) -> Result<(), ScreenError> {
        let fail = |detail: String| ScreenError::Lost { display: self.display.name.clone(), detail };
        let place = self.place.as_mut().ok_or_else(|| fail("there is nothing to show".to_owned()))?;
        let (width, height) = (u32::from(place.area.width), u32::from(place.area.height));
        let bytes = place.image.bytes_mut();
        let covered: Option<Covered> =
            self.pointer.as_ref().and_then(|pointer| pointer.draw(bytes, place.corner, width, height));
        let pixels = Pixels { data: bytes, stride: width as usize * 4, skip: 0, width, height, order: self.order };
        let picture = to(pixels);
        if let Some(covered) = covered {
            covered.restore(bytes, width);
        }
        picture.map_err(fail)
    }
}

impl Drop for X11Grab {
    fn drop(&mut self) {
        if let Some(tracker) = self.tracker.take() {
            tracker.free(&self.display);
        }
        if let Some(place) = self.place.take() {
            place.image.free(&self.display);
        }
        // What is left the server frees with the connection.
        let _ = self.display.connection.flush();
    }
}

/// The area in the coordinates in which damage is told: those of the root, or of a window without its border.
fn damage_area(place: &Place, window: Option<Window>) -> Area {
    let Some(_) = window else { return place.area };
    let coordinate = |n: i32| i16::try_from(n).unwrap_or(i16::MAX);
    Area { x: coordinate(place.corner.0), y: coordinate(place.corner.1), ..place.area }
}

/// The part of a surface at `at` in its drawable that is captured, and its corner in the surface; `None` when the region is
/// outside of it.
fn clip(at: (i32, i32), size: (u32, u32), region: Option<Region>) -> Option<(Area, (i32, i32))> {
    let region = region.unwrap_or(Region { x: 0, y: 0, width: size.0, height: size.1 });
    let side = |start: u32, extent: u32, room: u32| extent.min(room.checked_sub(start)?).try_into().ok();
    let (width, height) = (side(region.x, region.width, size.0)?, side(region.y, region.height, size.1)?);
    let corner = (i32::try_from(region.x).ok()?, i32::try_from(region.y).ok()?);
    let (x, y) = (i16::try_from(at.0 + corner.0).ok()?, i16::try_from(at.1 + corner.1).ok()?);
    (width > 0 && height > 0).then_some((Area { x, y, width, height }, corner))
}

/// Asks to be told when monitors change.
fn watch_desktop(display: &Display) -> Result<(), ConnectionError> {
    let mask = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
    display.connection.change_window_attributes(display.root, &mask)?;
    if display.has.monitors {
        let mask = randr::NotifyMask::SCREEN_CHANGE | randr::NotifyMask::CRTC_CHANGE;
        randr::select_input(&display.connection, display.root, mask)?;
    }
    Ok(())
}

/// Asks to be told what happens to a window, and keeps its pixels from being hidden. Gives its depth, visual and topmost
/// ancestor.
fn watch_window(display: &Display, window: Window) -> Result<(u8, u32, Window), ReplyError> {
    let connection = &display.connection;
    let mask = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
    connection.change_window_attributes(window, &mask)?.check()?;
    if display.has.composite {
        composite::redirect_window(connection, window, composite::Redirect::AUTOMATIC)?.check()?;
    }
    let (attributes, geometry) = (connection.get_window_attributes(window)?, connection.get_geometry(window)?);
    let (attributes, geometry) = (attributes.reply()?, geometry.reply()?);
    Ok((geometry.depth, attributes.visual, ancestor(display, window)?))
}

/// The child of the root that holds the window: its frame, or itself.
fn ancestor(display: &Display, mut window: Window) -> Result<Window, ReplyError> {
    loop {
        let tree = display.connection.query_tree(window)?.reply()?;
        if tree.parent == tree.root || tree.parent == x11rb::NONE {
            return Ok(window);
        }
        window = tree.parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_clipped_to_its_surface() {
        let region = |x, y, width, height| Some(Region { x, y, width, height });
        let area = |x, y, width, height| Area { x, y, width, height };
        let clip = |region| clip((1920, 10), (800, 600), region);
        assert_eq!(clip(None), Some((area(1920, 10, 800, 600), (0, 0))));
        assert_eq!(clip(region(100, 50, 64, 48)), Some((area(2020, 60, 64, 48), (100, 50))));
        assert_eq!(clip(region(790, 50, 64, 48)), Some((area(2710, 60, 10, 48), (790, 50))));
        assert_eq!(clip(region(800, 50, 64, 48)), None);
        assert_eq!(clip(region(900, 50, 64, 48)), None);
    }
}
