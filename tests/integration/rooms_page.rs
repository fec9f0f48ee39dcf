//! The page of `rtckit signal`, used as a person uses it: it meets another page, rtckit, and a member who means no good.

use crate::browser::{Page, Window, downloads};
use crate::support::{MediaFile, PATIENCE, Rtckit, Scratch, have, noise, one_call_at_a_time};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The server, and where it is.
fn serve() -> (Rtckit, String) {
    let mut server = Rtckit::start(["signal", "--listen=127.0.0.1:0"]);
    let url = server.line().trim_end_matches('/').to_owned();
    (server, url)
}

/// Opens the page of a room, says who comes, and joins.
pub fn join(window: &Window, room: &str, name: &str) {
    window.go(room);
    window.write("#name", name);
    window.click("#join");
}

/// Joins where nobody is asked for a camera.
fn join_without_camera(window: &Window, room: &str) {
    window.go(room);
    window.click("#with-camera");
    window.click("#with-microphone");
    window.click("#join");
}

/// The same, and is alone there.
fn join_to_watch(window: &Window, room: &str) {
    join_without_camera(window, room);
    window.until_text("#status", "Waiting");
}

/// Waits until the picture of the other side is there, and moves.
pub fn await_picture(window: &Window) {
    window.until(
        "{ const video = document.querySelector('#tiles video');
           if (!video?.videoWidth) return false;
           const canvas = new OffscreenCanvas(64, 48);
           const context = canvas.getContext('2d', { willReadFrequently: true });
           context.drawImage(video, 0, 0, 64, 48);
           const picture = context.getImageData(0, 0, 64, 48).data.join();
           const moved = window.lastPicture !== undefined && window.lastPicture !== picture;
           window.lastPicture = picture;
           return moved && document.querySelector('.no-picture').hidden; }",
        &json!([]),
    );
}

fn say(window: &Window, text: &str) {
    if window.evaluate("document.querySelector('#chat').hidden", json!([])) == true {
        window.click("[data-panel=chat]");
    }
    window.until("!document.querySelector('#chat-text').disabled", &json!([]));
    // Enter.
    window.write("#chat-text", &format!("{text}\u{e007}"));
}

/// `from` sends the file, `to` accepts and saves it: what is saved is what was sent.
fn hand_over(from: &Window, to: &Window, file: &Path, content: &[u8]) {
    let name = file.file_name().unwrap().to_str().unwrap();
    from.write("#picker", file.to_str().unwrap());
    from.until_text("#file-list", &format!(": {name}"));
    to.until_text("#file-list", name);
    to.click("#file-list button.primary");
    to.until_text("#file-list .done", "hash is right");
    from.until_text("#file-list .done", "checked there");
    to.click("#file-list .done a");
    assert_saved(name, content);
}

/// Waits until the browser has saved a download under this name; it is what was sent.
fn assert_saved(name: &str, content: &[u8]) {
    let saved = downloads().join(name);
    let begin = Instant::now();
    while fs::read(&saved).ok().as_deref() != Some(content) {
        assert!(begin.elapsed() < PATIENCE, "{name} is not saved");
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::remove_file(saved).unwrap();
}

#[test]
fn two_pages_call_each_other_chat_swap_files_and_meet_again_after_a_reload() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open() else { return };
    let (_server, url) = serve();
    let room = format!("{url}/demo");
    let (ann, scratch) = (page.window(), Scratch::new());
    join(&ann, &room, "Ann");
    ann.until_text("#status", "Waiting");
    let bob = page.open_window();
    join(&bob, &room, "Bob");
    ann.until_text("#status", "Connected with Bob");
    bob.until_text("#status", "Connected with Ann");
    await_picture(&ann);
    await_picture(&bob);

    say(&ann, "hello <b>Bob</b>");
    bob.until("document.querySelector('[data-panel=chat]').dataset.new === '1'", &json!([]));
    say(&bob, "grüße");
    ann.until_text("#chat-log .theirs", "grüße");
    bob.until_text("#chat-log .theirs", "hello <b>Bob</b>");

    for (from, to, name, size) in [(&ann, &bob, "from ann", 1_500_000), (&bob, &ann, "from bob", 70_001)] {
        let content = noise(size, 5);
        let file = scratch.path(&format!("{name} {}.bin", std::process::id()));
        fs::write(&file, &content).unwrap();
        hand_over(from, to, &file, &content);
    }

    let carl = page.open_window();
    join(&carl, &room, "Carl");
    carl.until_text("#over", "The room is full");

    bob.reload();
    bob.until_text("#status", "Connected with Ann");
    ann.until_text("#chat-log .event:last-child", "Bob came");
    await_picture(&bob);
    await_picture(&ann);
    bob.click("#leave");
    bob.until_text("#over", "You left");
    ann.until_text("#status", "Bob left");
}

