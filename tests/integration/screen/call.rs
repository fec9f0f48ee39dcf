//! A screen as what a call sends.

use super::{BLACK, GREEN, Pictures, RED, equipped};
use crate::support::{Client, Exit, PATIENCE, Rtckit, Scratch, Xvfb, await_that, calls_share_the_machine, have};
use serde_json::Value;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;

fn report(exit: &Exit) -> Value {
    serde_json::from_slice(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {exit:?}"))
}

#[test]
fn a_monitor_and_a_window_are_sent_with_what_changes_on_them() {
    if !equipped() {
        return;
    }
    let _turn = calls_share_the_machine();
    let (xvfb, scratch) = (Xvfb::start("320x240", &[]), Scratch::new());
    let client = xvfb.client();
    let window = client.window("Painter", (100, 60), (128, 96), Client::RED);
    let call = |source: &str, file: &str| {
        let output = scratch.path(file).to_str().unwrap().to_owned();
        let args = ["call", "--loopback", "--json", "--duration", "30s", source, "--video-output", &output];
        Rtckit::spawn(xvfb.on(&mut Rtckit::command(args)))
    };
    let mut calls = [call("--video=screen", "monitor.y4m"), call("--video=window:paint", "window.y4m")];
    // Of a still picture comes so much that it is seen, then it becomes another.
    await_that("the first pictures", || {
        ["monitor.y4m.part", "window.y4m.part"]
            .iter()
            .all(|name| scratch.path(name).metadata().is_ok_and(|file| file.len() > 20_000))
    });
    client.recolour(window, Client::GREEN);
    client.place(window, 150, 100);
    for name in ["monitor.y4m.part", "window.y4m.part"] {
        let before = scratch.path(name).metadata().unwrap().len();
        await_that("the change", || scratch.path(name).metadata().unwrap().len() > before + 300_000);
    }
    let reports = calls.each_mut().map(|call| {
        call.interrupt();
        let exit = call.wait(PATIENCE);
        assert_eq!(exit.code, Some(130), "{exit:?}");
        report(&exit)
    });
    let monitor = Pictures::read(&scratch.path("monitor.y4m"));
    let (first, last) = (monitor.frames.first().unwrap(), monitor.frames.last().unwrap());
    assert_eq!((monitor.width, monitor.height), (320, 240), "{}", reports[0]);
    assert!(
        monitor.is(first, (110, 70), RED) && monitor.is(first, (20, 20), BLACK),
        "{:?}",
        monitor.at(first, (110, 70))
    );
    assert!(
        monitor.is(last, (160, 110), GREEN) && monitor.is(last, (110, 70), BLACK),
        "{:?}",
        monitor.at(last, (160, 110))
    );
    let shown = Pictures::read(&scratch.path("window.y4m"));
    assert_eq!((shown.width, shown.height), (128, 96), "{}", reports[1]);
    assert!(shown.is(shown.frames.first().unwrap(), (64, 48), RED));
    assert!(shown.is(shown.frames.last().unwrap(), (64, 48), GREEN));
}

/// A call that sends `source`, and what came of it so far.
pub(super) struct Sending {
    pub(super) call: Rtckit,
    scratch: Scratch,
}

impl Sending {
    fn start(xvfb: &Xvfb, source: &str, more: &[&str]) -> Self {
        Self::start_on(|command| _ = xvfb.on(command), source, more)
    }

    /// On the display server that `on` says.
    pub(super) fn start_on(on: impl Fn(&mut Command), source: &str, more: &[&str]) -> Self {
        let scratch = Scratch::new();
        let output = scratch.path("out.y4m").to_str().unwrap().to_owned();
        let args = ["call", "--loopback", "--json", "--duration", "60s", source, "--video-output", &output];
        let mut command = Rtckit::command(args.iter().chain(more));
        on(&mut command);
        Self { call: Rtckit::spawn(&mut command), scratch }
    }

    /// Waits until what is written ends in a picture of which `is` holds.
    pub(super) fn await_picture(&self, what: &str, is: impl Fn(&Pictures, &[u8]) -> bool) {
        await_that(what, || {
            let path = self.scratch.path("out.y4m.part");
            let there = path.metadata().is_ok_and(|file| file.len() > 100);
            let pictures = there.then(|| Pictures::read(&path));
            pictures.is_some_and(|pictures| pictures.frames.last().is_some_and(|last| is(&pictures, last)))
        });
    }
}

#[test]
fn a_window_is_followed_where_it_moves_under_others_and_to_other_sizes_until_it_is_closed() {
    if !equipped() {
        return;
    }
    let _turn = calls_share_the_machine();
    let xvfb = Xvfb::managed("640x480");
    let client = xvfb.client();
    let window = client.window("Painter", (0, 0), (128, 96), Client::RED);
    client.await_managed(window);
    let mut sending = Sending::start(&xvfb, "--video=window:Painter", &["--cursor", "never"]);
    let all = |colour: [u8; 3]| {
        move |pictures: &Pictures, frame: &[u8]| {
            let corners = [(3, 3), (124, 3), (3, 92), (124, 92)];
            (pictures.width, pictures.height) == (128, 96) && corners.iter().all(|at| pictures.is(frame, *at, colour))
        }
    };
    sending.await_picture("the window", all(RED));
    // Half of it off the screen, and then under another window.
    client.place(window, 580, 440);
    client.recolour(window, Client::GREEN);
    sending.await_picture("the window beyond the edge", all(GREEN));
    client.place(window, 100, 100);
    let cover = client.window("Cover", (0, 0), (600, 400), Client::BLUE);
    client.await_managed(cover);
    client.raise(cover);
    client.recolour(window, Client::RED);
    sending.await_picture("the covered window", all(RED));
    // Twice as wide: shrunk to fit, with bars above and below. Smaller: as it is, in the middle.
    client.resize(window, 256, 96);
    sending.await_picture("the wider window", |pictures, frame| {
        pictures.is(frame, (3, 48), RED) && pictures.is(frame, (124, 48), RED) && pictures.is(frame, (64, 6), BLACK)
    });
    client.resize(window, 64, 48);
    sending.await_picture("the smaller window", |pictures, frame| {
        pictures.is(frame, (64, 48), RED) && pictures.is(frame, (3, 48), BLACK) && pictures.is(frame, (36, 28), RED)
    });
    client.close(window);
    let exit = sending.call.succeed(PATIENCE);
    assert_eq!(report(&exit)["ended"], "input-ended", "{exit:?}");
}

#[test]
fn a_server_without_its_extensions_is_captured_all_the_same() {
    if !equipped() {
        return;
    }
    let _turn = calls_share_the_machine();
    let without: Vec<_> =
        ["MIT-SHM", "DAMAGE", "XFIXES", "Composite", "RANDR"].iter().flat_map(|name| ["-extension", name]).collect();
    let xvfb = Xvfb::start("320x240", &without);
    let client = xvfb.client();
    let window = client.window("Painter", (0, 0), (128, 96), Client::RED);
    let sending = ["--video=screen", "--video=window:Painter"].map(|source| Sending::start(&xvfb, source, &[]));
    for sending in &sending {
        sending.await_picture("the window", |pictures, frame| pictures.is(frame, (64, 48), RED));
    }
    client.recolour(window, Client::GREEN);
    for sending in &sending {
        sending.await_picture("the change", |pictures, frame| pictures.is(frame, (64, 48), GREEN));
    }
}

#[test]
fn a_region_is_sent_alone_and_must_be_on_the_screen() {
    if !have("Xvfb") {
        return;
    }
    let _turn = calls_share_the_machine();
    let xvfb = Xvfb::start("320x240", &[]);
    let client = xvfb.client();
    client.window("Painter", (100, 60), (128, 96), Client::RED);
    let sending = Sending::start(&xvfb, "--video=screen", &["--region", "90,50,64x48"]);
    sending.await_picture("the region", |pictures, frame| {
        let size = (pictures.width, pictures.height) == (64, 48);
        size && pictures.is(frame, (4, 4), BLACK) && pictures.is(frame, (40, 30), RED)
    });
    let args = ["call", "--loopback", "--video=screen", "--region", "300,0,64x48"];
    let exit = Rtckit::spawn(xvfb.on(&mut Rtckit::command(args))).wait(PATIENCE);
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.error_line().contains("300,0,64x48") && exit.error_line().contains("320x240"), "{exit:?}");
}

