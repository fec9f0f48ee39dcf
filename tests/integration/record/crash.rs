//! What is left when a recording cannot end in order: a killed process, a full disk; and what `--repair` makes of it.

use super::{check, report, start};
use crate::support::{MediaFile, PATIENCE, Rtckit, Scratch, await_growth, calls_share_the_machine, have};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn a_killed_recording_plays_up_to_a_second_before_its_end_and_is_repaired() {
    if !have("ffprobe") {
        return;
    }
    let _turn = calls_share_the_machine();
    // At odd moments of a cluster and of a frame.
    let running = [2_003, 2_371, 2_789].map(|after| {
        let scratch = Scratch::new();
        let mut recording = start(&["--events", "-o", scratch.path("film.webm").to_str().unwrap()]);
        while recording.json()["type"] != "start" {}
        (scratch, recording, Instant::now(), Duration::from_millis(after))
    });
    let killed = running.map(|(scratch, mut recording, began, after)| {
        std::thread::sleep(after.saturating_sub(began.elapsed()));
        recording.kill();
        (scratch, began.elapsed().as_secs_f64())
    });
    for (scratch, ran) in killed {
        let (path, part) = (scratch.path("film.webm"), scratch.path("film.webm.part"));
        assert_eq!(scratch.names(), ["film.webm.part"]);
        let (found, code) = check(&part);
        assert_eq!((code, &found["plays"], &found["complete"]), (Some(0), &true.into(), &false.into()), "{found}");
        let end = found["duration"].as_f64().unwrap();
        // A second, and what a busy machine needs to encode and to be killed.
        assert!(end > ran - 2.0, "{end} of {ran} s");
        assert_eq!(MediaFile::open(&part).decode_complaints(), "");
        let repair = ["record", "--json", "--repair", part.to_str().unwrap()];
        let repaired = report(&Rtckit::start(repair).succeed(PATIENCE));
        assert_eq!(repaired["repair"]["path"], path.to_str().unwrap());
        assert_eq!(scratch.names(), ["film.webm"]);
        let file = MediaFile::open(&path);
        file.assert_plays();
        assert!((file.duration() - end).abs() < 0.05, "{} of {end} s", file.duration());
        let (found, _) = check(&path);
        assert_eq!((&found["complete"], found["problems"].as_array().unwrap().len()), (&true.into(), 0), "{found}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_exit_13_and_what_fits_plays() {
    if !have("ffprobe") {
        return;
    }
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let disk = scratch.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=200k", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        crate::support::skip("mounting a small file system takes root");
        return;
    }
    std::fs::write(disk.join("other"), "precious").unwrap();
    let outcome = std::panic::catch_unwind(|| {
        let film = disk.join("film.webm");
        let exit = start(&["--unpaced", "--duration=60s", "-o", film.to_str().unwrap()]).wait(PATIENCE);
        let part = disk.join("film.webm.part");
        let copy = scratch.path("copy.webm");
        std::fs::copy(&part, &copy).unwrap();
        let untouched = std::fs::read(disk.join("other")).unwrap();
        (exit, film.exists(), check(&copy), MediaFile::open(&copy).decode_complaints(), untouched)
    });
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    let (exit, named, (found, code), complaints, untouched) = outcome.unwrap();
    assert_eq!(exit.code, Some(13), "{exit:?}");
    assert!(exit.error_line().contains("No space left on device"), "{exit:?}");
    assert!(exit.stderr.contains("--repair") && exit.stderr.contains("film.webm.part"), "{exit:?}");
    assert!(!named && untouched == b"precious");
    assert_eq!((code, complaints.as_str()), (Some(0), ""), "{found}");
    assert!(found["duration"].as_f64() > Some(1.0), "{found}");
}

#[test]
fn what_would_not_play_is_exit_12_and_what_cannot_be_repaired_too() {
    let scratch = Scratch::new();
    let text = scratch.path("notes.webm");
    std::fs::write(&text, "no film at all").unwrap();
    for mode in ["--check", "--repair"] {
        let exit = Rtckit::start(["record", mode, text.to_str().unwrap()]).wait(PATIENCE);
        assert_eq!(exit.code, Some(12), "{mode}: {exit:?}");
        exit.error_line();
        let exit = Rtckit::start(["record", mode, "/nowhere/film.webm"]).wait(PATIENCE);
        assert_eq!(exit.code, Some(3), "{mode}: {exit:?}");
    }
    assert_eq!(std::fs::read(&text).unwrap(), b"no film at all");

    // A file that is being written is nobody else's to repair.
    let _turn = calls_share_the_machine();
    let path = scratch.path("film.webm");
    let mut recording = start(&["-o", path.to_str().unwrap()]);
    await_growth(&scratch, 5_000);
    let part = scratch.path("film.webm.part");
    let exit = Rtckit::start(["record", "--repair", part.to_str().unwrap()]).wait(PATIENCE);
    assert_eq!(exit.code, Some(13), "{exit:?}");
    recording.interrupt();
    recording.succeed(PATIENCE);
    assert_eq!(check(&path).1, Some(0));
}

#[test]
fn sound_that_was_cut_off_plays_and_gets_its_length_where_it_can_have_one() {
    if !have("ffprobe") {
        return;
    }
    let _turn = calls_share_the_machine();
    for name in ["sound.ogg", "sound.wav"] {
        let scratch = Scratch::new();
        let path = scratch.path(name);
        let mut recording = Rtckit::start(["record", "--audio=test", "--events", "-o", path.to_str().unwrap()]);
        while recording.json()["seconds"].as_f64().is_none_or(|seconds| seconds < 2.0) {}
        recording.kill();
        drop(recording);
        let part = scratch.path(&format!("{name}.part"));
        let exit = Rtckit::start(["record", "--repair", part.to_str().unwrap()]).wait(PATIENCE);
        if name == "sound.wav" {
            assert_eq!(exit.code, Some(0), "{exit:?}");
            assert!(!part.exists() && MediaFile::open(&path).duration() > 1.0, "{exit:?}");
        } else {
            assert_eq!(exit.code, Some(3), "{exit:?}");
            let advice = format!("mv {} {}", part.display(), path.display());
            assert!(exit.stderr.contains("needs no repair") && exit.stderr.contains(&advice), "{exit:?}");
            std::fs::rename(&part, &path).unwrap();
        }
        let file = MediaFile::open(&path);
        assert_eq!(file.decode_complaints(), "", "{name}");
        let (found, code) = check(&path);
        assert_eq!((code, &found["plays"]), (Some(0), &true.into()), "{name}: {found}");
        // Up to a second before it was killed.
        assert!(found["duration"].as_f64() > Some(1.0), "{name}: {found}");
    }
}
