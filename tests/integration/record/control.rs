//! `--control`: commands while it runs, over standard input, a fifo and a socket.

use super::{check, start};
use crate::support::{PATIENCE, Rtckit, Scratch, calls_share_the_machine};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

/// Writes a command to the stdin of `recording`, and reads the answer to it.
fn ask(recording: &mut Rtckit, command: &Value) -> Value {
    recording.write_json(command);
    recording.json()
}

#[test]
fn commands_on_standard_input_are_answered_and_obeyed() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let path = scratch.path("film.webm");
    let mut recording = start(&["--control=-", "-o", path.to_str().unwrap()]);
    // Anything to be seen in the file takes a while.
    while ask(&mut recording, &json!({ "command": "state" }))["bytes"].as_u64() < Some(5_000) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let paused = ask(&mut recording, &json!({ "command": "pause", "id": 1 }));
    assert_eq!((&paused["ok"], &paused["id"], &paused["state"]), (&true.into(), &1.into(), &"paused".into()));
    assert_eq!(paused["schema"], "rtckit.record/1");
    let again = ask(&mut recording, &json!({ "command": "pause", "id": "two" }));
    assert_eq!((&again["ok"], &again["id"]), (&true.into(), &"two".into()), "as in browsers, that is no error");
    let unknown = ask(&mut recording, &json!({ "command": "rewind" }));
    assert_eq!((&unknown["ok"], &unknown["error"]["name"]), (&false.into(), &"NotSupportedError".into()));
    recording.write(b"nonsense\n");
    assert_eq!(recording.json()["error"]["name"], "SyntaxError");
    assert_eq!(ask(&mut recording, &json!({ "command": "resume" }))["state"], "recording");
    assert_eq!(ask(&mut recording, &json!({ "command": "requestData" }))["ok"], true);
    recording.write_json(&json!({ "command": "stop" }));
    assert_eq!(recording.json()["ok"], true);
    let exit = recording.succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert_eq!((&report["ended"], &report["pauses"]), (&"stopped".into(), &1.into()), "{report}");
    assert_eq!(check(&path).1, Some(0));
}

#[test]
fn a_fifo_and_a_socket_take_commands_and_the_socket_is_gone_afterwards() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (fifo, socket) = (scratch.path("fifo"), scratch.path("socket"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let film = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    let mut by_fifo = start(&["--events", "--control", fifo.to_str().unwrap(), "-o", &film("a.webm")]);
    let mut by_socket = start(&["--events", "--control", socket.to_str().unwrap(), "-o", &film("b.webm")]);
    for recording in [&mut by_fifo, &mut by_socket] {
        while recording.json()["type"] != "recording" {}
    }
    // Two writers one after the other: the first one's leaving is no end.
    for line in ["{\"command\":\"pause\"}", "{\"command\":\"resume\"}", "{\"command\":\"stop\"}"] {
        std::fs::OpenOptions::new().write(true).open(&fifo).unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
        loop {
            let event = by_fifo.json();
            if event["type"] == "answer" {
                assert_eq!(event["ok"], true, "{event}");
                break;
            }
        }
    }
    by_fifo.succeed(PATIENCE);

    let mut clients = [(); 2].map(|()| UnixStream::connect(&socket).unwrap());
    for (client, command) in clients.iter_mut().zip(["state", "stop"]) {
        client.write_all(format!("{{\"command\":\"{command}\",\"id\":5}}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(client).read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["command"], &answer["id"], &answer["ok"]), (&command.into(), &5.into(), &true.into()));
    }
    let began = Instant::now();
    by_socket.succeed(PATIENCE);
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(scratch.names(), ["a.webm", "b.webm", "fifo"]);
}
