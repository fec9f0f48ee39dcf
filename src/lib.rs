//! rtckit: WebRTC from the shell, and the library underneath it.
//!
//! # Where to start
//!
//! | to | see |
//! |---|---|
//! | do what a subcommand does | [`ops`] |
//! | connect to a peer | [`peer`] |
//! | exchange offers, answers and candidates | [`signaling`] |
//! | run a server of rooms where peers meet | [`rooms`] |
//! | open media: the test pattern, files, screens | [`capture`] |
//! | encode and decode | [`codec`] |
//! | resample, mix channels | [`filter`] |
//! | write WebM, WAV, Y4M | [`record`] |
//! | examine STUN and TURN servers | [`probe`] |
//! | send and receive files over any message channel | [`transfer`] |
//! | run stages on threads, bounded queues | [`pipeline`] |
//! | the words all of them use | [`media`], [`ice_server`], [`error`], [`stop`], [`progress`] |
//!
//! # The flow
//!
//! ```text
//! call    source -Frame-> [Latest] -> encoder -Encoded-> [DropToKeyframe] -> peer -> network
//! answer  network -> peer -> jitter buffer -> depacketise -Encoded-> record | decoder -> y4m, wav
//! up      PLI, FIR, bitrate -> EncoderControl; Ctrl-C -> Stop. Nothing else
//! ```

pub mod capture;
pub mod codec;
pub mod error;
pub mod filter;
pub mod ice_server;
pub mod media;
mod numbered;
pub mod ops;
pub mod peer;
pub mod pipeline;
pub mod playback;
pub mod probe;
pub mod progress;
pub mod record;
pub mod rooms;
pub mod signaling;
pub mod sound;
pub mod stop;
pub mod transfer;
mod trust;
