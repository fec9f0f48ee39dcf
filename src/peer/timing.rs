//! The set-up waterfall: when each step of a connection was reached.

use serde::Serialize;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

/// A step of the set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The offer exists (made by us, or read).
    OfferCreated,
    /// All local candidates are known.
    GatheringComplete,
    /// Both descriptions are set: connectivity checks begin.
    ChecksStarted,
    /// ICE has a pair (`iceConnectionState` connected).
    Nominated,
    /// DTLS is up (`connectionState` connected).
    DtlsConnected,
    /// The first data channel is open.
    DataChannelOpen,
    /// The first complete video frame came in, or audio where there is no video.
    FirstFrameReceived,
    /// The first received frame was decoded.
    FirstFrameDecoded,
}

/// Seconds since the process began at which each step was reached; absent where it was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waterfall {
    /// See [`Mark::OfferCreated`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer_created: Option<f64>,
    /// See [`Mark::GatheringComplete`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gathering_complete: Option<f64>,
    /// See [`Mark::ChecksStarted`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks_started: Option<f64>,
    /// See [`Mark::Nominated`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nominated: Option<f64>,
    /// See [`Mark::DtlsConnected`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtls_connected: Option<f64>,
    /// See [`Mark::DataChannelOpen`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_channel_open: Option<f64>,
    /// See [`Mark::FirstFrameReceived`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_frame_received: Option<f64>,
    /// See [`Mark::FirstFrameDecoded`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_frame_decoded: Option<f64>,
}

impl Waterfall {
    /// The steps that were reached, by name, in order of the set-up.
    pub fn steps(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("offerCreated", self.offer_created),
            ("gatheringComplete", self.gathering_complete),
            ("checksStarted", self.checks_started),
            ("nominated", self.nominated),
            ("dtlsConnected", self.dtls_connected),
            ("dataChannelOpen", self.data_channel_open),
            ("firstFrameReceived", self.first_frame_received),
            ("firstFrameDecoded", self.first_frame_decoded),
        ]
        .into_iter()
        .filter_map(|(name, seconds)| Some((name, seconds?)))
    }
}

/// Collects the marks of one session. The first time a step is reached counts.
#[derive(Debug)]
pub struct Timing {
    process_start: Instant,
    waterfall: Mutex<Waterfall>,
}

impl Timing {
    /// Nothing reached yet. `process_start` is the zero of all figures.
    pub fn new(process_start: Instant) -> Self {
        Self { process_start, waterfall: Mutex::default() }
    }

    /// Notes that `mark` was reached now.
    pub fn mark(&self, mark: Mark) {
        let seconds = self.process_start.elapsed().as_secs_f64();
        let mut waterfall = self.waterfall.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match mark {
            Mark::OfferCreated => &mut waterfall.offer_created,
            Mark::GatheringComplete => &mut waterfall.gathering_complete,
            Mark::ChecksStarted => &mut waterfall.checks_started,
            Mark::Nominated => &mut waterfall.nominated,
            Mark::DtlsConnected => &mut waterfall.dtls_connected,
            Mark::DataChannelOpen => &mut waterfall.data_channel_open,
            Mark::FirstFrameReceived => &mut waterfall.first_frame_received,
            Mark::FirstFrameDecoded => &mut waterfall.first_frame_decoded,
        };
        slot.get_or_insert(seconds);
    }

    /// What was reached so far.
    pub fn waterfall(&self) -> Waterfall {
        *self.waterfall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
