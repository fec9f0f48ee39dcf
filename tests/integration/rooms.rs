//! Meeting in a room of `rtckit signal`: calls and files, two processes and the server, which is the program itself.

use crate::support::{Exit, MediaFile, PATIENCE, Rtckit, Scratch, Terminal, calls_share_the_machine, noise};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// A server of rooms that tells of its events.
struct Server {
    rtckit: Rtckit,
    /// Its URL for clients, without a room.
    url: String,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut rtckit = Rtckit::spawn(command.args(["--listen", "localhost:0", "--events"]));
        let url = rtckit.json()["urls"][0].as_str().unwrap().replacen("http", "ws", 1);
        Self { rtckit, url }
    }

    /// Waits for the next who comes: does it get in?
    fn lets_in(&mut self) -> bool {
        loop {
            match self.rtckit.json()["type"].as_str() {
                Some("join") => return true,
                Some("refused") => return false,
                _ => {}
            }
        }
    }

    /// Waits until somebody comes in, and gives how many are there then.
    fn join(&mut self) -> u64 {
        loop {
            let event = self.rtckit.json();
            if event["type"] == "join" {
                return event["members"].as_u64().unwrap();
            }
        }
    }
}

#[test]
fn two_calls_meet_whoever_comes_second_is_offered_to_and_a_third_is_told_that_it_is_full() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let mut server = Server::start(&mut Rtckit::command(["signal"]));
    let room = format!("{}demo", server.url);
    let call = |name: &str, more: &[&str]| {
        let record = scratch.path(name).to_str().unwrap().to_owned();
        let args = ["call", "--video=test", "--audio=test", "--json", "--signal", &room, "--record", &record];
        Rtckit::start(args.iter().chain(more))
    };
    let mut first = call("first.webm", &[]);
    assert_eq!(server.join(), 1);
    let mut second = call("second.webm", &["--duration", "2s"]);
    assert_eq!(server.join(), 2);
    let third = Rtckit::start(["answer", "--chat", "--signal", &room]).wait(PATIENCE);
    assert_eq!(third.code, Some(5), "{third:?}");
    assert!(third.error_line().contains("room demo is full: 2 are in it"), "{third:?}");
    let (second, first) = (second.succeed(PATIENCE), first.succeed(PATIENCE));
    assert!(first.stderr.contains("waiting for the other side in ws://localhost:"), "{first:?}");
    for (exit, role, name) in [(first, "call", "first.webm"), (second, "answer", "second.webm")] {
        let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
        assert_eq!(report["role"], role);
        let probe = MediaFile::open(&scratch.path(name));
        probe.assert_plays();
        assert_eq!(probe.streams().len(), 2, "{name}");
        assert!(probe.duration() > 1.0, "{name}: {}", probe.duration());
    }
}

/// Test media for whoever is in a room.
fn call_into(room: &str) -> Rtckit {
    Rtckit::start(["call", "--video=test", "--audio=test", "--stats=200ms", "--signal", room])
}

/// Waits until statistics tell of pictures that come.
fn await_pictures(rtckit: &mut Rtckit) {
    let has_video = |stats: &Value| {
        let mut streams = stats["report"].as_array().into_iter().flatten();
        streams.any(|stream| stream["type"] == "inbound-rtp" && stream["framesReceived"].as_u64() >= Some(10))
    };
    assert!((0..150).any(|_| has_video(&rtckit.json())), "no pictures came");
}

/// Waits until statistics tell of sound that comes.
fn await_sound(rtckit: &mut Rtckit) {
    let has_audio = |stats: &Value| {
        let mut streams = stats["report"].as_array().into_iter().flatten();
        streams.any(|stream| {
            let is_audio = stream["type"] == "inbound-rtp" && stream["kind"] == "audio";
            is_audio && stream["packetsReceived"].as_u64() >= Some(20)
        })
    };
    assert!((0..150).any(|_| has_audio(&rtckit.json())), "no sound came");
}

/// The same again as soon as the server has a place for it, which is kept for a moment, in case only the connection was lost.
fn call_again_into(room: &str, server: &mut Server) -> Rtckit {
    loop {
        let mut caller = call_into(room);
        if server.lets_in() {
            return caller;
        }
        assert_eq!(caller.wait(PATIENCE).code, Some(5));
    }
}

/// What a run with `--events` wrote last.
fn result_of(exit: &Exit) -> Value {
    let last = exit.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
    serde_json::from_slice(last).unwrap()
}

fn await_connected(rtckit: &mut Rtckit) {
    while rtckit.json()["state"] != "connected" {}
}

