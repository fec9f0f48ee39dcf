//! The monitors and windows of an X server: RandR, and EWMH `_NET_CLIENT_LIST`.

use super::super::surface::number;
use super::super::{ScreenError, Surface, SurfaceKind};
use super::display::{Display, Failure};
use x11rb::cookie::Cookie;
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::randr;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, GetPropertyReply, MapState, TranslateCoordinatesReply, Window, WindowClass,
};

type Connection = super::stream::Connection;

x11rb::atom_manager! {
    /// What window managers call things.
    Names: NamesCookie {
        _NET_CLIENT_LIST,
        _NET_WM_NAME,
        _NET_WM_WINDOW_TYPE,
        _NET_WM_WINDOW_TYPE_DESKTOP,
        _NET_WM_WINDOW_TYPE_DOCK,
    }
}

impl Display {
    /// The monitors. A server that knows of none is one monitor as a whole.
    pub(super) fn monitors(&self) -> Result<Vec<Surface>, ScreenError> {
        let (width, height) = self.desktop()?;
        let whole = |label: &str| Surface {
            id: "screen".to_owned(),
            kind: SurfaceKind::Monitor,
            label: label.to_owned(),
            application: None,
            x: 0,
            y: 0,
            width,
            height,
            primary: true,
        };
        if !self.has.monitors {
            return Ok(vec![whole("screen")]);
        }
        let reply = randr::get_monitors(&self.connection, self.root, true).map_err(|error| self.lost(error))?.reply();
        let monitors = reply.map_err(|error| self.lost(error))?.monitors;
        let mut found = Vec::new();
        for monitor in monitors.iter().filter(|monitor| monitor.width > 0 && monitor.height > 0) {
            let name = self.connection.get_atom_name(monitor.name).map_err(|error| self.lost(error))?.reply();
            let name = name.map_err(|error| self.lost(error))?.name;
            let name = String::from_utf8_lossy(&name).into_owned();
            found.push(Surface {
                x: monitor.x.into(),
                y: monitor.y.into(),
                width: monitor.width.into(),
                height: monitor.height.into(),
                primary: monitor.primary,
                id: name,
                ..whole("")
            });
        }
        for monitor in &mut found {
            monitor.label.clone_from(&monitor.id);
        }
        match found.first_mut() {
            None => return Ok(vec![whole("screen")]),
            Some(first) if monitors.iter().all(|monitor| !monitor.primary) => first.primary = true,
            Some(_) => {}
        }
        Ok(found)
    }

    /// The windows that a window manager manages, in the order they were opened; without one those that are seen.
    pub(super) fn windows(&self) -> Result<Vec<Surface>, ScreenError> {
        self.list_windows().map_err(|error| self.lost(error))
    }

    fn list_windows(&self) -> Result<Vec<Surface>, ReplyError> {
        let names = Names::new(&self.connection)?.reply()?;
        let clients = self.property(self.root, names._NET_CLIENT_LIST, AtomEnum::WINDOW.into(), 65_536)?.reply()?;
        let managed: Vec<Window> = clients.value32().into_iter().flatten().collect();
        let candidates =
            if managed.is_empty() { self.connection.query_tree(self.root)?.reply()?.children } else { managed };
        let asked = candidates.into_iter().map(|window| Asked::ask(self, &names, window));
        let asked: Vec<_> = asked.collect::<Result<_, _>>()?;
        Ok(asked.into_iter().filter_map(|asked| asked.surface(&names)).collect())
    }

    fn property(
        &self,
        window: Window,
        name: Atom,
        kind: Atom,
        words: u32,
    ) -> Result<Cookie<'_, Connection, GetPropertyReply>, ConnectionError> {
        self.connection.get_property(false, window, name, kind, 0, words)
    }

    /// The window that `wanted` names: one of the list, or the ID of any other.
    pub(super) fn window(&self, wanted: &str) -> Result<Surface, ScreenError> {
        let found = super::super::surface::find(&self.windows()?, SurfaceKind::Window, wanted);
        match (found, number(wanted)) {
            (Err(missing @ ScreenError::NotFound { .. }), Some(id)) => {
                let names = Names::new(&self.connection).map_err(Failure::from).and_then(|names| Ok(names.reply()?));
                let names = names.map_err(|error| self.lost(error))?;
                let asked = Asked::ask(self, &names, id).map_err(|error| self.lost(error))?;
                asked.surface_of_any().ok_or(missing)
            }
            (found, _) => found,
        }
    }
}

