//! Two sessions in one process whose path is renewed, cut and comes back.

use super::*;
use crate::media::{Codec, EncodedFrame, MediaTime};
use crate::peer::Taking;
use crate::peer::tests::Edited;
use crate::peer::{BadNetwork, Config, DataChannelInit, DataMessage, Interfaces, MediaPlan, NegotiateOptions, Timing};
use crate::pipeline::queue::{Overflow, bounded};
use crate::signaling::memory;
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::SystemTime;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_dead_path_is_renewed_first_by_who_offered_and_again_after_a_while() {
    let times = UpkeepTimes::within(Duration::from_secs(30));
    let seconds = Duration::from_secs;
    let due =
        |polite, trouble, since: Option<u64>| is_restart_due(&times, polite, seconds(trouble), since.map(seconds));
    assert!(!due(false, 6, None) && due(false, 7, None));
    assert!(!due(true, 8, None) && due(true, 9, None));
    assert!(!due(false, 12, Some(5)) && due(false, 15, Some(8)));
    assert_eq!((times.alone, times.within), (Duration::from_millis(8500), seconds(30)));
    assert_eq!(UpkeepTimes::within(seconds(3)).within, times.alone);
}

/// One side, kept up by a task.
struct End {
    session: Arc<Session>,
    wishes: mpsc::Sender<()>,
    happened: mpsc::Receiver<Result<Happened, PeerError>>,
    task: JoinHandle<()>,
    /// The number of the last frame that came from the other side, from 1.
    frames: Arc<AtomicU32>,
    tracks: Arc<AtomicU32>,
}

