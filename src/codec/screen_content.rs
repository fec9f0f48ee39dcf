//! What encoders make of a screen: text at a low bitrate, and pictures that stand. The pictures come as
//! [`ScreenSource`](crate::capture::screen::ScreenSource) gives them.

use super::synthetic::{Random, cpu, psnr};
use super::{EncoderSettings, video_decoder, video_encoder};
use crate::media::{Codec, ContentHint, FrameRate, I420, MediaTime, VideoFormat, VideoFrame};
use std::time::Duration;

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
/// When a picture that stands is given again, in milliseconds after the change.
const AGAIN: [i64; 8] = [100, 200, 300, 400, 500, 1500, 2500, 3500];

/// A page of what looks like text to an encoder: rows of letters of strokes one pixel wide, dark on light.
fn page(seed: u64) -> I420 {
    let mut random = Random(seed);
    let mut picture = I420::new(WIDTH, HEIGHT);
    let width = WIDTH as usize;
    let [luma, u, v] = picture.planes_mut();
    luma.fill(230);
    u.fill(128);
    v.fill(128);
    for line in (10..HEIGHT as usize - 20).step_by(16) {
        for column in (10..width - 20).step_by(8) {
            if random.below(6) == 0 {
                continue;
            }
            let letter = random.next();
            for stroke in 0..3 {
                let at = letter >> (stroke * 8);
                let place = |bits: u64, most: usize| usize::try_from(bits).unwrap() % most;
                let (x, y) = (column + place(at & 7, 6), line + place(at >> 3 & 7, 6));
                let upright = at & 0x80 == 0;
                for step in 0..5 {
                    let (x, y) = if upright { (x, y + step) } else { (x.min(column + 1) + step, y) };
                    luma[y * width + x] = 30;
                }
            }
        }
    }
    picture
}

fn frame(picture: &I420, millis: i64) -> VideoFrame {
    let mut copy = I420::new(picture.width(), picture.height());
    copy.data_mut().copy_from_slice(picture.data());
    VideoFrame::new(MediaTime::from_micros(millis * 1000), copy)
}

struct Shown {
    /// Of the decoded picture after each frame.
    psnr: Vec<f64>,
    bytes: Vec<usize>,
    cpu: Vec<Duration>,
}

/// Shows a page for four seconds, then another for as long.
fn show(codec: Codec, content: ContentHint) -> [Shown; 2] {
    let format = VideoFormat { width: WIDTH, height: HEIGHT, frame_rate: FrameRate::new(30, 1).unwrap() };
    let settings = EncoderSettings { bitrate: 1_000_000, content, threads: 1, ..EncoderSettings::default() };
    let mut encoder = video_encoder(codec, &format, settings).unwrap();
    let mut decoder = video_decoder(codec).unwrap();
    [(page(1), 0), (page(2), 4500)].map(|(page, begin)| {
        let mut shown = Shown { psnr: Vec::new(), bytes: Vec::new(), cpu: Vec::new() };
        let mut seen = None;
        for millis in [0].into_iter().chain(AGAIN) {
            let frame = frame(&page, begin + millis);
            let (mut bytes, before) = (0, cpu());
            let mut packets = Vec::new();
            encoder.encode(&frame, false, &mut |packet| packets.push(packet)).unwrap();
            shown.cpu.push(cpu() - before);
            for packet in packets {
                bytes += packet.data.len();
                decoder.decode(&packet, &mut |picture| seen = Some(picture)).unwrap();
            }
            shown.bytes.push(bytes);
            shown.psnr.push(seen.as_ref().map_or(0.0, |seen| psnr(&frame, seen)));
        }
        shown
    })
}

#[test]
fn text_at_a_megabit_becomes_sharp_within_half_a_second_and_then_costs_next_to_nothing() {
    for codec in [Codec::Vp8, Codec::Vp9] {
        for shown in show(codec, ContentHint::Detail) {
            let Shown { psnr, bytes, cpu } = &shown;
            println!("{codec}: {psnr:.1?} dB, {bytes:?} bytes, {cpu:?}");
            let settled = 5;
            assert!(psnr[settled] > 34.0, "{codec}: {psnr:?}");
            let standing: usize = bytes[settled + 1..].iter().sum();
            assert!(standing < 3 * 2_000, "{codec}: {bytes:?}");
        }
    }
}