/// What was asked about a window, all at once, so that a long list costs one round trip.
struct Asked<'a> {
    window: Window,
    attributes: Cookie<'a, Connection, x11rb::protocol::xproto::GetWindowAttributesReply>,
    geometry: Cookie<'a, Connection, x11rb::protocol::xproto::GetGeometryReply>,
    place: Cookie<'a, Connection, TranslateCoordinatesReply>,
    title: Cookie<'a, Connection, GetPropertyReply>,
    old_title: Cookie<'a, Connection, GetPropertyReply>,
    class: Cookie<'a, Connection, GetPropertyReply>,
    kind: Cookie<'a, Connection, GetPropertyReply>,
}

impl<'a> Asked<'a> {
    fn ask(display: &'a Display, names: &Names, window: Window) -> Result<Self, ConnectionError> {
        let (connection, any) = (&display.connection, u32::from(AtomEnum::ANY));
        Ok(Self {
            window,
            attributes: connection.get_window_attributes(window)?,
            geometry: connection.get_geometry(window)?,
            place: connection.translate_coordinates(window, display.root, 0, 0)?,
            title: display.property(window, names._NET_WM_NAME, any, 1024)?,
            old_title: display.property(window, AtomEnum::WM_NAME.into(), any, 1024)?,
            class: display.property(window, AtomEnum::WM_CLASS.into(), any, 1024)?,
            kind: display.property(window, names._NET_WM_WINDOW_TYPE, AtomEnum::ATOM.into(), 16)?,
        })
    }

    /// The window as a surface; `None` when it is gone, or is none that people would call a window.
    fn surface(self, names: &Names) -> Option<Surface> {
        let decor = [names._NET_WM_WINDOW_TYPE_DESKTOP, names._NET_WM_WINDOW_TYPE_DOCK];
        let Self { window, attributes, geometry, place, title, old_title, class, kind } = self;
        let (attributes, kind) = (attributes.reply().ok()?, kind.reply().ok()?);
        let seen = attributes.map_state != MapState::UNMAPPED && !attributes.override_redirect;
        let backdrop = kind.value32().into_iter().flatten().any(|kind| decor.contains(&kind));
        if attributes.class != WindowClass::INPUT_OUTPUT || !seen || backdrop {
            // A minimised window is unmapped and still somebody's window, but has no pixels to give.
            return None;
        }
        surface(window, geometry, place, [title, old_title], class)
    }

    /// The window as a surface, whatever it is.
    fn surface_of_any(self) -> Option<Surface> {
        let Self { window, attributes, geometry, place, title, old_title, class, kind } = self;
        drop((attributes, kind));
        surface(window, geometry, place, [title, old_title], class)
    }
}

fn surface(
    window: Window,
    geometry: Cookie<'_, Connection, x11rb::protocol::xproto::GetGeometryReply>,
    place: Cookie<'_, Connection, TranslateCoordinatesReply>,
    titles: [Cookie<'_, Connection, GetPropertyReply>; 2],
    class: Cookie<'_, Connection, GetPropertyReply>,
) -> Option<Surface> {
    let (geometry, place) = (geometry.reply().ok()?, place.reply().ok()?);
    let text = |cookie: Cookie<'_, Connection, GetPropertyReply>| {
        let bytes = cookie.reply().ok()?.value;
        let text = String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned();
        Some(text).filter(|text| !text.is_empty())
    };
    let [title, old_title] = titles.map(text);
    // The instance and the class, each ended by a zero.
    let application = text(class).and_then(|class| class.split('\0').next_back().map(str::to_owned));
    Some(Surface {
        id: format!("0x{window:x}"),
        kind: SurfaceKind::Window,
        label: title.or(old_title).or_else(|| application.clone()).unwrap_or_default(),
        application,
        x: place.dst_x.into(),
        y: place.dst_y.into(),
        width: geometry.width.into(),
        height: geometry.height.into(),
        primary: false,
    })
}
