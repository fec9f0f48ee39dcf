//! What people and programs really paste, what hostile ones send, and the properties that hold for any bytes.

use super::sdp::tests::OFFER;
use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn offer() -> Message {
    Message::Description(Description { kind: DescriptionKind::Offer, sdp: OFFER.to_owned() })
}

/// An offer of more than 4096 bytes.
fn long_offer() -> Message {
    let line = "a=candidate:1 1 udp 2130706431 192.0.2.77 50000 typ host generation 0 network-cost 999\r\n";
    Message::Description(Description { kind: DescriptionKind::Offer, sdp: format!("{OFFER}{}", line.repeat(60)) })
}

/// Everything `bytes` hold when they come in pieces of `piece` bytes and then end.
fn read_all(bytes: &[u8], piece: usize) -> Result<Vec<Message>, SignalingError> {
    let mut reader = Reader::new();
    let mut messages = Vec::new();
    for run in bytes.chunks(piece) {
        reader.push(run);
        while let Some(message) = reader.next()? {
            messages.push(message);
        }
    }
    while let Some(message) = reader.finish()? {
        messages.push(message);
    }
    Ok(messages)
}

/// The message that `bytes` hold without any end of the input: at once, or after a silence.
fn read_open(bytes: &[u8]) -> (Result<Option<Message>, SignalingError>, Reader) {
    let mut reader = Reader::new();
    reader.push(bytes);
    let found = match reader.next() {
        Ok(None) => reader.idle(),
        other => other,
    };
    (found, reader)
}

fn wrap(text: &str, width: usize, end: &str) -> String {
    text.as_bytes().chunks(width).map(|line| format!("{}{end}", String::from_utf8_lossy(line))).collect()
}

/// One offer in every disguise we accept, each followed by a line end.
fn disguises(message: &Message) -> Vec<(String, String)> {
    let Message::Description(Description { sdp, .. }) = message else { panic!("no description") };
    let json = message.to_json();
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&json).unwrap()).unwrap();
    let compact = SdpFormat::Compact.encode(message).trim().to_owned();
    let mut all = vec![
        ("json".to_owned(), format!("{json}\n")),
        ("pretty json".into(), format!("{pretty}\r\n")),
        ("json wrapped by a terminal".into(), wrap(&json, 80, "\r\n")),
        ("json in a fence".into(), format!("```json\n{json}\n```\n")),
        ("json in quotes behind a byte order mark".into(), format!("\u{feff}\r\n\n '{json}'\n")),
        ("raw".into(), format!("{sdp}\r\n")),
        ("raw with lf".into(), sdp.replace("\r\n", "\n")),
        ("raw with a dot".into(), format!("{sdp}.\n")),
        ("raw in a fence".into(), format!("```\n{sdp}```\n")),
        ("raw in quotes".into(), format!("\"{}\"\n", sdp.trim_end())),
        ("raw indented".into(), sdp.replace("\r\n", "\n    ")),
        ("compact".into(), format!("{compact}\n")),
        ("compact wrapped".into(), wrap(&compact, 60, "\n")),
        ("compact in backticks".into(), format!("`{compact}`\n")),
    ];
    for (name, text) in [("json", json.as_str()), ("json and line end", &format!("{json}\n")), ("sdp", sdp.as_str())] {
        for (alphabet, engine) in [
            ("std", STANDARD),
            ("std, unpadded", STANDARD_NO_PAD),
            ("url", URL_SAFE),
            ("url, unpadded", URL_SAFE_NO_PAD),
        ] {
            let encoded = engine.encode(text);
            all.push((format!("base64 of {name}, {alphabet}"), format!("{encoded}\n")));
            all.push((format!("base64 of {name}, {alphabet}, wrapped"), wrap(&encoded, 76, "\r\n")));
        }
    }
    all
}

#[test]
fn every_disguise_of_a_description_is_recognised_in_any_pieces_without_the_end_of_the_input() {
    for message in [offer(), long_offer()] {
        for (name, text) in disguises(&message) {
            for piece in [1, 2, 7, 4096, usize::MAX] {
                assert_eq!(
                    read_all(text.as_bytes(), piece).unwrap(),
                    std::slice::from_ref(&message),
                    "{name} in {piece}s"
                );
            }
            assert_eq!(read_open(text.as_bytes()).0.unwrap(), Some(message.clone()), "{name}, input left open");
        }
    }
}

