//! How much the path carries, by what the peer says of every packet's arrival.
//!
//! In the manner of draft-ietf-rmcat-gcc-02, with one difference: what is judged is the queue on the path itself, the least
//! delay of the last packets over the least delay that the path ever showed, and not its slope, which stays below every
//! threshold where the path is only a little too narrow and the queue fills all the same.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bits per second below which no path is believed to be.
pub(super) const LEAST: f64 = 50_000.0;
/// Bits per second at which a call begins: the first key frame, a third of a second of them, is on a narrow path before anything
/// is known of it, and all the sound waits behind it. What a wide path carries is found in two seconds.
pub(super) const START: f64 = 400_000.0;
/// More than anything that is sent.
const MOST: f64 = 100e6;

/// Seconds of queue at which less is sent, and below which more is.
const OVER: f64 = 0.060;
const FREE: f64 = 0.040;
/// Seconds of queue that count as none.
const EMPTY: f64 = 0.020;
/// Part of the packets, smoothed, whose loss means that the path is full although no queue is seen; and below which loss
/// keeps nothing from growing.
const LOSSY: f64 = 0.15;
const CLEAN: f64 = 0.05;
/// Over about so many packets loss is smoothed.
const LOSS_PACKETS: f64 = 200.0;
/// Seconds without a word of the peer after which the path counts as cut.
const SILENCE: f64 = 1.0;
/// Over so many seconds it is judged what arrives, and how long the queue is.
const RATE_WINDOW: f64 = 0.5;
const QUEUE_WINDOW: f64 = 0.15;
/// The least delay is that of the last `BASES` periods of `BASE` seconds: routes change, and clocks drift.
const BASE: f64 = 2.0;
const BASES: usize = 10;

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub departure: Instant,
    pub bytes: usize,
    /// By the peer's clock; `None` when it says that the packet did not come.
    pub arrival: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Estimator {
    began: Instant,
    target: f64,
    /// What the path was seen to carry when it was full.
    ceiling: Option<f64>,
    /// Whether it was ever full: until then it is sought quickly.
    was_full: bool,
    /// Where to go on once the queue is gone.
    resume: Option<f64>,
    bases: VecDeque<(f64, f64)>,
    delays: VecDeque<(f64, f64)>,
    arrived: VecDeque<(f64, usize)>,
    sent: VecDeque<(f64, usize)>,
    queue: f64,
    loss: f64,
    round_trip: f64,
    decreased: Option<f64>,
    updated: Option<f64>,
    heard: Option<f64>,
    last_departure: f64,
}

