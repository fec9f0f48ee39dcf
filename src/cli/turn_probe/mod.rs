//! `rtckit turn-probe`: arguments to [`Options`], the [`Report`] in the form that is asked for.

mod monitoring;
mod text;

use super::args::{self, RestArgs, ServerArgs, family};
use super::output::{self, Output};
use super::run::{self, Context};
use super::{exit, value};
use clap::{Args, ValueEnum};
use monitoring::State;
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::turn_probe::{self, Interfaces, Options, Outcome, Report, Settings};
use rtckit::stop::StopReason;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What the report is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// What --json writes.
    Json,
    /// What --events writes.
    Ndjson,
    /// For Prometheus and its kin.
    Openmetrics,
    /// For Nagios and its kin, with the exit codes of their plug-ins: 0, 1 warning, 2 critical, 3 unknown.
    Nagios,
    /// For test runs.
    Junit,
}

/// What a Nagios plug-in exits with when it could not do its work.
const UNKNOWN: u8 = 3;

/// What `turn-probe` takes.
#[derive(Args, Clone, Debug)]
pub struct TurnProbeArgs {
    /// The servers: stun:HOST[:PORT], turn:HOST[:PORT][?transport=tcp], stuns: and turns: (TLS, with ?transport=udp DTLS),
    /// turn:USER:PASSWORD@HOST
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Probe this host on every transport and port in place of URLs; one that works is enough
    #[arg(long, value_name = "HOST", conflicts_with_all = ["urls", "ice_server", "ice_servers", "nat", "gather", "predict"])]
    matrix: Option<String>,
    /// The ports of --matrix
    #[arg(long, value_name = "PORTS", value_delimiter = ',', default_values_t = [3478, 5349, 443, 80], requires = "matrix",
          value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// Say how the NAT in front of us maps and filters (RFC 5780); best with a server that has two addresses, or with two servers
    #[arg(long)]
    nat: bool,
    /// Say whether two sides will find a direct path, from what --nat --json wrote on each
    #[arg(long, value_names = ["A.json", "B.json"], num_args = 2, conflicts_with_all = ["urls", "ice_server", "ice_servers", "nat", "gather", "every"])]
    predict: Option<Vec<PathBuf>>,
    /// Gather candidates as ICE would, in place of an examination
    #[arg(long, conflicts_with = "nat")]
    gather: bool,
    /// What to write
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// How long a server may stay silent, until there is an allocation
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = seconds(Settings::default().timeout))]
    timeout: Duration,
    /// Packets that are sent through the relay and back
    #[arg(long, value_name = "COUNT", default_value_t = Settings::default().packets)]
    packets: u32,
    /// Bytes in each of them
    #[arg(long, value_name = "BYTES", default_value_t = Settings::default().size)]
    size: usize,
    /// The time between two of them
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = seconds(Settings::default().interval))]
    interval: Duration,
    /// Send as much as goes through the relay, for so long
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = value::duration, default_missing_value = "2s")]
    throughput: Option<Duration>,
    /// Exit with 14 when the mean round trip through the relay is longer
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    max_rtt: Option<Duration>,
    /// Exit with 14 when more packets are lost, in percent
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "5%")]
    max_loss: f64,
    /// Exit with 14 when a certificate has fewer days left
    #[arg(long, value_name = "DAYS", value_parser = days)]
    min_cert_days: Option<f64>,
    /// Go on when a certificate does not hold
    #[arg(long)]
    insecure: bool,
    /// Probe again and again, so long from start to start, until Ctrl-C or --duration; the exit code is that of the worst round
    #[arg(long, value_name = "DURATION", value_parser = value::some_time)]
    every: Option<Duration>,
    /// For how long --every goes on
    #[arg(long, value_name = "DURATION", value_parser = value::duration, requires = "every")]
    duration: Option<Duration>,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    rest: RestArgs,
    /// Probe from this interface, or from this address of ours
    #[arg(long, value_name = "NAME|ADDRESS")]
    interface: Option<String>,
    /// IPv4 alone
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 alone
    #[arg(short = '6', long)]
    ipv6: bool,
}

/// A duration of the library, as a flag takes it.
fn seconds(duration: Duration) -> &'static str {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000).leak(),
        millis => format!("{millis}ms").leak(),
    }
}

/// `5%`, `0.5`: a part of a hundred.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    let part = number.filter(|number| (0.0..=100.0).contains(number)).map(|number| number / 100.0);
    part.ok_or_else(|| format!("'{text}' is not a percentage: use 0 to 100%"))
}

fn days(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|days: &f64| days.is_finite() && *days >= 0.0);
    parsed.ok_or_else(|| format!("'{text}' is no number of days"))
}

