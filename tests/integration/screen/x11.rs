//! The source itself, on X servers of the tests.

use crate::support::{Client, Xvfb, have};
use rtckit::capture::screen::{self, CursorCapture, ScreenOptions, ScreenSource, SurfaceKind};
use rtckit::media::{I420, Source, VideoConstraints};
use rtckit::stop::Stop;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

fn capture(xvfb: &Xvfb, cursor: CursorCapture) -> ScreenSource {
    let options = ScreenOptions { cursor, display: Some(xvfb.name().to_owned()), ..ScreenOptions::default() };
    screen::open(SurfaceKind::Monitor, None, &options, &VideoConstraints::default(), Instant::now()).unwrap()
}

/// The next picture of which `is` holds; what is captured soon after it is fails the test when it never is.
fn await_picture(source: &mut ScreenSource, what: &str, is: impl Fn(&I420) -> bool) {
    let begin = Instant::now();
    while begin.elapsed() < crate::support::PATIENCE {
        let frame = source.next(&Stop::new()).unwrap().expect("it goes on");
        if is(&frame.picture) {
            return;
        }
    }
    panic!("{what} did not come");
}

/// How many pixels of a rectangle are dark.
fn dark(picture: &I420, (x, y): (usize, usize), side: usize) -> usize {
    let width = picture.width() as usize;
    let rows = picture.planes()[0].chunks_exact(width).skip(y).take(side);
    rows.flat_map(|row| &row[x..x + side]).filter(|luma| **luma < 60).count()
}

#[test]
fn at_1080p_and_30_per_second_every_look_at_a_moving_window_is_a_frame() {
    if !have("Xvfb") {
        return;
    }
    let xvfb = Xvfb::start("1920x1080", &[]);
    let client = xvfb.client();
    let window = client.window("Painter", (0, 0), (400, 300), Client::RED);
    let mut source = capture(&xvfb, CursorCapture::Never);
    let (stop, over) = (Stop::new(), AtomicBool::new(false));
    let frames = std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in (0..1500).cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                client.place(window, step, step / 2);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let frames: Vec<_> = (0..60).map(|_| source.next(&stop).unwrap().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        frames
    });
    assert!(frames.iter().all(|frame| (frame.width(), frame.height()) == (1920, 1080)));
    let stats = source.stats();
    // The periods from the first to the last of them: each was looked at or is counted as missed, and each look was a frame.
    let periods = (frames[59].time.minus(frames[0].time).seconds() * 30.0).round();
    let (captured, repeated, missed) = (stats.captured(), stats.repeated(), stats.missed());
    assert_eq!(captured + repeated, 60, "{stats:?}");
    assert!((periods - (59 + missed) as f64).abs() <= 2.0 + repeated as f64 * 3.0, "{periods} periods: {stats:?}");
    // A machine that is held up for long may find a client that was held up for as long.
    assert!(repeated <= 6, "{stats:?}");
}

#[test]
fn the_cursor_is_seen_always_while_it_moves_or_never() {
    if !have("Xvfb") {
        return;
    }
    let xvfb = Xvfb::start("320x240", &[]);
    let client = xvfb.client();
    client.window("Painter", (0, 0), (320, 240), Client::WHITE);
    client.point(100, 100);
    let [mut always, mut motion, mut never] =
        [CursorCapture::Always, CursorCapture::Motion, CursorCapture::Never].map(|mode| capture(&xvfb, mode));
    let at = |x: usize, y: usize| move |picture: &I420| dark(picture, (x - 16, y - 16), 32) > 10;
    let nowhere =
        |picture: &I420| (0..7).all(|row| (0..10).all(|column| dark(picture, (column * 32, row * 32), 32) == 0));
    await_picture(&mut always, "the cursor", at(100, 100));
    await_picture(&mut motion, "the picture without it", nowhere);
    await_picture(&mut never, "the picture without it", nowhere);
    client.point(200, 150);
    await_picture(&mut always, "the cursor where it went", |picture| {
        at(200, 150)(picture) && dark(picture, (84, 84), 32) == 0
    });
    await_picture(&mut motion, "the cursor that moves", at(200, 150));
    await_picture(&mut motion, "the cursor gone again", nowhere);
    await_picture(&mut never, "the picture without it", nowhere);
}

#[test]
fn a_server_that_dies_or_hangs_is_a_lost_device_after_a_while() {
    if !have("Xvfb") {
        return;
    }
    let (dying, hanging) = (Xvfb::start("320x240", &[]), Xvfb::start("320x240", &[]));
    let mut sources = [&dying, &hanging].map(|xvfb| capture(xvfb, CursorCapture::Always));
    for source in &mut sources {
        source.next(&Stop::new()).unwrap().expect("a first picture");
    }
    dying.signal(Signal::KILL);
    hanging.signal(Signal::STOP);
    let errors = sources.map(|mut source| {
        loop {
            match source.next(&Stop::new()) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended as if the surface were closed"),
                Err(error) => break error,
            }
        }
    });
    hanging.signal(Signal::CONT);
    for error in &errors {
        assert_eq!(error.kind(), rtckit::error::ErrorKind::Device, "{error}");
        assert!(error.to_string().contains("was lost"), "{error}");
    }
    assert!(errors[1].to_string().contains("not answered"), "{}", errors[1]);
}
