//! The X server: what it can do, and how it stores pixels.

use super::super::ScreenError;
use super::super::picture::Order;
use super::stream::{Connection, connect};
use x11rb::connection::{Connection as _, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageOrder, Screen, Visualid, Window};
use x11rb::protocol::{composite, damage, randr, shm, xfixes};

/// A connection to an X server.
pub(super) struct Display {
    pub(super) connection: Connection,
    pub(super) name: String,
    pub(super) root: Window,
    pub(super) has: Extensions,
    screen: usize,
}

/// The extensions that the server has, in a version that will do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extensions {
    /// RandR 1.5: monitors.
    pub(super) monitors: bool,
    /// MIT-SHM 1.2: memory shared through a file descriptor.
    pub(super) shared_memory: bool,
    /// XFixes 2: cursors and regions.
    pub(super) fixes: bool,
    /// Damage 1.0, which needs XFixes.
    pub(super) damage: bool,
    /// Composite 0.2: windows that keep what others hide.
    pub(super) composite: bool,
}

impl Display {
    /// Connects to the display of this name; without one to that which `DISPLAY` names.
    pub(super) fn open(name: Option<&str>) -> Result<Self, ScreenError> {
        let name = name.map(str::to_owned).or_else(|| std::env::var("DISPLAY").ok());
        let name = name.filter(|name| !name.is_empty()).ok_or(ScreenError::NoDisplay)?;
        let (connection, screen) = connect(&name)?;
        let root = connection.setup().roots[screen].root;
        let mut display = Self { connection, name, root, has: Extensions::default(), screen };
        display.has = display.extensions().map_err(|error| display.lost(error))?;
        Ok(display)
    }

    fn extensions(&self) -> Result<Extensions, ReplyError> {
        let connection = &self.connection;
        let known = |name| connection.extension_information(name).map(|found| found.is_some());
        let mut has = Extensions::default();
        if known(randr::X11_EXTENSION_NAME)? {
            let version = randr::query_version(connection, 1, 5)?.reply()?;
            has.monitors = (version.major_version, version.minor_version) >= (1, 5);
        }
        if known(shm::X11_EXTENSION_NAME)? {
            let version = shm::query_version(connection)?.reply()?;
            has.shared_memory = (version.major_version, version.minor_version) >= (1, 2);
        }
        if known(xfixes::X11_EXTENSION_NAME)? {
            has.fixes = xfixes::query_version(connection, 5, 0)?.reply()?.major_version >= 2;
        }
        if has.fixes && known(damage::X11_EXTENSION_NAME)? {
            has.damage = damage::query_version(connection, 1, 1)?.reply()?.major_version >= 1;
        }
        if known(composite::X11_EXTENSION_NAME)? {
            let version = composite::query_version(connection, 0, 4)?.reply()?;
            has.composite = (version.major_version, version.minor_version) >= (0, 2);
        }
        Ok(has)
    }

    /// The screen of the display.
    pub(super) fn screen(&self) -> &Screen {
        &self.connection.setup().roots[self.screen]
    }

    /// The size of the desktop now, in pixels.
    pub(super) fn desktop(&self) -> Result<(u32, u32), ScreenError> {
        let reply = self.connection.get_geometry(self.root).map_err(|error| self.lost(error))?.reply();
        let geometry = reply.map_err(|error| self.lost(error))?;
        Ok((geometry.width.into(), geometry.height.into()))
    }

    /// How pixels of this depth and visual lie in memory.
    pub(super) fn order(&self, depth: u8, visual: Visualid) -> Result<Order, ScreenError> {
        let setup = self.connection.setup();
        let bits = setup.pixmap_formats.iter().find(|format| format.depth == depth).map(|format| format.bits_per_pixel);
        let visuals = self.screen().allowed_depths.iter().flat_map(|depth| &depth.visuals);
        let masks = visuals
            .into_iter()
            .find(|known| known.visual_id == visual)
            .map(|known| (known.red_mask, known.green_mask, known.blue_mask));
        match (setup.image_byte_order, bits, masks) {
            (ImageOrder::LSB_FIRST, Some(32), Some((0xff_0000, 0xff00, 0xff))) => Ok(Order::Bgr),
            (ImageOrder::LSB_FIRST, Some(32), Some((0xff, 0xff00, 0xff_0000))) => Ok(Order::Rgb),
            _ => Err(ScreenError::NotSupported {
                display: self.name.clone(),
                detail: format!("its pixels are of {depth} bits; only 24 and 32, eight per colour, are supported"),
            }),
        }
    }

    /// What a failed request means to whoever captures.
    pub(super) fn lost(&self, error: impl Into<Failure>) -> ScreenError {
        ScreenError::Lost { display: self.name.clone(), detail: error.into().0 }
    }
}

/// Any error of x11rb, in words.
pub(super) struct Failure(String);

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Self(match error {
            ConnectionError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                "the server closed the connection".to_owned()
            }
            error => error.to_string(),
        })
    }
}

impl From<ReplyError> for Failure {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::ConnectionError(error) => error.into(),
            ReplyError::X11Error(error) => {
                Self(format!("{} failed: {:?}", error.request_name.unwrap_or("a request"), error.error_kind))
            }
        }
    }
}

impl From<ReplyOrIdError> for Failure {
    fn from(error: ReplyOrIdError) -> Self {
        match error {
            ReplyOrIdError::ConnectionError(error) => error.into(),
            ReplyOrIdError::X11Error(error) => ReplyError::X11Error(error).into(),
            ReplyOrIdError::IdsExhausted => Self("the server has no more IDs".to_owned()),
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}
