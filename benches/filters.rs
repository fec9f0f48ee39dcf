//! What CSS filters cost: milliseconds for a 1280×720 picture on one core, the least of two seconds of runs, as a table.
//!
//!     cargo bench --bench filters
#![allow(clippy::print_stdout, reason = "it is what this is for")]

use rtckit::capture::TestPattern;
use rtckit::filter::{FilterList, PictureFilter};
use rtckit::media::{Constraint, Source, VideoConstraints};
use rtckit::stop::Stop;
use std::time::{Duration, Instant};

const LISTS: [&str; 7] = [
    "sepia(0.8) saturate(2) hue-rotate(90deg)",
    "grayscale(1) contrast(0.8) invert(1)",
    "grayscale(0.5) blur(3px) brightness(1.2)",
    "contrast(1.2) blur(3px) saturate(2)",
    "blur(1.5px) sepia(1) drop-shadow(5px 5px 5px red)",
    "blur(3px)",
    "blur(50px)",
];

/// How long each is tried.
const LONG: Duration = Duration::from_secs(2);

fn main() {
    let exact = |value| Some(Constraint::exact(value));
    let size = VideoConstraints { width: exact(1280.0), height: exact(720.0), ..VideoConstraints::default() };
    let format = TestPattern::format(&size).expect("the pattern has any size");
    let mut source = TestPattern::new(format, Instant::now());
    let picture = source.next(&Stop::new()).expect("the pattern does not fail").expect("it has no end");
    println!("| filters, 1280×720 | CPU per picture | of one core at 30 a second |\n|---|---|---|");
    for list in LISTS {
        let parsed: FilterList = list.parse().expect("a filter list");
        let mut filter = PictureFilter::new(parsed);
        let mut least = Duration::MAX;
        let end = Instant::now() + LONG;
        while least == Duration::MAX || Instant::now() < end {
            let begin = Instant::now();
            std::hint::black_box(filter.apply(&picture));
            least = least.min(begin.elapsed());
        }
        let seconds = least.as_secs_f64();
        println!("| `{list}` | {:.1} ms | {:.0} % |", seconds * 1e3, seconds * 30.0 * 100.0);
    }
}
