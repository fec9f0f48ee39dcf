use super::*;
use crate::media::MediaTime;
use crate::record::foreign::{self, Shared, opus, vp8};
use crate::record::inspect;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

const VIDEO: usize = 0;
const AUDIO: usize = 1;

fn announced() -> [TrackInfo; 2] {
    let sample_rate = NonZeroU32::new(48_000).unwrap();
    [
        TrackInfo::Video { codec: Codec::Vp8, size: None },
        TrackInfo::Audio { codec: Codec::Opus, channels: 1, sample_rate },
    ]
}

fn create(path: &Path, tracks: &[TrackInfo]) -> WebmRecorder {
    WebmRecorder::create(Target::File(path.to_owned()), Existing::Refuse, tracks).unwrap()
}

/// Both tracks as they come in from a network: by time, the sound 100 ms behind.
fn call(video: Vec<EncodedFrame>, audio: Vec<EncodedFrame>) -> Vec<(usize, EncodedFrame)> {
    let video = video.into_iter().map(|frame| (frame.time.micros(), VIDEO, frame));
    let audio = audio.into_iter().map(|frame| (frame.time.micros() + 100_000, AUDIO, frame));
    let mut arrivals: Vec<_> = video.chain(audio).collect();
    arrivals.sort_by_key(|&(arrival, track, _)| (arrival, track));
    arrivals.into_iter().map(|(_, track, frame)| (track, frame)).collect()
}

fn write_all(recorder: &mut WebmRecorder, frames: &[(usize, EncodedFrame)]) {
    frames.iter().for_each(|(track, frame)| recorder.write(*track, frame).unwrap());
}

#[test]
fn a_call_becomes_a_file_that_others_read_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.webm");
    let mut recorder = create(&path, &announced());
    // The clock of a capture begins anywhere; the sound begins 40 ms before the picture.
    write_all(&mut recorder, &call(vp8(7_040, 300), opus(7_000, 500)));
    assert!(!path.exists());
    let recorded = recorder.finish().unwrap();
    assert_eq!(recorded.path.as_deref(), Some(&*path));
    assert_eq!(recorded.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!([recorded.tracks[VIDEO].frames, recorded.tracks[AUDIO].frames], [300, 500]);
    assert_eq!(recorded.tracks[VIDEO].key_frames, 10);
    assert_eq!(recorded.tracks[VIDEO].moved + recorded.tracks[AUDIO].moved, 0);

    let found = inspect(&path).unwrap();
    assert!(found.complete && !found.truncated, "{found:?}");
    assert_eq!([found.tracks[VIDEO].frames, found.tracks[AUDIO].frames], [300, 500]);
    assert_eq!((found.tracks[VIDEO].width, found.tracks[VIDEO].height), (Some(160), Some(120)));
    assert_eq!(found.cues, 11, "one per key frame, and one for the sound before the first picture");
    assert!((20..=32).contains(&found.clusters), "about two a second: {}", found.clusters);
    assert!((found.audio_start_offset.unwrap() + 0.04).abs() < 0.002, "{found:?}");
    assert!((found.audio_end_offset.unwrap() + 0.04).abs() < 0.002, "{found:?}");
    assert_eq!(found.declared_duration, Some(recorded.duration));
    assert!((recorded.duration - 10.04).abs() < 0.034, "{recorded:?}");
    assert_eq!(found.tracks.iter().map(|track| track.backwards).sum::<u64>(), 0);

    let strict = matroska::open(&path).unwrap();
    assert_eq!(strict.info.duration.map(|duration| duration.as_secs_f64()), Some(recorded.duration));
    assert_eq!(strict.tracks.iter().map(|track| &*track.codec_id).collect::<Vec<_>>(), ["V_VP8", "A_OPUS"]);

    let Some(tools) = foreign::ffmpeg() else { return };
    tools.assert_clean(&path);
    assert_eq!(tools.codecs(&path), ["vp8", "opus"]);
    assert!((tools.duration(&path) - recorded.duration).abs() < 0.01);
    let (video, audio) = (tools.packets(&path, "v"), tools.packets(&path, "a"));
    assert_eq!((video.len(), audio.len()), (300, 500));
    assert_eq!(video.iter().filter(|(_, key)| *key).count(), 10);
    for (n, (time, _)) in video.iter().enumerate() {
        assert!((time - 0.04 - n as f64 / 30.0).abs() < 0.001, "picture {n} at {time}");
    }
    for (n, (time, _)) in audio.iter().enumerate() {
        // Packets stand 6.5 ms earlier for a reader that takes the delay of the encoder off.
        assert!((time + 0.0065 - n as f64 * 0.02).abs() < 0.001, "packet {n} at {time}");
    }
    for wanted in [0.5, 3.3, 9.2] {
        let there = tools.first_after_seek(&path, wanted);
        assert!(there <= wanted && wanted - there <= 1.05, "asked for {wanted}, came to {there}");
    }
}

