//! What every video codec promises, tested on every video codec: a new one is an entry in [`ALL_VIDEO`].
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Test arithmetic on small numbers.

use super::synthetic::{Film, Random, audio_format, cpu, psnr, time_of};
use super::*;
use crate::error::Error;
use crate::media::{EncodedFrame, FrameRate, I420, MediaTime, VideoFrame, frame_header};
use bytes::Bytes;

const ALL_VIDEO: [Codec; Codec::VIDEO.len()] = Codec::VIDEO;

fn format(width: u32, height: u32) -> VideoFormat {
    VideoFormat { width, height, frame_rate: FrameRate::new(30, 1).unwrap() }
}

/// Settings under which every picture gives a frame.
fn settings(bitrate: u32) -> EncoderSettings {
    EncoderSettings { bitrate, drop_below: 0, ..EncoderSettings::default() }
}

/// Whether the codec has pictures of this size at all.
fn can_code(codec: Codec, width: u32, height: u32) -> bool {
    codec != Codec::H264 || width.min(height) >= 16
}

/// The size in which a picture comes back: H.264 cannot crop 4:2:0 to an odd one (ITU-T H.264 section 7.4.2.1.1).
fn coded_size(codec: Codec, width: u32, height: u32) -> (u32, u32) {
    if codec == Codec::H264 { (width & !1, height & !1) } else { (width, height) }
}

/// The part of a picture that comes back.
fn as_coded(codec: Codec, picture: &I420) -> I420 {
    let (width, height) = coded_size(codec, picture.width(), picture.height());
    let mut coded = I420::new(width, height);
    let strides = [picture.width(), picture.chroma_width(), picture.chroma_width()].map(|stride| stride as usize);
    let widths = [coded.width(), coded.chroma_width(), coded.chroma_width()].map(|width| width as usize);
    for (index, to) in coded.planes_mut().into_iter().enumerate() {
        for (to, from) in to.chunks_exact_mut(widths[index]).zip(picture.planes()[index].chunks_exact(strides[index])) {
            to.copy_from_slice(&from[..widths[index]]);
        }
    }
    coded
}

fn encode(encoder: &mut dyn VideoEncoder, frame: &VideoFrame, key: bool) -> Vec<EncodedFrame> {
    let mut frames = Vec::new();
    encoder.encode(frame, key, &mut |frame| frames.push(frame)).unwrap();
    frames
}

fn decode(decoder: &mut dyn VideoDecoder, frame: &EncodedFrame) -> Result<Vec<VideoFrame>, Error> {
    let mut frames = Vec::new();
    decoder.decode(frame, &mut |frame| frames.push(frame)).map(|()| frames)
}

/// A stream of `count` frames with a key frame at each of `keys`.
fn stream(codec: Codec, width: u32, height: u32, count: usize, keys: &[usize]) -> Vec<EncodedFrame> {
    let mut encoder = video_encoder(codec, &format(width, height), settings(1_000_000)).unwrap();
    let mut film = Film::new(false);
    (0..count).flat_map(|n| encode(&mut *encoder, &film.frame(n, width, height), keys.contains(&n))).collect()
}

#[test]
fn pictures_come_back_alike_at_their_times_in_any_size() {
    for codec in ALL_VIDEO {
        for (width, height) in [(320, 240), (177, 143), (64, 64), (16, 16), (2, 2), (1, 1), (33, 1), (1280, 720)] {
            let encoder = video_encoder(codec, &format(width, height), settings(2_000_000));
            if !can_code(codec, width, height) {
                assert!(matches!(encoder.err(), Some(CodecError::Size { .. })), "{codec} {width}x{height}");
                continue;
            }
            let mut encoder = encoder.unwrap();
            let mut decoder = video_decoder(codec).unwrap();
            let mut film = Film::new(false);
            for n in 0..8 {
                let frame = film.frame(n, width, height);
                let encoded = encode(&mut *encoder, &frame, false);
                assert_eq!(encoded.len(), 1, "{codec} {width}x{height}: no look-ahead, nothing dropped");
                assert_eq!(encoded[0].codec, codec);
                assert_eq!(encoded[0].key, n == 0, "{codec}: a key frame first and none unasked");
                assert_eq!((encoded[0].time.ticks(), encoded[0].time.rate()), (frame.time.ticks(), frame.time.rate()));
                let decoded = decode(&mut *decoder, &encoded[0]).unwrap();
                assert_eq!(decoded.len(), 1);
                assert_eq!((decoded[0].time.ticks(), decoded[0].time.rate()), (frame.time.ticks(), frame.time.rate()));
                let psnr = psnr(&as_coded(codec, &frame), &decoded[0]);
                assert!(psnr > 30.0, "{codec} {width}x{height} frame {n}: {psnr:.1} dB");
            }
        }
    }
}

