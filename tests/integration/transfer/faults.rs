//! What goes wrong: one clear error on both sides, the right exit code, and nothing half-written under a final name.

use super::{PATIENCE, start, text, transfer};
use crate::support::{Rtckit, Scratch, Terminal, calls_share_the_machine, noise, skip};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn what_cannot_be_sent_is_told_before_anybody_is_bothered() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    fs::write(&file, "x").unwrap();
    fs::create_dir(scratch.path("d")).unwrap();
    fs::write(scratch.path("d/file"), "y").unwrap();
    let both = [text(&file).to_owned(), text(&scratch.path("d/file")).to_owned()];
    for (args, code, said) in [
        (vec!["/nowhere/file"], 3, "/nowhere/file: No such file"),
        (both.iter().map(String::as_str).collect(), 3, "two of the files would be sent as 'file'"),
        (vec![text(&file), "--exclude=f*"], 3, "everything is excluded"),
        (vec![text(&file), "--limit-rate=0"], 2, "rate of 0"),
        (vec!["-", "--trickle"], 2, "--trickle"),
        (vec!["-", "--name=../x"], 2, "'../x' cannot be a name"),
        (vec![text(&file), "--receipt", "/nowhere/receipt"], 13, "/nowhere/receipt"),
        (vec![], 2, "PATH"),
    ] {
        let exit = Rtckit::spawn(Rtckit::command(["send-file"]).args(&args).stdin(Stdio::null())).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{args:?}: {exit:?}");
        assert!(exit.stderr.contains(said) && exit.stdout.is_empty(), "{args:?}: {exit:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_ends_both_sides_with_its_reason() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), noise(100_000, 1)).unwrap();
    fs::write(scratch.path("in-the-way"), "precious").unwrap();
    let in_the_way = format!("{}/", text(&scratch.path("in-the-way")));
    for (to, said) in [("/proc/nowhere/", "/proc/nowhere/"), (&*in_the_way, "not a folder"), ("/nowhere/x", "/nowhere")]
    {
        let (sent, received) = transfer(&scratch, &[text(&scratch.path("file"))], &["-o", to]);
        assert_eq!((sent.code, received.code), (Some(5), Some(13)), "{to}: {sent:?} {received:?}");
        assert!(received.error_line().contains(said), "{received:?}");
        assert!(sent.error_line().contains(said), "the sender is told why: {sent:?}");
    }
    assert_eq!(scratch.names(), ["file", "in-the-way", "meet"]);
}

/// Runs `receive-file` on a file system of 4 MiB, and looks at it afterwards; `None` where mounting is not allowed.
fn on_a_small_disk(scratch: &Scratch) -> Option<Rtckit> {
    let disk = scratch.path("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4m none {0} || exit 77; cd {0} && mkdir in && '{1}' receive-file --interface lo --signal \
         file:{2} -o in/; code=$?; cd in && ls -A >&2; exit $code",
        disk.display(),
        env!("CARGO_BIN_EXE_rtckit"),
        scratch.path("meet").display()
    );
    let attempt = format!("mount -t tmpfs none {}", disk.display());
    let mounts = Command::new("unshare").args(["-rm", "sh", "-c", &attempt]).stderr(Stdio::null()).status();
    if !mounts.is_ok_and(|status| status.success()) {
        skip("a file system cannot be mounted here");
        return None;
    }
    Some(Rtckit::spawn(Command::new("unshare").args(["-rm", "sh", "-c", &script]).stdin(Stdio::null())))
}

#[test]
fn a_disk_that_is_too_small_is_noticed_before_and_one_that_fills_up_when_it_does() {
    let _turn = calls_share_the_machine();
    for stream in [false, true] {
        let scratch = Scratch::new();
        let Some(mut receiver) = on_a_small_disk(&scratch) else { return };
        let content = noise(8 << 20, 6);
        let file = scratch.path("file");
        fs::write(&file, &content).unwrap();
        let sent = if stream {
            let road = format!("file:{}", scratch.path("meet").display());
            let mut command = Rtckit::command(["send-file", "-", "--interface", "lo", "--signal", &road]);
            Rtckit::spawn(command.stdin(fs::File::open(&file).unwrap())).wait(PATIENCE)
        } else {
            start("send-file", &scratch, [text(&file)]).wait(PATIENCE)
        };
        let received = receiver.wait(PATIENCE);
        assert_eq!((sent.code, received.code), (Some(5), Some(13)), "{sent:?} {received:?}");
        let said = if stream { "No space left on device" } else { "bytes are needed" };
        assert!(received.error_line().contains(said), "{received:?}");
        assert!(sent.error_line().contains(said), "{sent:?}");
        assert!(!received.stderr.lines().any(|name| name == "file" || name == "stdin"), "{received:?}");
    }
}

#[test]
fn a_peer_without_files_is_not_waited_for() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), "x").unwrap();
    let road = format!("file:{}", scratch.path("meet").display());
    let mut peer = Rtckit::start(["call", "--data", "--interface", "lo", "--signal", &road]);
    let mut receiver = start("receive-file", &scratch, ["--timeout=1s", "-o", text(&scratch.path("to"))]);
    let exit = receiver.wait(PATIENCE);
    assert_eq!(exit.code, Some(5), "{exit:?}");
    assert!(exit.error_line().contains("opened no channel for files"), "{exit:?}");
    peer.wait(PATIENCE);
}