#[test]
fn files_that_are_chosen_while_there_is_no_path_go_when_there_is_one() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open_with_hidden_addresses() else { return };
    let (_server, url) = serve();
    let (ann, scratch) = (page.window(), Scratch::new());
    join_to_watch(&ann, &format!("{url}/demo"));
    let content = noise(100_000, 3);
    let [early, late] = ["before a path", "without a path"].map(|name| {
        let file = scratch.path(&format!("{name} {}.bin", std::process::id()));
        fs::write(&file, &content).unwrap();
        file
    });
    // Nothing is known of the other side until the test says so.
    ann.evaluate(
        "{ const { prototype } = RTCPeerConnection;
           const known = new Promise((known) => { window.allow = known; });
           const describe = prototype.setRemoteDescription;
           prototype.setRemoteDescription = async function (description) {
             window.connection = this;
             await known;
             return describe.call(this, description);
           }; }",
        json!([]),
    );
    let bob = page.open_window();
    join_without_camera(&bob, &format!("{url}/demo"));
    ann.until_text("#status", "Connecting");
    ann.write("#picker", early.to_str().unwrap());
    ann.until_text("#file-list", "Waits for the connection");
    ann.evaluate("allow()", json!([]));
    bob.until_text("#file-list", "before a path");
    ann.until_text("#status", "Connected");
    // As where nothing came by it for some seconds.
    ann.evaluate(
        "{ Object.defineProperty(connection, 'connectionState', { value: 'disconnected' });
           connection.dispatchEvent(new Event('connectionstatechange')); }",
        json!([]),
    );
    ann.until_text("#status", "interrupted");
    ann.write("#picker", late.to_str().unwrap());
    ann.until_text("#file-list", "without a path");
    bob.until_text("#file-list", "without a path");
    for _ in 0..2 {
        bob.click("#file-list button.primary");
    }
    ann.until("document.querySelectorAll('#file-list .done').length === 2", &json!([]));
}

#[test]
fn a_page_is_not_taken_in_by_a_member_who_means_no_good() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open_with_hidden_addresses() else { return };
    let (_server, url) = serve();
    let ann = page.window();
    join_to_watch(&ann, &format!("{url}/demo"));
    let errors = "{ window.errors = []; addEventListener('error', (event) => errors.push(event.message));
        addEventListener('unhandledrejection', (event) => errors.push(String(event.reason))); }";
    ann.evaluate(errors, json!([]));
    let mallory = page.open_window();
    mallory.go(&format!("{url}/healthz"));
    let room = format!("{}/demo", url.replacen("http", "ws", 1));
    let attack = format!("{{ {} }}", include_str!("browser/hostile.js"));
    let codes = mallory.evaluate(&attack, json!([room, "<b>Mallory</b>\u{202e}"]));
    let manifest = ["above", "absolute", "twice", "noEntry", "negative"];
    let protocol = ["noJson", "binaryFirst", "sameRole", "noList", "fewer", "unasked"];
    for (attacks, code) in [(&manifest[..], "manifest"), (&protocol[..], "protocol"), (&["otherVersion"], "version")] {
        for attack in attacks {
            assert_eq!(codes[attack], code, "{attack}: {codes}");
        }
    }
    ann.until_text("#file-list", "From <b>Mallory</b>\u{fffd}: liar");
    ann.click("#file-list button.primary");
    ann.until_text("#file-list .failed", "liar arrived changed");
    mallory.until("window.liarTold === 'integrity'", &json!([]));
    ann.click("[data-panel=chat]");
    ann.until_text("#chat-log .theirs", "<img src=x");
    ann.until_text("#chat-log .theirs", "xxx… (cut)");
    assert_eq!(ann.evaluate("[errors, document.title]", json!([])), json!([[], "demo – rtckit"]));
}

