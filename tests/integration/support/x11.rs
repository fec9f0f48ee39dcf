//! An X server without a monitor, and a client of it that paints windows.

use super::{await_that, dies_with_us};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, CreateWindowAux, PropMode, StackMode,
    Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// Xvfb on a display of its own. It ends with the thread that started it.
pub struct Xvfb {
    child: Child,
    name: String,
    manager: Option<Child>,
}

impl Xvfb {
    /// Starts one with a screen of this size, e.g. `640x480`, black, and more arguments.
    pub fn start(size: &str, more: &[&str]) -> Self {
        let screen = format!("{size}x24");
        let mut child = dies_with_us("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-noreset", "-br", "-screen", "0", &screen])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // It says its number once it can be connected to.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.trim().is_empty(), "Xvfb did not start: {:?}", child.wait());
        Self { child, name: format!(":{}", line.trim()), manager: None }
    }

    /// The same with openbox, which frames windows and lists them.
    pub fn managed(size: &str) -> Self {
        let mut xvfb = Self::start(size, &[]);
        let manager = dies_with_us("openbox")
            .args(["--sm-disable"])
            .env("DISPLAY", &xvfb.name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        xvfb.manager = Some(manager);
        let client = xvfb.client();
        await_that("the window manager", || client.property("_NET_CLIENT_LIST").is_some());
        xvfb
    }

    /// What DISPLAY must be.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Holds the server up, or lets it go on.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// `command` on this display alone.
    pub fn on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("DISPLAY", &self.name).env_remove("WAYLAND_DISPLAY")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.name)
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        for child in self.manager.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client that paints.
pub struct Client {
    connection: RustConnection,
    root: Window,
    visual: u32,
}

impl Client {
    pub const RED: u32 = 0xff_0000;
    pub const GREEN: u32 = 0x00_ff00;
    pub const BLUE: u32 = 0x00_00ff;
    pub const WHITE: u32 = 0xff_ffff;

    fn connect(name: &str) -> Self {
        let (connection, screen) = x11rb::connect(Some(name)).unwrap();
        let screen = &connection.setup().roots[screen];
        let (root, visual) = (screen.root, screen.root_visual);
        Self { connection, root, visual }
    }

    fn done(&self) {
        // A round trip: the server has done all before it.
        self.connection.get_input_focus().unwrap().reply().unwrap();
    }

    fn property(&self, name: &str) -> Option<Vec<u32>> {
        let atom = self.connection.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom;
        let reply = self.connection.get_property(false, self.root, atom, AtomEnum::ANY, 0, 1024).unwrap();
        reply.reply().unwrap().value32().map(Iterator::collect)
    }

    /// A window of one colour, on the screen; without a window manager at exactly this place.
    pub fn window(&self, title: &str, (x, y): (i16, i16), (width, height): (u16, u16), colour: u32) -> Window {
        let window = self.connection.generate_id().unwrap();
        let aux = CreateWindowAux::new().background_pixel(colour).border_pixel(0);
        let class = WindowClass::INPUT_OUTPUT;
        self.connection.create_window(0, window, self.root, x, y, width, height, 0, class, self.visual, &aux).unwrap();
        let utf8 = self.connection.intern_atom(false, b"UTF8_STRING").unwrap().reply().unwrap().atom;
        let name = self.connection.intern_atom(false, b"_NET_WM_NAME").unwrap().reply().unwrap().atom;
        self.connection.change_property8(PropMode::REPLACE, window, name, utf8, title.as_bytes()).unwrap();
        let class = b"painter\0Painter\0";
        self.connection
            .change_property8(PropMode::REPLACE, window, AtomEnum::WM_CLASS, AtomEnum::STRING, class)
            .unwrap();
        self.connection.map_window(window).unwrap();
        self.done();
        window
    }

    /// Waits until the window manager lists it.
    pub fn await_managed(&self, window: Window) {
        let listed = || {
            // A window manager that is still starting misses requests.
            self.connection.map_window(window).unwrap();
            self.property("_NET_CLIENT_LIST").is_some_and(|windows| windows.contains(&window))
        };
        await_that("the window in the list of the window manager", listed);
    }

    /// Gives the whole window another colour for good.
    pub fn recolour(&self, window: Window, colour: u32) {
        let aux = ChangeWindowAttributesAux::new().background_pixel(colour);
        self.connection.change_window_attributes(window, &aux).unwrap();
        self.connection.clear_area(false, window, 0, 0, 0, 0).unwrap();
        self.done();
    }

    pub fn place(&self, window: Window, x: i32, y: i32) {
        self.configure(window, &ConfigureWindowAux::new().x(x).y(y));
    }

    pub fn resize(&self, window: Window, width: u32, height: u32) {
        self.configure(window, &ConfigureWindowAux::new().width(width).height(height));
    }

    pub fn raise(&self, window: Window) {
        self.configure(window, &ConfigureWindowAux::new().stack_mode(StackMode::ABOVE));
    }

    fn configure(&self, window: Window, aux: &ConfigureWindowAux) {
        self.connection.configure_window(window, aux).unwrap();
        self.done();
    }

    /// Moves the pointer.
    pub fn point(&self, x: i16, y: i16) {
        self.connection.warp_pointer(x11rb::NONE, self.root, 0, 0, 0, 0, x, y).unwrap();
        self.done();
    }

    pub fn close(&self, window: Window) {
        self.connection.destroy_window(window).unwrap();
        self.done();
    }
}
