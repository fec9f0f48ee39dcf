//! What every command that runs an operation shares: its output, log, runtime and signals.

use super::early::{self, Words};
use super::output::{GlobalArgs, Output};
use super::{log, signals};
use rtckit::error::{Error, ErrorKind};
use rtckit::stop::Stop;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// What the process was started with, besides the arguments of the command.
pub struct Context {
    pub command: &'static str,
    pub global: GlobalArgs,
    /// The command line as it was typed.
    pub words: Words,
    /// What to tell the user about the arguments, if anything.
    pub warning: Option<&'static str>,
    /// The start of the process.
    pub began: Instant,
}

impl Context {
    /// Ends a command whose arguments do not fit together.
    pub fn fail(&self, error: &Error) -> ExitCode {
        early::fail(error, &self.words, Some(&self.global))
    }

    /// The output of this run. `payload_on_stdout`: see [`Output::new`].
    pub fn output(&self, payload_on_stdout: bool) -> Result<Arc<Output>, ExitCode> {
        self.output_as(&self.global, payload_on_stdout)
    }

    /// The same where a flag of the command asks for events.
    pub fn output_with_events(&self, payload_on_stdout: bool) -> Result<Arc<Output>, ExitCode> {
        self.output_as(&GlobalArgs { events: true, ..self.global.clone() }, payload_on_stdout)
    }

    fn output_as(&self, global: &GlobalArgs, payload_on_stdout: bool) -> Result<Arc<Output>, ExitCode> {
        let output = Output::new(global, self.command, payload_on_stdout).map_err(|error| self.fail(&error))?;
        let output = Arc::new(output);
        log::warn_by(&output);
        if let Some(warning) = self.warning {
            output.warn(warning);
        }
        Ok(output)
    }
}

/// Runs an operation in a runtime of its own, which ends even while a read of standard input is still waiting. The first
/// Ctrl-C or SIGTERM asks the `Stop` that it is given.
pub fn block_on<T>(operation: impl AsyncFnOnce(Stop) -> T) -> Result<T, Error> {
    run(&mut tokio::runtime::Builder::new_multi_thread(), operation)
}

/// The same for what reads, writes and prints in threads of its own: half of the processors are theirs. More threads would
/// hand each message to and fro, which costs a fifth of all the time on two processors.
pub fn block_on_half<T>(operation: impl AsyncFnOnce(Stop) -> T) -> Result<T, Error> {
    match std::thread::available_parallelism().map_or(1, usize::from) / 2 {
        0 | 1 => run(&mut tokio::runtime::Builder::new_current_thread(), operation),
        half => run(tokio::runtime::Builder::new_multi_thread().worker_threads(half), operation),
    }
}

fn run<T>(runtime: &mut tokio::runtime::Builder, operation: impl AsyncFnOnce(Stop) -> T) -> Result<T, Error> {
    let internal = |error: std::io::Error| Error::new(ErrorKind::Internal, "OperationError", error.to_string());
    signals::descriptors().map_err(internal)?;
    let runtime = runtime.enable_all().build().map_err(internal)?;
    let done = runtime.block_on(async {
        let stop = Stop::new();
        let signals = signals::watch(stop.clone()).map_err(internal)?;
        let done = operation(stop).await;
        signals.abort();
        Ok(done)
    });
    runtime.shutdown_background();
    done
}
