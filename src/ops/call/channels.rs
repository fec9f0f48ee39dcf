//! All data channels of a call at once: what comes is counted, or passed on as lines of JSON that name their channel.
//!
//! ```text
//! channel -[one task each]-> [news] -> counts, lines out
//! lines in -> the channel that each names, one message at a time
//! ```

use super::data::{Reader, Writer, next_line, written};
use super::report::{ChannelReport, DataReport, Ended};
use crate::error::{Error, ErrorKind};
use crate::peer::{DataChannel, DataMessage, PeerError};
use crate::progress::{Event, Progress};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Messages of all channels that may wait for whoever takes the lines.
const NEWS: usize = 64;
/// The longest line that is read: the longest message, with every character escaped.
const LONGEST_LINE: usize = 2 << 20;

/// A line that is read: one message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    channel: Option<String>,
    id: Option<u16>,
    text: Option<String>,
    base64: Option<String>,
}

/// A line that is written: a message, or what became of a channel.
#[derive(Debug, Serialize)]
struct Line<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// What a message is for.
#[derive(Debug, PartialEq)]
struct Address {
    channel: Option<String>,
    id: Option<u16>,
}

impl Address {
    fn fits(&self, served: &Served) -> bool {
        self.channel.as_ref().is_none_or(|label| label == served.channel.label())
            && self.id.is_none_or(|id| served.id == Some(id))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.channel, self.id) {
            (Some(label), Some(id)) => write!(f, "'{}' with id {id}", label.escape_debug()),
            (Some(label), None) => write!(f, "'{}'", label.escape_debug()),
            (None, Some(id)) => write!(f, "with id {id}"),
            (None, None) => f.write_str("at all"),
        }
    }
}

