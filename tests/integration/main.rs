//! The one integration binary: a module per thing that is tested from outside, `support` for what they share.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in what it calls too")]

// Tests begin in the order of their names, so this one, which takes minutes, begins first.
mod a_guest_with_devices;
mod architecture;
mod browser;
mod call_chromium;
mod call_codecs;
mod call_firefox;
mod call_pair;
mod capture;
mod cli;
mod congestion;
mod connection;
mod dialects;
mod faults;
mod filters;
mod man;
mod play;
mod record;
mod restart;
mod roads;
mod rooms;
mod rooms_page;
mod schema;
mod screen;
mod signal;
mod sound;
mod sources;
mod support;
mod tracks;
mod transfer;
mod turn;
mod turn_probe;
mod whip;
