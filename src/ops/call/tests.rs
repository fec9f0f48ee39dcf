//! Whole calls in one process, over the loopback interface and the real stack.

use super::report::ChannelReport;
use super::*;
use crate::capture::SourceSpec;
use crate::media::{Codec, EncodedFrame, MediaKind, MediaTime};
use crate::peer::{DataChannelInit, LocalTrack, MediaPlan, Role, Session};
use crate::pipeline::queue::{Overflow, bounded};
use crate::progress::Silent;
use crate::record;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

fn options() -> Options {
    Options { signal: Signal::Loopback, duration: Some(Duration::from_secs(2)), ..Options::new(Role::Call) }
}

fn io(input: &'static [u8], output: impl tokio::io::AsyncWrite + Send + Unpin + 'static) -> Io {
    Io { input: Box::new(input), output: Box::new(output), media_input: None, media_output: None, screen: None }
}

async fn call(options: Options, io: Io) -> Outcome {
    run(options, io, Requests::none(), Instant::now(), Arc::new(Silent), Stop::new()).await
}

/// What a call comes to, and the longest that a thread waited meanwhile for its turn, with a little to do as an encoder has it.
async fn call_and_wait(call: impl Future<Output = Outcome>) -> (Outcome, Duration) {
    let over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&over);
    let thread = std::thread::spawn(move || {
        let mut late = Vec::new();
        while !ends.load(Ordering::Relaxed) {
            let due = Instant::now() + Duration::from_millis(15);
            std::thread::sleep(Duration::from_millis(15));
            std::hint::black_box((0..300_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
            late.push(due.elapsed());
        }
        // The least is what it takes where nobody else wants anything.
        late.iter().max().copied().unwrap_or_default() - late.iter().min().copied().unwrap_or_default()
    });
    let outcome = call.await;
    over.store(true, Ordering::Relaxed);
    (outcome, thread.join().unwrap())
}

/// A call of 2 s is over as late as this machine gives turns, and what is on its way by then is in the file.
fn assert_lasts(recording: &record::Recorded, wait: Duration) {
    let (duration, wait) = (recording.duration, wait.as_secs_f64());
    assert!((1.9 - wait..2.1 + 4.0 * wait).contains(&duration), "{duration}, and turns after {wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_recorded_whole_and_in_sync() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.webm");
    let mut options = options();
    options.send = SourceOptions { video: SourceSpec::Test, audio: SourceSpec::Test, ..SourceOptions::default() };
    options.receive = ReceiveOptions {
        record: Some(Destination::File(path.clone())),
        video_output: Some(Destination::File(folder.path().join("call.y4m"))),
        audio_output: Some(Destination::File(folder.path().join("call.wav"))),
        measure: true,
        ..ReceiveOptions::default()
    };
    let (outcome, wait) = call_and_wait(call(options, io(b"", tokio::io::sink()))).await;
    println!("turns after {wait:?}: {}", serde_json::to_string_pretty(&outcome.report).unwrap());
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.report.ended, Some(Ended::Duration));
    let far = outcome.report.peer.as_ref().unwrap();
    assert_eq!(far.ended, Some(Ended::PeerHungUp));
    let recording = far.recording.as_ref().unwrap();
    assert_lasts(recording, wait);
    let inspected = record::inspect(&path).unwrap();
    assert_eq!(inspected.tracks.len(), 2);
    let measured = far.measured.as_ref().unwrap();
    // Nothing that was encoded is lost, and all of it is at its time, however little of its own the machine has.
    let sent = |kind: &str| outcome.report.sent.iter().find(|track| track.kind == kind).unwrap().frames_sent;
    assert_eq!((measured.frames_measured, measured.frames_unreadable), (sent("video"), 0), "{measured:?}");
    for track in &recording.tracks {
        assert_eq!((track.frames + track.before_first_key_frame, track.moved), (sent(track.kind), 0), "{track:?}");
    }
    // A flash is seen late by the pictures that the source skipped before it, and not at all where it was all of its three.
    let seen_late = (measured.frames_missing as f64 / 30.0).min(0.1);
    match measured.av_skew {
        Some(skew) => assert!(skew.abs() < 0.06 + seen_late, "{measured:?}"),
        None => assert!(measured.frames_missing >= 3, "{measured:?}"),
    }
    // What a starved machine takes away is not ours: turns come, and the source keeps its pace.
    if wait < Duration::from_millis(25) {
        assert!(recording.tracks.iter().all(|track| track.frames >= 55), "{recording:?}");
        assert!(measured.frames_missing <= 6, "{measured:?}");
        assert!(measured.latency.unwrap().median < 0.05, "{measured:?}");
    }
    assert!(folder.path().join("call.y4m").metadata().unwrap().len() > 640 * 480);
    assert!(folder.path().join("call.wav").metadata().unwrap().len() > 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_as_of_a_telephone_is_recorded_as_opus_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.webm");
    let mut options = options();
    options.connection.audio_codecs = "pcma".parse().unwrap();
    options.send = SourceOptions { audio: SourceSpec::Test, ..SourceOptions::default() };
    options.receive.record = Some(Destination::File(path.clone()));
    let (outcome, wait) = call_and_wait(call(options, io(b"", tokio::io::sink()))).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let sent = outcome.report.sent.iter().find(|track| track.kind == "audio").unwrap();
    assert_eq!((sent.mime_type.as_str(), sent.bytes_sent), ("audio/PCMA", 160 * sent.packets_sent));
    let far = outcome.report.peer.as_ref().unwrap();
    let recording = far.recording.as_ref().unwrap();
    assert_lasts(recording, wait);
    let inspected = record::inspect(&path).unwrap();
    assert!(inspected.tracks.iter().any(|track| track.codec == "A_OPUS"), "{inspected:?}");
}

/// What was written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sends 50 frames, 20 ms each, from `begin` on.
async fn send(track: LocalTrack, begin: Duration) {
    let codec = track.codec();
    let (sender, frames) = bounded(8, Overflow::Block);
    let running = tokio::spawn(track.run(Arc::new(frames), SystemTime::now()));
    // A key frame of 160x120, and 20 ms of sound.
    let data = match codec.kind() {
        MediaKind::Video => [&[0x10, 0, 0, 0x9d, 1, 0x2a, 160, 0, 120, 0][..], &[7; 90]].concat(),
        MediaKind::Audio => vec![0x08; 80],
    };
    let now = tokio::time::Instant::now();
    for n in 0..50 {
        let at = begin + Duration::from_millis(20) * n;
        tokio::time::sleep_until(now + at).await;
        let time = MediaTime::from_micros(i64::try_from(at.as_micros()).unwrap());
        sender.send_async(EncodedFrame { codec, time, key: true, data: data.clone().into() }).await.unwrap();
    }
    drop(sender);
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_holds_every_track_that_was_announced_though_one_comes_a_little_late() {
    let mut asked = options();
    asked.receive.record = Some(Destination::Stdout);
    let (calling, answering) = asked.split_for_loopback();
    let ((mut near, far), kept) = (memory::pair(), Kept::default());
    let media = MediaIo { output: Some(Box::new(kept.clone())), ..MediaIo::default() };
    let now = Instant::now();
    let peer = Peer { progress: Arc::new(Silent), stop: Stop::new(), process_start: now, dump: None };
    let entrance = Entrance::Open(Road::Apart(Box::new(far), None));
    let answering = tokio::spawn(peer.serve(answering, entrance, media, Requests::none()));
    let mut session = Session::new(&calling.connection, Arc::new(Timing::new(now))).await.unwrap();
    let video = MediaPlan { send_video: vec![Codec::Vp8], ..MediaPlan::default() };
    let both = MediaPlan { send_audio: vec![Codec::Opus], ..video.clone() };
    let (camera, sound) = session.add_media(&both).await.unwrap();
    let (screen, _) = session.add_media(&video).await.unwrap();
    session.connect(Role::Call, &mut near, &NegotiateOptions::default(), &Stop::new()).await.unwrap();
    let late = Duration::from_millis(700);
    let zero = Duration::ZERO;
    tokio::join!(send(camera.unwrap(), zero), send(sound.unwrap(), zero), send(screen.unwrap(), late));
    session.close().await;
    let outcome = answering.await.unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let numbers: Vec<_> = outcome.report.received.iter().map(|track| &track.recorded_tracks[..]).collect();
    assert_eq!(numbers, [[1], [3], [2]], "{:?}", outcome.report.received);
    let tracks = &outcome.report.recording.as_ref().unwrap().tracks;
    let apart = tracks[2].start.unwrap() - tracks[0].start.unwrap();
    assert!((apart - 0.7).abs() < 0.002, "{tracks:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &*kept.0.lock().unwrap()).unwrap();
    let found = record::inspect(file.path()).unwrap();
    assert_eq!(found.tracks.iter().map(|track| track.frames).collect::<Vec<_>>(), [50; 3], "{found:?}");
}

/// Lets no sound through in the first 0.8 s of a connection.
struct Late(Arc<AtomicUsize>);

impl Progress for Late {
    fn event(&self, event: Event) {
        if matches!(&event, Event::ConnectionStateChange { state } if state == "connected") {
            let most = Arc::clone(&self.0);
            most.store(40, Ordering::Relaxed);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(800)).await;
                most.store(0, Ordering::Relaxed);
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_in_one_process_last_from_where_the_files_of_the_other_end_begin() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.send = SourceOptions { audio: SourceSpec::Test, ..SourceOptions::default() };
    options.receive.record = Some(Destination::File(folder.path().join("call.webm")));
    let bad = crate::peer::BadNetwork::default();
    let late = Arc::new(Late(Arc::clone(&bad.most)));
    options.connection.bad_network = Some(bad);
    let (requests, stop) = (Requests::none(), Stop::new());
    let running = run(options, io(b"", tokio::io::sink()), requests, Instant::now(), late, stop);
    let (outcome, wait) = call_and_wait(running).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.report.ended, Some(Ended::Duration));
    let far = outcome.report.peer.as_ref().unwrap();
    assert!(outcome.report.seconds > 2.6, "{}", outcome.report.seconds);
    assert_lasts(far.recording.as_ref().unwrap(), wait);
}

#[test]
fn who_plays_or_writes_what_comes_in_a_room_waits_for_a_peer_that_is_gone() {
    let room = Signal::Room(RoomOptions { url: "ws://localhost/demo".parse().unwrap(), ca_file: None });
    let receives = |receive| Options { signal: room.clone(), receive, ..Options::new(Role::Answer) };
    let (play, file) = (true, Some(Destination::File("call.wav".into())));
    let plays = receives(ReceiveOptions { play, ..ReceiveOptions::default() });
    let writes = receives(ReceiveOptions { audio_output: file, ..ReceiveOptions::default() });
    let (counts, chats) = (receives(ReceiveOptions::default()), Options { data_use: DataUse::Chat, ..plays.clone() });
    let apart = Options { signal: Signal::default(), ..plays.clone() };
    assert_eq!(
        [&plays, &writes, &counts, &chats, &apart].map(Options::outlives_peer),
        [true, true, false, false, false]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_carries_every_byte_and_ends() {
    let bytes: Vec<u8> = (0..300_000usize).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut options = options();
    options.duration = None;
    options.data = vec![DataChannelInit::reliable("pipe")];
    options.data_use = DataUse::Pipe;
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut read).await.unwrap();
        read
    });
    let outcome = tokio::time::timeout(
        Duration::from_secs(10),
        call(options, Io { input: Box::new(std::io::Cursor::new(bytes.clone())), ..io(b"", ours) }),
    )
    .await
    .unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert!(reading.await.unwrap() == bytes);
    assert!(outcome.report.timing.data_channel_open.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_chat_arrives_before_the_end_of_the_input_ends_it() {
    let mut options = options();
    options.duration = None;
    options.data = vec![DataChannelInit::reliable("chat")];
    options.data_use = DataUse::Chat;
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let outcome = tokio::time::timeout(Duration::from_secs(10), call(options, io(b"one\n\ntwo", ours))).await.unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.report.ended, Some(Ended::InputEnded));
    let mut read = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut theirs, &mut read).await.unwrap();
    assert_eq!(read, "one\n\ntwo\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_several_channels_keep_apart_and_each_channel_is_as_asked_for() {
    let channel = |label: &str| DataChannelInit::reliable(label);
    let mut options = options();
    options.duration = None;
    options.data_use = DataUse::Messages;
    options.data = vec![
        channel("a"),
        DataChannelInit { ordered: false, max_retransmits: Some(0), ..channel("b") },
        DataChannelInit { max_packet_life_time: Some(500), protocol: "p".to_owned(), ..channel("b") },
        DataChannelInit { negotiated: Some(77), ..channel("c") },
    ];
    let input =
        b"{\"channel\":\"a\",\"text\":\"one\"}\n{\"id\":77,\"base64\":\"AP8=\"}\n\n{\"channel\":\"c\",\"text\":\"\"}\n";
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let outcome = tokio::time::timeout(Duration::from_secs(10), call(options, io(input, ours))).await.unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.report.ended, Some(Ended::InputEnded));
    let mut read = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut theirs, &mut read).await.unwrap();
    let lines: Vec<serde_json::Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |label: &str| lines.iter().filter(|line| line["channel"] == label).cloned().collect::<Vec<_>>();
    assert!(of("a").iter().any(|line| line["text"] == "one"), "{read}");
    let told: Vec<_> =
        of("c").iter().map(|line| (line["id"].clone(), line["base64"].clone(), line["text"].clone())).collect();
    assert!(told.contains(&(77.into(), "AP8=".into(), serde_json::Value::Null)), "{read}");
    assert!(told.contains(&(77.into(), serde_json::Value::Null, "".into())), "{read}");
    let (near, far) = (outcome.report.data_channels, outcome.report.peer.unwrap().data_channels);
    let seen = |label: &str, protocol: &str| {
        let is_it = |channel: &&ChannelReport| channel.data.label == label && channel.protocol == protocol;
        let (ours, theirs) = (near.iter().find(is_it).unwrap(), far.iter().find(is_it).unwrap());
        assert_eq!(
            (ours.id, ours.ordered, ours.data.messages_sent),
            (theirs.id, theirs.ordered, theirs.data.messages_received)
        );
        (ours.ordered, ours.max_packet_life_time, ours.max_retransmits, ours.data.messages_sent)
    };
    assert_eq!(seen("a", ""), (true, None, None, 1));
    assert_eq!(seen("b", ""), (false, None, Some(0), 0));
    assert_eq!(seen("b", "p"), (true, Some(500), None, 0));
    assert_eq!(seen("c", ""), (true, None, None, 2));
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused_before_anything_happens() {
    let mut nothing = options();
    nothing.duration = None;
    let error = call(nothing, io(b"", tokio::io::sink())).await.error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let mut both = options();
    both.signal = Signal::default();
    both.send.video = SourceSpec::Stdin;
    let error = call(both, io(b"", tokio::io::sink())).await.error.unwrap();
    assert!(error.to_string().contains("standard input"), "{error}");
    let mut talkative = options();
    talkative.data = vec![DataChannelInit::reliable("x".repeat(65_536))];
    let error = call(talkative, io(b"", tokio::io::sink())).await.error.unwrap();
    assert!(error.to_string().contains("65535"), "{error}");
    let mut answer = Options::new(Role::Answer);
    answer.send.video = SourceSpec::Stdin;
    assert_eq!(call(answer, io(b"", tokio::io::sink())).await.report.role, "answer");
}