#[test]
fn video_begins_with_its_first_key_frame_and_the_sound_before_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    let mut recorder = create(&path, &announced());
    // Joined 10 pictures after a key frame: 20 are useless. The key frame is far beyond the reorder window.
    let frames = call(vp8(0, 120).split_off(10), opus(0, 200));
    write_all(&mut recorder, &frames);
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.tracks[VIDEO].frames, recorded.tracks[VIDEO].before_first_key_frame), (90, 20));
    assert_eq!(recorded.tracks[AUDIO].frames, 200);
    assert_eq!((recorded.tracks[VIDEO].start, recorded.tracks[AUDIO].start), (Some(1.0), Some(0.0)));
    let found = inspect(&path).unwrap();
    assert_eq!((found.audio_start_offset, found.tracks.len()), (Some(-1.0), 2));
    let Some(tools) = foreign::ffmpeg() else { return };
    tools.assert_clean(&path);
    assert_eq!(tools.packets(&path, "v").len(), 90);
}

#[test]
fn sound_just_before_the_first_picture_is_left_out_so_that_both_begin_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = create(&folder.path().join("a.webm"), &announced());
    let (before, after) = {
        let mut all = opus(0, 100);
        let after = all.split_off(15);
        (all, after)
    };
    before.into_iter().for_each(|frame| recorder.write(AUDIO, &frame).unwrap());
    write_all(&mut recorder, &call(vp8(290, 30), after));
    let recorded = recorder.finish().unwrap();
    let [video, audio] = [&recorded.tracks[VIDEO], &recorded.tracks[AUDIO]];
    // The packet from 280 to 300 ms holds the moment of the first picture.
    assert_eq!((audio.before_first_key_frame, audio.frames), (14, 86));
    assert_eq!((audio.start, video.start), (Some(0.0), Some(0.01)));
}

#[test]
fn a_track_that_never_comes_is_not_in_the_file() {
    for absent in [VIDEO, AUDIO] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.webm");
        let mut recorder = create(&path, &announced());
        let frames = if absent == VIDEO { call(vec![], opus(0, 250)) } else { call(vp8(0, 150), vec![]) };
        write_all(&mut recorder, &frames);
        let recorded = recorder.finish().unwrap();
        assert_eq!(recorded.tracks[absent].start, None);
        let found = inspect(&path).unwrap();
        assert!(found.complete);
        assert_eq!(found.tracks.len(), 1);
        assert_eq!(found.cues, 5, "one a second, with and without pictures");
        let Some(tools) = foreign::ffmpeg() else { return };
        tools.assert_clean(&path);
        assert!((tools.duration(&path) - 5.0).abs() < 0.034);
    }
}

#[test]
fn a_track_that_comes_a_minute_late_is_still_in_the_file() {
    for late in [VIDEO, AUDIO] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.webm");
        let mut recorder = create(&path, &announced());
        let frames =
            if late == VIDEO { call(vp8(60_000, 60), opus(0, 3_100)) } else { call(vp8(0, 1_860), opus(60_000, 100)) };
        write_all(&mut recorder, &frames);
        recorder.finish().unwrap();
        let found = inspect(&path).unwrap();
        let expected = if late == VIDEO { -60.0 } else { 60.0 };
        assert!((found.audio_start_offset.unwrap() - expected).abs() < 0.002, "{found:?}");
        let Some(tools) = foreign::ffmpeg() else { return };
        tools.assert_clean(&path);
        assert_eq!(tools.packets(&path, if late == VIDEO { "v" } else { "a" }).len(), [60, 100][late]);
    }
}

