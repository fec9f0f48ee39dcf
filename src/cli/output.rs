//! Who reads what: stdout is the product, stderr is for people, JSON for programs.
//!
//! `--json` writes one object at the end and `--events` one line per event and a last one with `"type":"result"`. Both go to
//! stdout; where that carries a payload, to `--events-file`, else to stderr, which then is JSON alone. A reader that
//! went away (`| head`) ends nothing and is no error. Events are handed to a thread, so that a slow reader never holds up media;
//! so is what people see ([`people`]).

use super::people::{self, Moving};
use super::{descriptor, exit, value};
use clap::{Args, ValueEnum};
use rtckit::error::{Error, ErrorKind};
use rtckit::progress::{Event, Progress};
use serde::Serialize;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// As many events may wait for a slow reader; later ones are dropped and counted.
const WAITING: usize = 4096;

/// Flags that every command has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output and logs")]
pub struct GlobalArgs {
    /// Say nothing on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Log more: -v what happens, -vv details (may show secrets)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write one JSON object at the end
    #[arg(long, global = true)]
    pub json: bool,
    /// Write one JSON line per event while running, the last one with the result
    #[arg(long, global = true)]
    pub events: bool,
    /// Where events go (and the JSON when stdout is taken): a file, or fd:N for an open descriptor
    #[arg(long, global = true, value_name = "PATH|fd:N")]
    pub events_file: Option<Place>,
    /// Colour on stderr; auto is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Read flags from this file instead of ~/.config/rtckit/config.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// When stderr is coloured.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// A file, or a descriptor that the caller opened.
#[derive(Clone, Debug)]
pub enum Place {
    Path(PathBuf),
    Descriptor(i32),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("fd:") {
            None => Ok(Self::Path(text.into())),
            Some(number) => match number.parse() {
                Ok(number) if number >= 0 => Ok(Self::Descriptor(number)),
                _ => Err(format!("'{number}' is no descriptor: use fd:3")),
            },
        }
    }
}

impl GlobalArgs {
    /// Whether stderr is coloured.
    pub fn colored(&self) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|value: std::ffi::OsString| !value.is_empty());
                !set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
                    && io::stderr().is_terminal()
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
    File,
}

/// Where the output of one run goes.
pub struct Output {
    schema: String,
    /// Where JSON goes.
    free: Stream,
    people: bool,
    color: bool,
    events: Option<Stream>,
    json: Option<Stream>,
    /// Lines for the writer; `None` ends it.
    queue: Option<SyncSender<Option<Vec<u8>>>>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
    file: Option<File>,
    dropped: AtomicU64,
}

impl Output {
    /// The output of `command`, empty where there is none yet. `payload_on_stdout`: stdout carries SDP, media or a chat.
    pub fn new(args: &GlobalArgs, command: &str, payload_on_stdout: bool) -> Result<Self, Error> {
        let file = args.events_file.as_ref().map(open).transpose()?;
        let spare = if file.is_some() { Stream::File } else { Stream::Stderr };
        let free = if payload_on_stdout { spare } else { Stream::Stdout };
        let events = if file.is_some() { Some(Stream::File) } else { args.events.then_some(free) };
        let json = args.json.then_some(free);
        let people = !args.quiet && events != Some(Stream::Stderr) && json != Some(Stream::Stderr);
        let mut output = Self {
            schema: if command.is_empty() { "rtckit/1".to_owned() } else { format!("rtckit.{command}/1") },
            free,
            people,
            color: args.colored(),
            events,
            json,
            queue: None,
            writer: Mutex::new(None),
            file,
            dropped: AtomicU64::new(0),
        };
        if let Some(stream) = events {
            let mut target = output.stream(stream)?;
            let (queue, lines) = sync_channel::<Option<Vec<u8>>>(WAITING);
            let thread = std::thread::Builder::new().name("events".to_owned());
            let write = move || {
                let mut written = Ok(());
                // An output that failed is not tried again, but the queue is emptied all the same.
                for line in lines.into_iter().map_while(|line| line) {
                    if written.is_ok() {
                        written = write_all(&mut target, &line);
                    }
                }
                written
            };
            let writer = thread.spawn(write);
            let writer =
                writer.map_err(|error| Error::new(ErrorKind::Internal, "OperationError", error.to_string()))?;
            output.writer = Mutex::new(Some(writer));
            output.queue = Some(queue);
        }
        Ok(output)
    }

