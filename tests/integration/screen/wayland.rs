//! Outputs of a Wayland compositor as what a call sends.

use super::call::Sending;
use super::{GREEN, RED};
use crate::support::{PATIENCE, Rtckit, Sway, calls_share_the_machine, have};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

#[test]
fn an_output_is_sent_with_what_changes_on_it_upright_until_the_compositor_is_gone() {
    if !have("sway") {
        return;
    }
    let _turn = calls_share_the_machine();
    let sway = Sway::start("320x240", "#ff0000");
    let mut sending = Sending::start_on(|command| _ = sway.on(command), "--video=screen:HEADLESS-1", &[]);
    sending.await_picture("the background", |pictures, frame| {
        (pictures.width, pictures.height) == (320, 240) && pictures.is(frame, (160, 120), RED)
    });
    sway.say(&["output HEADLESS-1 bg #00ff00 solid_color"]);
    sending.await_picture("the new background", |pictures, frame| pictures.is(frame, (160, 120), GREEN));
    // On its side it is shrunk to fit in the middle.
    sway.say(&["output HEADLESS-1 transform 90"]);
    sending.await_picture("the turned output", |pictures, frame| {
        pictures.is(frame, (160, 120), GREEN) && pictures.at(frame, (20, 120))[0] < 30
    });
    drop(sway);
    let exit = sending.call.wait(PATIENCE);
    assert_eq!(exit.code, Some(4), "{exit:?}");
    assert!(exit.error_line().contains("was lost"), "{exit:?}");
}

/// Answers as a compositor does that has nothing.
fn serve_nothing(mut client: UnixStream) {
    let mut header = [0; 8];
    while client.read_exact(&mut header).is_ok() {
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (object, size, opcode) = (word(0), word(4) >> 16, word(4) & 0xffff);
        let mut body = vec![0; size as usize - 8];
        client.read_exact(&mut body).unwrap();
        // wl_display.sync: the callback that it names is done.
        if (object, opcode) == (1, 0) {
            let done = [&body[..4], &(12_u32 << 16).to_ne_bytes(), &[0; 4]].concat();
            client.write_all(&done).unwrap();
        }
    }
}

#[test]
fn a_session_that_cannot_be_captured_is_a_device_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (poor, silent) = (UnixListener::bind(path("poor")).unwrap(), UnixListener::bind(path("silent")).unwrap());
    std::thread::spawn(move || {
        while let Ok((client, _)) = poor.accept() {
            std::thread::spawn(move || serve_nothing(client));
        }
    });
    let cases =
        [("none", "No such file"), ("poor", "has no wlr-screencopy, and the portal"), ("silent", "not answered")];
    let running = cases.map(|(display, says)| {
        let mut command = Rtckit::command(["call", "--loopback", "--video=screen"]);
        command.env("XDG_RUNTIME_DIR", folder.path()).env("WAYLAND_DISPLAY", display).env("DISPLAY", ":57999");
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
        (Rtckit::spawn(&mut command), says)
    });
    for (mut call, says) in running {
        let exit = call.wait(PATIENCE);
        assert_eq!(exit.code, Some(4), "{exit:?}");
        assert!(exit.error_line().contains(says), "{says}: {exit:?}");
    }
    drop(silent);
}
