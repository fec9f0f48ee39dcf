//! Interruptions: killed, started again, and every byte is there once.

use super::{PATIENCE, start, text, transferred, tree};
use crate::support::{Scratch, calls_share_the_machine, noise};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Waits until a part has so many bytes.
pub fn await_part(part: &Path, bytes: u64) -> u64 {
    let begin = Instant::now();
    loop {
        let length = fs::metadata(part).map_or(0, |facts| facts.len());
        if length >= bytes {
            return length;
        }
        assert!(begin.elapsed() < PATIENCE, "{} has {length} bytes, not {bytes}", part.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn killed_ten_times_it_goes_on_each_time_from_where_it_was() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    fs::create_dir(&from).unwrap();
    (0..20).for_each(|n| fs::write(from.join(format!("a{n}")), noise(3000, n)).unwrap());
    let size = 32_000_000;
    fs::write(from.join("big"), noise(size, 8)).unwrap();
    let part = to.join("from/big.part");
    let mut there = 0;
    for round in 0..10_u64 {
        let mut receiver = start("receive-file", &scratch, ["-o", text(&to)]);
        let mut sender = start("send-file", &scratch, [text(&from), "--limit-rate=16M"]);
        // Some rounds end early in their run and some late.
        await_part(&part, there + 200_000 + 37_123 * ((round * 7) % 11));
        match round % 3 {
            0 => sender.kill(),
            1 => receiver.kill(),
            _ => {
                sender.kill();
                receiver.kill();
            }
        }
        // Whoever is left would notice the silence after some seconds, which one test is enough for.
        sender.terminate();
        receiver.terminate();
        let (sent, received) = (sender.wait(PATIENCE), receiver.wait(PATIENCE));
        assert!(sent.code != Some(0) && received.code != Some(0), "{sent:?} {received:?}");
        assert!(!to.join("from/big").exists(), "a name before its time");
        let now = fs::metadata(&part).unwrap().len();
        assert!(now > there, "round {round} lost what was there: {there}, then {now}");
        there = now;
    }
    let (sent, received) = transferred(&scratch, &[text(&from)], &["-o", text(&to)]);
    assert!(tree(&to.join("from")) == tree(&from), "nothing differs and nothing is left over");
    for report in [&sent, &received] {
        let big = report["files"].as_array().unwrap().iter().find(|file| file["path"] == "from/big").unwrap();
        assert_eq!(big["resumedFrom"], there, "all that was there is used: {big}");
        assert_eq!(report["bytesTransferred"], size as u64 - there);
    }
}

#[test]
fn a_peer_that_vanishes_is_noticed_and_what_came_is_kept() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (file, to) = (scratch.path("file"), scratch.path("to/"));
    fs::write(&file, noise(8_000_000, 9)).unwrap();
    let mut receiver = start("receive-file", &scratch, ["-o", text(&to)]);
    let mut sender = start("send-file", &scratch, [text(&file), "--limit-rate=8M"]);
    await_part(&to.join("file.part"), 1_000_000);
    sender.kill();
    sender.wait(PATIENCE);
    let received = receiver.wait(PATIENCE);
    assert_eq!(received.code, Some(11), "{received:?}");
    assert!(received.error_line().contains("vanished") && received.stderr.contains("start both sides again"));
    assert!(fs::metadata(to.join("file.part")).unwrap().len() >= 1_000_000);
    assert!(!to.join("file").exists());
}
