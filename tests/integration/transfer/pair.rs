//! Trees and streams between two processes.

use super::{PATIENCE, report, start, text, transfer, transferred, tree};
use crate::support::{Rtckit, Scratch, calls_share_the_machine, introduce, noise};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

/// A folder with a bit of everything in it.
fn plant(folder: &Path) {
    fs::create_dir_all(folder.join("ünï/空/leer")).unwrap();
    fs::write(folder.join("ünï/名前.bin"), noise(3_000_001, 1)).unwrap();
    fs::write(folder.join("ünï/-rf *"), "a name").unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.join("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    let sparse = fs::File::create(folder.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"middle", 20 << 20).unwrap();
    for n in 0..200 {
        fs::write(folder.join(format!("ünï/空/{n}")), noise(n * 20, 2)).unwrap();
    }
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(folder.join("run.sh")).unwrap().set_modified(old).unwrap();
}

#[test]
fn a_tree_arrives_as_it_is_and_both_ends_report_the_same() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    plant(&from);
    let receipts = [scratch.path("sent.json"), scratch.path("received.json")];
    let (mut sent, mut received) = transferred(
        &scratch,
        &[text(&from), "--receipt", text(&receipts[0])],
        &["-o", text(&to), "--receipt", text(&receipts[1])],
    );
    assert_eq!(tree(&to.join("from")), tree(&from));
    for (name, executable) in [("run.sh", true), ("empty", false)] {
        let (ours, theirs) =
            (fs::metadata(from.join(name)).unwrap(), fs::metadata(to.join("from").join(name)).unwrap());
        assert_eq!(theirs.permissions().mode() & 0o100 != 0, executable, "{name}");
        assert_eq!((ours.mtime(), ours.mtime_nsec()), (theirs.mtime(), theirs.mtime_nsec()), "{name}");
    }
    if fs::metadata(from.join("sparse")).unwrap().blocks() < 1000 {
        assert!(fs::metadata(to.join("from/sparse")).unwrap().blocks() < 1000, "holes stay holes");
    }

    for (receipt, report) in receipts.iter().zip([&sent, &received]) {
        let mut receipt: Value = serde_json::from_slice(&fs::read(receipt).unwrap()).unwrap();
        receipt["schema"] = report["schema"].clone();
        assert_eq!(&receipt, report);
    }
    assert_eq!(sent["files"].as_array().unwrap().len(), 205);
    for (report, role) in [(&mut sent, "sender"), (&mut received, "receiver")] {
        assert_eq!(
            (&report["role"], &report["complete"], &report["path"]),
            (&role.into(), &true.into(), &"direct".into())
        );
        for file in report["files"].as_array_mut().unwrap() {
            let file = file.as_object_mut().unwrap();
            assert_eq!(file["state"], "done");
            let output = file.remove("output");
            assert_eq!(output.is_some(), role == "receiver");
            let content = fs::read(scratch.path(file["path"].as_str().unwrap())).unwrap();
            assert_eq!(file["blake3"], blake3::hash(&content).to_hex().as_str());
        }
    }
    for member in ["files", "bytes", "bytesTransferred"] {
        assert_eq!(sent[member], received[member], "{member}");
    }

    // Once more: everything is verified, nothing is sent.
    let (sent, _) = transferred(&scratch, &[text(&from)], &["-o", text(&to)]);
    assert_eq!((&sent["bytesTransferred"], &sent["resumedFrom"]), (&0.into(), &sent["bytes"]));
}