#[test]
fn firefox_and_chromium_meet_in_a_room() {
    let _turn = one_call_at_a_time();
    let (Some(chromium), Some(firefox)) = (Page::open(), Page::open_in_firefox()) else { return };
    let (_server, url) = serve();
    let room = format!("{url}/demo");
    let (ann, bob, scratch) = (firefox.window(), chromium.window(), Scratch::new());
    join(&ann, &room, "Ann");
    ann.until_text("#status", "Waiting");
    join(&bob, &room, "Bob");
    await_picture(&ann);
    await_picture(&bob);
    say(&bob, "from Chromium");
    say(&ann, "from Firefox");
    ann.until_text("#chat-log .theirs", "from Chromium");
    bob.until_text("#chat-log .theirs", "from Firefox");
    let content = noise(300_000, 9);
    let file = scratch.path(&format!("from firefox {}.bin", std::process::id()));
    fs::write(&file, &content).unwrap();
    hand_over(&ann, &bob, &file, &content);
    // What Firefox takes is judged by itself: it asks before it saves.
    bob.write("#picker", file.to_str().unwrap());
    ann.until_text("#file-list", "From Bob: from firefox");
    ann.click("#file-list button.primary");
    ann.until_text("#file-list .done", "hash is right");
    bob.until_text("#file-list .done", "checked there");
    ann.reload();
    ann.until_text("#status", "Connected with Bob");
    await_picture(&ann);
    await_picture(&bob);
}

#[test]
fn rtckit_calls_a_page_in_a_room() {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    let (_server, url) = serve();
    let (ann, scratch) = (page.window(), Scratch::new());
    join(&ann, &format!("{url}/demo"), "Ann");
    ann.until_text("#status", "Waiting");
    let (room, recording) = (format!("{}/demo", url.replacen("http", "ws", 1)), scratch.path("page.webm"));
    let args = ["call", "--signal", &room, "--video=test", "--audio=test", "--chat", "--record"];
    let mut caller = Rtckit::start(args.iter().map(AsRef::as_ref).chain([recording.as_os_str()]));
    await_picture(&ann);
    caller.write(b"from rtckit\n");
    say(&ann, "grüße");
    assert_eq!(caller.line(), "grüße");
    ann.until_text("#chat-log .theirs", "from rtckit");
    // Something to record.
    ann.until("(window.since ??= performance.now()) + 2000 < performance.now()", &json!([]));
    caller.close_stdin();
    caller.succeed(PATIENCE);
    ann.until_text("#status", "Waiting");
    let file = MediaFile::open(&recording);
    file.assert_plays();
    assert!(file.duration() > 1.0 && file.stream("vp8").times.len() > 15, "{} s", file.duration());
    assert!(file.stream("opus").times.len() > 50);

    // One that records and does not chat outlives the page when that is loaded anew, and not when its user leaves.
    let recording = scratch.path("both.webm");
    let args = ["call", "--signal", &room, "--video=test", "--json", "--record"];
    let mut caller = Rtckit::start(args.iter().map(AsRef::as_ref).chain([recording.as_os_str()]));
    await_picture(&ann);
    ann.reload();
    await_picture(&ann);
    ann.click("#leave");
    let report: Value = serde_json::from_slice(&caller.succeed(PATIENCE).stdout).unwrap();
    assert_eq!((&report["rejoined"], &report["ended"]), (&json!(1), &json!("peer-hung-up")), "{report}");
    MediaFile::open(&recording).assert_plays();
}

