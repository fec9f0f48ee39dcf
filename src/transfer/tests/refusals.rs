//! Peers that break the protocol.

use super::super::wire::{self, Control, Have, Kind, Role};
use super::*;
use bytes::{BufMut, Bytes};

/// A sender that says whatever it likes; what the receiver made of it.
async fn told(messages: Vec<Frame>, to: &Path) -> TransferError {
    let (near, far) = pair(64 << 10);
    let options =
        ReceiveOptions { destination: Destination::Path(to.to_owned()), existing: Existing::Refuse, consent: None };
    let tally = Arc::new(Tally::new(Arc::new(Silent)));
    let stop = Stop::new();
    let telling = async {
        for message in messages {
            // A receiver that has had enough is what this is about.
            if near.send(message).await.is_err() {
                break;
            }
        }
        while near.receive().await.is_some() {}
    };
    let receiving = async {
        let received = receive(&far, options, &tally, &stop).await;
        drop(far);
        received
    };
    tokio::join!(receiving, telling).0.unwrap_err()
}

fn text(json: &str) -> Frame {
    Frame::Text(json.to_owned())
}

fn hello() -> Frame {
    Frame::Text(Control::hello(Role::Sender, false).to_text())
}

#[tokio::test]
async fn a_peer_that_speaks_otherwise_is_refused_with_its_reason() {
    let (_scratch, _, to) = scratch();
    let version = text(r#"{"type":"hello","protocol":"rtckit-transfer","version":2,"role":"sender"}"#);
    let error = told(vec![version], &to).await;
    assert!(matches!(error, TransferError::Version { theirs: 2, ours: 1 }), "{error:?}");
    let end = text(r#"{"type":"manifest-end","entries":1}"#);
    let manifest = |entry: &str| text(&format!(r#"{{"type":"manifest","entries":[{entry}]}}"#));
    for (messages, why) in [
        (vec![text("hello")], "control message"),
        (vec![Frame::Binary(Bytes::new())], "content"),
        (vec![text(r#"{"type":"hello","protocol":"chess","version":1,"role":"sender"}"#)], "something else"),
        (vec![text(&Control::hello(Role::Receiver, false).to_text())], "both sides"),
        (vec![hello(), text(r#"{"type":"complete"}"#)], "not due"),
        (vec![hello(), end.clone()], "as many entries"),
        (vec![hello(), manifest(r#"{"path":"../x","size":1}"#), end.clone()], ".."),
        (vec![hello(), manifest(r#"{"path":"/x","size":1}"#), end.clone()], "absolute"),
        (vec![hello(), manifest(r#"{"path":"x","size":-1}"#), end.clone()], "control message"),
        (vec![hello(), manifest(r#"{"path":"x","size":9223372036854775807}"#), end.clone()], "are needed"),
        (vec![hello(), text(r#"{"type":"error","code":"read","message":"dog\u001b[2J"}"#)], r"dog\u{1b}[2J"),
    ] {
        let error = told(messages, &to).await;
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert!(!to.exists(), "{why}: nothing was written");
    }
}

#[tokio::test]
async fn content_that_is_not_as_announced_is_refused_and_gets_no_name() {
    let announce = || {
        vec![
            hello(),
            text(
                r#"{"type":"manifest","entries":[{"path":"d","kind":"folder"},{"path":"d/a","size":10},{"path":"d/b","size":3}]}"#,
            ),
            text(r#"{"type":"manifest-end","entries":3}"#),
        ]
    };
    type Rows<'a> = &'a [(Kind, u32, u64, &'a [u8])];
    let hash = *blake3::hash(b"0123456789").as_bytes();
    let rows: &[(Rows<'_>, &str)] = &[
        (&[(Kind::Data, 1, 0, b"0123456789+")], "longer"),
        (&[(Kind::Data, 1, 0, b"01234"), (Kind::End, 1, 5, &hash)], "shorter"),
        (&[(Kind::Data, 1, 1, b"1")], "out of its order"),
        (&[(Kind::Data, 1, 0, b"0"), (Kind::Data, 1, 2, b"2")], "out of its order"),
        (&[(Kind::Data, 1, 0, b"0"), (Kind::Data, 2, 0, b"2")], "out of its order"),
        (&[(Kind::Data, 0, 0, b"0")], "not in the list"),
        (&[(Kind::Data, 9, 0, b"0")], "not in the list"),
        (&[(Kind::Start, 1, 5, b"")], "not asked"),
        (&[(Kind::Hole, 1, 0, &u64::MAX.to_be_bytes())], "longer"),
        (&[(Kind::Hole, 1, 0, b"7")], "without a length"),
        (&[(Kind::End, 1, 0, b"short")], "without a hash"),
        (&[(Kind::Data, 1, 0, b"9876543210"), (Kind::End, 1, 10, &hash)], "BLAKE3"),
        (&[(Kind::Data, 1, 0, b"0123456789"), (Kind::End, 1, 10, &hash), (Kind::End, 1, 10, &hash)], "over"),
    ];
    for (records, why) in rows {
        let (_scratch, _, to) = scratch();
        let mut message = BytesMut::new();
        message.put_u64(0);
        for (kind, file, offset, payload) in *records {
            wire::put_header(&mut message, *kind, *file, *offset, u32::try_from(payload.len()).unwrap());
            message.put_slice(payload);
        }
        let mut messages = announce();
        messages.push(Frame::Binary(message.freeze()));
        let error = told(messages, &to).await;
        assert!(error.to_string().contains(why), "{why}: {error}");
        let whole = tree(&to).into_iter().any(|(name, _)| name == "d/b" || (name == "d/a" && *why != "over"));
        assert!(!whole, "{why}: a file that is not whole got its name");
    }
}

#[tokio::test]
async fn a_receiver_that_plans_nonsense_is_refused() {
    let (_scratch, from, _) = scratch();
    fs::write(from.join("a"), "a").unwrap();
    let have = Have { file: 7, offset: 1, blake3: "00".into() };
    for (reply, why) in [
        (Control::Plan { skip: vec![9], have: vec![] }, "not offered"),
        (Control::Plan { skip: vec![], have: vec![have] }, "not offered"),
        (Control::Complete {}, "not due"),
        (Control::Error { code: Code::Declined, message: "no thanks".into() }, "no thanks"),
    ] {
        let (near, far) = pair(64 << 10);
        for message in [Control::hello(Role::Receiver, false), reply] {
            far.send(Frame::Text(message.to_text())).await.unwrap();
        }
        let sources = Sources::scan(std::slice::from_ref(&from), None, &ScanOptions::default()).unwrap();
        let tally = Arc::new(Tally::new(Arc::new(Silent)));
        let error = send(&near, sources, &SendOptions::default(), &tally, &Stop::new()).await.unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
}
