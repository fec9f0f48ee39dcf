//! Brings the frames of several tracks into one order by time, losing none and waiting for none too long.

use crate::media::EncodedFrame;
use std::collections::VecDeque;

/// A frame at its place in the file, in milliseconds on the timeline of the capture.
#[derive(Debug)]
pub(super) struct Placed {
    pub track: usize,
    pub ms: i64,
    pub frame: EncodedFrame,
}

/// Merges tracks that each come in their own order. A frame is ready once no other track can still bring an
/// earlier one, or once the newest frame of any track is [`WINDOW_MS`](Self::WINDOW_MS) past it.
#[derive(Debug)]
pub(super) struct Interleaver {
    tracks: Vec<Track>,
    held: usize,
    bytes: u64,
    newest_ms: i64,
    last_out_ms: i64,
}

#[derive(Debug)]
struct Track {
    queue: VecDeque<(i64, EncodedFrame)>,
    newest_ms: i64,
    moved: u64,
}

impl Interleaver {
    /// How long a track that went silent can hold up the others.
    pub const WINDOW_MS: i64 = 500;
    /// Frames held at most, whatever their times say.
    pub const MOST_HELD: usize = 1024;
    /// What a frame costs in the file besides its own bytes, at most.
    const BLOCK_HEAD_BYTES: u64 = 16;

    pub fn new(tracks: usize) -> Self {
        let mut new = Self { tracks: Vec::new(), held: 0, bytes: 0, newest_ms: i64::MIN, last_out_ms: i64::MIN };
        (0..tracks).for_each(|_| new.add_track());
        new
    }

    pub fn add_track(&mut self) {
        self.tracks.push(Track { queue: VecDeque::new(), newest_ms: i64::MIN, moved: 0 });
    }

    /// Takes a frame. One that comes too late for its time, or not after its track's last, is moved to the earliest time
    /// that keeps every order; the order within a track is never changed.
    pub fn push(&mut self, track: usize, ms: i64, frame: EncodedFrame) {
        let lane = &mut self.tracks[track];
        let place = ms.max(self.last_out_ms).max(lane.newest_ms.saturating_add(1));
        // A millisecond is rounding.
        lane.moved += u64::from(place > ms + 1);
        lane.newest_ms = place;
        self.newest_ms = self.newest_ms.max(place);
        self.bytes += frame.data.len() as u64 + Self::BLOCK_HEAD_BYTES;
        lane.queue.push_back((place, frame));
        self.held += 1;
    }

    /// Leaves out what `track` has that is over by `ms`, as long as nothing has been given yet. Returns how many frames.
    pub fn begin_at(&mut self, track: usize, ms: i64) -> u64 {
        let lane = &mut self.tracks[track];
        let mut left_out = 0;
        while self.last_out_ms == i64::MIN && lane.queue.get(1).is_some_and(|(next, _)| *next <= ms) {
            if let Some((_, frame)) = lane.queue.pop_front() {
                self.bytes -= frame.data.len() as u64 + Self::BLOCK_HEAD_BYTES;
            }
            self.held -= 1;
            left_out += 1;
        }
        left_out
    }

    /// The next frame in order, if it is ready.
    pub fn pop(&mut self) -> Option<Placed> {
        let (track, ms) = self.first()?;
        let late = self.newest_ms - ms >= Self::WINDOW_MS || self.held > Self::MOST_HELD;
        let nothing_earlier_can_come = self.tracks.iter().all(|lane| !lane.queue.is_empty() || lane.newest_ms >= ms);
        if late || nothing_earlier_can_come { self.take(track) } else { None }
    }

    /// The next frame in order, ready or not.
    pub fn pop_any(&mut self) -> Option<Placed> {
        let (track, _) = self.first()?;
        self.take(track)
    }

    /// The time of the first frame that is held.
    pub fn first_ms(&self) -> Option<i64> {
        self.first().map(|(_, ms)| ms)
    }

    /// From the first held frame to the newest ever taken.
    pub fn span_ms(&self) -> i64 {
        self.first_ms().map_or(0, |first| self.newest_ms - first)
    }

