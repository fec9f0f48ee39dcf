//! Files that were cut, damaged or never finished, and what becomes of them.

use super::*;
use crate::media::Codec;
use crate::record::foreign;
use crate::record::{TrackInfo, WebmRecorder, inspect};
use std::fs;
use std::num::NonZeroU32;

fn announced() -> [TrackInfo; 2] {
    let sample_rate = NonZeroU32::new(48_000).unwrap();
    [
        TrackInfo::Video { codec: Codec::Vp8, size: None },
        TrackInfo::Audio { codec: Codec::Opus, channels: 1, sample_rate },
    ]
}

/// Ten seconds of both tracks that nobody finished.
fn unfinished(target: Target) {
    let mut recorder = WebmRecorder::create(target, Existing::Refuse, &announced()).unwrap();
    let mut frames: Vec<_> = foreign::vp8(0, 300).into_iter().map(|frame| (0, frame)).collect();
    frames.extend(foreign::opus(0, 500).into_iter().map(|frame| (1, frame)));
    frames.sort_by_key(|(_, frame)| frame.time);
    frames.iter().for_each(|(track, frame)| recorder.write(*track, frame).unwrap());
    recorder.flush().unwrap();
}

fn assert_whole(path: &Path, frames: [u64; 2], seconds: f64) {
    let found = inspect(path).unwrap();
    assert!(found.complete && found.cues >= 5, "{found:?}");
    assert_eq!([found.tracks[0].frames, found.tracks[1].frames], frames);
    assert!((found.declared_duration.unwrap() - seconds).abs() < 0.05, "{found:?}");
    let Some(tools) = foreign::ffmpeg() else { return };
    tools.assert_clean(path);
    assert!((tools.duration(path) - seconds).abs() < 0.05);
    let middle = tools.first_after_seek(path, seconds / 2.0);
    assert!((seconds / 2.0 - 1.1..=seconds / 2.0).contains(&middle), "{middle}");
}

#[test]
fn a_part_that_was_left_behind_becomes_a_whole_file_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    unfinished(Target::File(path.clone()));
    let part = folder.path().join("a.webm.part");
    let repaired = repair(&part, &Place::Same, Existing::Refuse).unwrap();
    assert_eq!((repaired.path.as_path(), repaired.frames, repaired.bytes_left_out), (path.as_path(), 800, 0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_whole(&path, [300, 500], 10.0);
}

#[test]
fn a_live_stream_is_repaired_in_its_place_and_as_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let stream = foreign::Shared::default();
    unfinished(Target::Stream(Box::new(stream.clone()), "-".to_owned()));
    let (path, other) = (folder.path().join("live.webm"), folder.path().join("other.webm"));
    fs::write(&path, stream.take()).unwrap();
    let before = fs::read(&path).unwrap();
    repair(&path, &Place::File(other.clone()), Existing::Refuse).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before, "the old file stays");
    assert_whole(&other, [300, 500], 10.0);
    let taken = repair(&path, &Place::File(other.clone()), Existing::Refuse).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Output);
    assert_eq!(repair(&path, &Place::Same, Existing::Refuse).unwrap().path, path);
    assert_whole(&path, [300, 500], 10.0);
}

#[test]
fn files_cut_or_damaged_anywhere_keep_all_that_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    unfinished(Target::File(folder.path().join("a.webm")));
    let whole = fs::read(folder.path().join("a.webm.part")).unwrap();
    let path = folder.path().join("b.webm");
    for percent in [10, 35, 77, 99] {
        fs::write(&path, &whole[..whole.len() * percent / 100]).unwrap();
        let repaired = repair(&path, &Place::Same, Existing::Refuse).unwrap();
        assert!(repaired.bytes_left_out < 20_000, "{repaired:?}");
        let found = inspect(&path).unwrap();
        assert!(found.complete && found.duration > 0.095 * percent as f64 - 0.5, "{percent} %: {found:?}");
    }
    // A hole of zeros, as a power cut leaves it: the clusters behind it are found again.
    let mut holed = whole.clone();
    let third = whole.len() / 3;
    holed[third..third + 10_000].fill(0);
    fs::write(&path, &holed).unwrap();
    let repaired = repair(&path, &Place::Same, Existing::Refuse).unwrap();
    assert!((9_000..60_000).contains(&repaired.bytes_left_out), "{repaired:?}");
    let found = inspect(&path).unwrap();
    assert!(found.complete && (found.duration - 10.0).abs() < 0.1, "{found:?}");
}