impl TurnProbeArgs {
    fn options(&self) -> Result<Options, Error> {
        let rest = self.rest.rest(self.servers.username.as_ref())?;
        let urls = match &self.matrix {
            Some(host) => turn_probe::matrix(host, &self.ports, self.servers.username.is_some() || rest.is_some()),
            None => self.urls.clone(),
        };
        Ok(Options {
            servers: self.servers.all(&urls)?,
            rest,
            nat: self.nat,
            gather: self.gather,
            any_suffices: self.matrix.is_some(),
            family: family(self.ipv4, self.ipv6),
            interfaces: self.interface.clone().map_or(Interfaces::All, Interfaces::Named),
            insecure: self.insecure,
            settings: Settings {
                timeout: self.timeout,
                packets: self.packets,
                size: self.size,
                interval: self.interval,
                throughput: self.throughput,
                max_rtt: self.max_rtt,
                max_loss: self.max_loss,
                min_cert_days: self.min_cert_days,
                ..Settings::default()
            },
        })
    }

    /// The format, which `--json` and `--events` choose as well.
    fn format(&self, context: &Context) -> Result<Format, Error> {
        let asked = [(context.global.json, Format::Json), (context.global.events, Format::Ndjson)];
        let asked: Vec<Format> = asked.into_iter().filter(|(asked, _)| *asked).map(|(_, format)| format).collect();
        match (self.format, asked.as_slice()) {
            (format, []) => Ok(format),
            (Format::Text, [.., format]) => Ok(*format),
            (format, asked) if asked.contains(&format) => Ok(format),
            (..) => {
                Err(Error::new(ErrorKind::Usage, "usage", "--format asks for something else than --json or --events"))
            }
        }
    }
}

/// Reads two reports and tells what they mean together.
fn predict(paths: &[PathBuf]) -> Result<Report, Error> {
    let read = |path: &PathBuf| {
        args::read_text(path).map_err(|error| {
            Error::new(ErrorKind::Usage, "usage", format!("--predict: cannot read {}: {error}", path.display()))
        })
    };
    match paths {
        [one, other] => turn_probe::predict(&read(one)?, &read(other)?),
        _ => Err(Error::new(ErrorKind::Usage, "usage", "--predict takes two reports")),
    }
}

/// Runs `rtckit turn-probe`.
pub fn run(args: TurnProbeArgs, mut context: Context) -> ExitCode {
    let prepare = || -> Result<_, Error> {
        Ok((args.predict.as_deref().map(predict).transpose()?, args.options()?, args.format(&context)?))
    };
    let (predicted, options, format) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return context.fail(&error),
    };
    // With --every each round is a line of its own.
    context.global.json = format == Format::Json && args.every.is_none();
    context.global.events |= format == Format::Ndjson;
    let output = match context.output(false) {
        Ok(output) => output,
        Err(code) => return code,
    };
    let mut failed = None;
    let mut show = |report: &Report| {
        if let Err(error) = render(report, format, &args, &output) {
            failed.get_or_insert(error);
        }
    };
    let progress = Arc::clone(&output);
    let (every, duration) = (args.every, args.duration);
    let ran = match predicted {
        Some(report) => {
            show(&report);
            Ok(Ok(Outcome { report, stopped: None }))
        }
        None => run::block_on(async move |stop| match every {
            Some(every) => turn_probe::run_every(&options, every, duration, progress, stop, show).await,
            None => {
                let outcome = turn_probe::run(&options, progress, stop).await;
                outcome.inspect(|outcome| show(&outcome.report))
            }
        }),
    };
    let outcome = match ran {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) | Err(error) => {
            let code = output.finish(&serde_json::json!({}), Some(&error), exit::INTERNAL, "");
            return if format == Format::Nagios { ExitCode::from(UNKNOWN) } else { code };
        }
    };
    let Outcome { report, stopped } = outcome;
    let code = match stopped {
        None | Some(StopReason::Done) if format == Format::Nagios => State::of(report.summary.verdict) as u8,
        None | Some(StopReason::Done) => report.summary.verdict.kind().map_or(0, exit::code),
        Some(StopReason::Terminate) => exit::TERMINATE,
        Some(_) => exit::INTERRUPT,
    };
    output.finish(&report, failed.as_ref(), code, "")
}

/// Writes what the format writes when a report is there; JSON of a single run comes with its end.
fn render(report: &Report, format: Format, args: &TurnProbeArgs, output: &Output) -> Result<(), Error> {
    let repeated = args.every.is_some();
    match format {
        Format::Text if args.matrix.is_some() => output::product(text::matrix(report).as_bytes()),
        Format::Text => output::product(text::render(report).as_bytes()),
        Format::Openmetrics => output::product(monitoring::openmetrics(report).as_bytes()),
        Format::Nagios => output::product(monitoring::nagios(report).as_bytes()),
        Format::Junit => output::product(monitoring::junit(report).as_bytes()),
        Format::Json if repeated => output::product(&output.object(report)),
        Format::Json | Format::Ndjson => Ok(()),
    }
}
