//! What waits for one client: bounded, so that whoever reads too slowly is cut off and holds up nobody.

use super::protocol::CloseCode;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Both ends of a queue; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    state: Mutex<State>,
    /// Something can be taken.
    ready: Notify,
    /// What is being sent is not worth waiting for.
    cut: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<str>>,
    bytes: usize,
    close: Option<CloseCode>,
}

/// What comes out.
#[derive(Debug, PartialEq)]
pub(super) enum Item {
    Text(Arc<str>),
    /// The end. It comes again and again.
    Close(CloseCode),
}

impl Outbox {
    /// `limit` bytes may wait.
    pub fn new(limit: usize) -> Self {
        let (ready, cut) = (Notify::new(), Notify::new());
        Self(Arc::new(Shared { limit, state: Mutex::default(), ready, cut }))
    }

    /// Puts a text behind the others. When too much waits, all of it is dropped and the connection is to be closed.
    pub fn push(&self, text: Arc<str>) {
        let mut state = self.state();
        if state.close.is_some() {
            return;
        }
        state.bytes += text.len();
        if state.bytes > self.0.limit {
            *state = State { close: Some(CloseCode::Slow), ..State::default() };
            self.0.cut.notify_one();
        } else {
            state.waiting.push_back(text);
        }
        self.0.ready.notify_one();
    }

    /// Ends the queue behind what waits.
    pub fn close(&self, code: CloseCode) {
        self.state().close.get_or_insert(code);
        self.0.ready.notify_one();
    }

    /// The next item. Cancel-safe; for one caller.
    pub async fn next(&self) -> Item {
        loop {
            {
                let mut state = self.state();
                if let Some(text) = state.waiting.pop_front() {
                    state.bytes -= text.len();
                    return Item::Text(text);
                }
                if let Some(code) = state.close {
                    return Item::Close(code);
                }
                state.waiting.shrink_to(0);
            }
            self.0.ready.notified().await;
        }
    }

    /// Waits until too much waits.
    pub async fn cut(&self) {
        self.0.cut.notified().await;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_comes_in_order_and_then_the_end() {
        let outbox = Outbox::new(100);
        outbox.push("a".into());
        outbox.push("b".into());
        outbox.close(CloseCode::Normal);
        outbox.push("late".into());
        assert_eq!(outbox.next().await, Item::Text("a".into()));
        assert_eq!(outbox.next().await, Item::Text("b".into()));
        assert_eq!(outbox.next().await, Item::Close(CloseCode::Normal));
    }

    #[tokio::test]
    async fn too_much_cuts() {
        let outbox = Outbox::new(10);
        outbox.push("123456".into());
        outbox.push("789012".into());
        outbox.cut().await;
        assert_eq!(outbox.next().await, Item::Close(CloseCode::Slow));
    }
}
