//! Named threads that somebody joins.

use crate::error::{Error, ErrorKind};
use std::thread::JoinHandle;

/// A running thread and its result.
#[derive(Debug)]
pub struct Worker<T> {
    name: &'static str,
    handle: JoinHandle<Result<T, Error>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Runs `work` on a thread called `name` (at most 15 bytes show in `ps`).
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn spawn(name: &'static str, work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<Self, Error> {
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .map_err(|error| internal(format!("cannot start thread {name}: {error}")))?;
        Ok(Self { name, handle })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the thread and takes its result. Blocks.
    ///
    /// # Errors
    /// What the work returned, or an internal error when it panicked.
    pub fn join(self) -> Result<T, Error> {
        self.handle.join().unwrap_or_else(|_| Err(internal(format!("thread {} panicked", self.name))))
    }

    /// [`join`](Self::join) for async code.
    ///
    /// # Errors
    /// As `join`.
    pub async fn finished(self) -> Result<T, Error> {
        let name = self.name;
        tokio::task::spawn_blocking(move || self.join())
            .await
            .unwrap_or_else(|_| Err(internal(format!("waiting for thread {name} failed"))))
    }
}

fn internal(message: String) -> Error {
    Error::new(ErrorKind::Internal, "OperationError", message)
}