const PICTURES: TrackInfo = TrackInfo::Video { codec: Codec::Vp8, size: None };

#[test]
fn tracks_are_added_to_a_file_at_any_time_and_each_can_be_seeked_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    let mut recorder = create(&path, &announced());
    recorder.keep_room(2);
    write_all(&mut recorder, &call(vp8(0, 90), opus(0, 150)));
    let screen = recorder.add_track(PICTURES).unwrap();
    let mut rest: Vec<_> = call(vp8(3_000, 210), opus(3_000, 350));
    rest.extend(vp8(3_500, 120).into_iter().map(|frame| (screen, frame)));
    rest.sort_by_key(|(_, frame)| frame.time.micros());
    write_all(&mut recorder, &rest);
    let absent = recorder.add_track(PICTURES).unwrap();
    assert!(matches!(recorder.add_track(PICTURES), Err(WebmError::NoFurther { .. })), "there is room for two");
    let recorded = recorder.finish().unwrap();
    let of =
        |place: usize| (recorded.tracks[place].number, recorded.tracks[place].frames, recorded.tracks[place].start);
    assert_eq!(of(VIDEO), (1, 300, Some(0.0)));
    assert_eq!((of(screen), of(absent)), ((3, 120, Some(3.5)), (4, 0, None)));
    assert_eq!(recorded.tracks.iter().map(|track| track.moved).sum::<u64>(), 0);
    let found = inspect(&path).unwrap();
    assert_eq!((found.complete, found.tracks.len(), found.cues), (true, 3, 10 + 4), "{found:?}");
    let Some(tools) = foreign::ffmpeg() else { return };
    tools.assert_clean(&path);
    assert_eq!(tools.codecs(&path), ["vp8", "opus", "vp8"]);
    assert_eq!(tools.defaults(&path), [true, true, false]);
    let packets = tools.packets(&path, "v:1");
    assert_eq!((packets.len(), packets[0]), (120, (3.5, true)));
}

