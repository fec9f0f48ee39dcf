//! One encode for several viewers: each has a queue of its own, so that nobody waits for anybody, and what they want of the encoder
//! is brought together.
//!
//! ```text
//! encoder -[DropToKeyframe]-> Fan -[DropToKeyframe]-> LocalTrack, one for each viewer
//! ```

use super::send::ENCODED_QUEUE;
use crate::media::{Codec, EncodedFrame, EncoderControl, MediaKind};
use crate::pipeline::queue::{Overflow, Receiver, Sender, Sent, bounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// Between two key frames for somebody who comes.
const FOR_NEWCOMERS: Duration = Duration::from_millis(250);
/// Between two key frames for those that lost something, or are too slow: they cost all the others bits.
const FOR_REPAIR: Duration = Duration::from_secs(1);

/// One encoded track, on its way to whoever wants it.
pub(super) struct Fan {
    codec: Codec,
    control: Arc<EncoderControl>,
    viewers: Mutex<Viewers>,
    captured_at: watch::Sender<Option<SystemTime>>,
}

#[derive(Default)]
struct Viewers {
    feeds: Vec<Feed>,
    last_key: Option<Instant>,
}

/// A viewer, seen from the encoder.
struct Feed {
    frames: Sender<EncodedFrame>,
    control: Arc<EncoderControl>,
    need: Need,
}

/// How much a viewer wants a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    None,
    /// It lost something.
    Repair,
    /// It has seen nothing yet.
    Begin,
}