#[test]
fn what_is_hopeless_or_in_use_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    let webm = [0x1A, 0x45, 0xDF, 0xA3, 0x80];
    let sound_without_samples = [&b"RIFF\xFF\xFF\xFF\xFFWAVE"[..], &PCM, b"data\xFF\xFF\xFF\xFF\x01"].concat();
    let unknown_sound = b"RIFF\xFF\xFF\xFF\xFFWAVEdata\xFF\xFF\xFF\xFF0123456789";
    let endless = [&b"RIFF\xFF\xFF\xFF\xFFWAVE"[..], b"LIST\xFF\xFF\xFF\xFF", &[0; 100]].concat();
    let hopeless: [&[u8]; 8] = [
        b"",
        b"GIF89a..........",
        &webm,
        b"RIFF",
        b"RIFF....WAVEfmt ",
        &sound_without_samples,
        unknown_sound,
        &endless,
    ];
    for bytes in hopeless {
        fs::write(&path, bytes).unwrap();
        let error = repair(&path, &Place::Same, Existing::Refuse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{bytes:?}: {error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    let ogg = b"OggS\0\x02......";
    fs::write(&path, ogg).unwrap();
    let error = repair(&path, &Place::Same, Existing::Refuse).unwrap_err();
    assert!(matches!(error, RepairError::Needless { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), ogg);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = repair(&folder.path().join("none"), &Place::Same, Existing::Refuse).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::InvalidInput);
    let running = WebmRecorder::create(Target::File(folder.path().join("b.webm")), Existing::Refuse, &announced());
    let busy = repair(&folder.path().join("b.webm.part"), &Place::Same, Existing::Refuse).unwrap_err();
    assert!(matches!(busy, RepairError::Output(OutputError::Busy { .. })), "{busy}");
    drop(running);
}

#[test]
fn what_a_browser_recorded_gets_its_duration() {
    let Some(_) = foreign::ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.webm");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    // As browsers write it: nothing has a size, there is no duration, and no cues.
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(data.join("record-vp8.ivf")).arg("-i").arg(data.join("record-opus.ogg"));
    command.args(["-c", "copy", "-f", "webm", "-live", "1", "-"]);
    fs::write(&path, command.output().unwrap().stdout).unwrap();
    assert!(!inspect(&path).unwrap().complete);
    let before = inspect(&path).unwrap();
    let repaired = repair(&path, &Place::Same, Existing::Refuse).unwrap();
    let found = inspect(&path).unwrap();
    assert!(found.complete && found.cues > 0 && repaired.bytes_left_out == 0, "{found:?}");
    assert_eq!(found.tracks, before.tracks);
    foreign::ffmpeg().unwrap().assert_clean(&path);
}

/// Mono, 48 kHz, 16 bits.
const PCM: [u8; 24] = *b"fmt \x10\0\0\0\x01\0\x01\0\x80\xBB\0\0\0\x77\x01\0\x02\0\x10\0";

#[test]
fn sound_that_was_cut_off_or_streamed_gets_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    let samples: Vec<u8> = (0..24_000i16).flat_map(i16::to_le_bytes).collect();
    let junk = [&b"JUNK\x1C\0\0\0"[..], &[0; 28]].concat();
    // What a stream says, a writer that put its sizes in last, and one that never came to the end it had announced.
    for size in [u32::MAX, 0, 1_000_000] {
        for room in [&junk[..], b""] {
            let size = size.to_le_bytes();
            let head = [&b"RIFF"[..], &size, b"WAVE", room, &PCM, b"data", &size].concat();
            fs::write(&path, [&head[..], &samples, b"\x01"].concat()).unwrap();
            let repaired = repair(&path, &Place::Same, Existing::Refuse).unwrap();
            assert_eq!((repaired.frames, repaired.duration, repaired.bytes_left_out), (24_000, 0.5, 1));
            let reader = hound::WavReader::open(&path).unwrap();
            assert_eq!(reader.duration(), 24_000);
            assert!(reader.into_samples::<i16>().map(Result::unwrap).eq(0..24_000i16), "samples differ");
            let Some(tools) = foreign::ffmpeg() else { continue };
            tools.assert_clean(&path);
            assert_eq!(tools.duration(&path), 0.5);
        }
    }
    // A whole one is as it was, with what stands behind its samples.
    let whole = fs::read(&path).unwrap();
    let mut tail = [&whole[..], b"LIST\x04\0\0\0INFO"].concat();
    let riff = u32::try_from(tail.len() - 8).unwrap();
    tail[4..8].copy_from_slice(&riff.to_le_bytes());
    fs::write(&path, &tail).unwrap();
    repair(&path, &Place::Same, Existing::Refuse).unwrap();
    assert_eq!(fs::read(&path).unwrap(), tail);
}
