//! Over how many connections content is spread: decided by what is seen of the path, from one interval to the next.
//!
//! Every association has a congestion window of its own. Where loss that has nothing to do with us, or a long round trip,
//! keeps the window of one small, several get more; where they only get in each other's way, one is as good. So more are
//! tried, and kept if they pay. Loss that grows with their number is our own doing: then there are fewer again.

use std::time::Duration;

/// From this round trip on a window matters.
pub(super) const FAR: Duration = Duration::from_millis(8);

/// What one interval saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Bytes that the peer acknowledged.
    pub acknowledged: u64,
    /// Bytes that left this machine.
    pub left: u64,
    /// Those of them that were lost, as far as that can be told.
    pub lost: i64,
    /// Its length.
    pub seconds: f64,
    /// Whether content had to wait for the network.
    pub waited: bool,
    /// How long a round trip takes.
    pub round_trip: Duration,
}

impl Seen {
    /// Headers of SCTP and DTLS on a full packet, which carries 1163 bytes.
    const OVERHEAD: f64 = 1.0 + 65.0 / 1163.0;

    /// Whether the round trip is long enough for a window to matter.
    fn far(&self) -> bool {
        self.round_trip >= FAR
    }

    /// How much more left than was acknowledged, both since the beginning: what is under way, and what was lost.
    #[expect(clippy::cast_possible_truncation, reason = "so much is never sent")]
    pub(super) fn excess(left: u64, acknowledged: u64) -> i64 {
        (left as f64 - acknowledged as f64 * Self::OVERHEAD) as i64
    }
}

/// Rate and loss of some intervals.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rate: f64,
    loss: f64,
}

impl Pace {
    #[expect(clippy::cast_precision_loss, reason = "what is compared here differs by more")]
    fn of(seen: &[Seen]) -> Self {
        let sum = |of: fn(&Seen) -> f64| seen.iter().map(of).sum::<f64>();
        let loss = sum(|seen| seen.lost as f64) / sum(|seen| seen.left as f64).max(1.0);
        let rate = sum(|seen| seen.acknowledged as f64) / sum(|seen| seen.seconds).max(1e-3);
        Self { rate, loss: loss.clamp(0.0, 1.0) }
    }
}

enum Phase {
    /// As many as there are, for at least so many intervals more.
    Keeping { intervals: u32 },
    /// More than there were, to see whether that pays; so many intervals until they have found their pace.
    Trying { from: usize, before: Pace, settling: u32 },
    /// Fewer than there were, since more was lost than usual, to see whether that was our own doing.
    Yielding { from: usize, before: Pace, settling: u32 },
}

/// Decides how many connections are used.
pub(super) struct Growth {
    wanted: usize,
    most: usize,
    phase: Phase,
    seen: Vec<Seen>,
    /// How long to keep still after a trial that did not pay.
    patience: u32,
    /// What was lost when the last trial had paid, which the path does by itself.
    usual_loss: f64,
}

impl Growth {
    /// Intervals by which a pace is judged.
    const JUDGED: usize = 3;
    const LEAST_PATIENCE: u32 = 24;
    const MOST_PATIENCE: u32 = 160;
    /// More loss than usual that is put down to chance. What is not lost can look so, packets that are not full, those that were
    /// sent again for nothing, and what is under way: 1 % of real loss with 50 ms there and back has looked like 2 to 10 %.
    const DOUBT: f64 = 0.07;
    /// Intervals in which more is lost until there are fewer.
    const NOTICING: usize = 8;
    /// Less loss than this holds no window back; and for how many intervals it must last.
    const NOTICED: f64 = 0.01;
    const LASTING: usize = 4;
    /// Bytes that windows hold together when they hold a lot, what one holds that is kept small, and how many are enough where none
    /// is.
    const MUCH: f64 = (8 << 20) as f64;
    const LITTLE: f64 = (64 << 10) as f64;
    pub(super) const ENOUGH: usize = 22;
    /// What a pace gains from one interval to the next while windows open.
    const OPENING: f64 = 1.3;

