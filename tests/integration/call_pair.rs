//! Two rtckit peers on one machine, over pipes and over a terminal.

use crate::support::{
    Exit, MediaFile, Rtckit, Scratch, Terminal, await_growth, calls_share_the_machine, have, in_repository, introduce,
    noise, one_call_at_a_time,
};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// The offer of a caller that was asked for `args`.
fn an_offer(args: &[&str]) -> (Rtckit, Value) {
    let mut caller = Rtckit::start(["call"].iter().chain(args));
    let offer = caller.json();
    (caller, offer)
}

#[test]
fn what_the_callee_records_plays_and_is_in_sync() {
    if !have("ffprobe") {
        return;
    }
    let _turn = one_call_at_a_time();
    let scratch = Scratch::new();
    let recording = scratch.path("call.webm");
    let mut callee = Rtckit::start(["answer", "--record", recording.to_str().unwrap()]);
    let mut caller = Rtckit::start(["call", "--video=test", "--audio=test", "--duration", "5s"]);
    introduce(&mut caller, &mut callee);
    caller.succeed(PATIENCE);
    callee.succeed(PATIENCE);

    assert_eq!(scratch.names(), ["call.webm"], "no half-written file stays behind");
    let file = MediaFile::open(&recording);
    file.assert_plays();
    assert!((file.duration() - 5.0).abs() <= 0.15, "duration: {} s", file.duration());
    assert!(file.start_offset() < 0.06, "picture and sound begin {} s apart", file.start_offset());
}

#[test]
fn ctrl_c_leaves_a_file_that_plays_and_the_peer_learns_at_once() {
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

    callee.interrupt();
    assert_eq!(callee.wait(PATIENCE).code, Some(130));
    let learnt = caller.wait(PATIENCE);
    assert_eq!(learnt.code, Some(0), "{learnt:?}");
    assert!(learnt.took < Duration::from_secs(2), "a hang-up is told, not timed out: {:?}", learnt.took);
    assert_eq!(scratch.names(), ["call.webm"]);
    MediaFile::open(&recording).assert_plays();
}

#[test]
fn a_peer_that_was_killed_ends_us_soon_and_the_recording_plays() {
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

    caller.kill();
    let exit = callee.wait(Duration::from_secs(10));
    assert_eq!(exit.code, Some(11), "{exit:?}");
    exit.error_line();
    assert_eq!(scratch.names(), ["call.webm"]);
    MediaFile::open(&recording).assert_plays();
}

#[test]
fn both_peers_in_one_process_decode_what_was_sent() {
    let _turn = one_call_at_a_time();
    let media = ["--video=test", "--audio=test", "--frame-rate=30", "--duration", "3s"];
    let mut call = Rtckit::start(["call", "--loopback", "--measure", "--json"].iter().chain(&media));
    let exit = call.succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert_eq!(report["schema"], "rtckit.call/1");
    let measured = &report["peer"]["measured"];
    assert!(measured["framesMeasured"].as_u64() >= Some(75), "90 were sent: {measured}");
    assert!(measured["latency"]["median"].as_f64().unwrap() < 0.2, "{measured}");
    assert!(exit.stderr.contains("ms from capture to decoded"), "people are told as well: {}", exit.stderr);
}

