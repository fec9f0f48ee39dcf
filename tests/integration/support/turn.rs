//! Whose turn it is, so that media have the processors that they need: one call whose clock is watched, or two others.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Calls that go on at once where none of them is alone: each keeps half a processor or so busy.
const SHARING: usize = 2;

/// Who has a turn, and who waits to be alone.
struct Turns {
    sharing: usize,
    alone: bool,
    waiting: usize,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns { sharing: 0, alone: false, waiting: 0 });
static ENDED: Condvar = Condvar::new();

/// The right to have media flow, until this is dropped.
pub struct Turn {
    alone: bool,
}

/// Tests that judge by the clock, or by how much got through in time, run one at a time; hold this while media flows.
pub fn one_call_at_a_time() -> Turn {
    let mut turns = turns();
    turns.waiting += 1;
    let mut turns = await_that(turns, |turns| !turns.alone && turns.sharing == 0);
    turns.waiting -= 1;
    turns.alone = true;
    Turn { alone: true }
}

/// Tests that only want to see something happen bear with another one of their kind; hold this while media flows.
pub fn calls_share_the_machine() -> Turn {
    // Whoever wants to be alone would wait for ever for a moment in which nobody shares.
    await_that(turns(), |turns| !turns.alone && turns.waiting == 0 && turns.sharing < SHARING).sharing += 1;
    Turn { alone: false }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = turns();
        if self.alone {
            turns.alone = false;
        } else {
            turns.sharing -= 1;
        }
        ENDED.notify_all();
    }
}

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn await_that(turns: MutexGuard<'static, Turns>, so: impl Fn(&Turns) -> bool) -> MutexGuard<'static, Turns> {
    ENDED.wait_while(turns, |turns| !so(turns)).unwrap_or_else(PoisonError::into_inner)
}
