//! Two sessions in one process, over the loopback interface and the real stack.

use super::*;
use crate::media::{Codec, EncodedFrame, MediaKind, MediaTime};
use crate::pipeline::queue::{Overflow, bounded};
use crate::signaling::{Candidate, Description, Message, memory};
use crate::stop::{Stop, StopReason};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

fn config() -> Config {
    Config { interfaces: Interfaces::Loopback, ..Config::default() }
}

async fn session() -> (Session, Arc<Timing>) {
    let timing = Arc::new(Timing::new(Instant::now()));
    (Session::new(&config(), Arc::clone(&timing)).await.unwrap(), timing)
}

/// A session whose datagrams take 30 ms, and of which one in six is lost, by chance.
async fn session_over_bad_network(seed: u32) -> Session {
    let network = BadNetwork { one_in: 6, seed, ..BadNetwork::default() };
    let config = Config { net_sim: Some("delay=30ms".parse().unwrap()), bad_network: Some(network), ..config() };
    Session::new(&config, Arc::new(Timing::new(Instant::now()))).await.unwrap()
}

async fn connect(caller: &mut Session, answerer: &mut Session) {
    let (mut near, mut far) = memory::pair();
    let options = NegotiateOptions::default();
    let stop = Stop::new();
    let (called, answered) = tokio::join!(
        caller.connect(Role::Call, &mut near, &options, &stop),
        answerer.connect(Role::Answer, &mut far, &options, &stop)
    );
    called.unwrap();
    answered.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_loses_any_of_its_datagrams_comes_to_its_end() {
    // As an async closure, rustc 1.95 compiles it only once incrementally.
    let pairs = (0..16).map(|seed| async move {
        let mut caller = session_over_bad_network(2 * seed).await;
        let mut answerer = session_over_bad_network(2 * seed + 1).await;
        let _channel = caller.create_data_channel(&DataChannelInit::reliable("any")).await.unwrap();
        connect(&mut caller, &mut answerer).await;
        answerer.close().await;
        caller.close().await;
    });
    futures_util::future::join_all(pairs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_every_size_come_back_as_they_were_sent() {
    let ((mut caller, timing), (mut answerer, _)) = (session().await, session().await);
    let channel = caller.create_data_channel(&DataChannelInit::reliable("echo")).await.unwrap();
    connect(&mut caller, &mut answerer).await;
    let echo = tokio::spawn(async move {
        let channel = answerer.next_data_channel().await.unwrap();
        assert_eq!(channel.label(), "echo");
        while let Some(message) = channel.receive().await {
            channel.send(&message).await.unwrap();
        }
        answerer
    });
    assert!(channel.opened().await.unwrap());
    println!("{:?}", timing.waterfall());
    for len in [0, 1, 1200, 16 << 10, (64 << 10) + 1, 256 << 10] {
        let bytes: Bytes = (0..len).map(|n: usize| u8::try_from(n % 251).unwrap()).collect();
        let text = "ü".repeat(len / 2);
        for message in [DataMessage::Binary(bytes), DataMessage::Text(text)] {
            channel.send(&message).await.unwrap();
            let back = channel.receive().await.unwrap();
            assert!(back == message, "{len} bytes came back as {}", back.len());
        }
    }
    let too_large = DataMessage::Binary(vec![0; (256 << 10) + 1].into());
    assert!(matches!(channel.send(&too_large).await, Err(PeerError::DataChannel { .. })));
    let closing = Instant::now();
    caller.close().await;
    let answerer = tokio::time::timeout(Duration::from_secs(2), echo).await.expect("the peer learns of it").unwrap();
    assert!(closing.elapsed() < Duration::from_secs(1), "{:?}", closing.elapsed());
    answerer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_arrive_whole_in_order_and_on_one_timeline() {
    let ((mut caller, _), (mut answerer, _)) = (session().await, session().await);
    let plan = MediaPlan { send_video: vec![Codec::Vp8], send_audio: vec![Codec::Opus], ..MediaPlan::default() };
    let (video, audio) = caller.add_media(&plan).await.unwrap();
    connect(&mut caller, &mut answerer).await;
    let mut sending = Vec::new();
    let began = Instant::now();
    for (track, interval_ms, size) in [(video.unwrap(), 33, 5000), (audio.unwrap(), 20, 80)] {
        let (sender, receiver) = bounded(8, Overflow::Block);
        let codec = track.codec();
        sending.push(tokio::spawn(track.run(Arc::new(receiver), SystemTime::now())));
        tokio::spawn(async move {
            for n in 0..1500 / interval_ms {
                let time = MediaTime::from_micros(n * interval_ms * 1000);
                tokio::time::sleep_until((began + time.duration()).into()).await;
                // The first byte makes it a VP8 key frame, or an Opus packet of 20 ms; the second numbers it.
                let mut data = vec![if codec == Codec::Vp8 { 0x10 } else { 0x08 }; size];
                data[1] = u8::try_from(n).unwrap();
                sender.send_async(EncodedFrame { codec, time, key: true, data: data.into() }).await.unwrap();
            }
        });
    }
    let mut receiving = Vec::new();
    for _ in 0..2 {
        let track = answerer.next_track().await.unwrap();
        let (sender, receiver) = bounded(64, Overflow::DropToKeyframe);
        let codec = track.codec();
        tokio::spawn(track.run(Arc::new(sender)));
        receiving.push(tokio::spawn(async move {
            let mut frames = Vec::new();
            while let Some(frame) = receiver.recv_async().await {
                frames.push(frame);
            }
            (codec, frames)
        }));
    }
    for task in sending {
        let report = task.await.unwrap().unwrap();
        assert!(report.frames_sent >= 45, "{report:?}");
    }
    tokio::time::timeout(Duration::from_secs(5), async { while answerer.report().await.bytes_received < 200_000 {} })
        .await
        .expect("everything arrives");
    let report = caller.report().await;
    assert_eq!(report.selected_pair.as_ref().unwrap().local.candidate_type, "host");
    caller.close().await;
    answerer.close().await;
    let mut starts = Vec::new();
    for task in receiving {
        let (codec, frames) = task.await.unwrap();
        assert!(frames.len() >= 45, "{codec}: {}", frames.len());
        for pair in frames.windows(2) {
            assert_eq!(pair[1].data[1], pair[0].data[1] + 1, "{codec}");
            let step = pair[1].time.minus(pair[0].time).micros();
            assert!((step - if codec == Codec::Vp8 { 33_000 } else { 20_000 }).abs() < 2_500, "{codec}: {step}");
        }
        // Where the timeline of the sender begins, by the last frame: sender reports have corrected it by then.
        let last = frames.last().unwrap();
        let sent_at = i64::from(last.data[1]) * if codec == Codec::Vp8 { 33_000 } else { 20_000 };
        starts.push(last.time.micros() - sent_at);
    }
    assert!((starts[0] - starts[1]).abs() < 30_000, "{starts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_is_heard_where_neither_media_nor_data_ever_came_and_only_a_real_one() {
    let plan = MediaPlan { receive_audio: true, ..MediaPlan::default() };
    for caller_leaves in [true, false] {
        let ((mut caller, _), (mut answerer, _)) = (session().await, session().await);
        caller.add_media(&plan).await.unwrap();
        connect(&mut caller, &mut answerer).await;
        let (leaves, stays) = if caller_leaves { (caller, answerer) } else { (answerer, caller) };
        // Anybody can send these bytes: an alert in plain text, and one under other keys.
        let local = stays.pc.local_description().await.unwrap().sdp;
        let candidate = local.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
        let port: u16 = candidate.split(' ').nth(5).unwrap().parse().unwrap();
        let anybody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for epoch in [0, 1] {
            let alert = [21, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 99, 0, 2, 1, 0];
            anybody.send_to(&alert, ("127.0.0.1", port)).unwrap();
        }
        let gone = stays.gone(Duration::from_secs(8));
        assert!(tokio::time::timeout(Duration::from_millis(200), gone).await.is_err(), "nobody left");
        let left = Instant::now();
        leaves.close().await;
        let gone = stays.gone(Duration::from_secs(8)).await;
        assert!(matches!(gone, PeerError::HungUp) && left.elapsed() < Duration::from_secs(4), "{gone}");
        stays.close().await;
    }
}

#[tokio::test]
async fn nobody_answers() {
    let (mut caller, _) = session().await;
    caller.create_data_channel(&DataChannelInit::reliable("x")).await.unwrap();
    let (mut near, _far) = memory::pair();
    let options = NegotiateOptions { timeout: Duration::from_millis(50), ..NegotiateOptions::default() };
    let error = caller.connect(Role::Call, &mut near, &options, &Stop::new()).await.unwrap_err();
    assert!(matches!(error, PeerError::Timeout { expected: "the answer", .. }), "{error}");
    caller.close().await;
}

#[tokio::test]
async fn a_stop_ends_the_wait_at_once() {
    let (mut answerer, _) = session().await;
    let (mut near, _far) = memory::pair();
    let stop = Stop::new();
    stop.stop(StopReason::Interrupt);
    let error = answerer.connect(Role::Answer, &mut near, &NegotiateOptions::default(), &stop).await.unwrap_err();
    assert!(matches!(error, PeerError::Stopped), "{error}");
    answerer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_are_asked_for_again_and_come() {
    let ((mut caller, _), (mut answerer, _)) = (session().await, session().await);
    let plan = MediaPlan { send_video: vec![Codec::Vp8], ..MediaPlan::default() };
    let (video, _) = caller.add_media(&plan).await.unwrap();
    connect(&mut caller, &mut answerer).await;
    let lost = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut state = 0x9E37_79B9u32;
    let counted = Arc::clone(&lost);
    *caller.runtime.lose.lock().unwrap() = Some(Box::new(move |datagram| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // SRTP of the media stream, retransmissions included (RFC 7983, RFC 5761).
        let media = matches!(datagram[0], 128..=191) && !matches!(datagram[1], 192..=223);
        let lose = media && state >> 24 < 26;
        counted.fetch_add(u32::from(lose), std::sync::atomic::Ordering::Relaxed);
        lose
    }));
    let (sender, receiver) = bounded(8, Overflow::Block);
    let sending = tokio::spawn(video.unwrap().run(Arc::new(receiver), SystemTime::now()));
    tokio::spawn(async move {
        for n in 0..90 {
            // Every tenth is a key frame; each is three packets.
            let mut data = vec![if n % 10 == 0 { 0x10 } else { 0x11 }; 3000];
            data[1] = n;
            let frame = EncodedFrame {
                codec: Codec::Vp8,
                time: MediaTime::from_micros(i64::from(n) * 33_000),
                key: n % 10 == 0,
                data: data.into(),
            };
            sender.send_async(frame).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let track = answerer.next_track().await.unwrap();
    let (sender, receiver) = bounded(256, Overflow::DropToKeyframe);
    let receiving = tokio::spawn(track.run(Arc::new(sender)));
    let sent = sending.await.unwrap().unwrap();
    assert_eq!(sent.frames_sent, 90);
    tokio::time::timeout(Duration::from_secs(3), async {
        let mut last = 0;
        while last < 80 {
            last = receiver.recv_async().await.unwrap().data[1];
        }
    })
    .await
    .expect("the picture goes on to the end");
    caller.close().await;
    answerer.close().await;
    let report = receiving.await.unwrap();
    let lost = lost.load(std::sync::atomic::Ordering::Relaxed);
    println!("{lost} datagrams lost, {report:?}");
    assert!(lost >= 15, "10 % of 270 packets were to be lost: {lost}");
    assert!(report.frames_received >= 75, "{report:?}");
    assert!(report.packets_lost <= 5, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_sees_a_channel_as_it_was_asked_for() {
    let ((mut caller, _), (mut answerer, _)) = (session().await, session().await);
    let reliable = DataChannelInit { protocol: "words".into(), ..DataChannelInit::reliable("a") };
    let asked = [
        DataChannelInit { ordered: false, ..reliable.clone() },
        DataChannelInit { label: "b".into(), max_retransmits: Some(3), ..reliable.clone() },
        DataChannelInit { label: "c".into(), ordered: false, max_packet_life_time: Some(70), ..reliable },
    ];
    let mut ours = Vec::new();
    for init in &asked {
        ours.push(caller.create_data_channel(init).await.unwrap());
    }
    connect(&mut caller, &mut answerer).await;
    let mut seen = Vec::new();
    for _ in &asked {
        let channel = answerer.next_data_channel().await.unwrap();
        seen.push((channel.label().to_owned(), channel.ordered().await, channel.protocol().await));
    }
    seen.sort();
    // The library does not show the limits of retransmission at this end.
    assert_eq!(seen, asked.map(|init| (init.label, init.ordered, init.protocol)));
    caller.close().await;
    answerer.close().await;
}

async fn session_with(video_codecs: &str) -> Session {
    let config = Config { video_codecs: video_codecs.parse().unwrap(), ..config() };
    Session::new(&config, Arc::new(Timing::new(Instant::now()))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_settle_on_the_codec_that_each_prefers_of_what_they_have_in_common() {
    // What the caller would send, and what the answerer would; then what they do send. The answerer's order decides.
    for (call, answer, sent, received) in [
        ("vp8,vp9", "vp8,vp9", Some(Codec::Vp8), Some(Codec::Vp8)),
        ("vp9,vp8", "vp9", Some(Codec::Vp9), Some(Codec::Vp9)),
        ("vp8,vp9", "vp9,vp8", Some(Codec::Vp9), Some(Codec::Vp9)),
        ("vp8", "vp9,vp8", Some(Codec::Vp8), Some(Codec::Vp8)),
    ] {
        let (mut caller, mut answerer) = (session_with(call).await, session_with(answer).await);
        let mut tracks = Vec::new();
        for (session, codecs) in [(&mut caller, call), (&mut answerer, answer)] {
            let send_video = codecs.parse::<crate::media::VideoCodecs>().unwrap().to_vec();
            let plan = MediaPlan { send_video, receive_video: true, ..MediaPlan::default() };
            tracks.push(session.add_media(&plan).await.unwrap().0.unwrap());
        }
        connect(&mut caller, &mut answerer).await;
        for (session, track, expected) in [(&caller, &tracks[0], sent), (&answerer, &tracks[1], received)] {
            let agreed = if session.takes(track).await == Taking::Now { Some(track.codec()) } else { None };
            assert_eq!(agreed, expected, "a caller with {call}, an answerer with {answer}");
        }
        caller.close().await;
        answerer.close().await;
    }
}

/// One end of signaling that changes what it passes on, and leaves out candidates of which nothing is left.
pub(super) struct Edited(pub memory::Memory, pub fn(&str) -> String);

#[async_trait::async_trait]
impl crate::signaling::Signaling for Edited {
    async fn send(&mut self, message: &Message) -> Result<(), crate::error::Error> {
        match message {
            Message::Description(offer) => {
                let edited = Description { sdp: (self.1)(&offer.sdp), ..offer.clone() };
                self.0.send(&Message::Description(edited)).await
            }
            Message::Candidate(told) => match (self.1)(&told.candidate) {
                left if left.is_empty() => Ok(()),
                candidate => self.0.send(&Message::Candidate(Candidate { candidate, ..told.clone() })).await,
            },
            other => self.0.send(other).await,
        }
    }

    async fn receive(&mut self) -> Result<Option<Message>, crate::error::Error> {
        self.0.receive().await
    }

    fn trickles(&self) -> bool {
        true
    }

    async fn close(&mut self) -> Result<(), crate::error::Error> {
        self.0.close().await
    }
}

/// Two sessions that speak H.264, and what they send it by; the offer is changed on its way.
async fn h264_sessions(edit: fn(&str) -> String) -> [(Session, LocalTrack); 2] {
    let (mut caller, mut answerer) = (session_with("h264").await, session_with("h264").await);
    let plan = MediaPlan { send_video: vec![Codec::H264], receive_video: true, ..MediaPlan::default() };
    let near_track = caller.add_media(&plan).await.unwrap().0.unwrap();
    let far_track = answerer.add_media(&plan).await.unwrap().0.unwrap();
    let (near, mut far) = memory::pair();
    let (mut near, options, stop) = (Edited(near, edit), NegotiateOptions::default(), Stop::new());
    let (called, answered) = tokio::join!(
        caller.connect(Role::Call, &mut near, &options, &stop),
        answerer.connect(Role::Answer, &mut far, &options, &stop)
    );
    called.unwrap();
    answered.unwrap();
    [(caller, near_track), (answerer, far_track)]
}

#[tokio::test(flavor = "multi_thread")]
async fn h264_is_agreed_on_in_the_mode_and_level_that_both_speak() {
    let as_offered = |sdp: &str| sdp.to_owned();
    // As others write it: the mode of single units is not said, and the interleaved one is nothing to us.
    let single_units = |sdp: &str| {
        let sdp = sdp.replace("packetization-mode=1", "packetization-mode=2");
        sdp.replace("packetization-mode=0;profile-level-id=42e033", "profile-level-id=42e00c")
    };
    for (edit, most, level) in
        [(as_offered as fn(&str) -> String, None, "5.1"), (single_units as fn(&str) -> String, Some(1170), "1.2")]
    {
        let [(caller, sent), (mut answerer, theirs)] = h264_sessions(edit).await;
        for track in [&sent, &theirs] {
            assert_eq!(track.most_unit_bytes(), most);
            assert_eq!(track.level().unwrap().to_string(), level);
        }
        let units: [&[u8]; 4] = [&[0x67, 0x42, 0xe0, 0x0c], &[0x68, 0xce], &[0x65, 0x88, 1], &[0x65, 0x41, 2]];
        let mut data = bytes::BytesMut::new();
        units.iter().for_each(|unit| crate::media::h264::put_nal_unit(&mut data, unit));
        let frame = EncodedFrame { codec: Codec::H264, time: MediaTime::ZERO, key: true, data: data.freeze() };
        let (sender, receiver) = bounded(8, Overflow::Block);
        let sending = tokio::spawn(sent.run(Arc::new(receiver), SystemTime::now()));
        sender.send_async(frame.clone()).await.unwrap();
        let track = answerer.next_track().await.unwrap();
        let (to, frames) = bounded(8, Overflow::DropToKeyframe);
        let receiving = tokio::spawn(track.run(Arc::new(to)));
        let received = tokio::time::timeout(Duration::from_secs(5), frames.recv_async()).await.unwrap().unwrap();
        assert_eq!((received.codec, received.key, received.data), (Codec::H264, true, frame.data));
        drop(sender);
        // Parameter sets share a packet only where packets may hold several units.
        assert_eq!(sending.await.unwrap().unwrap().packets_sent, if most.is_some() { 4 } else { 3 });
        caller.close().await;
        answerer.close().await;
        receiving.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_announced_are_found_in_a_stream_of_tcp_too() {
    let config = Config { ice_tcp: true, ..config() };
    let session = || Session::new(&config, Arc::new(Timing::new(Instant::now())));
    let (mut caller, mut answerer) = (session().await.unwrap(), session().await.unwrap());
    let plan = MediaPlan { send_video: vec![Codec::Vp8], send_audio: vec![Codec::Opus], ..MediaPlan::default() };
    let (video, audio) = caller.add_media(&plan).await.unwrap();
    let edit = |said: &str| {
        let is_left_out =
            |line: &&str| line.starts_with("a=ssrc") || line.contains("candidate:") && line.contains(" udp ");
        said.split_inclusive('\n').filter(|line| !is_left_out(line)).collect::<String>()
    };
    let (near, far) = memory::pair();
    let (mut near, mut far, options, stop) =
        (Edited(near, edit), Edited(far, edit), NegotiateOptions::default(), Stop::new());
    let (called, answered) = tokio::join!(
        caller.connect(Role::Call, &mut near, &options, &stop),
        answerer.connect(Role::Answer, &mut far, &options, &stop)
    );
    called.unwrap();
    answered.unwrap();
    let mut upkeep = answerer.upkeep(Role::Answer, UpkeepTimes::within(Duration::from_secs(30))).await;
    for track in [video.unwrap(), audio.unwrap()] {
        let (sender, receiver) = bounded(8, Overflow::Block);
        let codec = track.codec();
        tokio::spawn(track.run(Arc::new(receiver), SystemTime::now()));
        tokio::spawn(async move {
            for n in 0.. {
                let data = vec![if codec == Codec::Vp8 { 0x10 } else { 0x08 }; 3000].into();
                let time = MediaTime::from_micros(n * 20_000);
                if sender.send_async(EncodedFrame { codec, time, key: true, data }).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let (mut tracks, _) = answerer.take_arrivals();
    let mut signaling: Option<Box<dyn crate::signaling::Signaling>> = Some(Box::new(far));
    let mut came = Vec::new();
    let both = async {
        while came.len() < 2 {
            tokio::select! {
                due = upkeep.due(&answerer, &mut signaling) => {
                    upkeep.attend(due, &answerer, &mut signaling).await.unwrap();
                }
                Some(track) = tracks.recv() => came.push(track.kind()),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both come");
    came.sort();
    assert_eq!(came, [MediaKind::Audio, MediaKind::Video]);
    assert_eq!(answerer.report().await.selected_pair.unwrap().local.protocol, "tcp");
    caller.close().await;
    answerer.close().await;
}