    /// Bytes that what is held will take in the file, at most.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn is_over_full(&self) -> bool {
        self.held > Self::MOST_HELD
    }

    pub fn has_held(&self, track: usize) -> bool {
        !self.tracks[track].queue.is_empty()
    }

    /// Frames of this track that could not keep their time.
    pub fn moved(&self, track: usize) -> u64 {
        self.tracks[track].moved
    }

    fn first(&self) -> Option<(usize, i64)> {
        let heads = self.tracks.iter().enumerate();
        heads.filter_map(|(track, lane)| Some((track, lane.queue.front()?.0))).min_by_key(|&(track, ms)| (ms, track))
    }

    fn take(&mut self, track: usize) -> Option<Placed> {
        let (ms, frame) = self.tracks[track].queue.pop_front()?;
        self.held -= 1;
        self.bytes -= frame.data.len() as u64 + Self::BLOCK_HEAD_BYTES;
        self.last_out_ms = ms;
        Some(Placed { track, ms, frame })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Codec, MediaTime};
    use bytes::Bytes;

    fn frame(n: u32) -> EncodedFrame {
        let data = Bytes::copy_from_slice(&n.to_be_bytes());
        EncodedFrame { codec: Codec::Opus, time: MediaTime::ZERO, key: true, data }
    }

    /// xorshift64: the same numbers on every run.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn ten_thousand_random_interleavings_keep_every_frame_and_every_order() {
        let mut seed = 0x9E37_79B9_7F4A_7C15;
        let mut moved_in_all = 0;
        for round in 0..10_000 {
            let tracks = 1 + (random(&mut seed) % 3) as usize;
            // Every third round one track lags by more than the window.
            let lag = if round % 3 == 0 { 2_000 } else { 400 };
            let mut arrivals: Vec<(i64, usize, i64)> = Vec::new();
            for track in 0..tracks {
                let step = 5 + (random(&mut seed) % 40) as i64;
                let late = (random(&mut seed) % lag) as i64;
                let mut arrival = 0;
                for n in 0..30 {
                    let ms = n * step;
                    // Frames of one track arrive in their order.
                    arrival = arrival.max(ms + late * (random(&mut seed) % 2) as i64);
                    arrivals.push((arrival, track, ms));
                }
            }
            arrivals.sort_by_key(|&(arrival, _, _)| arrival);

            let mut interleaver = Interleaver::new(tracks);
            let mut out = Vec::new();
            for (n, &(_, track, ms)) in (0..).zip(&arrivals) {
                interleaver.push(track, ms, frame(n));
                out.extend(std::iter::from_fn(|| interleaver.pop()));
                assert!(interleaver.span_ms() < Interleaver::WINDOW_MS);
            }
            out.extend(std::iter::from_fn(|| interleaver.pop_any()));

            assert_eq!(out.len(), arrivals.len(), "round {round}");
            assert!(out.windows(2).all(|pair| pair[0].ms <= pair[1].ms), "round {round}");
            for track in 0..tracks {
                let sent = (0..).zip(&arrivals).filter(|(_, arrival)| arrival.1 == track).map(|(n, _)| frame(n).data);
                let got: Vec<_> = out.iter().filter(|placed| placed.track == track).collect();
                assert!(sent.eq(got.iter().map(|placed| placed.frame.data.clone())), "round {round}");
                assert!(got.windows(2).all(|pair| pair[0].ms < pair[1].ms), "round {round}");
                moved_in_all += interleaver.moved(track);
            }
            if lag == 400 {
                let mut expected: Vec<_> = arrivals.iter().map(|&(_, track, ms)| (ms, track)).collect();
                expected.sort_unstable();
                let mut got: Vec<_> = out.iter().map(|placed| (placed.ms, placed.track)).collect();
                got.sort_unstable();
                assert_eq!(got, expected, "within the window every frame keeps its time, round {round}");
            }
        }
        assert!(moved_in_all > 0, "the lagging rounds were meant to move frames");
    }

    #[test]
    fn a_silent_track_holds_up_the_other_for_the_window_and_no_longer() {
        let mut interleaver = Interleaver::new(2);
        for n in 0..100 {
            interleaver.push(0, i64::from(n) * 20, frame(n));
            let mut last = None;
            while let Some(placed) = interleaver.pop() {
                last = Some(placed.ms);
            }
            if n >= 25 {
                assert_eq!(last, Some(i64::from(n) * 20 - Interleaver::WINDOW_MS));
            }
        }
    }

    #[test]
    fn what_is_held_is_bounded_even_when_time_stands_still() {
        let mut interleaver = Interleaver::new(2);
        let mut out = 0;
        for n in 0..5_000 {
            interleaver.push(0, i64::from(n) / 1_000, frame(n));
            out += std::iter::from_fn(|| interleaver.pop()).count();
        }
        assert!(out >= 5_000 - Interleaver::MOST_HELD);
    }
}
