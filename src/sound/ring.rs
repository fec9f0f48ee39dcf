//! A ring between an audio callback and the thread that feeds or reads it: neither end ever locks, waits or allocates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What fits into a place of the ring.
pub(super) trait Slot: Copy {
    fn to_bits(self) -> u64;
    fn of_bits(bits: u64) -> Self;
}

impl Slot for f32 {
    fn to_bits(self) -> u64 {
        u64::from(f32::to_bits(self))
    }

    fn of_bits(bits: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "made from 32 bits")]
        f32::from_bits(bits as u32)
    }
}

impl Slot for i64 {
    fn to_bits(self) -> u64 {
        self.cast_unsigned()
    }

    fn of_bits(bits: u64) -> Self {
        bits.cast_signed()
    }
}

/// Items from the beginning on. The difference of the two is what the ring holds.
struct Shared {
    slots: Box<[AtomicU64]>,
    written: AtomicU64,
    read: AtomicU64,
}

impl Shared {
    /// The place of the item of this number.
    #[expect(clippy::cast_possible_truncation, reason = "less than the length")]
    fn place(&self, number: u64) -> usize {
        (number % self.slots.len() as u64) as usize
    }

    /// All places, from that of the item of this number on and around.
    fn from(&self, number: u64) -> impl Iterator<Item = &AtomicU64> {
        let (before, behind) = self.slots.split_at(self.place(number));
        behind.iter().chain(before)
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most the length")]
    fn len(&self) -> usize {
        (self.written.load(Ordering::Acquire) - self.read.load(Ordering::Acquire)) as usize
    }
}

/// The end that writes.
pub(super) struct Producer<T> {
    shared: Arc<Shared>,
    kind: std::marker::PhantomData<T>,
}

/// The end that reads.
pub(super) struct Consumer<T> {
    shared: Arc<Shared>,
    kind: std::marker::PhantomData<T>,
}

/// A ring for `capacity` items.
pub(super) fn ring<T: Slot>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let slots = (0..capacity.max(1)).map(|_| AtomicU64::new(0)).collect();
    let shared = Arc::new(Shared { slots, written: AtomicU64::new(0), read: AtomicU64::new(0) });
    (
        Producer { shared: Arc::clone(&shared), kind: std::marker::PhantomData },
        Consumer { shared, kind: std::marker::PhantomData },
    )
}

impl<T: Slot> Producer<T> {
    /// How many items fit now.
    pub(super) fn room(&self) -> usize {
        self.shared.slots.len() - self.shared.len()
    }

    /// How many items wait to be read.
    pub(super) fn len(&self) -> usize {
        self.shared.len()
    }

    /// How many were ever written.
    pub(super) fn position(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Writes as many items as fit; how many those were.
    pub(super) fn write(&mut self, items: impl IntoIterator<Item = T>) -> usize {
        let begin = self.position();
        let mut count = 0;
        for (item, slot) in items.into_iter().take(self.room()).zip(self.shared.from(begin)) {
            slot.store(item.to_bits(), Ordering::Relaxed);
            count += 1;
        }
        self.shared.written.store(begin + count, Ordering::Release);
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

impl<T: Slot> Consumer<T> {
    /// How many items can be read now.
    pub(super) fn len(&self) -> usize {
        self.shared.len()
    }

    /// How many were ever read.
    pub(super) fn position(&self) -> u64 {
        self.shared.read.load(Ordering::Relaxed)
    }

    /// The item that comes `ahead` behind the next one, which stays where it is.
    pub(super) fn peek(&self, ahead: usize) -> Option<T> {
        (ahead < self.len())
            .then(|| &self.shared.slots[self.shared.place(self.position() + ahead as u64)])
            .map(|slot| T::of_bits(slot.load(Ordering::Relaxed)))
    }

    /// The next item.
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.peek(0)?;
        self.skip(1);
        Some(item)
    }

    /// Fills `items` with what is there; how many those were.
    pub(super) fn read(&mut self, items: &mut [T]) -> usize {
        let count = items.len().min(self.len());
        for (item, slot) in items[..count].iter_mut().zip(self.shared.from(self.position())) {
            *item = T::of_bits(slot.load(Ordering::Relaxed));
        }
        self.skip(count);
        count
    }

    /// Gives up items.
    pub(super) fn skip(&mut self, count: usize) {
        let count = count.min(self.len());
        self.shared.read.store(self.position() + count as u64, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_and_what_does_not_fit_stays_out() {
        let (mut producer, mut consumer) = ring::<i64>(3);
        assert_eq!((producer.write([1, -2]), producer.room()), (2, 1));
        assert_eq!((consumer.peek(1), consumer.peek(2)), (Some(-2), None));
        assert_eq!(consumer.pop(), Some(1));
        assert_eq!(producer.write([3, 4, 5]), 2);
        let mut rest = [0; 5];
        assert_eq!((consumer.read(&mut rest), rest, consumer.pop()), (3, [-2, 3, 4, 0, 0], None));
        assert_eq!((producer.position(), consumer.position()), (4, 4));
    }

    #[test]
    fn two_threads_lose_and_double_nothing() {
        let (mut producer, mut consumer) = ring::<f32>(7);
        let writer = std::thread::spawn(move || {
            let mut next = 0u16;
            while next < 20_000 {
                next += u16::try_from(producer.write((next..20_000).take(5).map(f32::from))).unwrap();
                std::thread::yield_now();
            }
        });
        for expected in 0..20_000u16 {
            let got = loop {
                match consumer.pop() {
                    Some(got) => break got,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(got.to_bits(), f32::from(expected).to_bits());
        }
        writer.join().unwrap();
        assert_eq!(consumer.pop(), None);
    }
}
