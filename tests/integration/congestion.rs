//! Calls over a narrow path and over one that loses: what is sent keeps to what the path carries, and what is lost comes
//! again.

use crate::browser::{Media, Page};
use crate::call_chromium::page_answers;
use crate::support::{Exit, Rtckit, introduce, one_call_at_a_time};
use serde_json::Value;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// What one end said of itself, again and again.
struct Course(Vec<Vec<Value>>);

impl Course {
    fn of(exit: &Exit) -> Self {
        let lines = exit.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let reports =
            lines.filter(|event| event["type"] == "stats").filter_map(|event| event["report"].as_array().cloned());
        let course = Self(reports.collect());
        assert!(course.0.len() > 10, "{} reports", course.0.len());
        course
    }

    /// Seconds since the first report that has such an object, and the sum of a member of all objects like it.
    fn sums(&self, of: &str, member: impl Fn(&Value) -> Option<f64>) -> Vec<(f64, f64)> {
        let of_report = |report: &Vec<Value>| {
            let like: Vec<&Value> = report.iter().filter(|object| object["type"] == of).collect();
            let at = like.first()?["timestamp"].as_f64()? / 1000.0;
            Some((at, like.iter().filter_map(|object| member(object)).sum()))
        };
        let sums: Vec<(f64, f64)> = self.0.iter().filter_map(of_report).collect();
        sums.iter().map(|(at, sum)| (at - sums[0].0, *sum)).collect()
    }

    /// Kilobits a second that came between two times, with the headers of the packets.
    fn received(&self, from: f64, to: f64) -> f64 {
        const HEADERS: f64 = 12.0 + 8.0 + 10.0 + 28.0;
        let wire =
            |stream: &Value| Some(stream["bytesReceived"].as_f64()? + HEADERS * stream["packetsReceived"].as_f64()?);
        let part: Vec<_> =
            self.sums("inbound-rtp", wire).into_iter().filter(|(at, _)| (from..to).contains(at)).collect();
        let ((begin, before), (end, after)) = (part[0], part[part.len() - 1]);
        (after - before) * 8.0 / 1000.0 / (end - begin)
    }

    /// The longest time in which no frame of video came, from one time to another.
    fn longest_freeze(&self, from: f64, to: f64) -> f64 {
        let frames = |stream: &Value| stream["framesReceived"].as_f64().filter(|_| stream["kind"] == "video");
        let mut changed = self.sums("inbound-rtp", frames);
        changed.retain(|(at, _)| (from..to).contains(at));
        changed.dedup_by_key(|(_, frames)| frames.to_bits());
        changed.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max)
    }

    /// Round trips of a stream that is sent, from one time to another: the middle one.
    fn round_trip(&self, from: f64, to: f64) -> f64 {
        let video = |stream: &Value| stream["roundTripTime"].as_f64().filter(|_| stream["kind"] == "video");
        let mut times: Vec<f64> = self
            .sums("remote-inbound-rtp", video)
            .into_iter()
            .filter(|(at, _)| (from..to).contains(at))
            .map(|(_, time)| time)
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

/// A call of two of ours over a path like `network`, and the course of it at the caller and at the callee.
fn call_over(network: &str, more: &[&str]) -> (Course, Course) {
    let mut callee = Rtckit::start(["answer", "--measure", "--stats=250ms"]);
    let sends = ["call", "--video=test", "--audio=test", "--stats=250ms", "--net-sim", network];
    let mut caller = Rtckit::start(sends.iter().chain(more));
    introduce(&mut caller, &mut callee);
    let (sent, received) = (caller.succeed(PATIENCE), callee.succeed(PATIENCE));
    (Course::of(&sent), Course::of(&received))
}

fn a_call_settles_at_what_the_path_carries_and_comes_back_with_it() {
    let (sent, received) = call_over(
        "rate=300k,delay=50ms,queue=1s;10s:rate=5M",
        &["--max-bitrate=1M", "--degradation-preference=maintain-resolution", "--duration=20s"],
    );
    let (narrow, wide) = (received.received(5.0, 9.5), received.received(16.5, 19.5));
    assert!((210.0..=305.0).contains(&narrow), "{narrow} kbit/s through a path of 300");
    let round_trip = sent.round_trip(5.0, 9.5);
    assert!(round_trip < 0.35, "{round_trip} s there and back, of which the path is 0.1");
    assert!(wide > 400.0, "{wide} kbit/s though the path carries more");
}

fn a_tenth_of_the_packets_is_lost_and_the_picture_goes_on() {
    let (_, received) = call_over("delay=20ms;1s:loss=10%;9s:loss=0", &["--duration=11s"]);
    let freeze = received.longest_freeze(1.0, 10.5);
    assert!(freeze <= 1.0, "no frame for {freeze} s");
}

fn a_path_that_is_gone_for_a_while_is_used_again_when_it_is_back() {
    let (_, received) = call_over(
        "delay=20ms;2s:loss=100%;8.5s:loss=0",
        &["--degradation-preference=maintain-resolution", "--duration=18s"],
    );
    let gone = received.longest_freeze(1.0, 17.5);
    assert!((6.0..8.5).contains(&gone), "no frame for {gone} s, 6.5 s without a path");
    let back = received.received(14.5, 17.5);
    assert!(back > 300.0, "{back} kbit/s once it was back");
}

#[test]
fn calls_over_poor_paths_make_the_best_of_them() {
    let _turn = one_call_at_a_time();
    // Side by side: each takes a quarter of a processor.
    std::thread::scope(|scope| {
        scope.spawn(a_call_settles_at_what_the_path_carries_and_comes_back_with_it);
        scope.spawn(a_tenth_of_the_packets_is_lost_and_the_picture_goes_on);
        scope.spawn(a_path_that_is_gone_for_a_while_is_used_again_when_it_is_back);
    });
}

#[test]
fn we_and_chromium_share_a_narrow_path_both_ways() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open() else { return };
    page.create(Media::Send, false);
    let network = "rate=500k,delay=50ms,queue=1s";
    let mut caller = Rtckit::start([
        "call",
        "--video=test",
        "--audio=test",
        "--stats=250ms",
        "--max-bitrate=1M",
        "--degradation-preference=maintain-resolution",
        "--duration=13s",
        "--net-sim",
        network,
    ]);
    page_answers(&page, &mut caller, false);
    let bytes = || {
        let bytes = |kind| page.stat("peer", "inbound-rtp", kind)["bytesReceived"].as_f64().unwrap_or(0.0);
        bytes("video") + bytes("audio")
    };
    std::thread::sleep(Duration::from_secs(6));
    let (begin, before) = (Instant::now(), bytes());
    std::thread::sleep(Duration::from_secs(4));
    let ours = (bytes() - before) * 8.0 / 1000.0 / begin.elapsed().as_secs_f64();
    let course = Course::of(&caller.succeed(PATIENCE));
    let theirs = course.received(6.0, 12.0);
    println!("{ours} {theirs} {}", course.round_trip(6.0, 12.0));
    assert!((300.0..=505.0).contains(&ours), "Chromium gets {ours} kbit/s of 500");
    assert!((200.0..=505.0).contains(&theirs), "we get {theirs} kbit/s of 500");
}