#[test]
fn without_a_display_server_that_answers_it_is_a_device_error_that_says_why() {
    // TCP displays are the ports from 6000 on, as free ports are.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = silent.local_addr().unwrap().port() - 6000;
    let silent_display = format!("127.0.0.1:{number}");
    let rude_socket = format!("/tmp/.X11-unix/X{number}");
    let rude = UnixListener::bind(&rude_socket).ok();
    let rude_display = format!(":{number}");
    if let Some(rude) = &rude {
        let rude = rude.try_clone().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = rude.accept() {
                let _ = stream.read(&mut [0; 12]);
                let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        });
    }
    let cases = [
        (None, "neither WAYLAND_DISPLAY nor DISPLAY"),
        (Some(""), "neither WAYLAND_DISPLAY nor DISPLAY"),
        (Some(":57999"), ":57999"),
        (Some(":64999"), "not the name of a display"),
        (Some("nonsense"), "not the name of a display"),
        (Some(&*silent_display), "not answered"),
        (Some(&*rude_display), &*rude_display),
    ];
    let running = cases.map(|(display, says)| {
        let mut command = Rtckit::command(["call", "--loopback", "--video=screen"]);
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        if let Some(display) = display {
            command.env("DISPLAY", display);
        }
        (Rtckit::spawn(&mut command), says)
    });
    for (mut call, says) in running {
        let exit = call.wait(PATIENCE);
        assert_eq!(exit.code, Some(4), "{exit:?}");
        assert!(exit.error_line().contains(says), "{says}: {exit:?}");
    }
    if rude.is_some() {
        let _ = std::fs::remove_file(rude_socket);
    }
}

#[test]
fn what_is_not_on_the_screen_is_named_with_what_is() {
    if !have("Xvfb") {
        return;
    }
    let xvfb = Xvfb::start("320x240", &[]);
    let client = xvfb.client();
    client.window("One painter", (0, 0), (64, 48), Client::BLUE);
    client.window("Two painters", (0, 0), (64, 48), Client::BLUE);
    for (source, code, says) in [
        ("--video=window:Terminal", 4, "One painter"),
        ("--video=window:painter", 4, "more than one window"),
        ("--video=window:0x1234567", 4, "0x1234567"),
        ("--video=screen:HDMI-7", 4, "no monitor 'HDMI-7'"),
        ("--audio=screen", 3, "audio"),
    ] {
        let exit = Rtckit::spawn(xvfb.on(&mut Rtckit::command(["call", "--loopback", source]))).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{source}: {exit:?}");
        assert!(exit.error_line().contains(says), "{source}: {exit:?}");
    }
}
