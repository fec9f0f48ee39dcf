//! What the audio codec promises.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Test arithmetic on small numbers.

use super::synthetic::{Random, amplitude, audio_format, cpu, time_of, tone};
use super::*;
use crate::media::{AudioFrame, EncodedFrame, Loss, MediaTime, opus_packet_samples};

fn encode_tone(encoder: &mut dyn AudioEncoder, format: AudioFormat, hz: f32, seconds: usize) -> Vec<EncodedFrame> {
    let mut packets = Vec::new();
    let total = format.sample_rate.get() as usize * seconds;
    let start = time_of(0);
    let mut at = 0;
    // Lengths that fit no packet.
    for len in [1, 479, 1000, 37, 4801].into_iter().cycle() {
        let len = len.min(total - at);
        if len == 0 {
            break;
        }
        let time = start.plus(MediaTime::new(at as i64, format.sample_rate));
        encoder.encode(&tone(format, hz, at, len, time), &mut |packet| packets.push(packet)).unwrap();
        at += len;
    }
    encoder.flush(&mut |packet| packets.push(packet)).unwrap();
    packets
}

fn decode_all(decoder: &mut dyn AudioDecoder, packets: &[EncodedFrame]) -> Vec<f32> {
    let mut samples = Vec::new();
    for packet in packets {
        decoder.decode(packet, &mut |frame: AudioFrame| samples.extend(frame.samples)).unwrap();
    }
    samples
}

#[test]
fn a_tone_comes_back_at_its_pitch_in_every_shape() {
    for (rate, channels) in [(48_000, 1), (48_000, 2), (24_000, 1), (16_000, 2), (12_000, 1), (8_000, 1)] {
        for packet_time in [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60] {
            let format = audio_format(rate, channels);
            let settings = AudioEncoderSettings { packet_time, ..AudioEncoderSettings::default() };
            let mut encoder = audio_encoder(Codec::Opus, format, settings).unwrap();
            let packets = encode_tone(&mut *encoder, format, 440.0, 1);
            let length = packet_time.milliseconds() as usize * 48;
            let start = time_of(0).rescale(Codec::Opus.clock_rate());
            for (n, packet) in packets.iter().enumerate() {
                assert_eq!(opus_packet_samples(&packet.data), Some(length));
                // The origin is only as exact as a sample of the input.
                let grain = (48_000 / rate) as i64;
                let late = packet.time.minus(start).ticks() - (n * length) as i64;
                assert!(late.abs() <= grain, "packet {n} at {rate} Hz is {late} ticks off");
            }
            assert_eq!(packets.len(), 48_000_usize.div_ceil(length));
            for out in [1, 2] {
                let mut decoder = audio_decoder(Codec::Opus, out).unwrap();
                assert_eq!(decoder.format(), audio_format(48_000, out));
                let sound = decode_all(&mut *decoder, &packets);
                assert_eq!(sound.len(), packets.len() * length * usize::from(out));
                let middle = &sound[9600 * usize::from(out)..38_400 * usize::from(out)];
                let at = |hz: f64| amplitude(middle, usize::from(out), hz);
                let case = format!("{rate} Hz, {channels} to {out} channels, {packet_time:?}");
                assert!((0.4..0.6).contains(&at(440.0)), "{case}: amplitude {:.2}", at(440.0));
                for off in [0.98, 0.99, 1.01, 1.02] {
                    assert!(at(440.0 * off) < at(440.0), "{case}: {off}");
                }
                for other in [220.0, 300.0, 600.0, 880.0, 1320.0] {
                    assert!(at(other) < 0.05, "{case}: {other} Hz at {:.3}", at(other));
                }
            }
        }
    }
}