#[test]
fn two_tracks_of_sound_are_seeked_by_their_own_cues() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    let mut recorder = create(&path, &announced());
    recorder.keep_room(1);
    let sample_rate = NonZeroU32::new(48_000).unwrap();
    let other = recorder.add_track(TrackInfo::Audio { codec: Codec::Opus, channels: 1, sample_rate }).unwrap();
    for (one, two) in opus(0, 150).iter().zip(&opus(10, 150)) {
        recorder.write(AUDIO, one).unwrap();
        recorder.write(other, two).unwrap();
    }
    recorder.finish().unwrap();
    let file = matroska::Matroska::open(fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(file.tracks.iter().map(|track| track.number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(inspect(&path).unwrap().cues, 6);
    // Every cue points to a cluster, by its distance from the content of the segment.
    let bytes = fs::read(&path).unwrap();
    let at = |id: &[u8], from: usize| from + bytes[from..].windows(id.len()).position(|at| at == id).unwrap();
    let segment = at(&[0x18, 0x53, 0x80, 0x67], 0) + 12;
    let mut from = at(&[0x1C, 0x53, 0xBB, 0x6B], segment + 200);
    for _ in 0..6 {
        from = at(&[0xF1], from) + 1;
        let size = usize::from(bytes[from] & 0x7F);
        let position = bytes[from + 1..][..size].iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
        assert_eq!(bytes[segment + position..][..4], [0x1F, 0x43, 0xB6, 0x75]);
        from += 1 + size;
    }
}

#[test]
fn only_the_first_picture_cuts_off_the_sound_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = create(&folder.path().join("a.webm"), &announced());
    recorder.keep_room(1);
    let screen = recorder.add_track(PICTURES).unwrap();
    let mut frames = call(vp8(100, 60), opus(0, 110));
    frames.extend(vp8(300, 54).into_iter().map(|frame| (screen, frame)));
    frames.sort_by_key(|(_, frame)| frame.time.micros());
    write_all(&mut recorder, &frames);
    let recorded = recorder.finish().unwrap();
    // The packet from 80 to 100 ms is the last one before the picture.
    assert_eq!((recorded.tracks[AUDIO].before_first_key_frame, recorded.tracks[AUDIO].frames), (4, 106));
    assert_eq!((recorded.tracks[VIDEO].start, recorded.tracks[screen].start), (Some(0.02), Some(0.22)));
}

#[test]
fn a_stream_takes_tracks_until_its_header_is_written_and_goes_on_without_later_ones() {
    let stream = Shared::default();
    let target = Target::Stream(Box::new(stream.clone()), "-".to_owned());
    let mut recorder = WebmRecorder::create(target, Existing::Refuse, &announced()).unwrap();
    recorder.keep_room(9);
    let screen = recorder.add_track(PICTURES).unwrap();
    let mut frames = call(vp8(0, 60), opus(0, 100));
    frames.extend(vp8(0, 60).into_iter().map(|frame| (screen, frame)));
    frames.sort_by_key(|(_, frame)| frame.time.micros());
    write_all(&mut recorder, &frames);
    let refused = recorder.add_track(PICTURES).unwrap_err();
    assert!(refused.to_string().contains("the header of a stream"), "{refused}");
    write_all(&mut recorder, &call(vp8(2_000, 30), opus(2_000, 50)));
    recorder.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream.webm");
    fs::write(&path, stream.take()).unwrap();
    let found = inspect(&path).unwrap();
    assert_eq!(found.tracks.iter().map(|track| track.frames).collect::<Vec<_>>(), [90, 150, 60]);
}

#[test]
fn a_stream_has_no_index_and_plays() {
    let stream = Shared::default();
    let target = Target::Stream(Box::new(stream.clone()), "-".to_owned());
    let mut recorder = WebmRecorder::create(target, Existing::Refuse, &announced()).unwrap();
    write_all(&mut recorder, &call(vp8(0, 150), opus(0, 250)));
    let recorded = recorder.finish().unwrap();
    assert_eq!(recorded.path, None);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream.webm");
    fs::write(&path, stream.take()).unwrap();
    let found = inspect(&path).unwrap();
    assert!(!found.complete && !found.truncated && found.cues == 0, "{found:?}");
    assert_eq!([found.tracks[VIDEO].frames, found.tracks[AUDIO].frames], [150, 250]);
    let Some(tools) = foreign::ffmpeg() else { return };
    tools.assert_clean(&path);
    assert_eq!(tools.packets(&path, "v").len(), 150);
}

#[test]
fn a_stream_waits_two_seconds_for_a_track_and_loses_none_that_comes_later() {
    let stream = Shared::default();
    let target = Target::Stream(Box::new(stream.clone()), "-".to_owned());
    let mut recorder = WebmRecorder::create(target, Existing::Refuse, &announced()).unwrap();
    let frames = call(vp8(5_000, 60), opus(0, 350));
    let mut written_after = None;
    for (track, frame) in &frames {
        recorder.write(*track, frame).unwrap();
        if written_after.is_none() && recorder.output().position() > 0 {
            written_after = Some(frame.time.seconds());
        }
    }
    assert_eq!(written_after, Some(2.0));
    recorder.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream.webm");
    fs::write(&path, stream.take()).unwrap();
    let found = inspect(&path).unwrap();
    assert_eq!([found.tracks[VIDEO].frames, found.tracks[AUDIO].frames], [60, 350]);
    assert_eq!(found.audio_start_offset, Some(-5.0));
}

#[test]
fn frames_are_on_disk_within_a_second_of_media() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    let mut recorder = create(&path, &announced());
    let mut most_behind: f64 = 0.0;
    for (n, (track, frame)) in call(vp8(0, 300), opus(0, 500)).iter().enumerate() {
        recorder.write(*track, frame).unwrap();
        if n % 10 == 0 && frame.time.seconds() > 1.0 {
            // As another process would find it after a kill.
            let found = inspect(&folder.path().join("a.webm.part")).unwrap();
            assert!(!found.complete && !found.truncated);
            most_behind = most_behind.max(frame.time.seconds() - found.duration);
        }
    }
    assert!((0.1..=1.0).contains(&most_behind), "{most_behind} s");
}