    /// One connection, and at most `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            wanted: 1,
            most,
            phase: Phase::Keeping { intervals: 0 },
            seen: Vec::new(),
            patience: Self::LEAST_PATIENCE,
            usual_loss: 0.0,
        }
    }

    /// Intervals in which windows open.
    fn settling(far: bool) -> u32 {
        if far { 4 } else { 2 }
    }

    /// Tries `many` at once, while the window of the first still opens, since one would bring no more than `rate`, bytes a second.
    pub(super) fn begin(&mut self, many: usize, rate: f64) -> usize {
        if self.wanted == 1 && matches!(self.phase, Phase::Keeping { intervals: 0 }) {
            let settling = Self::settling(true) * 2;
            self.phase = Phase::Trying { from: 1, before: Pace { rate, loss: 0.0 }, settling };
            self.wanted = many.min(self.most);
            // What one brings was not seen: should these bring less, that is seen next, and more are tried again at once.
            self.patience = 0;
        }
        self.wanted
    }

    /// There will be no more than those that are up.
    pub(super) fn limit(&mut self, up: usize) {
        self.most = self.most.min(up.max(1));
        self.wanted = self.wanted.min(self.most);
    }

    /// How many are wanted after an interval in which `up` were up.
    pub(super) fn after(&mut self, seen: Seen, up: usize) -> usize {
        if !seen.waited && !matches!(self.phase, Phase::Trying { .. }) {
            // The files or the other disk are slower than the network: that says nothing of it.
            self.seen.clear();
            return self.wanted;
        }
        self.seen.push(seen);
        match self.phase {
            Phase::Keeping { intervals } => self.keep(intervals, seen),
            Phase::Trying { .. } if up < self.wanted => self.seen.clear(),
            Phase::Trying { from, before, settling: 0 } => self.judge(from, before),
            Phase::Trying { from, before, settling } => {
                self.seen.clear();
                self.phase = Phase::Trying { from, before, settling: settling - 1 };
            }
            Phase::Yielding { from, before, settling: 0 } => self.judge_fewer(from, before, seen.far()),
            Phase::Yielding { from, before, settling } => {
                self.seen.clear();
                self.phase = Phase::Yielding { from, before, settling: settling - 1 };
            }
        }
        self.wanted
    }

    fn keep(&mut self, intervals: u32, seen: Seen) {
        let far = seen.far();
        let [.., last, recent] = &self.seen[..] else { return };
        let rates = [last, recent].map(|seen| Pace::of(&[*seen]).rate);
        let opening = rates[1] > rates[0] * Self::OPENING;
        // What windows carried before their first loss is no pace to be measured by, so it may fall for a while.
        let falling = rates[1] * Self::OPENING < rates[0] && self.seen.len() < Self::LASTING;
        let now = Pace::of(&[*last, *recent]);
        let lately = Pace::of(&self.seen[self.seen.len().saturating_sub(Self::LASTING)..]);
        let held_back =
            if far { !opening && !falling } else { self.seen.len() >= Self::LASTING && lately.loss > Self::NOTICED };
        let noticed = self.seen.len().checked_sub(Self::NOTICING).map(|from| Pace::of(&self.seen[from..]));
        if noticed.is_some_and(|noticed| self.loses_more(noticed)) {
            self.yield_from(lately, far);
        } else if intervals > 0 {
            self.phase = Phase::Keeping { intervals: intervals - 1 };
        } else if held_back {
            self.try_more(now, seen);
        }
        if self.seen.len() > Self::NOTICING {
            self.seen.remove(0);
        }
    }

    /// Where neither distance nor loss holds a window back the processors do, and more connections cost them more. On a long path
    /// as many are enough as hold a lot together, unless loss keeps what each holds small.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "they are few"
    )]
    fn try_more(&mut self, now: Pace, seen: Seen) {
        let held = now.rate * seen.round_trip.as_secs_f64();
        let more = match self.wanted {
            1 if seen.far() => (Self::MUCH / held.max(1.0)).clamp(2.0, Self::ENOUGH as f64) as usize,
            1 => 8,
            wanted if seen.far() && wanted >= Self::ENOUGH && held > Self::LITTLE * wanted as f64 => wanted,
            wanted => wanted * 2,
        };
        let more = more.min(self.most);
        if more > self.wanted {
            self.phase = Phase::Trying { from: self.wanted, before: now, settling: Self::settling(seen.far()) };
            self.wanted = more;
            self.seen.clear();
        }
    }

    fn judge(&mut self, from: usize, before: Pace) {
        if let [.., last, recent] = &self.seen[..]
            && Pace::of(&[*recent]).rate > Pace::of(&[*last]).rate * Self::OPENING
        {
            // Windows still open, and what gets under way meanwhile looks lost.
            self.seen = vec![*recent];
        }
        if self.seen.len() < Self::JUDGED {
            return;
        }
        let now = Pace::of(&self.seen);
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        let factor = self.wanted as f64 / from as f64;
        let gain = now.rate / before.rate.max(1.0);
        let pays = gain >= 1.0 + (factor - 1.0) * 0.2;
        // Where each brings nearly as much as one alone did, what is lost is lost by the path.
        let ours = now.loss > before.loss * 1.5 + Self::DOUBT && gain < 1.0 + (factor - 1.0) * 0.5;
        if pays && !ours {
            self.usual_loss = now.loss;
            self.patience = Self::LEAST_PATIENCE;
            self.phase = Phase::Keeping { intervals: 0 };
            self.seen.clear();
        } else {
            self.wanted = from;
            self.usual_loss = before.loss;
            self.rest();
        }
    }

    fn loses_more(&self, now: Pace) -> bool {
        self.wanted > 1 && now.loss > self.usual_loss * 1.5 + Self::DOUBT
    }

    fn yield_from(&mut self, before: Pace, far: bool) {
        self.phase = Phase::Yielding { from: self.wanted, before, settling: Self::settling(far) };
        self.wanted = self.wanted.div_ceil(2);
        self.seen.clear();
    }

    fn judge_fewer(&mut self, from: usize, before: Pace, far: bool) {
        if self.seen.len() < Self::JUDGED {
            return;
        }
        let now = Pace::of(&self.seen);
        if now.rate < before.rate * 0.7 {
            // Where we were in our own way fewer bring about as much, each losing less. So the path loses by itself, or what looked
            // lost was not: loss is told far less well than a pace.
            self.wanted = from.min(self.most);
            self.usual_loss = before.loss.midpoint(now.loss).max(self.usual_loss);
            self.phase = Phase::Keeping { intervals: Self::LEAST_PATIENCE };
            self.seen.clear();
        } else if self.loses_more(now) {
            self.yield_from(now, far);
        } else {
            self.rest();
        }
    }

    /// Keeps still, the longer the more often that was of no use.
    fn rest(&mut self) {
        self.phase = Phase::Keeping { intervals: self.patience };
        self.patience = (self.patience * 2).clamp(Self::LEAST_PATIENCE, Self::MOST_PATIENCE);
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The round trip of a long path, or of a short one.
    fn path_of(far: bool) -> Duration {
        Duration::from_millis(if far { 50 } else { 1 })
    }

    /// A path by which `lanes` get so many bytes a second and lose such a part.
    fn drive(growth: &mut Growth, intervals: usize, far: bool, path: impl Fn(usize) -> (f64, f64)) -> Vec<usize> {
        let mut lanes = 1;
        let step = |_| {
            let (rate, loss) = path(lanes);
            let seconds = 0.25;
            let acknowledged = rate * seconds;
            let left = acknowledged * Seen::OVERHEAD / (1.0 - loss);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
            let (acknowledged, left, lost) = (acknowledged as u64, left as u64, (left * loss) as i64);
            let seen = Seen { acknowledged, left, lost, seconds, waited: true, round_trip: path_of(far) };
            lanes = growth.after(seen, lanes);
            lanes
        };
        (0..intervals).map(step).collect()
    }

    #[test]
    fn where_each_connection_brings_as_much_as_the_first_all_are_used() {
        let mut growth = Growth::new(32);
        let wanted = drive(&mut growth, 24, true, |lanes| (3e5 * lanes as f64, 0.01));
        assert_eq!(wanted.last(), Some(&32), "{wanted:?}");
    }

    #[test]
    fn where_windows_are_full_and_nothing_is_lost_there_are_as_many_as_hold_a_lot() {
        let wanted = drive(&mut Growth::new(32), 60, true, |lanes| (5e6 * lanes as f64, 0.0));
        assert_eq!(wanted.iter().max(), Some(&Growth::ENOUGH), "{wanted:?}");
        assert_eq!(wanted.last(), Some(&Growth::ENOUGH));
        // Windows that are large hold a lot already, and processors are at their end.
        let wanted = drive(&mut Growth::new(32), 200, true, |_| (6e7, 0.0));
        assert_eq!(wanted.iter().max(), Some(&2), "{wanted:?}");
    }

    #[test]
    fn what_is_begun_at_once_is_measured_by_what_one_could_bring() {
        let begun = |rate: f64| {
            let mut growth = Growth::new(32);
            assert_eq!(growth.begin(16, 5e6), 16);
            assert_eq!(growth.begin(8, 5e6), 16, "only what has not begun");
            drive(&mut growth, 12, true, |lanes| (rate * lanes as f64, 0.0))
        };
        assert_eq!(begun(4e6).last(), Some(&16));
        // A narrow path, by which one is tried before more are again.
        let wanted = begun(2e5);
        assert!(wanted.contains(&1), "{wanted:?}");
    }

    #[test]
    fn where_more_bring_nothing_there_is_one_and_trials_get_rarer() {
        let mut growth = Growth::new(32);
        let wanted = drive(&mut growth, 400, true, |_| (2.8e8, 0.0));
        let tried = wanted.iter().filter(|lanes| **lanes > 1).count();
        assert_eq!(wanted.last(), Some(&1));
        assert!((4..=40).contains(&tried), "{tried} of 400 intervals");
    }

    #[test]
    fn where_nothing_holds_a_window_back_no_more_are_tried() {
        let mut growth = Growth::new(32);
        assert!(drive(&mut growth, 100, false, |_| (2.8e8, 0.0)).iter().all(|lanes| *lanes == 1));
        let wanted = drive(&mut growth, 100, false, |lanes| (2e7 * lanes as f64, 0.02));
        assert_eq!(wanted.last(), Some(&32), "{wanted:?}");
    }

    #[test]
    fn loss_that_grows_with_their_number_ends_a_trial_although_it_brings_a_little() {
        let mut growth = Growth::new(32);
        // A bottleneck: the second connection takes its share from others, and both lose.
        let wanted = drive(&mut growth, 30, false, |lanes| if lanes > 1 { (1.25e6, 0.1) } else { (1e6, 0.01) });
        assert_eq!(wanted.last(), Some(&1), "{wanted:?}");
    }

    #[test]
    fn when_loss_rises_later_there_are_fewer_again() {
        let mut growth = Growth::new(16);
        drive(&mut growth, 24, true, |lanes| (3e5 * lanes as f64, 0.01));
        assert_eq!(growth.wanted, 16);
        let wanted = drive(&mut growth, 28, true, |_| (2e6, 0.12));
        assert!(wanted.is_sorted_by(|before, after| before >= after) && wanted.last() <= Some(&4), "{wanted:?}");
    }

    #[test]
    fn what_windows_carried_before_their_first_loss_is_not_what_a_trial_is_measured_by() {
        let mut growth = Growth::new(32);
        let mut step = |rate: u64, lanes| {
            let acknowledged = rate / 4;
            let left = acknowledged * 11 / 10;
            let lost = i64::try_from(left / 50).unwrap();
            growth
                .after(Seen { acknowledged, left, lost, seconds: 0.25, waited: true, round_trip: path_of(true) }, lanes)
        };
        step(300_000, 1);
        assert_eq!(step(300_000, 1), Growth::ENOUGH);
        for rate in [4_000_000, 8_000_000, 12_000_000, 12_000_000, 12_000_000, 12_000_000, 12_000_000, 10_000_000] {
            step(rate, Growth::ENOUGH);
        }
        for rate in [6_000_000, 3_000_000] {
            assert_eq!(step(rate, Growth::ENOUGH), Growth::ENOUGH);
        }
        assert_eq!(step(2_500_000, Growth::ENOUGH), 32);
        let after: Vec<usize> = [12_000_000, 12_000_000, 12_000_000, 12_000_000, 9_000_000, 9_000_000, 9_000_000]
            .map(|rate| step(rate, 32))
            .into();
        assert_eq!(after.last(), Some(&32), "{after:?}");
    }

    #[test]
    fn what_the_path_loses_however_many_there_are_is_put_up_with() {
        let mut growth = Growth::new(16);
        drive(&mut growth, 24, true, |lanes| (3e5 * lanes as f64, 0.01));
        assert_eq!(growth.wanted, 16);
        let wanted = drive(&mut growth, 40, true, |lanes| (1e5 * lanes as f64, 0.12));
        assert!(wanted.contains(&8), "{wanted:?}");
        assert!(wanted[13..].iter().all(|lanes| *lanes == 16), "{wanted:?}");
    }

    #[test]
    fn a_trial_is_not_over_while_windows_open() {
        let mut growth = Growth::new(32);
        let mut step = |rate: u64, lost: i64| {
            let (acknowledged, round_trip) = (rate / 10, path_of(true));
            let left = acknowledged * 11 / 10;
            growth.after(Seen { acknowledged, left, lost, seconds: 0.1, waited: true, round_trip }, Growth::ENOUGH)
        };
        step(4_000_000, 0);
        assert_eq!(step(4_000_000, 0), Growth::ENOUGH);
        for rate in [1, 2, 4, 6, 9, 14, 22, 34, 50] {
            assert_eq!(step(rate * 1_000_000, i64::try_from(rate).unwrap() * 20_000), Growth::ENOUGH, "{rate}");
        }
        assert!((0..8).all(|_| step(55_000_000, 0) == Growth::ENOUGH));
    }

    #[test]
    fn what_only_looked_lost_for_a_while_costs_no_connections() {
        let mut growth = Growth::new(32);
        drive(&mut growth, 40, true, |lanes| (2e5 * lanes as f64, 0.01));
        let wanted = drive(&mut growth, 10, true, |lanes| (2e5 * lanes as f64, if lanes > 16 { 0.12 } else { 0.01 }));
        assert!(wanted.contains(&16), "{wanted:?}");
        let wanted = drive(&mut growth, 20, true, |lanes| (2e5 * lanes as f64, 0.01));
        assert_eq!(wanted.last(), Some(&32), "{wanted:?}");
    }

    #[test]
    fn while_windows_open_no_more_are_tried_and_what_is_under_way_is_no_loss() {
        let mut growth = Growth::new(32);
        for doubling in 0..8 {
            let left = 10_000 << doubling;
            let seen =
                Seen { acknowledged: left / 2, left, lost: 0, seconds: 0.25, waited: true, round_trip: path_of(true) };
            assert_eq!(growth.after(seen, 1), 1, "while it doubles");
        }
        let mut growth = Growth::new(32);
        for step in 0..100 {
            // A megabyte is under way at the one look, and nothing at the next.
            let lost = if step % 2 == 0 { 1 << 20 } else { -(1 << 20) };
            let seen = Seen {
                acknowledged: 50 << 20,
                left: 53 << 20,
                lost,
                seconds: 0.25,
                waited: true,
                round_trip: path_of(false),
            };
            assert_eq!(growth.after(seen, 1), 1);
        }
    }

    #[test]
    fn a_sender_that_has_nothing_to_send_learns_nothing() {
        let mut growth = Growth::new(32);
        let idle =
            Seen { acknowledged: 100, left: 200, lost: 90, seconds: 0.25, waited: false, round_trip: path_of(true) };
        assert!((0..50).all(|_| growth.after(idle, 1) == 1));
    }

    #[test]
    fn one_that_does_not_come_up_is_not_asked_for_again() {
        let mut growth = Growth::new(32);
        let seen = Seen {
            acknowledged: 75_000,
            left: 80_000,
            lost: 800,
            seconds: 0.25,
            waited: true,
            round_trip: path_of(true),
        };
        growth.after(seen, 1);
        assert_eq!(growth.after(seen, 1), Growth::ENOUGH);
        growth.limit(2);
        assert!((0..20).all(|_| growth.after(seen, 2) <= 2));
    }
}
