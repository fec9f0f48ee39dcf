//! Captures the main monitor for some seconds and counts: what changed, what stood still, what came too late.
//!
//!     cargo run --release --example capture_screen -- 5

#![allow(clippy::print_stdout, reason = "it is a program")]

use rtckit::capture::screen::{self, ScreenOptions, SurfaceKind};
use rtckit::media::{Source, VideoConstraints};
use rtckit::stop::{Stop, StopReason};
use std::error::Error;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let seconds: u64 = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let begin = Instant::now();
    let mut source =
        screen::open(SurfaceKind::Monitor, None, &ScreenOptions::default(), &VideoConstraints::default(), begin)?;
    let stats = source.stats();
    let stop = Stop::new();
    while let Some(frame) = source.next(&stop)? {
        // A frame is a picture in planar YUV and its time; here nothing is done with it.
        if frame.time.duration() >= Duration::from_secs(seconds) {
            stop.stop(StopReason::Done);
        }
    }
    let format = source.format();
    println!("{} at {}x{}, {} per second", source.surface().label, format.width, format.height, format.frame_rate);
    println!("captured {} repeated {} missed {}", stats.captured(), stats.repeated(), stats.missed());
    Ok(())
}