#[test]
fn the_delay_of_opus_is_its_look_ahead_and_the_rest_is_faithful() {
    let format = audio_format(48_000, 1);
    let settings = AudioEncoderSettings { bitrate: 128_000, ..AudioEncoderSettings::default() };
    let mut encoder = OpusEncoder::new(format, settings).unwrap();
    let delay = encoder.look_ahead().unwrap() as usize;
    // A tone that sweeps, so that only one delay fits.
    let sweep = |i: usize| ((200.0 + i as f64 / 96.0) * i as f64 / 48_000.0 * std::f64::consts::TAU).sin() as f32 * 0.5;
    let samples: Vec<f32> = (0..48_000).map(sweep).collect();
    let frame = AudioFrame { time: MediaTime::ZERO, format, samples };
    let mut packets = Vec::new();
    encoder.encode(&frame, &mut |packet| packets.push(packet)).unwrap();
    let sound = decode_all(&mut OpusDecoder::new(1).unwrap(), &packets);
    let error = |delay: usize| -> f64 {
        (4800..40_000).map(|i| (f64::from(sound[i + delay]) - f64::from(frame.samples[i])).powi(2)).sum()
    };
    let best = (0..960).min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap();
    let power: f64 = (4800..40_000).map(|i| f64::from(frame.samples[i]).powi(2)).sum();
    let snr = 10.0 * (power / error(best)).log10();
    println!("Opus: delay {best} samples, look-ahead {delay}, {snr:.1} dB at 128 kbit/s");
    assert!(best.abs_diff(delay) <= 1, "delay {best}, look-ahead {delay}");
    assert!(snr > 15.0, "{snr:.1} dB");
}

#[test]
fn packet_times_are_exact_over_ten_minutes_and_jitter_is_ignored() {
    // 8 kHz keeps ten minutes cheap; the count is the same.
    let format = audio_format(8_000, 1);
    let settings = AudioEncoderSettings { complexity: 0, ..AudioEncoderSettings::default() };
    let mut encoder = audio_encoder(Codec::Opus, format, settings).unwrap();
    let mut random = Random(1);
    let mut expected = 48_000 * 7;
    let mut count = 0;
    for n in 0..60_000i64 {
        let jitter = if n == 0 { 0 } else { random.below(40_000) as i64 - 20_000 };
        let time = MediaTime::from_micros(7_000_000 + n * 10_000 + jitter);
        let frame = AudioFrame { time, format, samples: vec![0.0; 80] };
        encoder
            .encode(&frame, &mut |packet| {
                assert_eq!((packet.time.ticks(), packet.time.rate().get()), (expected, 48_000));
                expected += 960;
                count += 1;
            })
            .unwrap();
    }
    assert_eq!(count, 30_000);
}

#[test]
fn a_hole_in_the_input_is_kept_and_a_flush_begins_anew() {
    let format = audio_format(48_000, 1);
    let mut encoder = audio_encoder(Codec::Opus, format, AudioEncoderSettings::default()).unwrap();
    let mut times = Vec::new();
    let frame = |millis: i64| tone(format, 440.0, 0, 1000, MediaTime::from_micros(millis * 1000));
    for millis in [0, 500] {
        encoder.encode(&frame(millis), &mut |packet| times.push(packet.time.ticks())).unwrap();
    }
    encoder.flush(&mut |packet| times.push(packet.time.ticks())).unwrap();
    encoder.flush(&mut |_| panic!("nothing is left")).unwrap();
    encoder.encode(&frame(100), &mut |packet| times.push(packet.time.ticks())).unwrap();
    assert_eq!(times, [0, 960, 24_000, 24_960, 4800]);
}

#[test]
fn formats_that_opus_does_not_take_are_refused_with_advice() {
    for format in [audio_format(44_100, 2), audio_format(48_000, 3), audio_format(96_000, 1), audio_format(48_000, 0)] {
        let error = audio_encoder(Codec::Opus, format, AudioEncoderSettings::default()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.hint().unwrap().contains("resample"));
    }
    assert!(audio_decoder(Codec::Opus, 0).is_err());
    assert!(audio_decoder(Codec::Opus, 3).is_err());
    let mut encoder = audio_encoder(Codec::Opus, audio_format(48_000, 1), AudioEncoderSettings::default()).unwrap();
    let stereo = tone(audio_format(48_000, 2), 440.0, 0, 960, MediaTime::ZERO);
    assert!(encoder.encode(&stereo, &mut |_| ()).is_err());
}

