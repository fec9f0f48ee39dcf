//! The command line as scripts see it: streams, exit codes, configuration.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::process::{Command, Output, Stdio};

/// The program with an environment of its own: no configuration of whoever runs the tests.
fn rtckit(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtckit"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn version_and_help_are_a_product_and_go_to_stdout() {
    let version = output(&mut rtckit(&["--version"]));
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), format!("rtckit {}\n", env!("CARGO_PKG_VERSION")));
    let help = output(&mut rtckit(&["--help"]));
    assert_eq!((help.status.code(), help.stderr.len()), (Some(0), 0));
    for word in ["Examples:", "Exit codes:", "completions", "124"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_exit_2_and_says_so_on_stderr() {
    for args in
        [&["--no-such-flag"][..], &[], &["frobnicate"], &["man", "--quiet", "-v"], &["man", "--events-file", "fd:x"]]
    {
        let run = output(&mut rtckit(args));
        assert_eq!((run.status.code(), run.stdout.len()), (Some(2), 0), "{args:?}");
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn programs_hear_of_a_command_line_that_makes_no_sense_where_they_read_the_report() {
    let json = |bytes: &[u8]| -> serde_json::Value {
        serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", text(bytes)))
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.ndjson");
    let to_file = format!("--events-file={}", file.display());
    // What clap refuses, a parser of ours, and the command.
    for wrong in [&["--no-such"][..], &["--volume=9"], &["--ice-server", "turn:x"]] {
        let run = output(&mut rtckit(&[&["call", "--loopback", "--json"], wrong].concat()));
        let object = json(&run.stdout);
        assert_eq!((run.status.code(), &object["schema"]), (Some(2), &"rtckit.call/1".into()), "{wrong:?} {object}");
        assert!(object["error"]["message"].as_str().is_some_and(|why| !why.is_empty()), "{object}");
        assert!(text(&run.stderr).starts_with("error: "), "people are told too");
        // Where descriptions are carried by standard output, it is on standard error, alone.
        let run = output(&mut rtckit(&[&["call", "--events"], wrong].concat()));
        assert_eq!((run.status.code(), run.stdout.len(), &json(&run.stderr)["type"]), (Some(2), 0, &"result".into()));
        let run = output(&mut rtckit(&[&["call", &to_file], wrong].concat()));
        assert_eq!((run.stdout.len(), text(&run.stderr).starts_with("error: ")), (0, true), "{wrong:?}");
        assert_eq!(json(&fs::read(&file).expect("it was written"))["type"], "result");
    }
    let run = output(&mut rtckit(&["record", "-o", "-", "--video=test", "--json", "--duration", "x"]));
    assert_eq!((run.stdout.len(), &json(&run.stderr)["error"]["name"]), (0, &"usage".into()));
    let config = folder.path().join("broken.toml");
    fs::write(&config, "jsn = true\n").expect("a file");
    let run = output(rtckit(&["devices", "--json", "--config"]).arg(config));
    assert_eq!((run.status.code(), &json(&run.stdout)["error"]["name"]), (Some(2), &"usage".into()));
    assert_eq!(json(&run.stdout)["error"]["hint"], "did you mean 'json'?");
}

#[test]
fn numbers_that_are_too_large_or_too_small_are_told_so() {
    for args in [
        &["call", "--loopback", "--data", "--duration", "1e19"][..],
        &["answer", "--timeout=1e19"],
        &["call", "--loopback", "--data", "--username", "x", "--credential-file", "/dev/zero"],
        &["devices", "--config", "/dev/zero"],
        &["turn-probe", "stun:127.0.0.1", "--every", "0"],
        &["turn-probe", "stun:127.0.0.1", "--min-cert-days", "NaN"],
        &["signal", "--listen", "127.0.0.1:0", "--allow-origin", "example.org"],
        &["signal", "--listen", "127.0.0.1:0", "--allow-origin", "https://example.org/"],
    ] {
        let run = output(&mut rtckit(args));
        assert_eq!(run.status.code(), Some(2), "{args:?}: {}", text(&run.stderr));
        assert!(text(&run.stderr).starts_with("error: "), "{args:?}: {}", text(&run.stderr));
    }
}

#[test]
fn a_call_is_not_recorded_as_what_its_name_does_not_say() {
    let home = tempfile::tempdir().expect("a folder");
    for name in ["call.mp4", "call.wav", "call.ogg"] {
        let path = home.path().join(name);
        let run = output(rtckit(&["call", "--loopback", "--video=test", "--duration=1s", "--record"]).arg(&path));
        assert_eq!((run.status.code(), path.exists()), (Some(2), false), "{}", text(&run.stderr));
        assert!(text(&run.stderr).contains("as WebM or Matroska"), "{}", text(&run.stderr));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn limits_of_the_system_are_errors_with_their_reason() {
    let limited = |limit: &str, args: &[&str]| {
        let line = format!("ulimit {limit}; exec \"$@\"");
        output(
            Command::new("bash")
                .args(["-c", &line, "bash", env!("CARGO_BIN_EXE_rtckit")])
                .args(args)
                .stdin(Stdio::null()),
        )
    };
    for descriptors in [6, 8, 10] {
        let run = limited(&format!("-n {descriptors}"), &["call", "--loopback", "--data", "--duration", "100ms"]);
        let said = text(&run.stderr);
        assert!(run.status.code().is_some_and(|code| code != 0 && code != 101), "{descriptors}: {run:?}");
        assert!(said.contains("Too many open files") && !said.contains("panicked"), "{descriptors}: {said}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let film = folder.path().join("film.webm");
    let film = film.to_str().expect("UTF-8");
    let run = limited("-f 100", &["record", "--video=test", "--unpaced", "--duration", "20s", "-o", film]);
    assert_eq!(run.status.code(), Some(13), "{run:?}");
    assert!(text(&run.stderr).contains("File too large"), "{run:?}");
}

/// Records until it has begun, and is sent a SIGHUP.
fn hung_up(command: &mut Command) -> (std::process::Child, impl FnOnce(std::process::Child) -> String) {
    let mut child = command
        .args(["record", "--video=test", "--duration", "1s", "--overwrite", "--events", "-o", "film.webm"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut events = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    let has_pictures = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).is_ok_and(|event| event["seconds"].as_f64() > Some(0.0))
    };
    while !has_pictures(&line) {
        line.clear();
        assert!(events.read_line(&mut line).expect("UTF-8") > 0, "it ended early");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::HUP)
        .expect("sent");
    let rest = move |mut child: std::process::Child| {
        let mut rest = String::new();
        events.read_to_string(&mut rest).expect("UTF-8");
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest}");
        rest.lines().last().unwrap_or_default().to_owned()
    };
    (child, rest)
}

#[test]
fn a_terminal_that_is_gone_ends_a_recording_in_order_and_nohup_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    for (mut command, stays) in [(rtckit(&[]), false), (Command::new("nohup"), true)] {
        if stays {
            command.arg(env!("CARGO_BIN_EXE_rtckit")).stdin(Stdio::null());
        }
        let (child, rest) = hung_up(command.current_dir(folder.path()));
        let result: serde_json::Value = serde_json::from_str(&rest(child)).expect("JSON");
        assert_eq!(result["ended"], if stays { "duration" } else { "terminate" });
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "the file alone");
    }
}

#[test]
fn what_the_library_warns_of_is_a_warning_like_any_other() {
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 FP\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
        a=rtcp-mux\r\na=setup:actpass\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ token\r\n"
        .replace("FP", &["AB"; 32].join(":"));
    let offer = format!("{}\n", serde_json::json!({ "type": "offer", "sdp": offer }));
    // It says neither a direction nor what payload type 0 is, and both go without saying: there is an answer.
    let run = answer(&["--timeout", "300ms"], &offer);
    assert_eq!(run.status.code(), Some(9), "{}", text(&run.stderr));
    let answered: serde_json::Value = serde_json::from_slice(&run.stdout).expect("an answer");
    assert!(
        answered["sdp"].as_str().is_some_and(|sdp| sdp.contains("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n")),
        "{answered}"
    );
    let warned = "warning: ignored 1 of the peer's candidates, which cannot be read: 1 1 udp 1 127.0.0.1 9 typ token";
    assert!(text(&run.stderr).lines().any(|line| line == warned), "{}", text(&run.stderr));
    let run = answer(&["--timeout", "300ms", "--events"], &offer);
    let events: Vec<serde_json::Value> =
        text(&run.stderr).lines().map(|line| serde_json::from_str(line).expect("JSON and nothing else")).collect();
    assert!(
        events.iter().any(|event| event["type"] == "warning" && event["schema"] == "rtckit.answer/1"),
        "{events:?}"
    );
}

#[test]
fn a_broken_config_file_is_exit_2_with_one_line_and_a_hint() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("rtckit").join("config.toml");
    fs::create_dir(file.parent().expect("it has one")).expect("a folder");
    fs::write(&file, "qiet = true\n").expect("a file");
    let run = output(rtckit(&["man"]).env("XDG_CONFIG_HOME", home.path()));
    assert_eq!(run.status.code(), Some(2));
    let said = text(&run.stderr);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("error: config file") && said.ends_with("hint: did you mean 'quiet'?\n"), "{said}");
    let run = output(&mut rtckit(&["man", "--config", "/nowhere/rtckit.toml"]));
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("/nowhere/rtckit.toml"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child =
        rtckit(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    assert_eq!((child.wait().expect("it ends").code(), said.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_exit_13() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let run = output(rtckit(&["man"]).stdout(full));
    assert_eq!(run.status.code(), Some(13));
    assert!(text(&run.stderr).starts_with("error: cannot write standard output: "));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    assert_eq!(output(rtckit(&["call", "--help"]).stdout(full)).status.code(), Some(13));
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = output(&mut rtckit(&["completions", shell]));
        assert_eq!(run.status.code(), Some(0), "{shell}");
        assert!(text(&run.stdout).contains("completions"), "{shell}");
    }
}

/// `rtckit answer` with `input` on its standard input.
fn answer(args: &[&str], input: &str) -> Output {
    let mut command = rtckit(&[&["answer"], args].concat());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It may refuse and be gone before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn what_is_no_offer_is_exit_3_with_one_line_and_a_hint_and_nothing_on_stdout() {
    for (input, said) in [
        ("", "the input was empty"),
        ("hello, world\n", "not a session description"),
        ("{\"type\":\"offer\",\"sdp\":\"v=0", "truncated JSON"),
        ("{\"type\":\"offer\"}\n", "'sdp' is missing"),
        ("[]\n", "not a session description"),
        ("v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\n", "nothing in it"),
    ] {
        let run = answer(&[], input);
        let stderr = text(&run.stderr);
        assert_eq!((run.status.code(), run.stdout.len()), (Some(3), 0), "{input}: {stderr}");
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(said), "{input}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn where_stdout_is_taken_json_goes_to_stderr_alone_or_to_the_events_file() {
    let run = answer(&["--json"], "nonsense\n");
    assert_eq!(run.stdout.len(), 0);
    let object: serde_json::Value = serde_json::from_slice(&run.stderr).expect("JSON and nothing else");
    assert_eq!((&object["schema"], &object["error"]["name"]), (&"rtckit.answer/1".into(), &"sdp-syntax-error".into()));

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.ndjson");
    let run = answer(&["--events-file", file.to_str().expect("UTF-8")], "nonsense\n");
    assert!(text(&run.stderr).starts_with("error: "));
    let events = fs::read_to_string(&file).expect("it was written");
    let last: serde_json::Value = serde_json::from_str(events.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["type"], &last["schema"]), (&"result".into(), &"rtckit.answer/1".into()));
}

#[test]
fn quiet_is_quiet() {
    let run = answer(&["-q"], "nonsense\n");
    assert_eq!((run.status.code(), run.stdout.len(), run.stderr.len()), (Some(3), 0, 0));
}

#[test]
fn the_environment_and_the_config_file_set_flags_and_their_mistakes_are_named() {
    let run = output(rtckit(&["answer"]).env("RTCKIT_DURATION", "a while"));
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).starts_with("error: RTCKIT_DURATION: invalid value 'a while'"), "{}", text(&run.stderr));
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("config.toml");
    fs::write(&file, "[answer]\nquiet = true\n").expect("a file");
    let run = output(rtckit(&["answer"]).env("RTCKIT_CONFIG", &file));
    assert_eq!((run.status.code(), run.stderr.len()), (Some(3), 0));
}

#[test]
fn a_secret_on_the_command_line_is_warned_of_and_one_in_the_environment_is_not() {
    let flags = ["--ice-server=turn:127.0.0.1:9", "--username=u", "--credential=hunter2"];
    let run = answer(&flags, "nonsense\n");
    assert!(text(&run.stderr).contains("warning: a secret on the command line"), "{}", text(&run.stderr));
    assert!(!text(&run.stderr).contains("hunter2"));
    let mut command = rtckit(&[&["answer"], &flags[..2]].concat());
    let run = output(command.env("RTCKIT_CREDENTIAL", "hunter2"));
    assert_eq!(run.status.code(), Some(3), "{}", text(&run.stderr));
    assert!(!text(&run.stderr).contains("warning"));
}

#[test]
fn a_server_that_is_silent_or_talks_nonsense_is_an_error_in_time_and_in_a_line() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("it has one");
    let began = std::time::Instant::now();
    // The system takes the connection, and nobody says anything.
    let room = format!("ws://{address}/demo");
    let run = output(&mut rtckit(&["call", "--data", "--timeout", "500ms", "--signal", &room]));
    assert_eq!(run.status.code(), Some(124), "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains("an answer of the server did not come within "), "{}", text(&run.stderr));
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            // It may be gone again.
            let _ = stream.write_all(b"\x00\xff\r\n");
        }
    });
    let redis = format!("redis://{address}");
    let run = output(&mut rtckit(&["signal", "--listen", "127.0.0.1:0", "--redis", &redis]));
    let said = text(&run.stderr);
    assert_eq!((run.status.code(), said.lines().count(), said.starts_with("error: ")), (Some(5), 1, true), "{said}");
}