#[test]
fn colour_planes_are_not_swapped() {
    for codec in ALL_VIDEO {
        let mut picture = I420::new(35, 17);
        for (plane, value) in picture.planes_mut().into_iter().zip([81, 90, 240]) {
            plane.fill(value);
        }
        let mut encoder = video_encoder(codec, &format(35, 17), settings(500_000)).unwrap();
        let encoded = encode(&mut *encoder, &VideoFrame::new(MediaTime::ZERO, picture), false);
        let decoded = decode(&mut *video_decoder(codec).unwrap(), &encoded[0]).unwrap();
        for (plane, value) in decoded[0].planes().into_iter().zip([81u8, 90, 240]) {
            assert!(plane.iter().all(|pixel| pixel.abs_diff(value) < 6), "{codec}");
        }
    }
}

#[test]
fn a_key_frame_asked_for_comes_at_once_and_decodes_alone() {
    for codec in ALL_VIDEO {
        for drop_below in [0, 30] {
            let settings = EncoderSettings { bitrate: 300_000, drop_below, ..EncoderSettings::default() };
            let mut encoder = video_encoder(codec, &format(320, 240), settings).unwrap();
            let mut film = Film::new(true);
            for n in 0..60 {
                let frame = film.frame(n, 320, 240);
                let asked = n % 20 == 13;
                let encoded = encode(&mut *encoder, &frame, asked);
                if asked {
                    assert_eq!(encoded.len(), 1, "{codec}: a key frame is never dropped");
                    assert!(encoded[0].key);
                    let decoded = decode(&mut *video_decoder(codec).unwrap(), &encoded[0]).unwrap();
                    assert!(psnr(&frame, &decoded[0]) > 20.0);
                } else {
                    assert!(encoded.iter().all(|frame| frame.key == (n == 0)), "{codec}: frame {n}");
                }
            }
        }
    }
}

#[test]
fn the_bitrate_is_held_and_a_change_is_followed_within_a_second() {
    const SECOND: usize = 30;
    for codec in ALL_VIDEO {
        for (first, then) in [(300_000, 1_000_000), (1_000_000, 300_000)] {
            let settings = EncoderSettings { bitrate: first, ..EncoderSettings::default() };
            let mut encoder = video_encoder(codec, &format(320, 240), settings).unwrap();
            let mut film = Film::new(true);
            let mut bits = |encoder: &mut dyn VideoEncoder, frames: std::ops::Range<usize>| {
                let seconds = frames.len() as f64 / SECOND as f64;
                let bytes: usize = frames
                    .flat_map(|n| encode(encoder, &film.frame(n, 320, 240), false))
                    .map(|frame| {
                        assert!(!frame.key || frame.time == time_of(0), "{codec}: a new bitrate needs no key frame");
                        frame.data.len()
                    })
                    .sum();
                bytes as f64 * 8.0 / seconds
            };
            let held = bits(&mut *encoder, 0..5 * SECOND);
            encoder.set_bitrate(then).unwrap();
            bits(&mut *encoder, 5 * SECOND..6 * SECOND);
            let followed = bits(&mut *encoder, 6 * SECOND..8 * SECOND);
            println!("{codec}: {first} -> {held:.0} bit/s; then {then} -> {followed:.0} bit/s");
            for (target, measured) in [(first, held), (then, followed)] {
                let ratio = measured / f64::from(target);
                assert!((0.8..=1.2).contains(&ratio), "{codec}: {measured:.0} bit/s for {target}");
            }
        }
        assert!(video_encoder(codec, &format(320, 240), settings(0)).is_err());
        let mut encoder = video_encoder(codec, &format(320, 240), settings(1)).unwrap();
        assert!(encoder.set_bitrate(0).is_err());
        encoder.set_bitrate(u32::MAX).unwrap();
    }
}