/// The program that answers is in a loop of the shell, as a service would be.
#[test]
fn a_caller_that_is_killed_comes_back_at_once_and_who_waits_meets_the_next() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let mut server = Server::start(&mut Rtckit::command(["signal"]));
    let room = format!("{}demo", server.url);
    let answer = |more: &[&str]| Rtckit::start(["answer", "--events", "--signal", &room].iter().chain(more));
    let mut first = answer(&["--stats=200ms", "--offer-to-receive-video"]);
    assert_eq!(server.join(), 1);
    let killed = call_into(&room);
    assert_eq!(server.join(), 2);
    await_pictures(&mut first);
    drop(killed);
    let begin = Instant::now();
    let mut again = call_again_into(&room, &mut server);
    let exit = first.wait(PATIENCE);
    assert_eq!(exit.code, Some(11), "{exit:?}");
    assert!(exit.error_line().contains("the peer vanished: nothing received for"), "{exit:?}");
    assert!(begin.elapsed() < Duration::from_secs(15), "it took {:?} to see that", begin.elapsed());
    let recording = scratch.path("second.webm");
    let mut second = answer(&["--duration", "1s", "--record", recording.to_str().unwrap()]);
    await_connected(&mut again);
    second.succeed(PATIENCE);
    again.succeed(PATIENCE);
    MediaFile::open(&recording).assert_plays();
}

#[test]
fn a_recording_goes_on_when_the_caller_is_killed_and_comes_back() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let mut server = Server::start(&mut Rtckit::command(["signal"]));
    let room = format!("{}demo", server.url);
    let recording = scratch.path("both.webm");
    // What it sends goes on as well.
    let expected = "inbound-rtp[kind=video].framesReceived>=20";
    let record =
        ["--record", recording.to_str().unwrap(), "--video=test", "--width=320", "--height=240", "--expect", expected];
    let mut answer = Rtckit::start(["answer", "--events", "--stats=200ms", "--signal", &room].iter().chain(&record));
    assert_eq!(server.join(), 1);
    let killed = call_into(&room);
    assert_eq!(server.join(), 2);
    await_pictures(&mut answer);
    await_sound(&mut answer);
    drop(killed);
    let mut again = call_again_into(&room, &mut server);
    while answer.json()["type"] != "peergone" {}
    await_connected(&mut answer);
    await_pictures(&mut answer);
    await_sound(&mut answer);
    await_pictures(&mut again);
    // It says that it goes.
    again.terminate();
    let result = result_of(&answer.succeed(PATIENCE));
    assert_eq!(again.wait(PATIENCE).code, Some(143));
    assert_eq!(result["sent"].as_array().unwrap().len(), 2, "{result}");
    assert_eq!((&result["rejoined"], &result["ended"]), (&1.into(), &"peer-hung-up".into()), "{result}");
    let received = result["received"].as_array().unwrap();
    assert_eq!(received.len(), 4, "two tracks of two connections");
    let pictures =
        received.iter().filter(|track| track["kind"] == "video").map(|track| track["framesReceived"].as_u64());
    let (judged, most) = (&result["expectations"][0]["found"], pictures.max().flatten());
    assert!(judged.as_array().unwrap().len() == 1 && judged[0].as_u64() > most, "{judged} of both: {result}");
    let file = MediaFile::open(&recording);
    file.assert_plays();
    // The time in between is missing from both tracks alike, and they go on together.
    let gaps = ["video", "audio"].map(|kind| {
        let times = file.track(kind).times;
        let gap = times.windows(2).max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0]))).unwrap().to_vec();
        assert!(gap[1] - gap[0] > 1.0, "{kind} from {} to {} s", gap[0], gap[1]);
        assert!(times.iter().filter(|time| **time >= gap[1]).count() >= 10, "{kind} does not go on");
        gap[1]
    });
    assert!((gaps[0] - gaps[1]).abs() < 0.5, "picture and sound go on at {gaps:?}");
}

