//! `--play`, and `capture --preview`: pictures in a terminal and in a window.

use crate::support::{PATIENCE, Rtckit, Xvfb, calls_share_the_machine, have};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::fs::File;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What shows pictures.
#[derive(Clone, Copy, Debug)]
enum Shows {
    Play,
    Preview,
}

/// What is to be shown: small, since drawing is slow without optimisation.
fn show(what: Shows, duration: &str) -> Command {
    let mut command = Rtckit::command(match what {
        Shows::Play => ["call", "--loopback", "--play"].as_slice(),
        Shows::Preview => &["capture", "--preview"],
    });
    command.args(["--video=test", "--width=160", "--height=120", &format!("--duration={duration}")]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// A new terminal: our side, and the side of the program.
fn terminal() -> (File, Stdio) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let near = openpt(flags).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let far = ioctl_tiocgptpeer(&near, flags).unwrap();
    (File::from(near), far.into())
}

fn wait(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still running after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn without_a_display_pictures_are_shown_in_the_terminal_which_is_given_back() {
    let _turn = calls_share_the_machine();
    [Shows::Play, Shows::Preview].into_iter().for_each(shown_in_a_terminal);
}

fn shown_in_a_terminal(what: Shows) {
    let (mut near, far) = terminal();
    let mut command = show(what, "2s");
    let mut child = command.stdout(far).spawn().unwrap();
    // Ours, or the terminal would never end.
    drop(command);
    let reading = std::thread::spawn(move || {
        let mut shown = Vec::new();
        // A terminal that nobody writes to any more is an error to Linux.
        let _ = near.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    assert_eq!(wait(&mut child), Some(0));
    let shown = reading.join().unwrap();
    let pictures = shown.matches("\x1b[H").count();
    assert!(pictures > 3 && shown.matches('\u{2580}').count() > pictures * 500, "{pictures} pictures: {shown:.200}");
    assert!(shown.contains("\x1b[?1049h") && shown.ends_with("\x1b[?25h\x1b[?1049l"), "not given back");
}

#[test]
fn a_terminal_that_nobody_reads_holds_nothing_up() {
    let (_unread, far) = terminal();
    let mut child = show(Shows::Play, "2s").stdout(far).spawn().unwrap();
    assert_eq!(wait(&mut child), Some(0));
}

/// The brightest pixel of a screen of 320 by 240.
fn brightest(screen: &Xvfb) -> u8 {
    let mut command = Command::new("ffmpeg");
    // Without a name the display is that of the environment.
    command.args(["-v", "error", "-nostdin", "-f", "x11grab", "-draw_mouse", "0", "-video_size", "320x240", "-i", ""]);
    command.args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]);
    let output = screen.on(&mut command).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.into_iter().max().unwrap_or(0)
}

#[test]
fn with_a_display_pictures_are_shown_in_a_window() {
    let _turn = calls_share_the_machine();
    if !have("Xvfb") || !have("ffmpeg") {
        return;
    }
    [Shows::Play, Shows::Preview].into_iter().for_each(shown_in_a_window);
}

fn shown_in_a_window(what: Shows) {
    let screen = Xvfb::start("320x240", &[]);
    assert!(brightest(&screen) < 50, "the screen is dark before");
    let mut child = screen.on(&mut show(what, "1h")).stdout(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    let mut bright = 0;
    while bright < 150 && begin.elapsed() < PATIENCE {
        bright = brightest(&screen);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(bright >= 150, "nothing is shown by {what:?}");
}

#[test]
fn a_preview_that_nobody_can_see_is_an_error() {
    let mut command = show(Shows::Preview, "1s");
    let exit = Rtckit::spawn(command.stdin(Stdio::null())).wait(PATIENCE);
    assert_eq!(exit.code, Some(4), "{exit:?}");
    assert!(exit.error_line().contains("neither a display nor a terminal"), "{exit:?}");
}