fn parse(line: &str) -> Result<(Address, DataMessage), Error> {
    let fail = |why: String| {
        let message = format!("a line of standard input is no message: {why}");
        Error::new(ErrorKind::InvalidInput, "DataError", message)
            .with_hint(r#"a message is a line such as {"channel":"LABEL","text":"hello"}, or with "base64" for bytes"#)
    };
    let order: Order = serde_json::from_str(line).map_err(|error| fail(error.to_string()))?;
    let message = match (order.text, order.base64) {
        (Some(text), None) => DataMessage::Text(text),
        (None, Some(bytes)) => {
            let bytes = BASE64.decode(bytes).map_err(|error| fail(format!("base64: {error}")))?;
            DataMessage::Binary(bytes.into())
        }
        _ => return Err(fail("it has to have either \"text\" or \"base64\"".to_owned())),
    };
    Ok((Address { channel: order.channel, id: order.id }, message))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    Closed,
}

struct Served {
    channel: DataChannel,
    state: State,
    /// Of an open one.
    id: Option<u16>,
}

enum News {
    Opened,
    Message(DataMessage),
    Closed,
    Unopened(Error),
}

/// The channels, each under its number.
pub(super) struct Channels {
    served: Vec<Served>,
    /// Without lines, messages are only counted.
    reader: Option<Reader>,
    writer: Option<Writer>,
    line: Vec<u8>,
    reports: Arc<Mutex<Vec<Option<ChannelReport>>>>,
    progress: Arc<dyn Progress>,
    tasks: JoinSet<()>,
    news: mpsc::Sender<(usize, News)>,
    comes: mpsc::Receiver<(usize, News)>,
}

type Sending = Pin<Box<dyn Future<Output = Result<(usize, u64), PeerError>> + Send>>;

impl Channels {
    pub(super) fn new(
        (reader, writer): (Option<Reader>, Option<Writer>),
        reports: Arc<Mutex<Vec<Option<ChannelReport>>>>,
        progress: Arc<dyn Progress>,
    ) -> Self {
        let (news, comes) = mpsc::channel(NEWS);
        let (served, line, tasks) = (Vec::new(), Vec::new(), JoinSet::new());
        Self { served, reader, writer, line, reports, progress, tasks, news, comes }
    }

    fn serve(&mut self, channel: DataChannel) {
        let (number, news) = (self.served.len(), self.news.clone());
        self.served.push(Served { channel: channel.clone(), state: State::Connecting, id: None });
        self.reports().push(None);
        self.tasks.spawn(async move {
            let opened = match channel.opened().await {
                Ok(opened) => opened,
                Err(error) => news.send((number, News::Unopened(error.erase()))).await.is_ok() && channel.opens().await,
            };
            if opened && news.send((number, News::Opened)).await.is_ok() {
                while let Some(message) = channel.receive().await {
                    if news.send((number, News::Message(message))).await.is_err() {
                        return;
                    }
                }
            }
            let _ = news.send((number, News::Closed)).await;
        });
    }

    fn reports(&self) -> std::sync::MutexGuard<'_, Vec<Option<ChannelReport>>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, number: usize, change: impl FnOnce(&mut DataReport)) {
        change(&mut self.reports()[number].get_or_insert_default().data);
    }

    /// Serves them until all are closed, or the input ends, which is read once ours are open.
    pub(super) async fn run(
        mut self,
        ours: Vec<DataChannel>,
        mut arrivals: mpsc::Receiver<DataChannel>,
    ) -> Result<Ended, Error> {
        let our_count = ours.len();
        ours.into_iter().for_each(|channel| self.serve(channel));
        let mut may_come = true;
        let mut waiting: Option<(Address, DataMessage)> = None;
        let mut sending: Option<Sending> = None;
        loop {
            if sending.is_none()
                && let Some(number) = waiting.as_ref().map(|(to, _)| self.find(to)).transpose()?.flatten()
                && let Some((_, message)) = waiting.take()
            {
                let channel = self.served[number].channel.clone();
                let bytes = message.len() as u64;
                sending = Some(Box::pin(async move { channel.send_owned(message).await.map(|()| (number, bytes)) }));
            }
            let lives = self.served.iter().any(|served| served.state != State::Closed);
            if !lives && (!may_come || !self.served.is_empty()) {
                return Ok(Ended::PeerHungUp);
            }
            let connecting = self.served[..our_count].iter().any(|served| served.state == State::Connecting);
            let idle = sending.is_none() && waiting.is_none() && !connecting;
            tokio::select! {
                Some((number, news)) = self.comes.recv() => self.note(number, news).await?,
                channel = arrivals.recv(), if may_come => match channel {
                    Some(channel) => self.serve(channel),
                    None => may_come = false,
                },
                sent = async { sending.as_mut().expect("only polled where there is one").await }, if sending.is_some() => {
                    sending = None;
                    let (number, bytes) = sent.map_err(PeerError::erase)?;
                    self.count(number, |report| {
                        report.messages_sent += 1;
                        report.bytes_sent += bytes;
                    });
                }
                line = next_line(&mut self.reader, &mut self.line, LONGEST_LINE), if idle => match line? {
                    Some(line) if line.trim().is_empty() => {}
                    Some(line) => waiting = Some(parse(&line)?),
                    None => {
                        for served in &self.served {
                            served.channel.flushed().await;
                        }
                        return Ok(Ended::InputEnded);
                    }
                },
            }
        }
    }

    /// The open channel that a message is for; `None` when it is to wait for one that opens.
    fn find(&self, to: &Address) -> Result<Option<usize>, Error> {
        let fail = |why: String| Err(Error::new(ErrorKind::InvalidInput, "InvalidStateError", why));
        let of = |state: State| {
            let all = self.served.iter().enumerate();
            all.filter(move |(_, served)| served.state == state && to.fits(served)).map(|(number, _)| number)
        };
        let mut open = of(State::Open);
        match (open.next(), open.next()) {
            (Some(_), Some(_)) => {
                fail(format!("a message is for one channel, but several are {to}: name its \"channel\" or \"id\""))
            }
            (Some(number), None) => Ok(Some(number)),
            (None, _) if of(State::Connecting).next().is_none() && of(State::Closed).next().is_some() => {
                fail(format!("a message is for the channel {to}, which is closed"))
            }
            (None, _) => Ok(None),
        }
    }

    async fn note(&mut self, number: usize, news: News) -> Result<(), Error> {
        match news {
            News::Opened => {
                self.served[number].state = State::Open;
                let channel = &self.served[number].channel;
                let report = ChannelReport::of(channel).await;
                self.served[number].id = report.id;
                self.progress.event(Event::DataChannel { label: report.data.label.clone() });
                self.reports()[number] = Some(report);
                self.write(number, Some("open"), None).await
            }
            News::Message(message) => {
                self.count(number, |report| {
                    report.messages_received += 1;
                    report.bytes_received += message.len() as u64;
                });
                self.write(number, None, Some(&message)).await
            }
            News::Closed if self.served[number].state == State::Open => {
                self.served[number].state = State::Closed;
                self.write(number, Some("closed"), None).await
            }
            News::Closed => {
                self.served[number].state = State::Closed;
                Ok(())
            }
            News::Unopened(error) if self.writer.is_some() => Err(error),
            News::Unopened(error) => {
                // There may be more to the call than its channels.
                self.progress.event(Event::Warning { message: error.to_string() });
                Ok(())
            }
        }
    }

    async fn write(&mut self, number: usize, state: Option<&str>, message: Option<&DataMessage>) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let Served { channel, id, .. } = &self.served[number];
        let (text, base64) = match message {
            Some(DataMessage::Text(text)) => (Some(text.as_str()), None),
            Some(DataMessage::Binary(bytes)) => (None, Some(BASE64.encode(bytes))),
            None => (None, None),
        };
        let line = Line { channel: channel.label(), id: *id, state, text, base64 };
        let mut line = serde_json::to_vec(&line).expect("text and numbers are JSON");
        line.push(b'\n');
        let result = async {
            writer.write_all(&line).await?;
            writer.flush().await
        };
        written(result.await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_to_a_channel_and_anything_else_is_refused_with_the_reason() {
        let (to, message) = parse(r#"{"channel":"a","text":"hü"}"#).unwrap();
        assert_eq!((to, message), (Address { channel: Some("a".into()), id: None }, DataMessage::Text("hü".into())));
        let (to, message) = parse(r#"{"id":3,"base64":"AP8="}"#).unwrap();
        assert_eq!(to, Address { channel: None, id: Some(3) });
        assert_eq!(message, DataMessage::Binary(bytes::Bytes::from_static(&[0, 255])));
        for (line, why) in [
            ("hello", "expected value"),
            (r#"{"channel":"a"}"#, "either"),
            (r#"{"text":"a","base64":"AA=="}"#, "either"),
            (r#"{"base64":"?"}"#, "base64"),
            (r#"{"chanel":"a","text":""}"#, "chanel"),
            (r#"{"id":-1,"text":""}"#, "-1"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(why), "{line}: {error}");
        }
    }
}
