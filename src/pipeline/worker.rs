//! Named threads that somebody joins.

use crate::error::{Error, ErrorKind};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A running thread and its result.
#[derive(Debug)]
pub struct Worker<T> {
    name: &'static str,
    handle: JoinHandle<Result<T, Error>>,
    /// Closed when the work is over, by a panic too.
    over: oneshot::Receiver<()>,
}

impl<T: Send + 'static> Worker<T> {
    /// Runs `work` on a thread called `name` (at most 15 bytes show in `ps`).
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn spawn(name: &'static str, work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<Self, Error> {
        let (alive, over) = oneshot::channel();
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _alive: oneshot::Sender<()> = alive;
                work()
            })
            .map_err(|error| internal(format!("cannot start thread {name}: {error}")))?;
        Ok(Self { name, handle, over })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits for the thread and takes its result. Blocks.
    ///
    /// # Errors
    /// What the work returned, or an internal error when it panicked.
    pub fn join(self) -> Result<T, Error> {
        self.handle.join().unwrap_or_else(|_| Err(internal(format!("thread {} panicked", self.name))))
    }

    /// [`join`](Self::join) for async code. When it is dropped before, the thread goes on by itself.
    ///
    /// # Errors
    /// As `join`.
    pub async fn finished(mut self) -> Result<T, Error> {
        // Nobody sends: what comes is the end of the work, and what is left of the thread then is not worth a wait.
        let _ = (&mut self.over).await;
        self.join()
    }
}

fn internal(message: String) -> Error {
    Error::new(ErrorKind::Internal, "OperationError", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_awaited_comes_whether_the_work_returns_fails_or_panics() {
        let worker = Worker::spawn("returns", || Ok(7)).unwrap();
        assert_eq!(worker.finished().await.unwrap(), 7);
        let worker = Worker::<()>::spawn("fails", || Err(internal("on purpose".to_owned()))).unwrap();
        assert_eq!(worker.finished().await.unwrap_err().to_string(), "on purpose");
        let worker = Worker::<()>::spawn("panics", || panic!("on purpose")).unwrap();
        assert_eq!(worker.finished().await.unwrap_err().to_string(), "thread panics panicked");
    }
}
