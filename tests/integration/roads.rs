//! The roads by which two peers find each other, other than standard input and output: a command, a folder.

use crate::support::{MediaFile, PATIENCE, Rtckit, Scratch, Sshd, calls_share_the_machine, have};
use serde_json::Value;
use std::process::Stdio;

const RTCKIT: &str = env!("CARGO_BIN_EXE_rtckit");

#[test]
fn a_command_is_called_with_trickle_and_may_finish_its_file() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let recording = scratch.path("call.webm");
    let road = format!("exec:{RTCKIT} answer --trickle --record {}", recording.display());
    let mut call = Rtckit::start(["call", "--video=test", "--duration=1s", "--json", "--signal", &road]);
    let exit = call.succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert!(report["sent"][0]["framesSent"].as_u64() > Some(5), "{report}");
    assert!(exit.stderr.contains("recorded "), "what the command says is shown: {}", exit.stderr);
    assert_eq!(scratch.names(), ["call.webm"], "the command had time to finish its file");
}

#[test]
fn a_command_on_another_machine_is_called_through_ssh_and_its_failure_is_ours() {
    let _turn = calls_share_the_machine();
    if !have("ffprobe") {
        return;
    }
    let Some(server) = Sshd::start() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("call.webm");
    let call = |to: &std::path::Path| {
        let road = format!("exec:{} {RTCKIT} answer --trickle --record {}", server.ssh(), to.display());
        Rtckit::start(["call", "--video=test", "--width=320", "--audio=test", "--duration=2s", "--signal", &road])
    };
    let exit = call(&recording).wait(PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:?} {}", server.log());
    assert!(exit.stderr.contains("recorded "), "what the other side says is shown: {}", exit.stderr);
    let file = MediaFile::open(&recording);
    file.assert_plays();
    assert!((file.duration() - 2.0).abs() < 0.5, "{} s", file.duration());
    let exit = call("/nowhere/call.webm".as_ref()).wait(PATIENCE);
    assert_eq!(exit.code, Some(13), "{exit:?}");
}

#[test]
fn with_a_command_standard_input_and_output_are_free_for_data() {
    let _turn = calls_share_the_machine();
    let road = format!("exec:{RTCKIT} answer --trickle -q --data");
    let mut call = Rtckit::start(["call", "--chat", "--signal", &road]);
    call.write(b"hello\n");
    call.close_stdin();
    let exit = call.succeed(PATIENCE);
    assert!(exit.stderr.contains("'chat': 1 messages (5 B) out"), "{}", exit.stderr);
}

#[test]
fn the_failure_of_a_command_is_ours() {
    let _turn = calls_share_the_machine();
    for (command, code, said) in [
        ("exit 13".to_owned(), 13, "exit status: 13"),
        ("nonexistent-program".to_owned(), 5, "exit status: 127"),
        ("echo nonsense".to_owned(), 3, "nonsense"),
        (format!("{RTCKIT} answer --trickle --record /nowhere/call.webm"), 13, "exit status: 13"),
        (format!("{RTCKIT} answer --trickle -q --data; exit 14"), 14, "exit status: 14"),
    ] {
        let mut call = Rtckit::start(["call", "--data", "--duration=300ms", "--signal", &format!("exec:{command}")]);
        let exit = call.wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{command}: {exit:?}");
        // A command of ours reports its own error as well.
        let last = exit.stderr.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(last.contains(said), "{command}: {exit:?}");
    }
}

#[test]
fn two_peers_meet_in_a_folder_whoever_comes_first_and_leave_it_empty() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let road = format!("file:{}", scratch.path("meet").display());
    for (first, second) in [("call", "answer"), ("answer", "call")] {
        let start = |command| {
            let args = [command, "--data", "--duration=300ms", "--signal", &road];
            Rtckit::spawn(Rtckit::command(args).stdin(Stdio::null()))
        };
        let mut one = start(first);
        std::thread::sleep(std::time::Duration::from_millis(150));
        let mut other = start(second);
        one.succeed(PATIENCE);
        other.succeed(PATIENCE);
        assert_eq!(std::fs::read_dir(scratch.path("meet")).unwrap().count(), 0);
    }
}

#[test]
fn a_road_that_cannot_be_taken_is_refused_with_its_reason() {
    for (args, code, said) in [
        (["--signal=file:/nowhere/at/all", "--data"], 13, "/nowhere/at/all"),
        (["--signal=carrier-pigeon:", "--data"], 2, "exec:CMD"),
        (["--signal=exec:true", "--trickle"], 2, "--trickle"),
    ] {
        let exit = Rtckit::start(["call"].iter().chain(&args)).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{exit:?}");
        assert!(exit.stderr.contains(said), "{exit:?}");
    }
}