#[test]
fn the_size_may_change_in_mid_stream() {
    for codec in ALL_VIDEO {
        let mut encoder = video_encoder(codec, &format(320, 240), settings(1_000_000)).unwrap();
        let mut decoder = video_decoder(codec).unwrap();
        let mut film = Film::new(false);
        let sizes = [(320, 240), (640, 480), (177, 143), (178, 143), (16, 240), (320, 240)];
        for (n, (width, height)) in sizes.into_iter().flat_map(|size| [size; 3]).enumerate() {
            let frame = film.frame(n, width, height);
            let encoded = encode(&mut *encoder, &frame, false);
            assert_eq!(encoded[0].key, n % 3 == 0, "{codec} frame {n}");
            let decoded = decode(&mut *decoder, &encoded[0]).unwrap();
            assert!(psnr(&as_coded(codec, &frame), &decoded[0]) > 28.0, "{codec} frame {n}");
        }
    }
}

#[test]
fn times_that_stand_still_or_jump_are_encoded_all_the_same() {
    for codec in ALL_VIDEO {
        let mut encoder = video_encoder(codec, &format(64, 64), settings(500_000)).unwrap();
        let mut film = Film::new(false);
        let seconds =
            [0, 0, 5, -7, 86_400 * 365 * 100, i64::from(i32::MIN), 1, i64::MAX / 1_000_000, i64::MIN / 1_000_000];
        for (n, second) in seconds.into_iter().enumerate() {
            let time = MediaTime::from_micros(second * 1_000_000);
            let frame = VideoFrame { time, ..film.frame(n, 64, 64) };
            let encoded = encode(&mut *encoder, &frame, false);
            assert_eq!((encoded.len(), encoded[0].time), (1, time), "{codec} at {second} s");
        }
    }
}

#[test]
fn impossible_sizes_are_refused() {
    for codec in ALL_VIDEO {
        for (width, height) in
            [(0, 0), (0, 16), (16, 0), (16_385, 16), (16, 16_385), (u32::MAX, u32::MAX), (16_383, 16_383)]
        {
            let refused = video_encoder(codec, &format(width, height), settings(1_000_000)).err();
            assert!(matches!(refused, Some(CodecError::Size { .. })), "{codec} {width}x{height}");
        }
    }
}

#[test]
fn after_a_lost_frame_a_key_frame_recovers() {
    for codec in ALL_VIDEO {
        let frames = stream(codec, 177, 143, 30, &[20]);
        let mut decoder = video_decoder(codec).unwrap();
        assert!(decode(&mut *decoder, &frames[1]).is_err(), "{codec}: nothing to start from");
        let mut film = Film::new(false);
        for (n, frame) in frames.iter().enumerate().filter(|&(n, _)| n != 10) {
            let decoded = decode(&mut *decoder, frame);
            let original = as_coded(codec, &film.frame(n, 177, 143));
            if !(10..20).contains(&n) {
                assert!(psnr(&original, &decoded.unwrap()[0]) > 28.0, "{codec} frame {n}");
            }
        }
    }
}

