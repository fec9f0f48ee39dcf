//! `answer --receive-files`: the same transfer at the other end of a call.

use super::{PATIENCE, report, start, text, tree};
use crate::support::{Scratch, calls_share_the_machine, noise};
use std::fs;

#[test]
fn an_answer_takes_files_as_receive_file_does() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("big"), noise(3_000_000, 20)).unwrap();
    fs::write(from.join("empty"), "").unwrap();
    let round = || {
        let mut answering = start("answer", &scratch, ["--receive-files", text(&to)]);
        let mut sending = start("send-file", &scratch, [text(&from)]);
        (sending.wait(PATIENCE), answering.wait(PATIENCE))
    };
    let (sent, answered) = round();
    assert_eq!((sent.code, answered.code), (Some(0), Some(0)), "{sent:?} {answered:?}");
    assert!(tree(&to.join("from")) == tree(&from));
    let (sent, answered) = (report(&sent), report(&answered));
    assert_eq!(answered["schema"], "rtckit.answer/1");
    assert_eq!(answered["ended"], "peer-hung-up");
    assert_eq!(answered["transfer"]["bytes"], sent["bytes"]);
    assert_eq!(answered["transfer"]["files"][0]["blake3"], sent["files"][0]["blake3"]);

    // What exists and is another file ends both, and is not touched.
    fs::write(to.join("from/big"), "precious").unwrap();
    let (sent, answered) = round();
    assert_eq!((sent.code, answered.code), (Some(5), Some(13)), "{sent:?} {answered:?}");
    assert!(answered.error_line().contains("big: the file exists"), "{answered:?}");
    assert!(sent.error_line().contains("the receiver ended the transfer"), "{sent:?}");
    assert_eq!(fs::read(to.join("from/big")).unwrap(), b"precious");
}

#[test]
fn an_answer_whose_sender_gives_up_keeps_what_came_and_says_so() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (file, to) = (scratch.path("file"), scratch.path("to/"));
    fs::write(&file, noise(8_000_000, 21)).unwrap();
    let mut answering = start("answer", &scratch, ["--receive-files", text(&to)]);
    let mut sending = start("send-file", &scratch, [text(&file), "--limit-rate=8M"]);
    super::resume::await_part(&to.join("file.part"), 1_000_000);
    sending.terminate();
    assert_eq!(sending.wait(PATIENCE).code, Some(143));
    let answered = answering.wait(PATIENCE);
    assert_eq!(answered.code, Some(5), "{answered:?}");
    assert!(answered.error_line().contains("the sender ended the transfer"), "{answered:?}");
    assert!(fs::metadata(to.join("file.part")).unwrap().len() >= 1_000_000);
    assert!(!to.join("file").exists());
}