#[test]
fn the_example_script_records_a_call() {
    if !have("ffprobe") {
        return;
    }
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let recording = scratch.path("example.webm");
    let output = Command::new(in_repository("examples/two-peers.sh"))
        .arg(&recording)
        .arg("2")
        .env("RTCKIT", env!("CARGO_BIN_EXE_rtckit"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("recorded: ") && said.contains("duration: "), "{said}");
    MediaFile::open(&recording).assert_plays();
}

#[test]
fn an_output_that_exists_is_not_touched() {
    let scratch = Scratch::new();
    let precious = scratch.path("precious.webm");
    std::fs::write(&precious, "precious").unwrap();
    let exit = Rtckit::start(["answer", "--record", precious.to_str().unwrap()]).wait(PATIENCE);
    assert_eq!(exit.code, Some(13), "{exit:?}");
    assert!(exit.error_line().contains("precious.webm"));
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(scratch.names(), ["precious.webm"]);
}

#[test]
fn bytes_piped_in_come_out_at_the_other_end_both_ways() {
    let _turn = calls_share_the_machine();
    let mut callee = Rtckit::start(["answer", "--pipe"]);
    let mut caller = Rtckit::start(["call", "--pipe"]);
    introduce(&mut caller, &mut callee);
    // Each way alone: the pipes of the test would fill up otherwise.
    for (seed, len) in [(1, 1), (2, 1 << 20)] {
        let sent = noise(len, seed);
        caller.write(&sent);
        assert!(callee.bytes(len, PATIENCE) == sent, "caller to callee, {len} bytes");
        callee.write(&sent);
        assert!(caller.bytes(len, PATIENCE) == sent, "callee to caller, {len} bytes");
    }
    caller.close_stdin();
    callee.close_stdin();
    caller.succeed(PATIENCE);
    callee.succeed(PATIENCE);
}

#[test]
fn lines_of_a_chat_arrive_as_lines() {
    let _turn = calls_share_the_machine();
    let mut callee = Rtckit::start(["answer", "--chat"]);
    let mut caller = Rtckit::start(["call", "--chat"]);
    introduce(&mut caller, &mut callee);
    for line in ["hello", "", "grüße, 世界", &"x".repeat(20_000)] {
        caller.write(format!("{line}\n").as_bytes());
        assert_eq!(callee.line(), line);
        callee.write(format!("{line}\n").as_bytes());
        assert_eq!(caller.line(), line);
    }
}

#[test]
fn candidates_may_trickle() {
    let _turn = calls_share_the_machine();
    let mut callee = Rtckit::start(["answer", "--trickle", "--data"]);
    let mut caller = Rtckit::start(["call", "--trickle", "--data", "--duration", "1s"]);
    let (mut trickled, begin) = (0, Instant::now());
    while caller.is_running() {
        while let Some(line) = caller.try_line(Duration::from_millis(5)) {
            trickled += u32::from(line.contains(r#""type":"candidate""#));
            callee.write(format!("{line}\n").as_bytes());
        }
        while let Some(line) = callee.try_line(Duration::from_millis(5)) {
            caller.write(format!("{line}\n").as_bytes());
        }
        assert!(begin.elapsed() < PATIENCE, "the call does not end");
    }
    assert!(trickled > 0, "no candidate travelled on a line of its own");
    caller.succeed(PATIENCE);
    callee.succeed(PATIENCE);
}

/// What a program that was given hostile input must do.
fn assert_refused(mut program: Rtckit, what: &str) {
    let exit: Exit = program.wait(PATIENCE);
    assert_eq!(exit.code, Some(3), "{what}: {exit:?}");
    let line = exit.error_line();
    assert!(line.len() > "error: ".len() + 10, "{what}: says nothing: {line}");
}

#[test]
fn an_answerer_refuses_what_is_no_offer() {
    let (_caller, offer) = an_offer(&["--data"]);
    let as_answer = json!({ "type": "answer", "sdp": offer["sdp"] }).to_string();
    let truncated = offer.to_string();
    let truncated = &truncated[..truncated.len() / 2];
    let sdp = offer["sdp"].as_str().unwrap();
    // What is wrong however it goes on must be refused at once; the rest when the input ends.
    let at_once = [
        ("an answer", as_answer.as_str()),
        ("an array", "[1,2,3]"),
        ("a number", "42"),
        ("sdp that is a number", r#"{"type":"offer","sdp":5}"#),
        ("no sdp", r#"{"type":"offer"}"#),
        ("no such type", r#"{"type":"surprise","sdp":"v=0"}"#),
        ("empty sdp", r#"{"type":"offer","sdp":""}"#),
        ("nothing in the offer", r#"{"type":"offer","sdp":"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"}"#),
    ];
    for (what, input) in at_once {
        let mut callee = Rtckit::start(["answer"]);
        callee.write(format!("{input}\n").as_bytes());
        assert_refused(callee, what);
    }
    let cut = &sdp[..sdp.len() / 2];
    let at_the_end = [
        ("nothing", ""),
        ("garbage", "\u{1}\u{2} this is not an offer at all\n"),
        ("truncated JSON", truncated),
        ("truncated SDP", cut),
    ];
    for (what, input) in at_the_end {
        let mut callee = Rtckit::start(["answer"]);
        callee.write(input.as_bytes());
        callee.close_stdin();
        assert_refused(callee, what);
    }
}

#[test]
fn a_caller_refuses_an_answer_to_another_offer() {
    let (_other, other_offer) = an_offer(&["--data"]);
    let mut callee = Rtckit::start(["answer"]);
    callee.write_json(&other_offer);
    let answer_to_other = callee.json();

    let (mut caller, own_offer) = an_offer(&["--video=test", "--audio=test"]);
    caller.write_json(&answer_to_other);
    assert_refused(caller, "an answer to another offer");

    let (mut caller, _) = an_offer(&["--video=test", "--audio=test"]);
    caller.write_json(&own_offer);
    assert_refused(caller, "an offer where an answer was due");
}

#[test]
fn an_offer_longer_than_a_terminal_line_can_be_pasted() {
    let _turn = calls_share_the_machine();
    let (mut caller, mut offer) = an_offer(&["--data", "--duration", "1s"]);
    // An attribute that nobody knows is ignored (RFC 8866, section 5.13).
    let padding = format!("a=x-padding:{}\r\n", "p".repeat(180)).repeat(60);
    offer["sdp"] = (offer["sdp"].as_str().unwrap().to_owned() + &padding).into();
    let line = format!("{offer}\n");
    assert!(line.len() > 2 * 4096);

    let mut terminal = Terminal::open();
    let mut callee = Rtckit::spawn(Rtckit::command(["answer"]).stdin(terminal.stdin()));
    assert!(terminal.wait_for_raw_input(PATIENCE), "the terminal still cuts lines at 4095 bytes");
    terminal.paste(&line);
    caller.write_json(&callee.json());
    caller.succeed(PATIENCE);
    callee.succeed(PATIENCE);
    assert!(terminal.edits_lines(), "the terminal was left in another state than it was found in");
}

#[test]
fn an_output_that_exists_is_replaced_or_avoided_when_asked() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let recording = scratch.path("a.webm");
    let call = |policy| {
        let name = recording.to_str().unwrap();
        let flags = ["call", "--loopback", "--video=test", "--duration", "500ms", "--record", name, policy];
        Rtckit::start(flags).succeed(PATIENCE);
    };
    std::fs::write(&recording, "mine").unwrap();
    call("--rename");
    assert_eq!(std::fs::read(&recording).unwrap(), b"mine");
    assert!(scratch.path("a-1.webm").metadata().unwrap().len() > 1000);
    call("--overwrite");
    assert!(recording.metadata().unwrap().len() > 1000);
}

#[test]
fn the_offer_is_written_in_the_form_that_is_asked_for() {
    for (form, begins) in
        [("json", "{\"type\":\"offer\""), ("sdp", "v=0"), ("base64", "eyJ0"), ("compact", "rtckit1:o")]
    {
        let mut call = Rtckit::start(["call", "--data", "--interface", "lo", "--sdp-format", form]);
        let line = call.line();
        assert!(line.starts_with(begins), "{form}: {line}");
    }
}

#[test]
fn sound_that_no_source_can_give_is_exit_3_and_named() {
    for (flag, value, named) in
        [("--sample-rate", "exact:1", "sampleRate"), ("--channel-count", "min:3", "channelCount")]
    {
        let exit = Rtckit::start(["call", "--loopback", "--audio=test", flag, value]).wait(PATIENCE);
        assert_eq!(exit.code, Some(3), "{exit:?}");
        assert!(exit.error_line().contains(named), "{exit:?}");
    }
}

/// The objects of this type in the last report of `events` that has one.
fn last_stats(events: &[Value], kind: &str) -> Vec<Value> {
    let reports = events.iter().rev().filter(|event| event["type"] == "stats");
    let of_kind = |event: &Value| -> Vec<Value> {
        event["report"].as_array().unwrap().iter().filter(|object| object["type"] == kind).cloned().collect()
    };
    reports.map(of_kind).find(|found| !found.is_empty()).unwrap_or_default()
}

#[test]
fn statistics_say_what_goes_over_the_connection_and_how_it_arrives() {
    let _turn = calls_share_the_machine();
    let mut callee = Rtckit::start(["answer", "--stats=200ms", "--events-file=fd:2", "--data"]);
    let mut caller = Rtckit::start([
        "call",
        "--video=test",
        "--audio=test",
        "--data",
        "--stats=200ms",
        "--events-file=fd:2",
        "--duration=4s",
        "--json",
    ]);
    introduce(&mut caller, &mut callee);
    let lines = |exit: &Exit| -> Vec<Value> {
        exit.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let (called, answered) = (lines(&caller.succeed(PATIENCE)), lines(&callee.succeed(PATIENCE)));

    let transport = &last_stats(&called, "transport")[0];
    assert_eq!(transport["dtlsState"], "connected");
    let selected = transport["selectedCandidatePairId"].as_str().unwrap();
    let pairs = last_stats(&called, "candidate-pair");
    let pair = pairs.iter().find(|pair| pair["id"] == selected).unwrap();
    assert_eq!((&pair["state"], &pair["nominated"]), (&"succeeded".into(), &true.into()), "{pair}");
    assert!((0.0..1.0).contains(&pair["currentRoundTripTime"].as_f64().unwrap()), "{pair}");
    let locals = last_stats(&called, "local-candidate");
    assert!(locals.iter().any(|candidate| candidate["id"] == pair["localCandidateId"]), "{pair} of {locals:?}");

    let sent = last_stats(&called, "outbound-rtp");
    let received = last_stats(&answered, "inbound-rtp");
    assert_eq!((sent.len(), received.len()), (2, 2), "{sent:?} {received:?}");
    for out in &sent {
        let came = received.iter().find(|it| it["ssrc"] == out["ssrc"]).unwrap();
        // Each side looked last at another moment, less than a second apart.
        let (packets_out, packets_in) =
            (out["packetsSent"].as_f64().unwrap(), came["packetsReceived"].as_f64().unwrap());
        assert!((packets_in / packets_out - 1.0).abs() < 0.3, "{out} {came}");
        let codecs = last_stats(&called, "codec");
        let codec = codecs.iter().find(|codec| codec["id"] == out["codecId"]).unwrap();
        assert!(codec["mimeType"].as_str().unwrap().starts_with(out["kind"].as_str().unwrap()), "{codec} {out}");
        let remotes = last_stats(&called, "remote-inbound-rtp");
        let remote = remotes.iter().find(|it| it["id"] == out["remoteId"]).unwrap();
        assert!((0.0..1.0).contains(&remote["roundTripTime"].as_f64().unwrap()), "{remote}");
        assert!(remote["jitter"].as_f64().unwrap() < 1.0, "seconds, not ticks: {remote}");
    }
    assert_eq!(last_stats(&called, "data-channel")[0]["state"], "open");
    for (interval, said) in [("0", "too often"), ("soon", "is not a duration")] {
        let exit = Rtckit::start(["call", &format!("--stats={interval}")]).wait(PATIENCE);
        assert_eq!(exit.code, Some(2), "{exit:?}");
        assert!(exit.stderr.contains(said), "{exit:?}");
    }
}

#[test]
fn what_is_expected_of_a_call_decides_how_it_ends() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let decoded = scratch.path("a.y4m");
    let call = |name: &str, expected: &[&str]| {
        let args = ["call", "--loopback", "--video=test", "--width=160", "--height=120", "--duration=1s", "--json"];
        let output = ["--overwrite", "--video-output", name].map(str::to_owned);
        let expected = expected.iter().map(|it| format!("--expect={it}"));
        Rtckit::start(args.map(str::to_owned).into_iter().chain(output).chain(expected)).wait(PATIENCE)
    };
    let decoded = decoded.to_str().unwrap();
    let met = call(decoded, &["inbound-rtp[kind=video].framesDecoded>=5", "transport.dtlsState==connected"]);
    assert_eq!(met.code, Some(0), "{met:?}");
    let report: Value = serde_json::from_slice(&met.stdout).unwrap();
    assert_eq!(report["expectations"][0]["holds"], true, "{report}");
    let missed = call(decoded, &["outbound-rtp.framesSent>=1", "inbound-rtp[kind=video].framesReceived>=5000"]);
    assert_eq!(missed.code, Some(14), "{missed:?}");
    let failure: Value = serde_json::from_slice(&missed.stdout).unwrap();
    assert!(failure["error"]["message"].as_str().unwrap().contains("framesReceived>=5000: it was"), "{failure}");
    let nonsense = call(decoded, &["more of everything"]);
    assert_eq!(nonsense.code, Some(2), "{nonsense:?}");
}

#[test]
fn a_negotiated_channel_is_opened_by_both_and_announced_by_none() {
    let _turn = calls_share_the_machine();
    let channel = ["--pipe", "--negotiated", "--id=7"];
    let mut callee = Rtckit::start(["answer"].iter().chain(&channel));
    let mut caller = Rtckit::start(["call"].iter().chain(&channel));
    introduce(&mut caller, &mut callee);
    caller.write(b"over stream seven");
    caller.close_stdin();
    callee.close_stdin();
    assert_eq!(callee.succeed(PATIENCE).stdout, b"over stream seven");
    caller.succeed(PATIENCE);
    for flags in [["--data", "--negotiated"], ["--data", "--id=3"]] {
        assert_eq!(Rtckit::start(["call"].iter().chain(&flags)).wait(PATIENCE).code, Some(2));
    }
}

#[test]
fn what_came_of_a_call_is_left_to_other_programs() {
    let _turn = one_call_at_a_time();
    let scratch = Scratch::new();
    let file = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    let (junit, dump) = (file("call.xml"), file("dump.json"));
    let to = ["--junit", &junit, "--stats-dump", &dump, "--stats=200ms", "-q"];
    let expect = ["--expect=outbound-rtp.framesSent>=1", "--expect=inbound-rtp[kind=audio].jitter<-1"];
    let call = ["call", "--loopback", "--audio=test", "--duration=1500ms"];
    let exit = Rtckit::start(call.iter().chain(&to).chain(&expect)).wait(PATIENCE);
    assert_eq!(exit.code, Some(14), "{exit:?}");
    let text = std::fs::read_to_string(&junit).unwrap();
    for part in [
        "tests=\"3\" failures=\"1\" errors=\"0\"",
        "<testcase classname=\"rtckit call\" name=\"call\" time=\"1.",
        "name=\"outbound-rtp.framesSent&gt;=1\" time=\"0.000000\"/>",
        "name=\"inbound-rtp[kind=audio].jitter&lt;-1\" time=\"0.000000\"><failure type=\"expect\" message=\"it was 0",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let dump: Value = serde_json::from_slice(&std::fs::read(&dump).unwrap()).unwrap();
    let connection = dump["PeerConnections"].as_object().unwrap().values().next().unwrap();
    let states: Vec<_> = connection["updateLog"].as_array().unwrap().iter().map(|entry| &entry["value"]).collect();
    assert!(states.contains(&&Value::from("connected")), "{states:?}");
    let series = connection["stats"].as_object().unwrap();
    let (_, packets) =
        series.iter().find(|(name, of)| name.ends_with("-packetsSent") && of["statsType"] == "outbound-rtp").unwrap();
    let packets: Vec<u64> = serde_json::from_str(packets["values"].as_str().unwrap()).unwrap();
    assert!(packets.len() >= 4 && packets.is_sorted() && packets[packets.len() - 1] > packets[0], "{packets:?}");
    // Neither is written over.
    let exit = Rtckit::start(call.iter().chain(&to)).wait(PATIENCE);
    assert_eq!(exit.code, Some(13), "{exit:?}");
}