    fn stream(&self, stream: Stream) -> Result<Box<dyn Write + Send>, Error> {
        Ok(match (stream, &self.file) {
            (Stream::Stdout, _) => Box::new(io::stdout()),
            (Stream::File, Some(file)) => {
                Box::new(file.try_clone().map_err(|error| cannot_write("--events-file", &error))?)
            }
            _ => Box::new(io::stderr()),
        })
    }

    /// Tells people, when they are listening. One line.
    pub fn say(&self, text: &str) {
        if self.people {
            people::say(text.to_owned());
        }
    }

    /// Shows what moves while the operation runs, where people look at a terminal that nothing else is written to.
    pub fn move_on<M: Moving + 'static>(&self, moving: impl FnOnce() -> M) {
        let terminal = || io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        if self.people && terminal() {
            people::begin(Box::new(moving()));
        }
    }

    /// Hands out the answer to a command: with the events, or where JSON goes when no events are written.
    pub fn answer(&self, answer: &serde_json::Value) {
        let line = line(&[members(answer), member("schema", &self.schema)]);
        match &self.queue {
            Some(queue) => {
                if let Err(TrySendError::Full(_)) = queue.try_send(Some(line)) {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            None => {
                // Whoever asked may be gone.
                let _ = self.stream(self.free).and_then(|mut stream| {
                    write_all(&mut stream, &line).map_err(|error| cannot_write("an answer", &error))
                });
            }
        }
    }

    /// Warns of something that ends nothing.
    pub fn warn(&self, message: &str) {
        self.event(Event::Warning { message: message.to_owned() });
    }

    /// Ends the run: writes report and error where they belong and gives the exit code, `code` when there is no error.
    /// `summary` is the report in words.
    pub fn finish<R: Serialize>(&self, report: &R, error: Option<&Error>, code: u8, summary: &str) -> ExitCode {
        let mut members = vec![member("schema", &self.schema), members(report)];
        people::end();
        if !summary.is_empty() {
            self.say(summary.trim_end());
        }
        let mut code = code;
        if let Some(error) = error {
            members.push(error_member(error));
            self.report(error);
            code = exit::code(error.kind());
        }
        people::flush();
        if let Err(error) = self.write_objects(members) {
            self.report(&error);
            if code == 0 {
                code = exit::code(error.kind());
            }
        }
        ExitCode::from(code)
    }

    /// The object that `--json` writes of a report, as a line.
    pub fn object<R: Serialize>(&self, report: &R) -> Vec<u8> {
        line(&[member("schema", &self.schema), members(report)])
    }

    fn report(&self, error: &Error) {
        if self.people {
            report_error(error, self.color);
        }
    }

    fn write_objects(&self, mut members: Vec<String>) -> Result<(), Error> {
        if let Some(queue) = &self.queue {
            // Fails when the writer is gone already, which is what is wanted.
            let _ = queue.send(None);
        }
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer of events panicked")));
            written.map_err(|error| cannot_write("events", &error))?;
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            members.push(member("eventsDropped", &dropped));
        }
        if let Some(stream) = self.json.filter(|stream| self.events != Some(*stream)) {
            write_all(&mut self.stream(stream)?, &line(&members)).map_err(|error| cannot_write("JSON", &error))?;
        }
        if let Some(stream) = self.events {
            members.insert(0, member("type", "result"));
            write_all(&mut self.stream(stream)?, &line(&members)).map_err(|error| cannot_write("events", &error))?;
        }
        Ok(())
    }
}

