//! `rtckit record` from outside: its files as foreign readers see them, its signals, its exit codes.

mod basics;
mod containers;
mod control;
mod crash;
mod json;
mod slices;
mod sync;

use crate::support::{Exit, Rtckit};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Small test media of both kinds.
const SMALL: [&str; 6] = ["record", "--video=test", "--audio=test", "--width=160", "--height=120", "--json"];

fn start(args: &[&str]) -> Rtckit {
    Rtckit::start(SMALL.iter().chain(args))
}

fn report(exit: &Exit) -> Value {
    serde_json::from_slice(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {exit:?}"))
}

/// What `--check` finds, and its exit code.
fn check(path: &Path) -> (Value, Option<i32>) {
    let exit = Rtckit::start(["record", "--json", "--check", path.to_str().unwrap()]).wait(Duration::from_secs(60));
    (report(&exit)["check"].clone(), exit.code)
}