#[test]
fn json_and_compact_are_whole_at_their_last_character() {
    for format in [SdpFormat::Json, SdpFormat::Compact] {
        let text = format.encode(&long_offer());
        let mut reader = Reader::new();
        reader.push(text.trim_end().as_bytes());
        assert_eq!(reader.next().unwrap(), Some(long_offer()), "{format}");
    }
}

#[test]
fn what_follows_a_description_is_given_back_untouched() {
    let rest = b"hello\n\x00\xff  binary";
    for (name, text) in disguises(&offer()) {
        // Wrapped base64 of SDP and unterminated SDP are told from what follows by silence alone.
        if name.contains("of sdp") || name.contains("lf") || name.contains("indented") {
            continue;
        }
        let (found, reader) = read_open(&[text.as_bytes(), rest].concat());
        assert_eq!(found.unwrap(), Some(offer()), "{name}");
        let leftover = reader.into_rest().0;
        assert_eq!(leftover, &rest[..], "{name}");
    }
}

#[test]
fn a_line_that_is_no_sdp_ends_raw_sdp_and_is_given_back() {
    let (found, reader) = read_open(format!("{OFFER}{{\"type\":\"bye\"}}\n").as_bytes());
    assert_eq!(found.unwrap(), Some(offer()));
    assert_eq!(reader.into_rest().0, &b"{\"type\":\"bye\"}\n"[..]);
}

#[test]
fn trickled_lines_are_read_one_after_the_other() {
    for format in SdpFormat::ALL {
        let candidate = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}"#;
        let text = format!(
            "{}\n{candidate}\n{{\"type\":\"end-of-candidates\"}}\n{{\"type\":\"bye\"}}\n",
            format.encode(&offer())
        );
        for piece in [1, 5000] {
            let messages = read_all(text.as_bytes(), piece).unwrap();
            assert_eq!(messages.len(), 4, "{format}");
            assert_eq!((&messages[0], &messages[2..]), (&offer(), &[Message::EndOfCandidates, Message::Bye][..]));
        }
    }
}

#[test]
fn raw_sdp_of_an_answer_is_an_answer() {
    let raw = OFFER.replace("setup:actpass", "setup:active");
    let Message::Description(description) = &read_all(raw.as_bytes(), 100).unwrap()[0] else {
        panic!("no description")
    };
    assert_eq!(description.kind, DescriptionKind::Answer);
}

#[test]
fn every_fault_has_its_own_line() {
    let json = offer().to_json();
    let compact = SdpFormat::Compact.encode(&offer()).trim().to_owned();
    let changed = format!("{}{}{}", &compact[..60], if &compact[60..61] == "A" { "B" } else { "A" }, &compact[61..]);
    let nothing = json.split("m=video").next().unwrap().to_owned() + "\"}";
    let base64 = STANDARD.encode(&json);
    for (input, said) in [
        ("", "no description: the input was empty"),
        (" \r\n\n", "no description: the input was empty"),
        (&json[..200], "truncated JSON"),
        (&base64[..200], "truncated base64"),
        (&format!("{}!{}", &base64[..200], &base64[200..]), "damaged base64: '!'"),
        (&compact[..100], "truncated compact"),
        ("rtckit1:", "truncated compact"),
        (&changed, "compact description"),
        ("rtckit2:oAAAA", "another version"),
        ("rtckit1:xAAAA", "type is not o, a, p or r"),
        ("{\"type\":\"offer\"}", "'sdp' is missing"),
        ("{\"type\":\"offer\",\"sdp\":3}", "'sdp' is a number"),
        ("{type:offer}", "damaged JSON"),
        ("hello world, this is not SDP at all, is it?", "begins with 'hello world, this is not SDP at all, is '"),
        ("\x1b[31mred\n", "'\\u{1b}[31mred'"),
        ("o=- 1 1 IN IP4 0.0.0.0\n", "SDP without v=0"),
        ("v=0\no=- 1 1 IN IP4 0.0.0.0\n", "SDP without s= line"),
        ("{\"type\":\"offer\",\"sdp\":\"\"}", "SDP without v=0"),
        (&nothing, "nothing in it"),
    ] {
        for piece in [1, 3, usize::MAX] {
            let error = read_all(input.as_bytes(), piece).unwrap_err();
            let said = said.trim_end_matches("is '");
            assert!(error.to_string().contains(said), "{input:.50}: {error}");
            assert!(!error.to_string().contains(['\n', '\r', '\x1b']));
            assert_eq!(crate::error::Classify::kind(&error), crate::error::ErrorKind::InvalidInput);
        }
    }
}