/// Thousands of damaged frames, each refusal followed by the key frame that must mend it.
#[test]
fn damaged_frames_never_crash_and_a_key_frame_mends() {
    for codec in ALL_VIDEO {
        let frames = stream(codec, 177, 143, 24, &[8, 16]);
        let mut original = Film::new(false);
        let first = as_coded(codec, &original.frame(0, 177, 143));
        let mut decoder = video_decoder(codec).unwrap();
        let mut random = Random(0x5eed);
        let mut refused = 0;
        for round in 0..6000 {
            let mut frame = frames[random.below(frames.len())].clone();
            let mut data = frame.data.to_vec();
            match round % 4 {
                0 => data.truncate(random.below(data.len() + 1)),
                1 => {
                    for _ in 0..=random.below(12) {
                        let at = random.below(data.len());
                        data[at] ^= 1 << random.below(8);
                    }
                }
                2 => {
                    // Headers decide the most: spoil those of a frame whose rest is sound.
                    let at = random.below(data.len().min(40));
                    data[at] = random.below(256) as u8;
                }
                _ => data = (0..random.below(400)).map(|_| random.below(256) as u8).collect(),
            }
            frame.data = Bytes::from(data);
            // Mended at once after each refusal, so that damaged frames of every kind reach the library itself.
            let damaged = decode(&mut *decoder, &frame).is_err();
            refused += usize::from(damaged);
            if damaged || round % 10 == 9 {
                let decoded = decode(&mut *decoder, &frames[0]).unwrap();
                if round % 8 == 1 {
                    assert!(psnr(&first, &decoded[0]) > 28.0, "{codec} round {round}");
                }
                decode(&mut *decoder, &frames[1]).unwrap();
            }
        }
        println!("{codec}: {refused} of 6000 damaged frames refused, mended each time");
        assert!(refused > 2000, "{codec}: damage was noticed {refused} times");
    }
}

/// Packs numbers into so many bits each.
fn pack(fields: &[(u32, u32)]) -> Vec<u8> {
    let bits: Vec<u32> =
        fields.iter().flat_map(|&(value, count)| (0..count).rev().map(move |at| value >> at & 1)).collect();
    bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |all, (at, bit)| all | bit << (7 - at)) as u8).collect()
}

/// The beginning of a key frame that claims to be of this size, as its specification has it.
fn header_of(codec: Codec, size: u16) -> Vec<u8> {
    match codec {
        Codec::Vp8 => {
            let [low, high] = size.to_le_bytes();
            vec![0x10, 0x40, 0x00, 0x9d, 0x01, 0x2a, low, high, low, high]
        }
        // Behind the sync code, four bits of colours and twice sixteen of size, less one.
        Codec::Vp9 => {
            let size = u64::from(size - 1);
            [&[0x82, 0x49, 0x83, 0x42][..], &(0x4 << 60 | size << 44 | size << 28).to_be_bytes()].concat()
        }
        // Baseline at level 3.1: picture counts of type 2, one reference, macroblocks, cropping.
        Codec::H264 => {
            let blocks = u32::from(size).div_ceil(16);
            let crop = (blocks * 16 - u32::from(size)) / 2;
            let ue = |value: u32| (value + 1, 2 * (value + 1).ilog2() + 1);
            let sps = [
                vec![(0x67, 8), (0x42_c0_1f, 24), ue(0), ue(0), ue(2), ue(1), (0, 1), ue(blocks - 1), ue(blocks - 1)],
                vec![(3, 2), (1, 1), ue(0), ue(crop), ue(0), ue(crop), (0, 1), (1, 1)],
            ];
            let start = [0, 0, 0, 1];
            [&start[..], &pack(&sps.concat()), &start, &[0x68, 0xce, 0x3c, 0x80], &start, &[0x65, 0x88, 0x84]].concat()
        }
        // Main at level 3.1, 16 bits an edge, no tools; a key frame that is shown.
        Codec::Av1 => {
            let edge = (u32::from(size) - 1, 16);
            let sequence =
                pack(&[(0, 7), (0, 5), (0, 12), (5, 5), (0xff, 8), edge, edge, (0, 9), (3, 2), (0, 11), (1, 1)]);
            let length = sequence.len() as u8;
            [&[0x0a, length][..], &sequence, &[0x32, 3, 0x10, 0, 0]].concat()
        }
        _ => unreachable!("{codec} is not tested"),
    }
}

#[test]
fn a_few_bytes_cannot_claim_gigabytes() {
    for codec in ALL_VIDEO {
        for size in [0x3ffe, 8000] {
            let mut decoder = video_decoder(codec).unwrap();
            let mut data = header_of(codec, size);
            assert_eq!(frame_header(codec, &data).unwrap().size, Some((size.into(), size.into())), "{codec}");
            // VP9 and AV1 really can code so many pixels of one colour in a few hundred bytes.
            data.resize(if matches!(codec, Codec::Vp9 | Codec::Av1) { 100 } else { 900 }, 0);
            let frame = EncodedFrame { codec, time: MediaTime::ZERO, key: true, data: data.into() };
            let before = cpu();
            assert!(decode(&mut *decoder, &frame).is_err());
            assert!((cpu() - before).as_millis() < 50, "{codec}: refused before any memory is touched");
        }
    }
}