#[test]
fn a_file_cut_anywhere_plays_up_to_a_second_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = create(&folder.path().join("a.webm"), &announced());
    write_all(&mut recorder, &call(vp8(0, 300), opus(0, 500)));
    recorder.flush().unwrap();
    drop(recorder);
    let part = folder.path().join("a.webm.part");
    let whole = fs::read(&part).unwrap();
    let tools = foreign::ffmpeg();
    let cut = folder.path().join("cut.webm");
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut played = 0;
    for round in 0..400 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = (seed >> 33) as usize % whole.len();
        fs::write(&cut, &whole[..length]).unwrap();
        let end = match inspect(&cut) {
            Ok(found) => found.duration,
            Err(_) => 0.0,
        };
        let newest = newest_before(&whole, length);
        assert!(newest - end <= 1.0, "cut at {length}: {end} of {newest} s");
        if let Some(tools) = tools.as_ref().filter(|_| round % 16 == 0)
            && newest > 1.0
        {
            let end = tools.decoded_end(&cut).unwrap_or(0.0);
            assert!(newest - end <= 1.0, "cut at {length}: ffmpeg plays {end} of {newest} s");
            played += 1;
        }
    }
    assert!(tools.is_none() || played > 10);
}

/// The newest cluster time among the first `length` bytes, found without a parser: cluster id, size, then E7.
fn newest_before(bytes: &[u8], length: usize) -> f64 {
    let cluster = [0x1F, 0x43, 0xB6, 0x75];
    let heads = bytes[..length].windows(4).enumerate().filter(|(_, window)| *window == cluster);
    let time = |(at, _): (usize, &[u8])| {
        let size_bytes = bytes[at + 4].leading_zeros() as usize + 1;
        let timestamp = &bytes[at + 4 + size_bytes..];
        assert_eq!(timestamp[0], 0xE7);
        let width = usize::from(timestamp[1] & 0x7F);
        timestamp[2..2 + width].iter().fold(0u32, |n, &byte| n << 8 | u32::from(byte))
    };
    heads.map(time).max().map_or(0.0, |ms| f64::from(ms) / 1000.0)
}

/// Takes so many bytes, then the disk is full.
struct Disk(usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.0);
        self.0 -= fits;
        if fits > 0 { Ok(fits) } else { Err(io::Error::from_raw_os_error(libc::ENOSPC)) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_the_error_that_is_reported_and_stays() {
    let target = Target::Stream(Box::new(Disk(20_000)), "-".to_owned());
    let mut recorder = WebmRecorder::create(target, Existing::Refuse, &announced()).unwrap();
    let frames = call(vp8(0, 300), opus(0, 500));
    let error = frames.iter().find_map(|(track, frame)| recorder.write(*track, frame).err()).expect("it is full");
    assert_eq!(error.kind(), ErrorKind::Output);
    assert!(error.to_string().contains("-: No space left on device"), "{error}");
    assert!(matches!(recorder.write(AUDIO, &frames[0].1), Err(WebmError::Failed { .. })));
    assert!(matches!(recorder.finish(), Err(WebmError::Failed { .. })), "finishing does not hide it");
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_full_file_system_what_fits_stays_and_plays_and_nothing_has_the_final_name() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        println!("skipped: mounting a small file system takes root");
        return;
    }
    let path = folder.path().join("a.webm");
    let part = folder.path().join("a.webm.part");
    let outcome = std::panic::catch_unwind(|| {
        let mut recorder = create(&path, &announced());
        let frames = call(vp8(0, 900), opus(0, 1_500));
        let error = frames.iter().find_map(|(track, frame)| recorder.write(*track, frame).err()).expect("it is full");
        drop(recorder);
        (error.kind(), error.to_string(), path.exists(), inspect(&part), foreign::ffmpeg().map(|_| fs::read(&part)))
    });
    assert!(Command::new("umount").arg(folder.path()).status().unwrap().success());
    let (kind, message, has_name, found, bytes) = outcome.unwrap();
    assert_eq!(kind, ErrorKind::Output);
    assert!(message.contains("a.webm.part: No space left on device"), "{message}");
    assert!(!has_name);
    let found = found.unwrap();
    assert!(found.duration > 2.0 && !found.truncated, "{found:?}");
    if let Some(bytes) = bytes {
        let copy = tempfile::NamedTempFile::new().unwrap();
        fs::write(copy.path(), bytes.unwrap()).unwrap();
        foreign::ffmpeg().unwrap().assert_clean(copy.path());
    }
}