impl Estimator {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            target: START,
            ceiling: None,
            was_full: false,
            resume: None,
            bases: VecDeque::new(),
            delays: VecDeque::new(),
            arrived: VecDeque::new(),
            sent: VecDeque::new(),
            queue: 0.0,
            loss: 0.0,
            round_trip: 0.1,
            decreased: None,
            updated: None,
            heard: None,
            last_departure: 0.0,
        }
    }

    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.began).as_secs_f64()
    }

    /// Notes a packet that leaves.
    pub(super) fn departed(&mut self, bytes: usize, now: Instant) {
        let now = self.seconds(now);
        self.last_departure = now;
        self.sent.push_back((now, bytes));
        expire(&mut self.sent, now - RATE_WINDOW - self.round_trip);
    }

    /// Bits per second that may be sent now.
    pub(super) fn target(&self, now: Instant) -> f64 {
        let now = self.seconds(now);
        let quiet = self.heard.filter(|heard| self.last_departure > *heard).map_or(0.0, |heard| now - heard);
        (self.target * 0.5_f64.powf((quiet - SILENCE - self.round_trip).max(0.0))).max(LEAST)
    }

    /// Whether the path was ever seen to be full.
    pub(super) fn was_full(&self) -> bool {
        self.was_full
    }

    /// Takes the peer's word on packets, in the order in which they left.
    pub(super) fn feedback(&mut self, fates: &[Fate], now: Instant) {
        let before = self.target(now);
        let now = self.seconds(now);
        if before < self.target {
            self.resume = Some(0.6 * self.target);
            self.target = before;
            self.ceiling = None;
            // What was sent into the dark tells nothing of the path that is back.
            (self.decreased, self.loss) = (Some(now), 0.0);
            self.delays.clear();
            self.arrived.clear();
        }
        self.heard = Some(now);
        let mut newest: Option<f64> = None;
        for fate in fates {
            let departure = self.seconds(fate.departure);
            let Some(arrival) = fate.arrival.map(|arrival| arrival.as_secs_f64()) else { continue };
            let delay = arrival - departure;
            match self.bases.back_mut().filter(|(begin, _)| departure - *begin < BASE) {
                Some((_, least)) => *least = least.min(delay),
                None => self.bases.push_back((departure, delay)),
            }
            if self.bases.len() > BASES {
                self.bases.pop_front();
            }
            self.delays.push_back((departure, delay));
            self.arrived.push_back((arrival, fate.bytes));
            newest = Some(newest.unwrap_or(departure).max(departure));
        }
        if let Some(newest) = newest {
            self.round_trip = (now - newest).clamp(0.01, 3.0);
            expire(&mut self.delays, newest - QUEUE_WINDOW);
            let latest = self.arrived.iter().map(|(at, _)| *at).fold(f64::MIN, f64::max);
            expire(&mut self.arrived, latest - RATE_WINDOW);
        }
        // What left before the last decrease says nothing of what is sent since.
        let since = self.decreased.unwrap_or(0.0);
        let recent = || fates.iter().filter(|fate| self.seconds(fate.departure) >= since);
        let count = recent().count();
        if count > 0 {
            let lost = recent().filter(|fate| fate.arrival.is_none()).count() as f64 / count as f64;
            self.loss += (lost - self.loss) * (count as f64 / LOSS_PACKETS).min(1.0);
        }
        self.decide(now);
    }

    fn decide(&mut self, now: f64) {
        let least = |list: &VecDeque<(f64, f64)>| list.iter().map(|(_, delay)| *delay).reduce(f64::min);
        let (Some(base), Some(delay)) = (least(&self.bases), least(&self.delays)) else { return };
        let before = std::mem::replace(&mut self.queue, delay - base);
        let elapsed = self.updated.map_or(0.1, |at| (now - at).min(0.5));
        self.updated = Some(now);
        let may_decrease = self.decreased.is_none_or(|at| now - at > self.round_trip + 0.1);
        let grows = self.queue > before - 0.002 || self.queue > 4.0 * OVER;
        if self.queue > OVER && grows && may_decrease {
            self.decrease(1.0 - (0.15 + self.queue - OVER).clamp(0.15, 0.5), now);
        } else if self.loss > LOSSY && may_decrease {
            self.target = (self.target * (1.0 - 0.5 * self.loss)).max(LEAST);
            (self.was_full, self.decreased, self.loss) = (true, Some(now), 0.0);
        } else if self.queue < EMPTY
            && let Some(resume) = self.resume.take()
        {
            self.target = self.target.max(resume);
        } else if self.queue < FREE {
            self.increase(elapsed);
        }
    }

    /// Sends this part of what arrives, so that the queue runs empty.
    fn decrease(&mut self, part: f64, now: f64) {
        let (arrives, sent) = (rate(&self.arrived), rate(&self.sent));
        // Who sends little, and all of it arrives, cannot tell how much more would: the queue is of others.
        let idle = sent < 0.6 * self.target && arrives > 0.9 * sent;
        let wanted = if idle { (0.8 * self.target).min(1.5 * sent + LEAST) } else { part * arrives };
        if !idle {
            self.ceiling = Some(arrives);
            self.resume = Some(0.85 * arrives);
        }
        (self.was_full, self.decreased, self.loss) = (true, Some(now), 0.0);
        self.target = self.target.min(wanted).max(LEAST);
    }

    fn increase(&mut self, elapsed: f64) {
        if self.loss > CLEAN {
            return;
        }
        self.ceiling = self.ceiling.filter(|ceiling| self.target < 1.1 * ceiling);
        let grown = match self.ceiling {
            Some(ceiling) => self.target + 0.08 * ceiling * elapsed,
            None if self.was_full => self.target * 1.5_f64.powf(elapsed),
            None if self.queue < EMPTY => self.target * 2.0_f64.powf(elapsed),
            None => self.target,
        };
        // What was not tried is not known to pass.
        let tried = 1.5 * rate(&self.arrived) + LEAST;
        self.target = self.target.max(grown.min(tried)).min(MOST);
    }
}