/// Else a check that refuses what claims more than its bytes can hold would refuse these.
#[test]
fn large_pictures_of_one_colour_are_decoded() {
    for codec in ALL_VIDEO {
        let mut picture = I420::new(2048, 2048);
        picture.data_mut().fill(128);
        let settings = EncoderSettings { threads: 1, ..settings(100_000) };
        let mut encoder = video_encoder(codec, &format(2048, 2048), settings).unwrap();
        let encoded = encode(&mut *encoder, &VideoFrame::new(MediaTime::ZERO, picture), false);
        println!("{codec}: {} bytes for 2048x2048 of one colour", encoded[0].data.len());
        assert_eq!(decode(&mut *video_decoder(codec).unwrap(), &encoded[0]).unwrap().len(), 1, "{codec}");
    }
}

#[test]
fn the_header_reader_agrees_with_the_encoder() {
    for codec in ALL_VIDEO {
        for frame in stream(codec, 177, 143, 12, &[5]) {
            let header = frame_header(codec, &frame.data).unwrap();
            assert_eq!(header.key, frame.key, "{codec}");
            assert_eq!(header.size, frame.key.then_some(coded_size(codec, 177, 143)), "{codec}");
        }
    }
}

#[test]
fn codecs_code_their_own_kind_only() {
    assert!(video_encoder(Codec::Opus, &format(64, 64), settings(1)).is_err());
    assert!(video_decoder(Codec::Opus).is_err());
    assert!(audio_encoder(Codec::Vp8, audio_format(48_000, 1), AudioEncoderSettings::default()).is_err());
    assert!(audio_decoder(Codec::Vp8, 1).is_err());
    let opus = EncodedFrame { codec: Codec::Opus, time: MediaTime::ZERO, key: true, data: Bytes::from_static(&[0]) };
    assert!(decode(&mut *video_decoder(Codec::Vp8).unwrap(), &opus).is_err());
}

/// Figures rather than a property: run with `--nocapture`.
#[test]
fn the_cost_of_a_frame_is_known() {
    for codec in ALL_VIDEO {
        for (width, height, bitrate) in [(640, 480, 500_000), (640, 480, 1_000_000)] {
            let settings = EncoderSettings { bitrate, ..EncoderSettings::default() };
            let mut encoder = video_encoder(codec, &format(width, height), settings).unwrap();
            let mut decoder = video_decoder(codec).unwrap();
            let mut film = Film::new(false);
            let (mut encoding, mut decoding, mut count, mut bytes) =
                (std::time::Duration::ZERO, std::time::Duration::ZERO, 0, 0);
            for n in 0..60 {
                let frame = film.frame(n, width, height);
                let start = cpu();
                let encoded = encode(&mut *encoder, &frame, false);
                encoding += cpu() - start;
                for frame in &encoded {
                    let start = cpu();
                    decode(&mut *decoder, frame).unwrap();
                    decoding += cpu() - start;
                    count += 1;
                    bytes += frame.data.len();
                }
            }
            println!(
                "{codec} {width}x{height} at {bitrate}: encode {:.2} ms, decode {:.2} ms a frame, {count} of 60 frames, {} kbit/s",
                encoding.as_secs_f64() * 1000.0 / 60.0,
                decoding.as_secs_f64() * 1000.0 / f64::from(count.max(1)),
                bytes * 8 / 2000
            );
            assert!(count > 40, "{codec}: {count} of 60 frames survived");
        }
    }
}

#[test]
fn decoded_pictures_do_not_depend_on_what_their_memory_held() {
    // Two decoders, one fed through dirty pool memory by a larger stream first, must agree.
    for codec in ALL_VIDEO {
        let small = stream(codec, 35, 17, 3, &[]);
        let mut fresh = video_decoder(codec).unwrap();
        let mut used = video_decoder(codec).unwrap();
        for frame in stream(codec, 177, 143, 3, &[]) {
            decode(&mut *used, &frame).unwrap();
        }
        for frame in &small {
            let (a, b) = (decode(&mut *fresh, frame).unwrap(), decode(&mut *used, frame).unwrap());
            assert_eq!(a[0].data(), b[0].data(), "{codec}");
        }
    }
}

