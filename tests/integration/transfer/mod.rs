//! `send-file` and `receive-file`, from outside.

mod answer;
mod chromium;
mod faults;
mod pair;
mod resume;
mod roads;

use crate::support::{Exit, Rtckit, Scratch};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How long a transfer of some megabytes may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a command that finds its peer in the folder `meet`, and reports in JSON.
fn start<S: AsRef<OsStr>>(command: &str, scratch: &Scratch, args: impl IntoIterator<Item = S>) -> Rtckit {
    let road = format!("file:{}", scratch.path("meet").display());
    let mut run = Rtckit::command([command, "--json", "--interface", "lo", "--signal", &road]);
    Rtckit::spawn(run.args(args).stdin(Stdio::null()))
}

/// Sends what `sender` says, receives as `receiver` says; both exits.
fn transfer(scratch: &Scratch, sender: &[&str], receiver: &[&str]) -> (Exit, Exit) {
    let mut receiving = start("receive-file", scratch, receiver);
    let mut sending = start("send-file", scratch, sender);
    (sending.wait(PATIENCE), receiving.wait(PATIENCE))
}

/// As [`transfer`], where both must succeed: their reports.
fn transferred(scratch: &Scratch, sender: &[&str], receiver: &[&str]) -> (Value, Value) {
    let (sent, received) = transfer(scratch, sender, receiver);
    assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{sent:?} {received:?}");
    (report(&sent), report(&received))
}

/// The report that a run wrote to stdout.
fn report(exit: &Exit) -> Value {
    serde_json::from_slice(&exit.stdout).unwrap_or_else(|error| panic!("no report ({error}): {exit:?}"))
}

/// Every file and folder below, with its content.
fn tree(folder: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
                found.push((name, None));
            } else {
                found.push((name, Some(std::fs::read(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