#[test]
fn files_go_through_a_room_whichever_side_is_there_first() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let mut server = Server::start(&mut Rtckit::command(["signal"]));
    let room = format!("{}files", server.url);
    let (file, inbox) = (scratch.path("file.bin"), scratch.path("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&file, noise(1_000_000, 3)).unwrap();
    let start = |sends: bool| match sends {
        true => Rtckit::start(["send-file", file.to_str().unwrap(), "--signal", &room]),
        false => Rtckit::start(["receive-file", "-o", inbox.to_str().unwrap(), "--overwrite", "--signal", &room]),
    };
    for sender_first in [true, false] {
        let mut first = start(sender_first);
        assert_eq!(server.join(), 1);
        let mut second = start(!sender_first);
        second.succeed(PATIENCE);
        first.succeed(PATIENCE);
        assert!(fs::read(inbox.join("file.bin")).unwrap() == fs::read(&file).unwrap());
        fs::remove_file(inbox.join("file.bin")).unwrap();
        assert_eq!(server.join(), 2);
    }
    // Two that send have nothing to say to each other.
    let mut first = start(true);
    assert_eq!(server.join(), 1);
    let second = start(true).wait(PATIENCE);
    assert_eq!(second.code, Some(5), "{second:?}");
    assert!(second.error_line().contains("the other side sends as well"), "{second:?}");
    // And whoever was there goes on waiting for somebody who receives.
    start(false).succeed(PATIENCE);
    first.succeed(PATIENCE);
}

#[test]
fn a_server_that_is_not_there_not_trusted_or_none_has_its_own_exit_code() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let server = Server::start(Rtckit::command(["signal", "--self-signed"]).env("XDG_DATA_HOME", &data));
    let secure = format!("{}demo", server.url);
    assert!(secure.starts_with("wss://localhost:"), "{secure}");
    let ca = data.join("rtckit/ca.pem");
    let strange = scratch.path("strange.pem");
    fs::write(&strange, "no certificate").unwrap();
    let plain = Server::start(&mut Rtckit::command(["signal"]));
    for (url, more, code, said) in [
        ("ws://127.0.0.1:9/demo".to_owned(), vec![], 7, "cannot reach ws://127.0.0.1:9/demo"),
        ("ws://host.invalid/demo".to_owned(), vec![], 6, "cannot resolve host.invalid"),
        (secure.clone(), vec![], 10, "cannot trust localhost"),
        (secure.clone(), vec!["--ca-file", strange.to_str().unwrap()], 2, "there is no certificate in it"),
        (secure, vec!["--ca-file", ca.to_str().unwrap()], 124, "the other side did not come within"),
        (plain.url.replacen("ws", "wss", 1) + "demo", vec![], 10, "it does not speak TLS"),
        (format!("{}metrics", plain.url), vec![], 5, "HTTP status 200"),
        (plain.url.clone(), vec![], 2, "names no room"),
    ] {
        let args = ["call", "--data", "--timeout", "500ms", "--signal", &url];
        let exit = Rtckit::start(args.iter().chain(&more)).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{url}: {exit:?}");
        assert!(exit.error_line().contains(said), "{url}: {exit:?}");
        assert!(code != 10 || exit.stderr.contains("hint: "), "{url}: {exit:?}");
    }
}

#[test]
fn a_code_brings_files_across_and_one_wrong_guess_ends_it_for_both() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let server = Server::start(&mut Rtckit::command(["signal"]));
    let (file, inbox) = (scratch.path("file.bin"), scratch.path("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&file, noise(300_000, 4)).unwrap();
    let send = || Rtckit::start(["send-file", file.to_str().unwrap(), "--qr", "--signal", &server.url]);
    let receive =
        |code: &str| Rtckit::start(["receive-file", code, "-o", inbox.to_str().unwrap(), "--signal", &server.url]);
    let mut sender = send();
    let code = sender.line();
    receive(&code.to_uppercase().replace('-', " ")).succeed(PATIENCE);
    let exit = sender.succeed(PATIENCE);
    assert!(exit.stderr.contains(&format!("rtckit receive-file {code} --signal {}", server.url)), "{exit:?}");
    assert!(exit.stderr.contains('█'), "no QR code: {exit:?}");
    assert!(fs::read(inbox.join("file.bin")).unwrap() == fs::read(&file).unwrap());

    let mut sender = send();
    let code = sender.line();
    let number = code.split('-').next().unwrap();
    let guess = if code.ends_with("amber-acorn") { "acorn-amber" } else { "amber-acorn" };
    let guessed = receive(&format!("{number}-{guess}")).wait(PATIENCE);
    let sent = sender.wait(PATIENCE);
    assert_eq!((guessed.code, sent.code), (Some(8), Some(8)), "{guessed:?} {sent:?}");
    assert!(guessed.error_line().contains("the other side has another code"), "{guessed:?}");
    assert!(sent.error_line().contains("this one is used up"), "{sent:?}");
    // What is no code at all uses nothing up.
    let exit = receive("7-crosword-apollo").wait(PATIENCE);
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.contains("did you mean 'crossword'?"), "{exit:?}");
}

/// A run at a terminal of its own, where somebody can be asked.
fn at(terminal: &Terminal, args: &[&str]) -> Rtckit {
    let inside = Rtckit::command(args);
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(inside.get_program()).args(inside.get_args());
    command.envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(terminal.stdin());
    Rtckit::spawn(&mut command)
}

