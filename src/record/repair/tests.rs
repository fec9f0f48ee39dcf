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
    for bytes in [&b""[..], b"GIF89a..........", &[0x1A, 0x45, 0xDF, 0xA3, 0x80]] {
        fs::write(&path, bytes).unwrap();
        let error = repair(&path, &Place::Same, Existing::Refuse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{bytes:?}: {error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    for bytes in [&b"RIFF....WAVEfmt "[..], b"OggS\0\x02......"] {
        fs::write(&path, bytes).unwrap();
        let error = repair(&path, &Place::Same, Existing::Refuse).unwrap_err();
        assert!(matches!(error, RepairError::Needless { .. }), "{bytes:?}: {error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
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
