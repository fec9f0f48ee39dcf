//! The server end for several clients at the same time, each with a session of its own.
//!
//! Whoever comes when all places are taken is told 503, with a time after which it may ask again (RFC 9725 section 4.5).

use super::listener::{ListenerOptions, Shared};
use super::serving::{Host, Serving, said};
use crate::error::Error;
use crate::signaling::{Message, Signaling};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

/// When to ask again where all places are taken, in seconds.
const RETRY_AFTER: &str = "5";

/// A listener whose clients come to seats.
pub struct Audience {
    seats: mpsc::Receiver<Seat>,
    serving: Serving,
}

/// The road to one client. It is free for another when this is dropped.
pub struct Seat {
    offer: Option<Message>,
    messages: mpsc::Receiver<Message>,
    place: Place,
}

/// A session among the others.
struct Place {
    shared: Arc<Shared>,
    crowd: Arc<Crowd>,
    _taken: OwnedSemaphorePermit,
}

struct Crowd {
    options: ListenerOptions,
    /// For questions that are about no session.
    door: Arc<Shared>,
    places: Arc<Semaphore>,
    coming: mpsc::Sender<Seat>,
    sessions: Mutex<Vec<Arc<Shared>>>,
}

impl Audience {
    /// Begins to listen for up to `places` clients. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(options: ListenerOptions, places: usize, tls: Option<TlsAcceptor>) -> Result<Self, Error> {
        let (coming, seats) = mpsc::channel(places.max(1));
        let crowd = Arc::new(Crowd {
            door: Shared::new(&options).0,
            places: Arc::new(Semaphore::new(places)),
            coming,
            sessions: Mutex::default(),
            options: options.clone(),
        });
        Ok(Self { seats, serving: Serving::start(&options, tls, crowd)? })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.serving.url
    }

    /// The next client that comes. What it offers is received from its seat. Cancel-safe.
    pub async fn next(&mut self) -> Option<Seat> {
        self.seats.recv().await
    }

    /// Stops listening.
    pub async fn close(&mut self) {
        self.serving.close().await;
    }
}

#[async_trait::async_trait]
impl Signaling for Seat {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        self.place.shared.send(message)
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        match self.offer.take() {
            Some(offer) => Ok(Some(offer)),
            None => Ok(self.messages.recv().await),
        }
    }

    fn trickles(&self) -> bool {
        false
    }

    fn takes_offers(&self) -> bool {
        false
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.place.shared.end();
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.end();
        self.crowd.sessions().retain(|session| !Arc::ptr_eq(session, &self.shared));
    }
}

impl Crowd {
    fn sessions(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who answers a request, if it begins no session: the one that it is about, or the door.
    fn host(&self, path: &str) -> Arc<Shared> {
        let found = self.sessions().iter().find(|session| session.is_at(path)).map(Arc::clone);
        found.unwrap_or_else(|| Arc::clone(&self.door))
    }
}

#[async_trait::async_trait]
impl Host for Crowd {
    async fn answer(self: Arc<Self>, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Response {
        if method != Method::POST || !self.door.begins_at(path) || !self.door.admits(headers) {
            return self.host(path).answer(method, path, headers, body).await;
        }
        let Ok(taken) = Arc::clone(&self.places).try_acquire_owned() else { return full() };
        let (shared, mut messages) = Shared::new(&self.options);
        self.sessions().push(Arc::clone(&shared));
        let place = Place { shared: Arc::clone(&shared), crowd: Arc::clone(&self), _taken: taken };
        let mut answering = std::pin::pin!(Arc::clone(&shared).answer(method, path, headers, body));
        let offer = tokio::select! {
            // It is no offer that can be used.
            refusal = &mut answering => return refusal,
            offer = messages.recv() => offer,
        };
        match self.coming.try_send(Seat { offer, messages, place }) {
            Ok(()) => answering.await,
            Err(_) => full(),
        }
    }
}

fn full() -> Response {
    let retry = [(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER))];
    (retry, said(StatusCode::SERVICE_UNAVAILABLE, "as many as may are here")).into_response()
}