#[test]
fn both_sides_see_the_same_check_string_and_one_no_is_enough() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let server = Server::start(&mut Rtckit::command(["signal"]));
    let (file, inbox) = (scratch.path("file.bin"), scratch.path("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&file, noise(10_000, 5)).unwrap();
    let common = ["--verify", "--events", "--signal", &server.url];
    for (answers, codes) in [(["y\n", "y\n"], [0, 0]), (["y\n", "n\n"], [8, 8])] {
        let mut terminals = [Terminal::open(), Terminal::open()];
        let mut sender = at(&terminals[0], &[&["send-file", file.to_str().unwrap()][..], &common].concat());
        let until = |rtckit: &mut Rtckit, kind: &str, member: &str| loop {
            let event = rtckit.json();
            if event["type"] == kind {
                return event[member].as_str().unwrap().to_owned();
            }
        };
        let code = until(&mut sender, "code", "code");
        let receive = ["receive-file", &code, "--yes", "-o", inbox.to_str().unwrap()];
        let mut receiver = at(&terminals[1], &[&receive[..], &common].concat());
        let words = [until(&mut sender, "check", "words"), until(&mut receiver, "check", "words")];
        assert!(words[0] == words[1] && words[0].contains(' ') || words[0].contains('-'), "{words:?}");
        for (terminal, answer) in terminals.iter_mut().zip(answers) {
            terminal.paste(answer);
        }
        let exits = [sender.wait(PATIENCE), receiver.wait(PATIENCE)];
        assert_eq!(exits.each_ref().map(|exit| exit.code), codes.map(Some), "{exits:?}");
        assert_eq!(inbox.join("file.bin").exists(), codes[0] == 0);
        let _ = fs::remove_file(inbox.join("file.bin"));
    }
}

/// What a process has in memory that is not of files: its heaps and stacks, as far as they were ever touched.
fn memory(process: u32) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    const PAGE: usize = 4096;
    /// Of an entry of pagemap: in memory, or swapped out.
    const THERE: u64 = 3 << 62;
    let open = |name: &str| fs::File::open(format!("/proc/{process}/{name}")).unwrap();
    let (memory, pages) = (open("mem"), open("pagemap"));
    let mut dump = Vec::new();
    for line in fs::read_to_string(format!("/proc/{process}/maps")).unwrap().lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if !fields[1].starts_with("rw") || fields.get(5).is_some_and(|name| name.starts_with('/')) {
            continue;
        }
        let bounds: Vec<u64> = fields[0].split('-').map(|at| u64::from_str_radix(at, 16).unwrap()).collect();
        let mut entries = vec![0; usize::try_from(bounds[1] - bounds[0]).unwrap() / PAGE * 8];
        pages.read_exact_at(&mut entries, bounds[0] / PAGE as u64 * 8).unwrap();
        for (at, entry) in (bounds[0]..).step_by(PAGE).zip(entries.chunks_exact(8)) {
            let mut page = [0; PAGE];
            if u64::from_ne_bytes(entry.try_into().unwrap()) & THERE != 0 && memory.read_exact_at(&mut page, at).is_ok()
            {
                dump.extend(page);
            }
        }
    }
    dump
}

#[test]
fn in_the_memory_of_the_server_nothing_can_be_read_of_what_a_code_protects() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (file, inbox) = (scratch.path("file.bin"), scratch.path("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&file, noise(10_000, 6)).unwrap();
    let (file, inbox) = (file.to_str().unwrap(), inbox.to_str().unwrap());
    for protected in [false, true] {
        let server = Server::start(&mut Rtckit::command(["signal"]));
        let room = if protected { server.url.clone() } else { format!("{}plain", server.url) };
        let mut sender = Rtckit::start(["send-file", file, "--signal", &room]);
        let code = protected.then(|| sender.line());
        let receive = ["receive-file", "--overwrite", "-o", inbox, "--signal", &room];
        Rtckit::start(receive.into_iter().chain(code.as_deref())).succeed(PATIENCE);
        sender.succeed(PATIENCE);
        let dump = scratch.path("dump");
        fs::write(&dump, memory(server.rtckit.id())).unwrap();
        let holds = |text: &str| Command::new("grep").args(["-aqF", text]).arg(&dump).status().unwrap().success();
        // What it passed on is there, whatever it is.
        assert!(holds("{\"type\":\"message\",\"from\":"), "the dump shows nothing at all");
        for secret in ["a=fingerprint:sha-256", "a=ice-pwd:", "\"candidate\":\"candidate:", "IN IP4 "] {
            assert_eq!(holds(secret), !protected, "{secret}");
        }
    }
}