#[test]
fn a_silence_ends_sdp_without_a_last_line_end_once_every_section_is_there() {
    let unended = OFFER.trim_end();
    let second = OFFER.find("a=mid:1").unwrap() - "tpass\r\n".len();
    for (name, text, cut) in [
        ("raw", unended.to_owned(), second),
        ("raw in quotes", format!("'{unended}'"), second),
        ("raw in a fence", format!("```\n{OFFER}```"), second),
        ("base64", STANDARD_NO_PAD.encode(OFFER), second / 3 * 4),
    ] {
        let mut reader = Reader::new();
        let (first, rest) = text.as_bytes().split_at(cut);
        reader.push(first);
        assert_eq!(reader.next().unwrap(), None, "{name}");
        assert!(reader.awaits_quiet(), "{name}");
        assert_eq!(reader.idle().unwrap(), None, "{name}: a section is missing");
        assert!(!reader.awaits_quiet(), "{name}: nothing is won by asking again before more came");
        reader.push(rest);
        assert_eq!(reader.next().unwrap(), None, "{name}");
        assert!(reader.awaits_quiet(), "{name}");
        assert_eq!(reader.idle().unwrap(), Some(offer()), "{name}");
        // Enter, pressed late, is no empty line of a chat.
        reader.push(b"\r\nhello\n");
        assert_eq!(reader.into_rest().0, &b"hello\n"[..], "{name}");
    }
}

#[test]
fn a_cut_paste_is_noticed_although_the_input_stays_open() {
    for text in [SdpFormat::Base64.encode(&long_offer()), SdpFormat::Compact.encode(&long_offer())] {
        let cut = format!("{}\n", &text[..text.len() / 2]);
        assert!(matches!(read_open(cut.as_bytes()).0, Err(SignalingError::Truncated { .. })));
    }
    let json = long_offer().to_json();
    assert!(matches!(read_open(format!("{}\n\n", &json[..4095]).as_bytes()).0, Err(SignalingError::Truncated { .. })));
}

#[test]
fn a_megabyte_of_anything_takes_linear_time_and_ends_in_an_error() {
    let million = 1 << 20;
    let spaces = [b"{".to_vec(), vec![b' '; million + 10]].concat();
    let mut bomb = Vec::new();
    let mut deflated = flate2::write::DeflateEncoder::new(&mut bomb, flate2::Compression::best());
    std::io::Write::write_all(&mut deflated, &vec![b'a'; 64 << 20]).unwrap();
    deflated.finish().unwrap();
    let bomb = format!("rtckit1:o{}", URL_SAFE_NO_PAD.encode([&[0; 4][..], &bomb].concat()));
    let inputs: [(&str, Vec<u8>); 9] = [
        ("garbage", (0..=250).cycle().step_by(31).take(million).collect()),
        ("braces", vec![b'{'; million]),
        ("spaces in JSON", spaces),
        ("a string without end", [b"{\"".to_vec(), vec![b'x'; million + 10]].concat()),
        ("base64", b"eyJ0".repeat(million / 4 + 10)),
        ("base64 of SDP", [b"dj0w".to_vec(), b"Cg\n".repeat(million / 3 + 10)].concat()),
        ("an SDP line without end", [b"v=0\na=".to_vec(), vec![b'x'; million + 10]].concat()),
        ("compact", [b"rtckit1:o".to_vec(), vec![b'A'; million + 10]].concat()),
        ("a bomb", bomb.into_bytes()),
    ];
    for (name, input) in inputs {
        let began = Instant::now();
        assert!(read_all(&input, 1).is_err(), "{name}");
        // Quadratic would be minutes.
        assert!(began.elapsed() < Duration::from_secs(5), "{name}: {:?}", began.elapsed());
    }
}

/// The body of the fuzz target: nothing panics, pieces do not matter, and what was read survives every form of writing.
fn fuzz(bytes: &[u8]) {
    let whole = read_all(bytes, usize::MAX);
    let pieces = read_all(bytes, 1);
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (Err(_), Err(_)) => {}
        _ => panic!("pieces matter: {whole:?} {pieces:?} {}", String::from_utf8_lossy(bytes)),
    }
    let _ = read_open(bytes);
    for message in whole.into_iter().flatten() {
        for format in SdpFormat::ALL {
            let mut expected = message.clone();
            if let (SdpFormat::Sdp, Message::Description(description)) = (format, &mut expected) {
                let Ok(again) = read_all(format.encode(&message).as_bytes(), 64) else { continue };
                let Some(Message::Description(again)) = again.first() else { panic!("no description") };
                description.kind = again.kind;
                assert_eq!(again, description);
                continue;
            }
            assert_eq!(read_all(format.encode(&message).as_bytes(), 64).unwrap(), [expected], "{format}");
        }
    }
}