#[test]
fn key_frames_come_by_themselves_when_an_interval_is_over() {
    use std::time::Duration;
    for codec in ALL_VIDEO {
        for (count, seconds) in [(10, 0.0), (0, 0.5), (10, 0.5), (0, 0.0)] {
            let settings = EncoderSettings {
                key_frame_interval_count: count,
                key_frame_interval_duration: Duration::from_secs_f64(seconds),
                ..settings(500_000)
            };
            let mut encoder = video_encoder(codec, &format(64, 64), settings).unwrap();
            let mut film = Film::new(false);
            let keys: Vec<_> =
                (0..40).filter(|&n| encode(&mut *encoder, &film.frame(n, 64, 64), n == 25)[0].key).collect();
            let expected = match (count, seconds > 0.0) {
                (0, false) => vec![0, 25],
                (0, true) => vec![0, 15, 25],
                _ => vec![0, 10, 20, 25, 35],
            };
            assert_eq!(keys, expected, "{codec}: every {count} pictures or {seconds} s");
        }
    }
}

/// Also where a key frame is far larger than usual, and with pictures that are hard to code.
#[test]
fn units_of_h264_are_as_small_as_they_are_to_be_and_of_no_higher_level_than_needed() {
    use crate::media::h264::{nal, nal_units};
    const MOST: usize = 1170;
    for (width, height, rate, bitrate, level) in
        [(176, 144, 15, 64_000, 10), (320, 240, 30, 500_000, 20), (1280, 720, 30, 14_000_000, 31)]
    {
        let format = VideoFormat { frame_rate: FrameRate::new(rate, 1).unwrap(), ..format(width, height) };
        let settings = EncoderSettings { most_unit_bytes: Some(MOST as u32), ..settings(bitrate) };
        let mut encoder = video_encoder(Codec::H264, &format, settings).unwrap();
        let mut decoder = video_decoder(Codec::H264).unwrap();
        let (mut film, mut slices) = (Film::new(true), 0);
        for n in 0..12 {
            let frame = film.frame(n, width, height);
            let encoded = encode(&mut *encoder, &frame, n == 6);
            assert_eq!((encoded.len(), encoded[0].key), (1, n % 6 == 0));
            for unit in nal_units(&encoded[0].data) {
                assert!(unit.len() <= MOST, "{width}x{height}, picture {n}: {} bytes", unit.len());
                slices += usize::from(matches!(nal::kind(unit[0]), nal::SLICE | nal::IDR_SLICE));
                if nal::kind(unit[0]) == nal::SPS {
                    assert!(unit[3] <= level, "{width}x{height}: level_idc {}", unit[3]);
                }
            }
            let decoded = decode(&mut *decoder, &encoded[0]).unwrap();
            assert!(psnr(&frame, &decoded[0]) > 18.0, "{width}x{height}, picture {n}");
        }
        println!("{width}x{height}: {slices} slices of 12 pictures");
        assert!(slices > 12, "{slices} slices of 12 pictures: none was cut");
    }
}

#[test]
fn a_picture_that_stands_is_spared_its_key_frames_for_a_minute_or_until_it_changes() {
    let settings = EncoderSettings {
        key_frame_interval_duration: std::time::Duration::from_secs(5),
        spares_stills: true,
        ..settings(500_000)
    };
    let mut encoder = video_encoder(Codec::Vp8, &format(64, 64), settings).unwrap();
    let mut film = Film::new(false);
    let still = film.frame(0, 64, 64);
    let mut keys = |seconds: &mut dyn Iterator<Item = u32>, picture: &VideoFrame| {
        let at = |second: u32| VideoFrame { time: time_of(second as usize * 30), ..picture.clone() };
        seconds.filter(|second| encode(&mut *encoder, &at(*second), false)[0].key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&mut (0..70), &still), [0, 60]);
    assert_eq!(keys(&mut (70..73), &film.frame(1, 64, 64)), [70], "the first that is another");
}