#[test]
fn ctrl_c_tells_the_other_side_and_keeps_what_came() {
    let _turn = calls_share_the_machine();
    for interrupt_sender in [true, false] {
        let scratch = Scratch::new();
        let file = scratch.path("file");
        fs::write(&file, noise(4_000_000, 7)).unwrap();
        let to = scratch.path("to/");
        let mut receiver = start("receive-file", &scratch, ["-o", text(&to)]);
        let mut sender = start("send-file", &scratch, [text(&file), "--limit-rate=4M"]);
        super::resume::await_part(&to.join("file.part"), 1_000_000);
        if interrupt_sender {
            sender.interrupt();
        } else {
            receiver.interrupt();
        }
        let codes = (sender.wait(PATIENCE).code, receiver.wait(PATIENCE).code);
        assert_eq!(codes, if interrupt_sender { (Some(130), Some(5)) } else { (Some(5), Some(130)) });
        let (sent, _) = super::transferred(&scratch, &[text(&file)], &["-o", text(&to)]);
        assert!(sent["resumedFrom"].as_u64() >= Some(1_000_000), "{sent}");
        assert!(fs::read(to.join("file")).unwrap() == fs::read(&file).unwrap());
    }
}

#[test]
fn a_file_that_changes_or_goes_while_it_is_sent_fails_alone_on_both_sides() {
    let _turn = calls_share_the_machine();
    for removed in [false, true] {
        let scratch = Scratch::new();
        let (from, to) = (scratch.path("from"), scratch.path("to"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a"), noise(3_000_000, 30)).unwrap();
        fs::write(from.join("b"), noise(1_000_000, 31)).unwrap();
        fs::write(from.join("c"), "the rest").unwrap();
        let mut receiver = start("receive-file", &scratch, ["-o", text(&to)]);
        let mut sender = start("send-file", &scratch, [text(&from), "--limit-rate=4M"]);
        super::resume::await_part(&to.join("from/a.part"), 500_000);
        let (spoilt, why) = if removed { ("b", "removed") } else { ("a", "changed") };
        if removed {
            fs::remove_file(from.join("b")).unwrap();
        } else {
            fs::OpenOptions::new().append(true).open(from.join("a")).unwrap().set_len(3_000_001).unwrap();
        }
        let (sent, received) = (sender.wait(PATIENCE), receiver.wait(PATIENCE));
        assert_eq!((sent.code, received.code), (Some(12), Some(12)), "{sent:?} {received:?}");
        for exit in [&sent, &received] {
            assert!(exit.error_line().contains("1 of 3 files failed"), "{exit:?}");
            assert!(exit.stderr.contains(&format!("{why} while it was sent")), "{exit:?}");
        }
        let there: Vec<String> = super::tree(&to.join("from")).into_iter().map(|(name, _)| name).collect();
        let whole: Vec<&str> = ["a", "b", "c"].into_iter().filter(|name| *name != spoilt).collect();
        assert_eq!(there, whole, "the others are there, and nothing of that one");
    }
}

#[test]
fn a_source_that_cannot_be_read_ends_both_sides_with_its_reason() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let to = scratch.path("to");
    // Reading a process's memory at 0 is an input/output error, whoever asks.
    let road = format!("file:{}", scratch.path("meet").display());
    let mut receiver = start("receive-file", &scratch, ["-o", text(&to)]);
    let mut command = Rtckit::command(["send-file", "-", "--interface", "lo", "--signal", &road]);
    let sent = Rtckit::spawn(command.stdin(fs::File::open("/proc/self/mem").unwrap())).wait(PATIENCE);
    let received = receiver.wait(PATIENCE);
    assert_eq!((sent.code, received.code), (Some(3), Some(3)), "{sent:?} {received:?}");
    for exit in [&sent, &received] {
        assert!(exit.error_line().contains("Input/output error"), "{exit:?}");
    }
    assert!(!to.exists());

    // One that may not be read is found before anybody is bothered. Root may read all that is not somebody else's, outside of
    // its namespace.
    let file = scratch.path("secret");
    fs::write(&file, "x").unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let mut command = Rtckit::command(["send-file", text(&file)]);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(1), Some(1)).unwrap();
        command = Command::new("unshare");
        command.args(["-r", env!("CARGO_BIN_EXE_rtckit"), "send-file", text(&file)]);
    }
    let exit = Rtckit::spawn(command.stdin(Stdio::null())).wait(PATIENCE);
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.error_line().contains("secret: Permission denied") && exit.stdout.is_empty(), "{exit:?}");
}

#[test]
fn a_terminal_that_is_held_holds_no_transfer_up() {
    let scratch = Scratch::new();
    let (file, inbox) = (scratch.path("file.bin"), scratch.path("inbox"));
    std::fs::write(&file, vec![7; 3 << 20]).unwrap();
    std::fs::create_dir(&inbox).unwrap();
    let road = format!("file:{}", scratch.path("meet").display());
    let run = |command, terminal: &Terminal, args: &[&str]| {
        terminal.hold(true);
        let mut run = Rtckit::command([command, "--interface", "lo", "--signal", &road]);
        run.args(args).env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal.stdin());
        run.spawn().unwrap()
    };
    let terminals = [Terminal::open(), Terminal::open()];
    let mut runs =
        [run("receive-file", &terminals[0], &["-o", text(&inbox)]), run("send-file", &terminals[1], &[text(&file)])];
    let begin = Instant::now();
    while !inbox.join("file.bin").exists() {
        assert!(begin.elapsed() < PATIENCE, "nothing came while the terminals were held");
        std::thread::sleep(Duration::from_millis(10));
    }
    terminals.iter().for_each(|terminal| terminal.hold(false));
    for run in &mut runs {
        assert_eq!(run.wait().unwrap().code(), Some(0));
    }
}