impl End {
    async fn keep(mut session: Session, role: Role, times: UpkeepTimes, road: memory::Memory) -> Self {
        let (mut arriving, _) = session.take_arrivals();
        let (frames, tracks) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (last, count) = (Arc::clone(&frames), Arc::clone(&tracks));
        tokio::spawn(async move {
            while let Some(track) = arriving.recv().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (sender, receiver) = bounded(256, Overflow::DropToKeyframe);
                tokio::spawn(track.run(Arc::new(sender)));
                let last = Arc::clone(&last);
                tokio::spawn(async move {
                    while let Some(frame) = receiver.recv_async().await {
                        last.store(u32::from_be_bytes(frame.data[1..5].try_into().unwrap()), Ordering::Relaxed);
                    }
                });
            }
        });
        let mut upkeep = session.upkeep(role, times).await;
        let session = Arc::new(session);
        let kept = Arc::clone(&session);
        let (wishes, mut wished) = mpsc::channel(1);
        let (tell, happened) = mpsc::channel(256);
        let task = tokio::spawn(async move {
            let mut road: Road = Some(Box::new(road));
            loop {
                let due = tokio::select! {
                    Some(()) = wished.recv() => {
                        assert!(upkeep.restart_ice(&road));
                        continue;
                    }
                    due = upkeep.due(&kept, &mut road) => due,
                };
                match upkeep.attend(due, &kept, &mut road).await {
                    Ok(Some(happened)) => tell.send(Ok(happened)).await.unwrap(),
                    Ok(None) => {}
                    Err(over) => break tell.send(Err(over)).await.unwrap(),
                }
            }
        });
        Self { session, wishes, happened, task, frames, tracks }
    }

    async fn port(&self) -> u16 {
        self.session.report().await.selected_pair.map_or(0, |pair| pair.local.port)
    }

    fn restarts(&self) -> u32 {
        self.session.ice_restarts.load(Ordering::Relaxed)
    }

    fn is_connected(&self) -> bool {
        *self.session.states().borrow() == ConnectionState::Connected
    }

    fn last_frame(&self) -> u32 {
        self.frames.load(Ordering::Relaxed)
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends a frame every 20 ms, each with its number in it.
fn feed(track: crate::peer::LocalTrack) -> Arc<AtomicU32> {
    let (sender, receiver) = bounded(8, Overflow::DropToKeyframe);
    let (codec, number) = (track.codec(), Arc::new(AtomicU32::new(0)));
    tokio::spawn(track.run(Arc::new(receiver), SystemTime::now()));
    let counted = Arc::clone(&number);
    tokio::spawn(async move {
        let began = Instant::now();
        loop {
            let n = counted.fetch_add(1, Ordering::Relaxed) + 1;
            let mut data = vec![if codec == Codec::Vp8 { 0x10 } else { 0x08 }; 100];
            data[1..5].copy_from_slice(&n.to_be_bytes());
            let time = MediaTime::from_micros(i64::try_from(began.elapsed().as_micros()).unwrap());
            if sender.send_async(EncodedFrame { codec, time, key: true, data: data.into() }).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    number
}

/// Two ends with picture one way, sound the other, and a channel that echoes.
struct Pair {
    near: End,
    far: End,
    sent: [Arc<AtomicU32>; 2],
    channel: crate::peer::DataChannel,
    cut: Arc<std::sync::atomic::AtomicBool>,
}

impl Pair {
    async fn connect(times: UpkeepTimes) -> Self {
        let bad = BadNetwork::default();
        let cut = Arc::clone(&bad.cut);
        let config = Config { interfaces: Interfaces::Loopback, bad_network: Some(bad), ..Config::default() };
        let timing = || Arc::new(Timing::new(Instant::now()));
        let mut caller = Session::new(&config, timing()).await.unwrap();
        let mut answerer = Session::new(&config, timing()).await.unwrap();
        let both = MediaPlan { receive_video: true, receive_audio: true, ..MediaPlan::default() };
        let plan = MediaPlan { send_video: vec![Codec::Vp8], ..both.clone() };
        let (video, _) = caller.add_media(&plan).await.unwrap();
        let plan = MediaPlan { send_audio: vec![Codec::Opus], ..both };
        let (_, audio) = answerer.add_media(&plan).await.unwrap();
        let channel = caller.create_data_channel(&DataChannelInit::reliable("echo")).await.unwrap();
        let (mut near, mut far) = memory::pair();
        let (options, stop) = (NegotiateOptions::default(), Stop::new());
        let (called, answered) = tokio::join!(
            caller.connect(Role::Call, &mut near, &options, &stop),
            answerer.connect(Role::Answer, &mut far, &options, &stop)
        );
        called.unwrap();
        answered.unwrap();
        assert!(channel.opened().await.unwrap());
        let echo = answerer.next_data_channel().await.unwrap();
        tokio::spawn(async move {
            while let Some(message) = echo.receive().await {
                let _ = echo.send(&message).await;
            }
        });
        let sent = [feed(video.unwrap()), feed(audio.unwrap())];
        let near = End::keep(caller, Role::Call, times, near).await;
        let far = End::keep(answerer, Role::Answer, times, far).await;
        let pair = Self { near, far, sent, channel, cut };
        pair.flows().await;
        pair
    }

    /// Waits until frames that are sent from now on come, both ways.
    async fn flows(&self) {
        let [picture, sound] = [0, 1].map(|n: usize| self.sent[n].load(Ordering::Relaxed));
        until("the picture goes on", || self.far.last_frame() > picture).await;
        until("the sound goes on", || self.near.last_frame() > sound).await;
    }

    async fn echoes(&self, text: &str) {
        let message = DataMessage::Text(text.to_owned());
        self.channel.send(&message).await.unwrap();
        let back = tokio::time::timeout(PATIENCE, self.channel.receive()).await.expect("no echo");
        assert!(back.unwrap() == message);
    }

    async fn end(self) {
        for end in [&self.near, &self.far] {
            assert_eq!(end.tracks.load(Ordering::Relaxed), 1, "a restart brings no other track");
            end.task.abort();
            end.session.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_and_messages_go_on_through_restarts_of_either_side_and_of_both_at_once() {
    let pair = Pair::connect(UpkeepTimes::within(Duration::from_secs(30))).await;
    let sides = [vec![&pair.near], vec![&pair.far], vec![&pair.near, &pair.far], vec![&pair.near]];
    for (round, who) in sides.into_iter().enumerate() {
        let before = (pair.near.port().await, pair.far.port().await);
        let counts = (pair.near.restarts(), pair.far.restarts());
        let began = Instant::now();
        for end in who {
            end.wishes.send(()).await.unwrap();
        }
        until("both agree on a restart", || pair.near.restarts() > counts.0 && pair.far.restarts() > counts.1).await;
        until("both are connected", || pair.near.is_connected() && pair.far.is_connected()).await;
        println!("round {round}: connected after {:?}", began.elapsed());
        pair.flows().await;
        println!("round {round}: media after {:?}", began.elapsed());
        pair.echoes(&format!("round {round}")).await;
        let after = (pair.near.port().await, pair.far.port().await);
        assert!(before.0 != after.0 && before.1 != after.1, "new sockets: {before:?}, {after:?}");
    }
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_with_another_certificate_is_the_end_of_the_connection_that_is_there() {
    let config = Config { interfaces: Interfaces::Loopback, ..Config::default() };
    let session = || async { Session::new(&config, Arc::new(Timing::new(Instant::now()))).await.unwrap() };
    let (mut caller, mut answerer) = (session().await, session().await);
    let _channel = caller.create_data_channel(&DataChannelInit::reliable("x")).await.unwrap();
    let (mut near, mut far) = memory::pair();
    let (options, stop) = (NegotiateOptions::default(), Stop::new());
    let (called, answered) = tokio::join!(
        caller.connect(Role::Call, &mut near, &options, &stop),
        answerer.connect(Role::Answer, &mut far, &options, &stop)
    );
    called.and(answered).unwrap();
    let offer = caller.pc.local_description().await.unwrap().sdp;
    let fingerprint = offer.lines().find(|line| line.starts_with("a=fingerprint:")).unwrap();
    let other = offer.replace(fingerprint, "a=fingerprint:sha-256 00:11");
    let mut end = End::keep(answerer, Role::Answer, UpkeepTimes::within(PATIENCE), far).await;
    near.send(&Message::Description(Description { kind: DescriptionKind::Offer, sdp: other })).await.unwrap();
    let over = async {
        while let Some(happened) = end.happened.recv().await {
            if let Err(over) = happened {
                return over;
            }
        }
        panic!("it goes on");
    };
    let over = tokio::time::timeout(PATIENCE, over).await.expect("it ends");
    assert!(matches!(over, PeerError::HungUp), "{over}");
    caller.close().await;
    end.session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_and_has_left_the_room_is_gone_sooner_than_who_is_there() {
    let times = UpkeepTimes { departed: Duration::from_secs(2), ..UpkeepTimes::within(Duration::from_secs(60)) };
    let pair = Pair::connect(times).await;
    let (tell, presence) = watch::channel(Presence::Gone);
    let session = Arc::clone(&pair.near.session);
    let forsaken = move |presence| {
        let session = Arc::clone(&session);
        tokio::spawn(async move { session.forsaken(Some(presence), &mut None, &times).await })
    };
    // Media goes on without the room.
    let gone = forsaken(presence.clone());
    tokio::time::sleep(times.departed + Duration::from_millis(500)).await;
    assert!(!gone.is_finished(), "it is heard all the time");
    pair.cut.store(true, Ordering::Relaxed);
    let error = tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
    assert!(matches!(error, PeerError::Lost { silence } if silence >= times.departed), "{error}");
    // What is only known now may have become true while we were cut off ourselves, and it is back already.
    let (silent, known) = (pair.near.session.silence().unwrap(), std::time::Instant::now());
    let error = tokio::time::timeout(PATIENCE, forsaken(presence.clone())).await.unwrap().unwrap();
    assert!(silent >= times.departed && known.elapsed() >= times.departed, "{error}");
    // Who may come back has more time, and who is there as much as there is.
    tell.send_replace(Presence::Here);
    let gone = forsaken(presence);
    tokio::task::yield_now().await;
    assert!(!gone.is_finished());
    tell.send_replace(Presence::Cut);
    let error = tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
    assert!(matches!(error, PeerError::Lost { silence } if silence >= times.alone), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_dies_is_renewed_once_there_is_one_again_and_given_up_after_that() {
    let times = UpkeepTimes {
        dead: Duration::from_millis(1500),
        restarting: Duration::from_millis(700),
        alone: Duration::from_secs(1),
        departed: Duration::from_secs(1),
        within: Duration::from_millis(3500),
    };
    let mut pair = Pair::connect(times).await;
    pair.cut.store(true, Ordering::Relaxed);
    let mut happened = Vec::new();
    let offered = async {
        while !matches!(happened.last(), Some(Happened::IceRestart(Side::Local))) {
            happened.push(pair.near.happened.recv().await.unwrap().unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, offered).await.expect("a restart is offered");
    until("the other side agrees", || pair.near.restarts() > 0 && pair.far.restarts() > 0).await;
    pair.cut.store(false, Ordering::Relaxed);
    let back = Instant::now();
    pair.flows().await;
    println!("media {:?} after the path is back", back.elapsed());
    pair.echoes("still here").await;

    pair.cut.store(true, Ordering::Relaxed);
    let lost = async {
        loop {
            match pair.near.happened.recv().await.unwrap() {
                Ok(_) => {}
                Err(over) => break over,
            }
        }
    };
    let lost = tokio::time::timeout(PATIENCE, lost).await.expect("it is given up");
    assert!(matches!(lost, PeerError::Lost { silence } if silence > times.dead), "{lost}");
    assert!(pair.near.restarts() > 1, "it was tried");
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_peer_holds_from_the_beginning_rests_until_it_is_wanted() {
    let config = Config { interfaces: Interfaces::Loopback, ..Config::default() };
    let session = || async { Session::new(&config, Arc::new(Timing::new(Instant::now()))).await.unwrap() };
    let receives = MediaPlan { receive_video: true, ..MediaPlan::default() };
    let sends = MediaPlan { send_video: vec![Codec::Vp8], ..receives.clone() };
    let inactive = |sdp: &str| sdp.replace("a=recvonly", "a=inactive");
    // Nothing but what they send, which some need not be told of.
    let sendonly = |sdp: &str| sdp.replace("a=recvonly", "a=sendonly");
    for (holder_calls, held) in [(true, inactive as fn(&str) -> String), (true, sendonly), (false, inactive)] {
        let (mut sender, mut holder) = (session().await, session().await);
        let (track, _) = sender.add_media(&sends).await.unwrap();
        if holder_calls {
            holder.add_media(&receives).await.unwrap();
        }
        let (near, far) = memory::pair();
        let (mut near, mut far) = (Edited(near, str::to_owned), Edited(far, held));
        let (options, stop) = (NegotiateOptions::default(), Stop::new());
        let roles = if holder_calls { [Role::Answer, Role::Call] } else { [Role::Call, Role::Answer] };
        let (sending, holding) = tokio::join!(
            sender.connect(roles[0], &mut near, &options, &stop),
            holder.connect(roles[1], &mut far, &options, &stop)
        );
        sending.and(holding).unwrap();
        let track = track.unwrap();
        assert_eq!(sender.takes(&track).await, Taking::Later);
        let (control, sent) = (track.control(), feed(track));
        until("frames are there to be sent", || sent.load(Ordering::Relaxed) > 5 && control.is_held()).await;
        let times = UpkeepTimes::within(PATIENCE);
        let sender = End::keep(sender, roles[0], times, near.0).await;
        let holder = End::keep(holder, roles[1], times, far.0).await;
        assert_eq!(sender.session.runtime.departures().of(sender.session.outgoing[0].ssrc), 0);
        holder.wishes.send(()).await.unwrap();
        let before = sent.load(Ordering::Relaxed);
        until("the picture comes", || holder.last_frame() > before).await;
        assert!(!control.is_held());
        for end in [sender, holder] {
            end.task.abort();
            end.session.close().await;
        }
    }
}
