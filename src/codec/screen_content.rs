//! What encoders make of a screen: a page of text at 1 Mbit/s that is shown, stands, and gives way to another. The pictures come
//! as a [`ScreenSource`](crate::capture::screen::ScreenSource) gives them.

use super::synthetic::{Random, psnr};
use super::{BitrateMode, EncoderSettings, video_decoder, video_encoder};
use crate::media::{Codec, ContentHint, FrameRate, I420, MediaTime, VideoFormat, VideoFrame};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
/// A picture that stands is given ten times a second while it is being sharpened, then once a second.
const SETTLING: i64 = 30;
const STANDING: i64 = 4;

/// When a picture that stands is given, in milliseconds after the change.
fn times() -> impl Iterator<Item = i64> {
    (0..=SETTLING).map(|n| n * 100).chain((1..=STANDING).map(|n| SETTLING * 100 + n * 1000))
}

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
                let place = |bits: u64| usize::try_from(bits & 7).unwrap() % 6;
                let (x, y) = (column + place(at), line + place(at >> 3));
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

/// What became of a page.
struct Shown {
    /// Of the picture that was seen at once, one second and three seconds after the change, and at the end.
    psnr: [f64; 4],
    /// Of every frame.
    bytes: Vec<usize>,
}

fn show(codec: Codec, bitrate_mode: BitrateMode) -> [Shown; 2] {
    let format = VideoFormat { width: WIDTH, height: HEIGHT, frame_rate: FrameRate::new(30, 1).unwrap() };
    let drop_below = if bitrate_mode == BitrateMode::Constant { EncoderSettings::default().drop_below } else { 0 };
    let settings = EncoderSettings {
        bitrate: 1_000_000,
        bitrate_mode,
        content: ContentHint::Text,
        threads: 1,
        drop_below,
        ..EncoderSettings::default()
    };
    let mut encoder = video_encoder(codec, &format, settings).unwrap();
    let mut decoder = video_decoder(codec).unwrap();
    let mut seen = None;
    [(page(1), 0), (page(2), 8_000)].map(|(page, begin)| {
        let (mut bytes, mut sharpness) = (Vec::new(), Vec::new());
        let mut frame = VideoFrame::new(MediaTime::ZERO, page);
        for millis in times() {
            frame.time = MediaTime::from_micros((begin + millis) * 1000);
            let mut packets = Vec::new();
            encoder.encode(&frame, false, &mut |packet| packets.push(packet)).unwrap();
            for packet in &packets {
                decoder.decode(packet, &mut |picture| seen = Some(picture)).unwrap();
            }
            bytes.push(packets.iter().map(|packet| packet.data.len()).sum());
            if [0, 1000, SETTLING * 100, SETTLING * 100 + STANDING * 1000].contains(&millis) {
                sharpness.push(seen.as_ref().map_or(0.0, |seen| psnr(&frame, seen)));
            }
        }
        let shown = Shown { psnr: sharpness.try_into().unwrap(), bytes };
        let standing = &shown.bytes[shown.bytes.len() - 3..];
        println!(
            "{codec}, {bitrate_mode}: {:.1?} dB, {} bytes, standing {standing:?}",
            shown.psnr,
            shown.bytes.iter().sum::<usize>(),
        );
        shown
    })
}

#[test]
fn in_a_call_a_page_of_text_is_sharp_after_three_seconds_and_keeps_to_its_bits() {
    for (codec, least) in [(Codec::Vp8, 37.0), (Codec::Vp9, 36.0), (Codec::Av1, 45.0), (Codec::H264, 32.0)] {
        for Shown { psnr, bytes } in show(codec, BitrateMode::Constant) {
            assert!(psnr[2] > least, "{codec}: {psnr:.1?}");
            assert!(psnr[3] > psnr[2] - 0.5, "{codec}: it stays sharp: {psnr:.1?}");
            // A second's bits in advance, and a quarter more.
            let three_seconds: usize = bytes[..=usize::try_from(SETTLING).unwrap()].iter().sum();
            assert!(three_seconds < 4 * 125_000 * 5 / 4, "{codec}: {three_seconds} bytes");
        }
    }
}

#[test]
fn in_a_file_a_page_of_text_is_sharp_at_once_and_costs_nothing_while_it_stands() {
    for codec in [Codec::Vp8, Codec::Vp9, Codec::Av1] {
        for Shown { psnr, bytes } in show(codec, BitrateMode::Variable) {
            assert!(psnr.iter().all(|psnr| *psnr > 40.0), "{codec}: {psnr:.1?}");
            assert!(bytes[1..].iter().sum::<usize>() < bytes[0] / 4, "{codec}: {bytes:?}");
            assert!(bytes[bytes.len() - 3..].iter().all(|bytes| *bytes < 1000), "{codec}: {bytes:?}");
        }
    }
}
