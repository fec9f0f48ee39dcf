//! Logs: on stderr, quiet by default. Secrets and whole SDP appear from `-vv` on only.
//!
//! Where nobody asked for a log, what the library warns of goes the way of all warnings: to people in words, to programs as an
//! event.

use super::output::{GlobalArgs, Output};
use super::people;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

/// Who hears warnings.
enum Listener {
    /// Nobody yet: they wait.
    Waiting(Vec<String>),
    Output(Arc<Output>),
}

static LISTENER: Mutex<Listener> = Mutex::new(Listener::Waiting(Vec::new()));

fn listener() -> MutexGuard<'static, Listener> {
    LISTENER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts logging. `RUST_LOG` wins over `-q` and `-v`.
pub fn start(global: &GlobalArgs) {
    let filter = match (EnvFilter::try_from_default_env(), global.verbose) {
        (Ok(filter), _) => filter,
        // Fails only when logging has been started already; here as below.
        (Err(_), 0) => return drop(Registry::default().with(Warnings).try_init()),
        (Err(_), 1) => EnvFilter::new("error,rtckit=info"),
        (Err(_), 2) => EnvFilter::new("info,rtckit=debug"),
        (Err(_), _) => EnvFilter::new("debug,rtckit=trace"),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| people::Log);
    drop(log.with_ansi(global.colored()).try_init());
}

/// Hands warnings to `output`, also those that came before it.
pub fn warn_by(output: &Arc<Output>) {
    let before = std::mem::replace(&mut *listener(), Listener::Output(Arc::clone(output)));
    if let Listener::Waiting(warnings) = before {
        warnings.iter().for_each(|warning| output.warn(warning));
    }
}

/// Takes the warnings of the library, and nothing else.
struct Warnings;

impl<S: Subscriber> Layer<S> for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().split("::").next() == Some("rtckit")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let output = match &mut *listener() {
            Listener::Waiting(warnings) => return warnings.push(text.0),
            Listener::Output(output) => Arc::clone(output),
        };
        output.warn(&text.0);
    }
}

/// The message of an event, in which what a peer wrote may stand: nothing that would move a cursor.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => format!("{value:?}"),
            name => format!(" {name}={value:?}"),
        };
        for character in text.chars() {
            match character.is_control() {
                // Writing to a String cannot fail.
                true => drop(write!(self.0, "{}", character.escape_default())),
                false => self.0.push(character),
            }
        }
    }
}
