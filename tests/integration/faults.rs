//! What goes wrong around a call, and what the program makes of it: its exit code, its words, its pace.

use crate::support::{MediaFile, Rtckit, Scratch, await_growth, calls_share_the_machine, have, introduce};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// `description` with its SDP changed.
pub fn edited(description: &Value, edit: impl FnOnce(&str) -> String) -> Value {
    json!({ "type": description["type"], "sdp": edit(description["sdp"].as_str().unwrap()) })
}

/// Every line that `which` picks, changed by `edit`.
pub fn lines(sdp: &str, which: &str, edit: impl Fn(&str) -> String) -> String {
    sdp.split_inclusive('\n').map(|line| if line.starts_with(which) { edit(line) } else { line.to_owned() }).collect()
}

#[test]
fn sigterm_leaves_a_file_that_plays_and_exit_143() {
    if !have("ffprobe") {
        return;
    }
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let recording = scratch.path("call.webm");
    let mut callee = Rtckit::start(["answer", "--record", recording.to_str().unwrap()]);
    let mut caller = Rtckit::start(["call", "--video=test", "--audio=test"]);
    introduce(&mut caller, &mut callee);
    await_growth(&scratch, 100_000);
    callee.terminate();
    assert_eq!(callee.wait(PATIENCE).code, Some(143));
    caller.succeed(PATIENCE);
    MediaFile::open(&recording).assert_plays();
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_fills_up_ends_the_call_with_its_reason() {
    let _turn = calls_share_the_machine();
    let begin = Instant::now();
    let running = ["--record", "--video-output", "--audio-output"].map(|output| {
        let media = ["--video=test", "--audio=test", "--duration", "15s", output, "/dev/full"];
        (Rtckit::start(["call", "--loopback"].iter().chain(&media)), output)
    });
    for (mut call, output) in running {
        let exit = call.wait(PATIENCE);
        assert_eq!(exit.code, Some(13), "{output}: {exit:?}");
        assert!(exit.error_line().contains("No space left on device"), "{output}: {exit:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "noticed at the end only: {:?}", begin.elapsed());
}

#[test]
fn a_reader_that_goes_away_ends_the_call() {
    let _turn = calls_share_the_machine();
    let begin = Instant::now();
    let running = [
        "--video=test --duration 15s --video-output -",
        "--audio=test --duration 15s --audio-output -",
        "--video=test --audio=test --duration 15s --record -",
        "--pipe < /dev/zero",
    ]
    .map(|args| {
        let line = format!("set -o pipefail; {} call --loopback {args} | head -c 100", env!("CARGO_BIN_EXE_rtckit"));
        let mut command = Command::new("bash");
        let child = command.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        (child.spawn().unwrap(), args)
    });
    for (child, args) in running {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(13), "{args}: {said}");
        assert!(said.contains("Broken pipe") && !said.contains("panicked"), "{args}: {said}");
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "noticed at the end only: {:?}", begin.elapsed());
}

#[test]
fn a_record_that_cannot_be_made_is_told_before_the_peer_is_bothered() {
    let scratch = Scratch::new();
    for path in [scratch.path("no/such/folder.webm"), scratch.path(""), "/proc/call.webm".into()] {
        let exit = Rtckit::start(["answer", "--record", path.to_str().unwrap()]).wait(PATIENCE);
        assert_eq!((exit.code, exit.stdout.len()), (Some(13), 0), "{exit:?}");
        exit.error_line();
    }
}

/// A pair whose descriptions are tampered with on their way, and how each side must end.
struct Tampered {
    what: &'static str,
    offer: fn(&str) -> String,
    answer: fn(&str) -> String,
    code: i32,
    said: &'static str,
}

fn as_it_is(sdp: &str) -> String {
    sdp.to_owned()
}

fn unreachable(sdp: &str) -> String {
    // RFC 5737: nobody has this address.
    lines(sdp, "a=candidate:", |line| line.replace(" 127.0.0.1 ", " 192.0.2.77 "))
}

fn without_candidates(sdp: &str) -> String {
    lines(sdp, "a=candidate:", |_| String::new())
}

fn with_another_fingerprint(sdp: &str) -> String {
    lines(sdp, "a=fingerprint:", |_| format!("a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":")))
}

#[test]
fn a_connection_that_cannot_come_up_ends_in_time_with_its_own_code() {
    let _turn = calls_share_the_machine();
    let cases = [
        Tampered { what: "unreachable", offer: unreachable, answer: unreachable, code: 9, said: "found no path" },
        Tampered {
            what: "without candidates",
            offer: without_candidates,
            answer: without_candidates,
            code: 9,
            said: "gave no candidates",
        },
        Tampered {
            what: "fingerprint of the offer",
            offer: with_another_fingerprint,
            answer: as_it_is,
            code: 10,
            said: "DTLS",
        },
        Tampered {
            what: "fingerprint of the answer",
            offer: as_it_is,
            answer: with_another_fingerprint,
            code: 10,
            said: "DTLS",
        },
    ];
    // One gives up before the other, who is told and has not been connected all the same.
    let until = |timeout| ["--interface", "127.0.0.1", "--timeout", timeout];
    let running: Vec<_> = cases
        .into_iter()
        .map(|case| {
            let mut caller = Rtckit::start(["call", "--data"].iter().chain(&until("3s")));
            let mut callee = Rtckit::start(["answer"].iter().chain(&until("2s")));
            callee.write_json(&edited(&caller.json(), case.offer));
            caller.write_json(&edited(&callee.json(), case.answer));
            (case, caller, callee)
        })
        .collect();
    for (case, mut caller, mut callee) in running {
        for peer in [&mut caller, &mut callee] {
            let exit = peer.wait(Duration::from_secs(6));
            assert_eq!(exit.code, Some(case.code), "{}: {exit:?}", case.what);
            assert!(exit.error_line().contains(case.said), "{}: {exit:?}", case.what);
        }
    }
}

#[test]
fn nobody_there_is_exit_124() {
    let mut caller = Rtckit::start(["call", "--data", "--timeout", "500ms"]);
    let mut callee = Rtckit::start(["answer", "--timeout", "500ms"]);
    for (peer, awaited) in [(&mut caller, "the answer"), (&mut callee, "an offer")] {
        let exit = peer.wait(PATIENCE);
        assert_eq!(exit.code, Some(124), "{exit:?}");
        assert!(exit.error_line().contains(&format!("{awaited} did not come within ")), "{exit:?}");
    }
}

#[test]
fn an_offer_of_codecs_that_we_lack_is_exit_3() {
    let mut caller = Rtckit::start(["call", "--video=test", "--video-codec", "vp8"]);
    let offer = caller.json();
    // H.265, which we lack; H.264 without its parameters, which is Baseline in single NAL units, and a form that we lack.
    for name in [" H265/90000", " H264/90000"] {
        let lacking = edited(&offer, |sdp| sdp.replace(" VP8/90000", name));
        for args in [&["answer"][..], &["answer", "--video=test"]] {
            let mut callee = Rtckit::start(args);
            callee.write_json(&lacking);
            let exit = callee.wait(PATIENCE);
            assert_eq!((exit.code, exit.stdout.len()), (Some(3), 0), "{name} {exit:?}");
            assert!(exit.error_line().contains("no codec"), "{name} {exit:?}");
        }
    }
}

/// The next of a sequence of numbers, the same in every run.
fn draw(state: &mut u32, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state as usize % below
}

/// An SDP with one to four things wrong.
fn mutated(sdp: &str, state: &mut u32) -> String {
    const STRANGE: [&str; 16] = [
        "a=candidate:1 1 udp 1 ::ffff:999.1.1.1 1 typ host",
        "a=candidate:x",
        "a=candidate:1 1 udp 1 nosuch.local 1 typ host",
        "a=rtpmap:96 VP8/0",
        "a=rtpmap:300 VP8/90000",
        "a=sctp-port:99999999",
        "a=max-message-size:-1",
        "a=group:BUNDLE 0 0 0 9",
        "a=setup:holdconn",
        "a=extmap:0 x",
        "a=simulcast:recv 1;2",
        "m=video 9 X 96",
        "m=audio",
        "b=AS:-1",
        "a=ssrc-group:FID 1",
        "",
    ];
    let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
    for _ in 0..=draw(state, 4) {
        let (at, other) = (draw(state, lines.len()), draw(state, lines.len()));
        match draw(state, 8) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 => lines[at] = lines[at].chars().take(other).collect(),
            4 => lines[at] = lines[at].replace(|c: char| c.is_ascii_digit(), "99999999999999999999"),
            5 => lines[at] += ["\0", "é", "\t", "%s%n"][draw(state, 4)],
            6 => lines[at] += &"x".repeat(70_000),
            _ => lines[at] = STRANGE[draw(state, STRANGE.len())].to_owned(),
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
    }
    lines.join("\r\n") + "\r\n"
}

#[test]
fn a_hostile_offer_is_refused_or_leads_nowhere_but_never_breaks_us() {
    let _turn = calls_share_the_machine();
    let mut caller = Rtckit::start(["call", "--video=test", "--audio=test", "--data", "--interface", "127.0.0.1"]);
    let offer = caller.json();
    caller.kill();
    let mut state = 0x5eed;
    let offers: Vec<Value> = (0..100).map(|_| edited(&offer, |sdp| mutated(sdp, &mut state))).collect();
    let refused: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = offers
            .chunks(13)
            .map(|chunk| scope.spawn(|| chunk.iter().filter(|offer| refuses(offer)).count()))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!((20..100).contains(&refused), "the mutations are too harmless or too harmful: {refused} of 100 refused");
}

/// Whether an answerer refuses `offer`; the alternative is that it waits in vain for a caller.
fn refuses(offer: &Value) -> bool {
    let mut callee = Rtckit::start(["answer", "--timeout", "500ms", "--interface", "127.0.0.1"]);
    callee.write_json(offer);
    callee.close_stdin();
    let exit = callee.wait(PATIENCE);
    assert!(matches!(exit.code, Some(3 | 9 | 124)), "{exit:?} after {offer}");
    exit.error_line();
    exit.code == Some(3)
}