#[test]
fn a_recording_of_nothing_is_an_error_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = create(&folder.path().join("a.webm"), &announced());
    for frame in &vp8(0, 20)[1..] {
        recorder.write(VIDEO, frame).unwrap();
    }
    assert!(matches!(recorder.finish(), Err(WebmError::Empty { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn frames_that_belong_to_no_track_are_refused() {
    let target = || Target::Stream(Box::new(io::sink()), "-".to_owned());
    let mut recorder = WebmRecorder::create(target(), Existing::Refuse, &announced()).unwrap();
    let frame = &opus(0, 1)[0];
    assert!(matches!(recorder.write(VIDEO, frame), Err(WebmError::Unannounced { track: VIDEO, .. })));
    assert!(matches!(recorder.write(2, frame), Err(WebmError::Unannounced { track: 2, .. })));
    recorder.write(AUDIO, frame).unwrap();
    let opus_pictures = TrackInfo::Video { codec: Codec::Opus, size: None };
    for tracks in [&[opus_pictures][..], &[]] {
        let created = WebmRecorder::create(target(), Existing::Refuse, tracks);
        assert!(matches!(created, Err(WebmError::Unsupported { .. })));
    }
}

#[test]
fn times_that_jump_back_lose_nothing_and_stay_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    let mut recorder = create(&path, &announced());
    write_all(&mut recorder, &call(vp8(10_000, 90), opus(10_000, 150)));
    let back: Vec<_> = call(vp8(0, 60), opus(0, 100));
    write_all(&mut recorder, &back);
    let recorded = recorder.finish().unwrap();
    assert_eq!([recorded.tracks[VIDEO].frames, recorded.tracks[AUDIO].frames], [150, 250]);
    assert_eq!([recorded.tracks[VIDEO].moved, recorded.tracks[AUDIO].moved], [60, 100]);
    assert_eq!(inspect(&path).unwrap().tracks.iter().map(|track| track.backwards).sum::<u64>(), 0);
    let Some(tools) = foreign::ffmpeg() else { return };
    let packets = tools.packets(&path, "v");
    assert_eq!(packets.len(), 150);
    assert!(packets.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn an_hour_of_recording_holds_little_and_its_index_stays_small() {
    let stream = Shared::default();
    let target = Target::Stream(Box::new(stream.clone()), "-".to_owned());
    let mut recorder = WebmRecorder::create(target, Existing::Refuse, &announced()).unwrap();
    let mut bytes = 0;
    for (n, frame) in vp8(0, 90).iter().cycle().take(108_000).enumerate() {
        let time = MediaTime::new(n as i64 * 3000, Codec::Vp8.clock_rate());
        let frame = EncodedFrame { time, ..frame.clone() };
        recorder.write(VIDEO, &frame).unwrap();
        bytes += frame.data.len() as u64;
        let written = recorder.output().position();
        assert!(n < 90 || bytes.saturating_sub(written) < 64 << 10, "{bytes} taken, {written} written");
        stream.take();
    }
}
