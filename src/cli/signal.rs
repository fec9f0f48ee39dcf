//! `rtckit signal`: arguments to [`Options`], the URL on standard output.

use super::args::{RestArgs, ServerArgs, TlsArgs, authority_folder};
use super::output::{self, Output};
use super::run::{self, Context};
use super::{exit, value};
use clap::Args;
use rtckit::error::Error;
use rtckit::ice_server::Secret;
use rtckit::ops::signal::{self, Limits, Options, RedisOptions};
use rtckit::progress::{Event, Progress};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What `signal` takes.
#[derive(Args, Clone, Debug)]
pub struct SignalArgs {
    /// Listen here: an address or host name, and a port; 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443", value_parser = listen)]
    listen: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// Write the certificate of the authority of --self-signed, to be installed on other machines, and end
    #[arg(long)]
    print_ca: bool,
    /// Serve this folder in place of the built-in page
    #[arg(long = "static", value_name = "DIR")]
    static_dir: Option<PathBuf>,
    /// Let pages of this origin (https://HOST[:PORT], or * for all) connect too; may be repeated
    #[arg(long, value_name = "ORIGIN", action = clap::ArgAction::Append, value_parser = origin)]
    allow_origin: Vec<String>,
    /// Share the rooms with other servers through this Redis: redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// over TLS, redis+unix:///PATH
    #[arg(long, value_name = "URL", value_parser = super::args::secret)]
    redis: Option<Secret>,
    /// Trust the authorities in this file (PEM) with the certificate of a Redis by rediss://, and no others
    #[arg(long, value_name = "FILE", requires = "redis")]
    redis_ca_file: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    rest: RestArgs,
}

/// What clients may ask for.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Members of a room
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().max_peers)]
    max_peers: usize,
    /// Rooms at the same time
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().max_rooms)]
    max_rooms: usize,
    /// Clients at the same time
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().max_clients)]
    max_clients: usize,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value = "128Ki", value_parser = value::count)]
    max_message_size: u64,
    /// Messages per second of one client; for a moment it may send twice as many
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().max_rate)]
    max_rate: u32,
    /// How long a client may show no sign of life, answers to pings among them
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = value::duration)]
    idle_timeout: Duration,
    /// How long a member whose connection was lost keeps its place; in a full room a newcomer may have it after a second
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = value::duration)]
    resume_timeout: Duration,
}

fn listen(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err("use ADDRESS:PORT, e.g. 127.0.0.1:8443, 0.0.0.0:8443, [::]:8443".to_owned()),
    }
}

/// As browsers write it: in small letters, and without a path.
fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '@']) && !host.contains(char::is_whitespace);
    match text == "*" || is_host {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("use https://HOST or https://HOST:PORT with nothing behind it, or *".to_owned()),
    }
}

impl SignalArgs {
    fn options(self) -> Result<Options, Error> {
        let LimitArgs { max_peers, max_rooms, max_clients, max_message_size, max_rate, idle_timeout, resume_timeout } =
            self.limits;
        Ok(Options {
            listen: self.listen,
            security: self.tls.security()?,
            limits: Limits {
                max_peers,
                max_rooms,
                max_clients,
                max_message_size: usize::try_from(max_message_size).unwrap_or(usize::MAX),
                max_rate,
                idle_timeout,
                resume: resume_timeout,
                ..Limits::default()
            },
            origins: self.allow_origin,
            files: self.static_dir,
            ice_servers: self.servers.all(&[])?,
            rest: self.rest.rest(self.servers.username.as_ref())?,
            redis: self.redis.map(|url| RedisOptions { url, ca_file: self.redis_ca_file }),
        })
    }
}

/// The output, and for people the URL on standard output.
struct Listening {
    output: Arc<Output>,
    people: bool,
}

impl Progress for Listening {
    fn event(&self, event: Event) {
        if let (true, Event::Listening { urls }) = (self.people, &event) {
            let lines: String = urls.iter().map(|url| format!("{url}\n")).collect();
            if let Err(error) = output::product(lines.as_bytes()) {
                self.output.warn(&error.to_string());
            }
        }
        self.output.event(event);
    }
}

/// Runs `rtckit signal`.
pub fn signal(args: SignalArgs, context: &Context) -> ExitCode {
    if args.print_ca {
        let printed = authority_folder().and_then(|folder| signal::authority(&folder));
        return match printed.and_then(|pem| output::product(pem.as_bytes())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => context.fail(&error),
        };
    }
    let options = match args.options() {
        Ok(options) => options,
        Err(error) => return context.fail(&error),
    };
    let output = match context.output(false) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let people = !(context.global.json || context.global.events);
    let progress = Arc::new(Listening { output: Arc::clone(&output), people });
    match run::block_on(async move |stop| signal::run(options, progress, stop).await) {
        Ok(Ok(report)) => output.finish(&report, None, 0, ""),
        Ok(Err(error)) | Err(error) => output.finish(&serde_json::json!({}), Some(&error), exit::INTERNAL, ""),
    }
}