#[test]
fn the_bitrate_of_opus_follows_a_change() {
    let format = audio_format(48_000, 2);
    let mut random = Random(3);
    let mut encoder = audio_encoder(Codec::Opus, format, AudioEncoderSettings::default()).unwrap();
    let mut at = 0;
    for target in [32_000, 96_000, 24_000] {
        encoder.set_bitrate(target).unwrap();
        let mut bytes = 0;
        for _ in 0..100 {
            let samples = (0..1920).map(|_| random.below(1000) as f32 / 1000.0 - 0.5).collect();
            let time = MediaTime::new(at * 960, format.sample_rate);
            encoder.encode(&AudioFrame { time, format, samples }, &mut |packet| bytes += packet.data.len()).unwrap();
            at += 1;
        }
        let ratio = bytes as f64 * 8.0 / 2.0 / f64::from(target);
        assert!((0.8..=1.2).contains(&ratio), "{target}: {ratio:.2}");
    }
    assert!(encoder.set_bitrate(0).is_err());
    encoder.set_bitrate(u32::MAX).unwrap();
}

#[test]
fn a_hole_is_filled_with_the_right_number_of_samples() {
    let format = audio_format(48_000, 1);
    let settings = AudioEncoderSettings::default();
    let packets = encode_tone(&mut *audio_encoder(Codec::Opus, format, settings).unwrap(), format, 440.0, 1);
    for channels in [1, 2] {
        let mut decoder = audio_decoder(Codec::Opus, channels).unwrap();
        decode_all(&mut *decoder, &packets[..10]);
        for samples in [0, 1, 119, 120, 121, 960, 961, 1920, 4800, 5760, 5761, 100_000] {
            for next in [None, Some(&packets[20])] {
                let loss = Loss { time: MediaTime::from_micros(200_000), samples, next };
                let (mut filled, mut expected) = (0, 9600);
                decoder
                    .conceal(loss, &mut |frame| {
                        assert_eq!((frame.time.ticks(), frame.format), (expected, audio_format(48_000, channels)));
                        expected += frame.len() as i64;
                        filled += frame.len();
                    })
                    .unwrap();
                assert_eq!(filled, samples);
                decoder.decode(&packets[20], &mut |_| ()).unwrap();
            }
        }
    }
}

/// Speech-like bursts of different pitches: what concealment cannot guess but forward error correction carries.
#[test]
fn forward_error_correction_restores_what_concealment_cannot() {
    let format = audio_format(48_000, 1);
    let settings = AudioEncoderSettings {
        application: AudioApplication::Voip,
        bitrate: 32_000,
        expected_loss: 20,
        packet_time: PacketTime::Ms20,
        ..AudioEncoderSettings::default()
    };
    let mut encoder = OpusEncoder::new(format, settings).unwrap();
    let mut packets = Vec::new();
    for n in 0..60usize {
        // Pitch changes for the packet that will be lost.
        let hz = if n == 40 { 700.0 } else { 250.0 };
        let time = MediaTime::new(n as i64 * 960, format.sample_rate);
        encoder.encode(&tone(format, hz, n * 960, 960, time), &mut |packet| packets.push(packet)).unwrap();
    }
    let strength = |next: Option<&EncodedFrame>| {
        let mut decoder = OpusDecoder::new(1).unwrap();
        decode_all(&mut decoder, &packets[..40]);
        let mut filled = Vec::new();
        let loss = Loss { time: packets[40].time, samples: 960, next };
        decoder.conceal(loss, &mut |frame| filled.extend(frame.samples)).unwrap();
        amplitude(&filled[360..], 1, 700.0)
    };
    let (corrected, guessed) = (strength(Some(&packets[41])), strength(None));
    println!("Opus: the lost tone comes back at {corrected:.3}, guessed at {guessed:.3}");
    assert!(corrected > 0.15 && corrected > guessed * 2.0, "{corrected:.3} against {guessed:.3}");
}

