//! `turn-probe`: coturn in all its moods, and servers of ours that lie. Each has its verdict and its exit code.

mod coturn;
mod forms;
mod liar;
mod liars;
mod meddler;
mod nat;
mod network;
mod path;
mod secure;

use crate::support::{Coturn, Exit, Rtckit};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;

/// More than any run takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a run may take by its own clock where servers are silent.
const SILENT: f64 = 5.0;
/// Packets through the relay that are enough here.
const QUICK: [&str; 2] = ["--packets=10", "--interval=5ms"];

/// What a run with `--json` said.
struct Probed {
    exit: Exit,
    report: Value,
}

impl Probed {
    /// The report on the only server.
    fn server(&self) -> &Value {
        let servers = self.report["servers"].as_array().unwrap();
        assert_eq!(servers.len(), 1, "{}", self.report);
        &servers[0]
    }

    #[track_caller]
    fn expect(&self, verdict: &str, code: i32, said: &str) -> &Value {
        let server = self.server();
        assert_eq!((server["verdict"].as_str(), self.exit.code), (Some(verdict), Some(code)), "{server:#}");
        let message = server["message"].as_str().unwrap_or_default();
        assert!(message.contains(said), "'{said}' is not in '{message}': {server:#}");
        assert!(self.report["summary"]["seconds"].as_f64() < Some(SILENT), "{:#}", self.report);
        server
    }

    #[track_caller]
    fn stage(&self, name: &str) -> &Value {
        let stages = self.server()["stages"].as_array().unwrap();
        let stage = stages.iter().find(|stage| stage["stage"] == name);
        stage.unwrap_or_else(|| panic!("no stage {name}: {:#}", self.server()))
    }
}

/// Runs `turn-probe --json` with the secret in the environment.
fn probe_as(credential: &str, args: &[&str]) -> Probed {
    probe_with(&[("RTCKIT_CREDENTIAL", credential)], args)
}

fn probe_with(environment: &[(&str, &str)], args: &[&str]) -> Probed {
    let paced = args.iter().any(|arg| arg.starts_with("--packets"));
    let pace = if paced { &[][..] } else { &QUICK };
    let mut command = Rtckit::command(["turn-probe", "--json"].iter().chain(pace).chain(args));
    command.envs(environment.iter().copied().filter(|(_, value)| !value.is_empty())).stdin(Stdio::null());
    let exit = Rtckit::spawn(&mut command).wait(PATIENCE);
    assert!(!exit.stderr.contains("panicked"), "{exit:?}");
    let report = serde_json::from_slice(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {exit:?}"));
    Probed { exit, report }
}

/// Runs it as the user that coturn knows.
fn probe(args: &[&str]) -> Probed {
    probe_as(Coturn::PASSWORD, &[&["--username", Coturn::USER], args].concat())
}