#[test]
fn mutations_of_valid_input_never_panic_and_pieces_never_matter() {
    // xorshift64: the same mutations at every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let seeds: Vec<Vec<u8>> = disguises(&offer()).into_iter().map(|(_, text)| text.into_bytes()).collect();
    for _ in 0..3000 {
        let mut input = seeds[random(seeds.len())].clone();
        for _ in 0..=random(4) {
            let at = random(input.len());
            match random(6) {
                0 => input[at] = u8::try_from(random(256)).unwrap(),
                1 => drop(input.remove(at)),
                2 => input.insert(at, b"\n\"{}`=\r \\."[random(10)]),
                3 => input.truncate(at.max(1)),
                4 => {
                    let other = &seeds[random(seeds.len())];
                    input.extend_from_slice(&other[random(other.len())..]);
                }
                _ => {
                    let end = (at + random(200)).min(input.len());
                    input.drain(at..end);
                }
            }
            if input.is_empty() {
                input.push(b'v');
            }
        }
        fuzz(&input);
    }
}

fn stdio(format: SdpFormat, trickle: bool) -> (Stdio, DuplexStream, DuplexStream) {
    let (ours_in, theirs_out) = tokio::io::duplex(1 << 16);
    let (ours_out, theirs_in) = tokio::io::duplex(1 << 16);
    (Stdio::new(Box::new(ours_in), Box::new(ours_out), format, trickle), theirs_out, theirs_in)
}

#[tokio::test]
async fn without_trickle_one_description_goes_each_way_and_the_streams_go_on() {
    for format in SdpFormat::ALL {
        let (mut road, mut to_us, mut from_us) = stdio(format, false);
        road.send(&offer()).await.unwrap();
        road.send(&Message::Bye).await.unwrap();
        to_us.write_all(format.encode(&offer()).trim_end().as_bytes()).await.unwrap();
        if format == SdpFormat::Sdp {
            to_us.write_all(b"\r\n\r\n").await.unwrap();
        }
        assert_eq!(road.receive().await.unwrap(), Some(offer()), "{format}");
        assert_eq!(road.receive().await.unwrap(), None);
        to_us.write_all(if format == SdpFormat::Sdp { b"\nhi" } else { b"\r\n\nhi" }).await.unwrap();
        drop(to_us);
        let mut rest = road.into_rest();
        let mut bytes = rest.leftover.to_vec();
        rest.reader.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"\nhi", "{format}");
        drop(rest);
        let mut written = String::new();
        from_us.read_to_string(&mut written).await.unwrap();
        assert_eq!(written, format.encode(&offer()));
    }
}

#[tokio::test]
async fn silence_ends_raw_sdp_even_when_the_wait_was_dropped_and_taken_up_again() {
    for text in [OFFER, OFFER.trim_end()] {
        let (mut road, mut to_us, _from_us) = stdio(SdpFormat::Sdp, true);
        to_us.write_all(text.as_bytes()).await.unwrap();
        let mut waits = 0;
        let message = loop {
            waits += 1;
            if let Ok(message) = tokio::time::timeout(Duration::from_millis(70), road.receive()).await {
                break message.unwrap();
            }
        };
        assert_eq!(message, Some(offer()));
        assert!(waits > 1, "the wait was never dropped");
    }
}

#[tokio::test]
async fn with_trickle_messages_flow_until_the_input_ends() {
    let (mut road, mut to_us, _from_us) = stdio(SdpFormat::Json, true);
    for message in [offer(), Message::EndOfCandidates, Message::Bye] {
        to_us.write_all(SdpFormat::Json.encode(&message).as_bytes()).await.unwrap();
        assert_eq!(road.receive().await.unwrap(), Some(message));
    }
    drop(to_us);
    assert_eq!(road.receive().await.unwrap(), None);
}

#[tokio::test]
async fn an_input_that_ends_without_a_word_is_an_error() {
    let (mut road, to_us, _from_us) = stdio(SdpFormat::Json, false);
    drop(to_us);
    let error = road.receive().await.unwrap_err();
    assert_eq!(error.to_string(), "no description: the input was empty");
}