impl Fan {
    pub fn new(codec: Codec) -> Arc<Self> {
        let control = Arc::new(EncoderControl::new());
        Arc::new(Self { codec, control, viewers: Mutex::default(), captured_at: watch::Sender::new(None) })
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// What the encoder is to obey.
    pub fn control(&self) -> Arc<EncoderControl> {
        Arc::clone(&self.control)
    }

    /// What a viewer gets from now on, and when it was captured. `control` is where its wishes arrive.
    pub async fn join(&self, control: Arc<EncoderControl>) -> (Receiver<EncodedFrame>, SystemTime) {
        let mut begun = self.captured_at.subscribe();
        let begun = begun.wait_for(Option::is_some).await.ok().and_then(|at| *at);
        let (frames, queue) = bounded(ENCODED_QUEUE, Overflow::DropToKeyframe);
        let need = if self.codec.kind() == MediaKind::Video { Need::Begin } else { Need::None };
        let mut viewers = self.viewers();
        viewers.feeds.push(Feed { frames, control, need });
        self.control.hold(false);
        self.want(&viewers, Instant::now());
        (queue, begun.unwrap_or_else(SystemTime::now))
    }

    /// Takes what the encoder gives until it ends; then the viewers have got all.
    pub async fn run(&self, frames: Arc<Receiver<EncodedFrame>>, captured_at: SystemTime) {
        self.captured_at.send_replace(Some(captured_at));
        while let Some(frame) = frames.recv_async().await {
            self.give(&frame, Instant::now());
        }
        self.viewers().feeds.clear();
    }

    fn give(&self, frame: &EncodedFrame, now: Instant) {
        let mut viewers = self.viewers();
        if frame.key {
            viewers.last_key = Some(now);
        }
        viewers.feeds.retain_mut(|feed| feed.give(frame));
        // With nobody to see it nothing is encoded.
        self.control.hold(viewers.feeds.is_empty());
        // A path that is narrower than the others' gets what fits it of the same pictures, and holds up nobody.
        let wanted: Option<Vec<u32>> = viewers.feeds.iter().map(|feed| feed.control.bitrate()).collect();
        self.control.set_bitrate(wanted.and_then(|wanted| wanted.into_iter().max()).unwrap_or_default());
        self.want(&viewers, now);
    }

    /// Asks for a key frame if somebody needs one and the last is long enough ago.
    fn want(&self, viewers: &Viewers, now: Instant) {
        let need = viewers.feeds.iter().map(|feed| feed.need).max().unwrap_or(Need::None);
        let pause = match need {
            Need::None => return,
            Need::Repair => FOR_REPAIR,
            Need::Begin => FOR_NEWCOMERS,
        };
        if viewers.last_key.is_none_or(|last| now.saturating_duration_since(last) >= pause) {
            self.control.request_key_frame();
        }
    }

    fn viewers(&self) -> MutexGuard<'_, Viewers> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// False when the viewer is gone.
    fn give(&mut self, frame: &EncodedFrame) -> bool {
        let asked = self.control.take_key_frame_request();
        if frame.key {
            self.need = Need::None;
        } else if asked {
            self.need = self.need.max(Need::Repair);
        }
        if self.need == Need::Begin {
            return true;
        }
        match self.frames.send(frame.clone()) {
            Ok(Sent::Queued) => true,
            Ok(Sent::NeedsKey) => {
                self.need = self.need.max(Need::Repair);
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaTime;

    fn frame(key: bool) -> EncodedFrame {
        EncodedFrame { codec: Codec::Vp8, time: MediaTime::from_micros(0), key, data: Vec::new().into() }
    }

    fn taken(queue: &Receiver<EncodedFrame>) -> Vec<bool> {
        std::iter::from_fn(|| queue.try_recv()).map(|frame| frame.key).collect()
    }

    async fn begun() -> (Arc<Fan>, Instant) {
        let fan = Fan::new(Codec::Vp8);
        fan.captured_at.send_replace(Some(SystemTime::now()));
        (fan, Instant::now())
    }

    #[tokio::test]
    async fn who_comes_later_begins_with_a_key_frame_and_the_others_get_one_for_all_that_ask() {
        let (fan, now) = begun().await;
        let control = fan.control();
        let (first, _) = fan.join(Arc::new(EncoderControl::new())).await;
        assert!(control.take_key_frame_request());
        fan.give(&frame(true), now);
        let (second, _) = fan.join(Arc::new(EncoderControl::new())).await;
        assert!(!control.take_key_frame_request(), "the last is not long ago");
        fan.give(&frame(false), now);
        fan.give(&frame(false), now + FOR_NEWCOMERS);
        assert!(control.take_key_frame_request());
        fan.give(&frame(true), now + FOR_NEWCOMERS);
        assert_eq!((taken(&first), taken(&second)), (vec![true, false, false, true], vec![true]));
    }

    #[tokio::test]
    async fn key_frames_for_those_that_lose_something_are_few_whoever_asks() {
        let (fan, now) = begun().await;
        let controls = [Arc::new(EncoderControl::new()), Arc::new(EncoderControl::new())];
        let (first, _) = fan.join(Arc::clone(&controls[0])).await;
        let (_second, _) = fan.join(Arc::clone(&controls[1])).await;
        fan.give(&frame(true), now);
        fan.control().take_key_frame_request();
        let mut asked = 0;
        for tick in 1..=30 {
            // Both ask all the time, and only the key frames that are asked for come.
            controls.iter().for_each(|control| control.request_key_frame());
            let now = now + Duration::from_millis(100) * tick;
            fan.give(&frame(false), now);
            if fan.control().take_key_frame_request() {
                asked += 1;
                fan.give(&frame(true), now);
            }
            taken(&first);
        }
        assert_eq!(asked, 3, "three seconds");
    }

    #[tokio::test]
    async fn who_is_slow_or_leaves_hurts_nobody() {
        let (fan, now) = begun().await;
        let (wide, narrow) = (Arc::new(EncoderControl::new()), Arc::new(EncoderControl::new()));
        let (quick, _) = fan.join(Arc::clone(&wide)).await;
        let (slow, _) = fan.join(Arc::clone(&narrow)).await;
        wide.set_bitrate(2_000_000);
        narrow.set_bitrate(100_000);
        narrow.hold(true);
        fan.give(&frame(true), now);
        for _ in 0..100 {
            fan.give(&frame(false), now);
            assert_eq!(taken(&quick).last(), Some(&false), "the quick one gets all");
        }
        assert_eq!((fan.control().bitrate(), fan.control().is_held()), (Some(2_000_000), false));
        assert!(slow.stats().dropped > 50 && slow.waiting() <= ENCODED_QUEUE);
        drop(quick);
        fan.give(&frame(false), now);
        assert_eq!(fan.control().bitrate(), Some(100_000));
        drop(slow);
        fan.give(&frame(false), now);
        assert!(fan.control().is_held(), "nobody is left");
        let (again, _) = fan.join(wide).await;
        assert!(!fan.control().is_held());
        fan.give(&frame(true), now);
        assert_eq!(taken(&again), [true]);
    }
}
