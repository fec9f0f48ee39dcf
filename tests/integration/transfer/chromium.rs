//! Chromium as the receiver, by a page that speaks the protocol as it is described.

use super::PATIENCE;
use crate::browser::Page;
use crate::support::{Rtckit, Scratch, calls_share_the_machine, noise};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_page_receives_files_by_the_protocol_as_it_is_described() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open_with_hidden_addresses() else { return };
    page.show_file("examples/receive-file.html");
    // The page's own hash is that of everybody, whatever the number of chunks.
    for length in [0, 1, 64, 1023, 1024, 1025, 2048, 3073, 31_744] {
        let script =
            "(() => { const h = new Blake3(); h.update(new Uint8Array(arguments[0]).fill(7)); return h.hex(); })()";
        let theirs = page.evaluate(script, json!([length]));
        assert_eq!(theirs, blake3::hash(&vec![7; length]).to_hex().as_str(), "{length}");
    }
    let scratch = Scratch::new();
    let from = scratch.path("from");
    fs::create_dir(&from).unwrap();
    for (name, size) in [("empty", 0), ("small", 100), ("big", 1_000_001)] {
        fs::write(from.join(name), noise(size, 11)).unwrap();
    }
    let mut sender = Rtckit::start(["send-file", from.to_str().unwrap(), "--json"]);
    let offer = sender.json();
    let answer = page.evaluate(
        "{ $('remote').value = JSON.stringify(arguments[0]); await answer(); return JSON.parse($('local').value); }",
        json!([offer]),
    );
    sender.write_json(&answer);
    let exit = sender.succeed(PATIENCE);
    let report: Value = serde_json::from_str(exit.stderr.lines().rfind(|line| line.starts_with('{')).unwrap()).unwrap();
    assert_eq!(report["complete"], true, "{report}");
    let begin = Instant::now();
    while page.evaluate("$('state').textContent", json!([])) != "complete" {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let sizes = page.evaluate("Object.fromEntries(Object.entries(received).map(([k, v]) => [k, v.size]))", json!([]));
    assert_eq!(sizes, json!({ "from/empty": 0, "from/small": 100, "from/big": 1_000_001 }));
}