#[test]
fn random_bytes_never_crash_the_opus_decoder() {
    let format = audio_format(48_000, 2);
    let packets = encode_tone(
        &mut *audio_encoder(Codec::Opus, format, AudioEncoderSettings::default()).unwrap(),
        format,
        440.0,
        1,
    );
    let mut decoder = audio_decoder(Codec::Opus, 2).unwrap();
    let mut random = Random(0x0b05);
    let mut refused = 0;
    for round in 0..8000 {
        let mut data: Vec<u8> = match round % 2 {
            0 => (0..random.below(80)).map(|_| random.below(256) as u8).collect(),
            _ => packets[random.below(packets.len())].data.to_vec(),
        };
        if let Some(byte) = data.len().checked_sub(1).map(|last| random.below(last + 1)) {
            data[byte] ^= random.below(256) as u8;
        }
        let frame = EncodedFrame { codec: Codec::Opus, time: MediaTime::ZERO, key: true, data: data.into() };
        let expected = opus_packet_samples(&frame.data);
        let decoded = decoder.decode(&frame, &mut |out| {
            assert_eq!(Some(out.len()), expected);
            assert!(out.samples.iter().all(|sample| sample.is_finite()));
        });
        refused += usize::from(decoded.is_err());
        if round % 7 == 0 {
            let loss = Loss { time: MediaTime::ZERO, samples: random.below(3000), next: Some(&frame) };
            decoder.conceal(loss, &mut |_| ()).unwrap();
        }
    }
    println!("Opus: {refused} of 8000 refused");
    assert!(refused > 100);
    let sound = decode_all(&mut *decoder, &packets);
    assert!((0.4..0.6).contains(&amplitude(&sound[48_000..], 2, 440.0)), "usable after all that");
}

#[test]
fn samples_that_are_no_numbers_do_not_stick() {
    let format = audio_format(48_000, 1);
    let mut encoder = audio_encoder(Codec::Opus, format, AudioEncoderSettings::default()).unwrap();
    let samples = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30].repeat(480);
    encoder.encode(&AudioFrame { time: MediaTime::ZERO, format, samples }, &mut |_| ()).unwrap();
    encoder.flush(&mut |_| ()).unwrap();
    let packets = encode_tone(&mut *encoder, format, 440.0, 1);
    let sound = decode_all(&mut *audio_decoder(Codec::Opus, 1).unwrap(), &packets);
    assert!((0.4..0.6).contains(&amplitude(&sound[24_000..], 1, 440.0)));
}

/// Figures rather than a property: run with `--nocapture`.
#[test]
fn the_cost_of_a_second_of_sound_is_known() {
    let format = audio_format(48_000, 2);
    let mut encoder = audio_encoder(Codec::Opus, format, AudioEncoderSettings::default()).unwrap();
    let frames: Vec<AudioFrame> = (0..500)
        .map(|n| tone(format, 440.0, n * 480, 480, MediaTime::new(n as i64 * 480, format.sample_rate)))
        .collect();
    let mut packets = Vec::new();
    let start = cpu();
    for frame in &frames {
        encoder.encode(frame, &mut |packet| packets.push(packet)).unwrap();
    }
    let encoding = cpu() - start;
    let start = cpu();
    let samples = decode_all(&mut *audio_decoder(Codec::Opus, 2).unwrap(), &packets).len();
    let decoding = cpu() - start;
    assert_eq!(samples, 5 * 48_000 * 2);
    let per_second = |time: std::time::Duration| time.as_secs_f64() * 1000.0 / 5.0;
    println!("Opus: encode {:.2} ms, decode {:.2} ms per second", per_second(encoding), per_second(decoding));
}