impl Progress for Output {
    fn event(&self, event: Event) {
        if let Some(queue) = &self.queue {
            let line = line(&[members(&event), member("schema", &self.schema)]);
            if let Err(TrySendError::Full(_)) = queue.try_send(Some(line)) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.people {
            people::show(&event);
            let yellow = |text: &str| paint(self.color, "33", text);
            people::say(match event {
                Event::ConnectionStateChange { state } => format!("connection {state}"),
                Event::IceRestart { side: "remote" } => "the peer looks for another path".to_owned(),
                Event::IceRestart { .. } => "looking for another path".to_owned(),
                Event::Bench { seconds, bits_per_second } => {
                    format!("{seconds:>6.1} s  {}", value::rate(bits_per_second))
                }
                Event::PeerGone { seconds } => {
                    format!("the other side is gone without a word: waiting {seconds:.0} s for it to come back")
                }
                Event::Track { kind, mime_type } => format!("receiving {kind}: {mime_type}"),
                Event::DataChannel { label } => format!("data channel open: {}", label.escape_debug()),
                Event::Start { path, mime_type } => format!("recording {path} as {mime_type}"),
                Event::Pause { seconds } => format!("paused at {seconds:.1} s"),
                Event::Resume { seconds } => format!("goes on at {seconds:.1} s"),
                Event::Output { path } if path != "-" => format!("writing {path}"),
                Event::Offer { files, bytes: Some(bytes) } => {
                    format!("{files} file{}, {}", if files == 1 { "" } else { "s" }, value::bytes(bytes))
                }
                Event::Ended { kind, message: Some(message) } => {
                    format!("{} {kind} ended: {message}", yellow("warning:"))
                }
                Event::Waiting { room } => format!("waiting for the other side in {room}"),
                Event::Code { code, server } => {
                    format!("on the other side: rtckit receive-file {code} --signal {server}")
                }
                Event::Check { words } => format!("check string: {words}"),
                Event::Join { room, address, members, resumed, .. } => {
                    let came = if resumed { "is back" } else { "joined" };
                    format!("{room}: {address} {came}, {members} there")
                }
                Event::Refused { room, address, reason } => format!("{room}: {address} refused: {reason}"),
                Event::Bye { room, id, reason } => format!("{room}: {id} is gone ({reason})"),
                Event::Warning { message } => format!("{} {message}", yellow("warning:")),
                _ => return,
            });
        }
    }
}

/// Writes a product (a man page, a completion script) to stdout.
pub fn product(bytes: &[u8]) -> Result<(), Error> {
    write_all(&mut io::stdout(), bytes).map_err(|error| cannot_write("standard output", &error))
}

/// One line of JSON from texts of `"name":value`; members keep their order, so a line begins with what it is.
fn line(members: &[String]) -> Vec<u8> {
    let members: Vec<&str> = members.iter().map(String::as_str).filter(|member| !member.is_empty()).collect();
    format!("{{{}}}\n", members.join(",")).into_bytes()
}

fn member<T: Serialize + ?Sized>(name: &str, value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(value) => format!("\"{name}\":{value}"),
        Err(_) => String::new(),
    }
}

/// The members of a value that is written as an object.
fn members<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}

fn error_member(error: &Error) -> String {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
        stage: Option<&'a str>,
        message: String,
        hint: Option<&'a str>,
    }
    let stage = Some(error.stage()).filter(|stage| !stage.is_empty());
    let shown = Shown { name: error.name(), stage, message: error.to_string(), hint: error.hint() };
    member("error", &shown)
}

fn report_error(error: &Error, color: bool) {
    let mut text = paint(color, "1;31", "error:");
    if !error.stage().is_empty() {
        text = format!("{text} {}:", error.stage());
    }
    text = format!("{text} {error}");
    if let Some(hint) = error.hint() {
        text = format!("{text}\n{} {hint}", paint(color, "1;36", "hint:"));
    }
    people::say(text);
}

fn paint(color: bool, code: &str, text: &str) -> String {
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Writes and flushes; a reader that went away is no error.
fn write_all(target: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    match target.write_all(bytes).and_then(|()| target.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn open(place: &Place) -> Result<File, Error> {
    match place {
        Place::Path(path) => File::create(path).map_err(|error| cannot_write(&path.display().to_string(), &error)),
        Place::Descriptor(number) => {
            descriptor::duplicate(*number).map_err(|error| cannot_write(&format!("fd:{number}"), &error))
        }
    }
}

fn cannot_write(what: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Output, "output", format!("cannot write {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_with_what_they_are_and_are_json() {
        let event = Event::Track { kind: "video".into(), mime_type: "video/VP8".into() };
        let text = line(&[members(&event), member("schema", "rtckit.call/1")]);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            "{\"type\":\"track\",\"kind\":\"video\",\"mimeType\":\"video/VP8\",\"schema\":\"rtckit.call/1\"}\n"
        );
        let error = Error::new(ErrorKind::Ice, "ice-failure", "no \"path\"").at("ice");
        let text = line(&[member("schema", "rtckit.call/1"), members(&serde_json::json!({})), error_member(&error)]);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["error"]["stage"], "ice");
        assert_eq!(value["error"]["message"], "no \"path\"");
        assert!(value["error"]["hint"].is_null());
    }

    #[test]
    fn places_are_files_and_descriptors() {
        assert!(matches!("fd:3".parse(), Ok(Place::Descriptor(3))));
        assert!(matches!("events.ndjson".parse(), Ok(Place::Path(_))));
        assert!("fd:-1".parse::<Place>().is_err() && "fd:".parse::<Place>().is_err());
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        assert_eq!(open(&Place::Descriptor(9999)).unwrap_err().kind(), ErrorKind::Output);
    }
}