pub(super) fn expire<T>(list: &mut VecDeque<(f64, T)>, before: f64) {
    while list.front().is_some_and(|(at, _)| *at < before) {
        list.pop_front();
    }
}

/// Bits per second of packets by their times.
pub(super) fn rate(packets: &VecDeque<(f64, usize)>) -> f64 {
    let (Some((first, own)), Some((last, _))) = (packets.front(), packets.back()) else { return 0.0 };
    let bytes: usize = packets.iter().map(|(_, bytes)| bytes).sum();
    (bytes - own) as f64 * 8.0 / (last - first).max(0.15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path with a queue of 500 ms and 50 ms each way, over which frames are sent as the estimator allows.
    struct Path {
        estimator: Estimator,
        begin: Instant,
        now: f64,
        free_at: f64,
        owed: f64,
        under_way: VecDeque<(f64, f64, usize, Option<f64>)>,
        random: u32,
        /// By second: kilobits sent, and the longest delay in it.
        seconds: Vec<(f64, f64)>,
    }

    impl Path {
        fn new() -> Self {
            let begin = Instant::now();
            Self {
                estimator: Estimator::new(begin),
                begin,
                now: 0.0,
                free_at: 0.0,
                owed: 0.0,
                under_way: VecDeque::new(),
                random: 1,
                seconds: Vec::new(),
            }
        }

        fn at(&self, seconds: f64) -> Instant {
            self.begin + Duration::from_secs_f64(seconds)
        }

        /// `carries` bits per second, loses one packet of `one_in` by chance; the encoder makes no more than `most`.
        fn run(&mut self, seconds: u32, carries: f64, one_in: u32, most: f64) {
            if self.seconds.is_empty() {
                // The first is a key frame: as much as is sent in 0.3 s.
                self.owed = self.estimator.target(self.at(0.0)).min(most) * 0.3 / 8.0;
            }
            for step in 0..seconds * 100 {
                if step.is_multiple_of(100) {
                    self.seconds.push((0.0, 0.0));
                }
                let target = self.estimator.target(self.at(self.now)).min(most);
                // A frame every 30 ms, its packets 1 ms apart.
                if step.is_multiple_of(3) {
                    self.owed += target * 0.03 / 8.0;
                    for packet in 0.. {
                        if self.owed < 1000.0 {
                            break;
                        }
                        self.owed -= 1000.0;
                        self.send(self.now + f64::from(packet) * 0.001, carries, one_in);
                    }
                }
                if step.is_multiple_of(10) {
                    self.report();
                }
                self.now += 0.01;
            }
        }

        fn send(&mut self, at: f64, carries: f64, one_in: u32) {
            self.estimator.departed(1000, self.at(at));
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let unlucky = one_in > 0 && (self.random >> 8).is_multiple_of(one_in);
            let starts = self.free_at.max(at);
            let arrival = if carries <= 0.0 || starts - at > 0.5 {
                None
            } else {
                self.free_at = starts + 8000.0 / carries;
                (!unlucky).then_some(self.free_at + 0.05)
            };
            if let Some(arrival) = arrival {
                let second = self.seconds.last_mut().unwrap();
                *second = (second.0 + 8.0, second.1.max(arrival - at));
            }
            self.under_way.push_back((at, arrival.unwrap_or(at + 0.05), 1000, arrival));
        }

        fn report(&mut self) {
            let mut fates = Vec::new();
            while let Some((at, known, bytes, arrival)) = self.under_way.front().copied() {
                if known + 0.05 > self.now {
                    break;
                }
                self.under_way.pop_front();
                let arrival = arrival.map(|arrival| Duration::from_secs_f64(1000.0 + arrival));
                fates.push(Fate { departure: self.at(at), bytes, arrival });
            }
            // Where nothing comes nothing is said.
            if fates.iter().any(|fate| fate.arrival.is_some()) {
                let now = self.at(self.now);
                self.estimator.feedback(&fates, now);
            }
        }

        /// Kilobits a second and the longest delay, from one second to another.
        fn between(&self, from: usize, to: usize) -> (f64, f64) {
            let part = &self.seconds[from..to];
            let sum: f64 = part.iter().map(|(kilobits, _)| kilobits).sum();
            (sum / part.len() as f64, part.iter().map(|(_, delay)| *delay).fold(0.0, f64::max))
        }
    }

    #[test]
    fn within_5_s_a_narrow_path_is_used_and_its_queue_stays_short() {
        for (kilobits, most) in
            [(150.0, 10e6), (300.0, 400e3), (500.0, 10e6), (500.0, 650e3), (1000.0, 10e6), (3000.0, 10e6)]
        {
            let mut path = Path::new();
            path.run(30, kilobits * 1000.0, 0, most);
            let (used, longest) = path.between(5, 30);
            assert!((0.7..=1.01).contains(&(used / kilobits)), "{used} of {kilobits} kbit/s, {most}");
            assert!(longest < 0.3, "{longest} s on a path of {kilobits} kbit/s, {most}");
        }
    }

    #[test]
    fn the_first_seconds_on_a_narrow_path_are_hardly_late_and_a_wide_one_is_soon_used() {
        for kilobits in [500.0, 1000.0] {
            let mut path = Path::new();
            path.run(4, kilobits * 1000.0, 0, 650e3);
            let (used, longest) = path.between(0, 4);
            assert!(longest < 0.4, "{longest} s on a path of {kilobits} kbit/s");
            assert!(used > 0.6 * kilobits.min(650.0), "{used} of {kilobits}");
        }
        let mut path = Path::new();
        path.run(4, 10e6, 0, 2e6);
        assert!(path.between(3, 4).0 > 1700.0, "{:?}", path.seconds);
    }

    #[test]
    fn it_comes_back_within_10_s_when_the_path_does() {
        let mut path = Path::new();
        path.run(10, 2e6, 0, 1.5e6);
        path.run(10, 500e3, 0, 1.5e6);
        path.run(15, 2e6, 0, 1.5e6);
        let (before, narrow, after) = (path.between(5, 10).0, path.between(15, 20), path.between(30, 35).0);
        assert!(before > 1400.0 && after > 1400.0, "{before} before, {after} after");
        assert!((350.0..=500.0).contains(&narrow.0) && narrow.1 < 0.3, "{narrow:?}");
    }

    #[test]
    fn a_cut_path_is_not_flooded_and_used_again_when_it_is_back() {
        let mut path = Path::new();
        path.run(8, 2e6, 0, 1e6);
        path.run(8, 0.0, 0, 1e6);
        assert!(path.estimator.target(path.at(path.now)) < 100_000.0);
        path.run(10, 2e6, 0, 1e6);
        let after = path.between(22, 26).0;
        assert!(after > 850.0, "{after}");
    }

    #[test]
    fn loss_by_chance_is_no_sign_of_a_full_path() {
        let mut path = Path::new();
        path.run(5, 5e6, 0, 1e6);
        path.run(10, 5e6, 10, 1e6);
        let (lossy, _) = path.between(6, 15);
        assert!(lossy > 750.0, "{lossy}");
    }

    #[test]
    fn who_sends_little_is_not_told_to_send_less_for_it() {
        let mut path = Path::new();
        path.run(20, 5e6, 0, 100e3);
        path.run(5, 5e6, 0, 2e6);
        let (used, _) = path.between(23, 25);
        assert!(used > 1500.0, "{used}");
    }
}