#[test]
fn descriptions_may_be_carried_by_hand_and_standard_streams_follow_them() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let content = noise(700_000, 3);
    let mut sender = Rtckit::start(["send-file", "-", "--interface", "lo"]);
    let mut receiver = Rtckit::start(["receive-file", "-o", "-", "--interface", "lo"]);
    introduce(&mut sender, &mut receiver);
    sender.write(&content);
    sender.close_stdin();
    assert!(receiver.bytes(content.len(), PATIENCE) == content);
    assert_eq!(receiver.succeed(PATIENCE).stdout, b"");
    sender.succeed(PATIENCE);

    // With candidates one by one, by a command.
    fs::write(scratch.path("a"), &content).unwrap();
    let command =
        format!("{} receive-file -q --trickle -o {}", env!("CARGO_BIN_EXE_rtckit"), scratch.path("b").display());
    let (file, road) = (scratch.path("a"), format!("exec:{command}"));
    let args = ["send-file", text(&file), "--signal", &road, "--events", "--timing"];
    let exit = Rtckit::spawn(Rtckit::command(args).stdin(Stdio::null())).succeed(PATIENCE);
    assert!(fs::read(scratch.path("b")).unwrap() == content);
    let events: Vec<Value> =
        String::from_utf8(exit.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for kind in ["offer", "progress", "file", "result"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    assert!(exit.stderr.contains("sent 1 file, 700.0 kB"), "{}", exit.stderr);
}

#[test]
fn a_stream_of_unknown_length_becomes_a_file() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let road = format!("file:{}", scratch.path("meet").display());
    let mut receiver = start("receive-file", &scratch, ["-o", text(&scratch.path(""))]);
    let mut sender = Rtckit::start(["send-file", "-", "--name", "däta.bin", "--signal", &road, "--interface", "lo"]);
    let content = noise(1_000_001, 4);
    sender.write(&content);
    sender.close_stdin();
    sender.succeed(PATIENCE);
    let report = report(&receiver.succeed(PATIENCE));
    assert_eq!(report["files"][0]["size"], 1_000_001);
    assert!(fs::read(scratch.path("däta.bin")).unwrap() == content);
}

#[test]
fn what_exists_is_refused_replaced_passed_over_or_joined() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("a.txt"), scratch.path("to"));
    fs::write(&from, "new").unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(to.join("a.txt"), "older").unwrap();
    let (sent, received) = transfer(&scratch, &[text(&from)], &["-o", text(&to)]);
    assert_eq!((sent.code, received.code), (Some(5), Some(13)), "{sent:?} {received:?}");
    assert!(received.error_line().contains("a.txt: the file exists"), "{received:?}");
    assert!(sent.error_line().contains("the receiver ended the transfer"), "{sent:?}");
    let kept = || fs::read(to.join("a.txt")).unwrap() == b"older";
    assert!(kept());
    let (_, received) = transferred(&scratch, &[text(&from)], &["-o", text(&to), "--skip-existing"]);
    assert!(kept() && received["files"][0]["state"] == "skipped", "{received}");
    let (_, received) = transferred(&scratch, &[text(&from)], &["-o", text(&to), "--rename"]);
    assert!(kept() && fs::read(to.join("a-1.txt")).unwrap() == b"new", "{received}");
    assert!(received["files"][0]["output"].as_str().unwrap().ends_with("/a-1.txt"), "{received}");
    transferred(&scratch, &[text(&from)], &["-o", text(&to), "--overwrite"]);
    assert_eq!(fs::read(to.join("a.txt")).unwrap(), b"new");
}

#[test]
fn names_are_left_out_and_links_followed_as_asked_and_a_rate_is_kept() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    fs::create_dir_all(from.join("target")).unwrap();
    fs::write(from.join("target/x"), "x").unwrap();
    fs::write(from.join("a.o"), "object").unwrap();
    fs::write(from.join("data"), noise(600_000, 5)).unwrap();
    std::os::unix::fs::symlink("data", from.join("link")).unwrap();
    let args = [text(&from), "--exclude=*.o", "--exclude", "target/", "--limit-rate=1M"];
    let (sent, received) = transfer(&scratch, &args, &["-o", text(&to)]);
    assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{sent:?} {received:?}");
    assert!(sent.stderr.contains("link: a symbolic link"), "what is left out unasked is told: {sent:?}");
    let names = |folder: &Path| -> Vec<String> { tree(folder).into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names(&to), ["from", "from/data"]);
    let seconds = report(&sent)["seconds"].as_f64().unwrap();
    assert!(seconds > 0.5, "600 kB at 1 MB/s in {seconds} s");

    transferred(
        &scratch,
        &[text(&from), "--follow-symlinks", "--exclude=target"],
        &["-o", text(&scratch.path("again/"))],
    );
    assert_eq!(names(&scratch.path("again/from")), ["a.o", "data", "link"]);
}

#[test]
fn ten_thousand_small_files_arrive_without_a_round_trip_for_each() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    fs::create_dir(&from).unwrap();
    (0..2000).for_each(|n| fs::write(from.join(n.to_string()), noise(4096, n)).unwrap());
    let (sent, _) = transferred(&scratch, &[text(&from)], &["-o", text(&to)]);
    assert_eq!(sent["bytes"], 2000 * 4096);
    assert!(tree(&to.join("from")) == tree(&from));
}