#[test]
fn a_call_that_takes_files_besides_is_shown_as_a_call_and_gets_both() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open() else { return };
    let (_server, url) = serve();
    let (ann, scratch) = (page.window(), Scratch::new());
    join(&ann, &format!("{url}/demo"), "Ann");
    ann.until_text("#status", "Waiting");
    let (recording, inbox) = (scratch.path("ann.webm"), scratch.path("inbox"));
    let room = format!("{}/demo", url.replacen("http", "ws", 1));
    let args = ["answer", "--signal", &room, "--record", recording.to_str().unwrap(), "--receive-files"];
    let mut answerer = Rtckit::start(args.iter().map(AsRef::as_ref).chain([inbox.as_os_str()]));
    ann.until_text("#status", "Connected with The other side");
    crate::support::await_growth(&scratch, 50_000);
    assert_eq!(ann.text("#file-list"), "", "it does not wait for files");
    let content = noise(100_000, 17);
    let name = format!("besides {}.bin", std::process::id());
    fs::write(scratch.path(&name), &content).unwrap();
    ann.write("#picker", scratch.path(&name).to_str().unwrap());
    ann.until_text("#file-list .done", "checked there");
    assert!(fs::read(inbox.join(&name)).unwrap() == content);
    answerer.interrupt();
    assert_eq!(answerer.wait(PATIENCE).code, Some(130));
    MediaFile::open(&recording).assert_plays();

    // To a call that takes no files none are sent.
    let mut caller = Rtckit::start(["call", "--signal", &room, "--video=test"]);
    ann.until_text("#status", "Connected with The other side");
    ann.write("#picker", scratch.path(&name).to_str().unwrap());
    ann.until_text("#file-list .failed", "takes no files");
    caller.interrupt();
    assert_eq!(caller.wait(PATIENCE).code, Some(130));

    // Whoever says nothing of itself, or what is not understood, is judged by its role.
    let judged = "{ const { takes } = await import('/page/room.js');
        const of = (role, capabilities) => Object.values(takes({ role, capabilities })).join();
        return [
          of('answer'), of('any'), of('answer', null), of('any', { version: 2, receives: ['files'] }), of('answer', { version: 1 }),
          of('answer', { version: 1, receives: ['files'] }), of('answer', { version: 1, receives: ['video', 'files', 'smell'] }),
          of('any', { version: 1, receives: ['audio', 'chat'] }),
        ]; }";
    let unknown = ",false,";
    let expected = [
        unknown,
        "true,true,true",
        unknown,
        "true,true,true",
        unknown,
        "false,false,true",
        "true,false,true",
        "true,true,false",
    ];
    assert_eq!(ann.evaluate(judged, json!([])), json!(expected));
}

#[test]
fn a_page_takes_what_send_file_sends_and_sends_to_receive_file() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open_with_hidden_addresses() else { return };
    let (_server, url) = serve();
    let (ann, scratch) = (page.window(), Scratch::new());
    let room = format!("{}/demo", url.replacen("http", "ws", 1));
    join_to_watch(&ann, &format!("{url}/demo"));
    // The page's own hash is that of everybody, whatever the number of chunks.
    for length in [0, 1, 64, 1023, 1024, 1025, 2048, 3073, 31_744] {
        let hash = "{ const { Blake3 } = await import('/page/blake3.js');
            return new Blake3().update(new Uint8Array(arguments[0]).fill(7)).hex(); }";
        let theirs = ann.evaluate(hash, json!([length]));
        assert_eq!(theirs, blake3::hash(&vec![7; length]).to_hex().as_str(), "{length}");
    }
    // It says nothing by a channel of the other side before it heard something there.
    let greetings = "{ const { receive } = await import('/page/receive.js');
        const said = [];
        const channel = { readyState: 'open', bufferedAmount: 0, send: (text) => said.push(JSON.parse(text).type), close() {} };
        receive(channel, { signal: new AbortController().signal, consent: () => new Promise(() => {}) });
        await new Promise((done) => setTimeout(done));
        const before = said.length;
        channel.onmessage({ data: '{\"type\":\"hello\",\"protocol\":\"rtckit-transfer\",\"version\":1,\"role\":\"sender\"}' });
        await new Promise((done) => setTimeout(done));
        return [before, said]; }";
    assert_eq!(ann.evaluate(greetings, json!([])), json!([0, ["hello"]]));
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    fs::create_dir(&from).unwrap();
    let files = [("empty", 0), ("small", 100), ("big", 1_000_001)]
        .map(|(name, size)| (format!("{name} {}.bin", std::process::id()), noise(size, 11)));
    for (name, content) in &files {
        fs::write(from.join(name), content).unwrap();
    }
    let mut sender = Rtckit::start(["send-file", from.to_str().unwrap(), "--signal", &room]);
    ann.until_text("#file-list", "and 2 more");
    ann.click("#file-list button.primary");
    sender.succeed(PATIENCE);
    ann.until_text("#file-list .done", "3 files are here");
    for (name, content) in &files {
        ann.click(&format!("#file-list .done a[download='{name}']"));
        assert_saved(name, content);
    }
    ann.until_text("#status", "Waiting");

    let mut receiver = Rtckit::start(["receive-file", "--signal", &room, "--output", to.join("").to_str().unwrap()]);
    ann.until_text("#file-list", "waits for files");
    let paths: Vec<_> = files.iter().map(|(name, _)| from.join(name).to_str().unwrap().to_owned()).collect();
    ann.write("#picker", &paths.join("\n"));
    receiver.succeed(PATIENCE);
    ann.until_text("#file-list .done", "checked there");
    for (name, content) in &files {
        assert!(fs::read(to.join(name)).unwrap() == *content, "{name}");
    }
}
