//! `rtckit record` from outside: its files as foreign readers see them, its signals, its exit codes.

mod basics;
mod json;
