//! Commands to a running operation, each of which is answered.
//!
//! ```text
//! NDJSON, a signal, a key -> Remote -[bounded]-> Requests -> the operation
//!                 answer <-----------------------------------'
//! ```
//!
//! A command is a JSON object per line, `{"command":"pause"}`, whose other members are its arguments. The answer is an
//! object with the same `command` and `id`, `"ok":true` and what the operation has to say, or an `error`.

use crate::error::{Error, ErrorKind};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait for the operation.
const WAITING: usize = 64;
/// The longest line that is read.
const LONGEST_LINE: u64 = 1 << 20;

/// The caller's end. Clones share it.
#[derive(Clone, Debug)]
pub struct Remote(mpsc::Sender<Request>);

/// The operation's end.
#[derive(Debug)]
pub struct Requests(mpsc::Receiver<Request>);

/// A command, and the way back.
#[derive(Debug)]
pub struct Request {
    /// What is to be done, e.g. `pause`.
    pub command: String,
    /// What else the line says.
    pub arguments: Map<String, Value>,
    answer: oneshot::Sender<Result<Value, Error>>,
}

/// Two ends of a new way.
pub fn channel() -> (Remote, Requests) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Remote(sender), Requests(receiver))
}

impl Requests {
    /// An end that nobody commands.
    pub fn none() -> Self {
        channel().1
    }

    /// The next command. Never, when nobody is left to give one. Cancel-safe.
    pub async fn next(&mut self) -> Request {
        match self.0.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}

impl Request {
    /// Answers with the members of an object, `null` for none.
    pub fn answer(self, result: Result<Value, Error>) {
        // Whoever asked may be gone.
        let _ = self.answer.send(result);
    }

    /// Answers a command that the operation does not know.
    pub fn refuse(self, known: &[&str]) {
        let message = format!("there is no command '{}'", self.command.escape_debug());
        let error = Error::new(ErrorKind::InvalidInput, "NotSupportedError", message);
        self.answer(Err(error.with_hint(format!("there are {}", known.join(", ")))));
    }
}

impl Remote {
    /// Gives a command and waits for what becomes of it.
    ///
    /// # Errors
    /// What the operation says, and `InvalidStateError` when it is over.
    pub async fn ask(&self, command: &str, arguments: Map<String, Value>) -> Result<Value, Error> {
        let over = || Error::new(ErrorKind::InvalidInput, "InvalidStateError", "it is over");
        let (answer, answered) = oneshot::channel();
        let request = Request { command: command.to_owned(), arguments, answer };
        self.0.send(request).await.map_err(|_| over())?;
        answered.await.map_err(|_| over())?
    }

    /// Takes the next command from `lines` and gives the answer to it; `None` at their end.
    ///
    /// # Errors
    /// When reading fails.
    pub async fn serve(&self, lines: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Value>> {
        loop {
            let mut line = Vec::new();
            if (&mut *lines).take(LONGEST_LINE).read_until(b'\n', &mut line).await? == 0 {
                return Ok(None);
            }
            if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST_LINE {
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a line of a megabyte is no command"));
            }
            if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Ok(Some(self.serve_line(&line).await));
            }
        }
    }

    async fn serve_line(&self, line: &[u8]) -> Value {
        let mut arguments = match serde_json::from_slice(line) {
            Ok(Value::Object(arguments)) => arguments,
            Ok(_) => return answer(None, None, Err(damaged("a command is a JSON object".to_owned()))),
            Err(error) => return answer(None, None, Err(damaged(format!("no JSON: {error}")))),
        };
        let id = arguments.remove("id");
        let Some(Value::String(command)) = arguments.remove("command") else {
            return answer(None, id, Err(damaged("'command' is missing or no text".to_owned())));
        };
        let result = self.ask(&command, arguments).await;
        answer(Some(command), id, result)
    }
}

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, "SyntaxError", message).with_hint("e.g. {\"command\":\"pause\"}")
}

fn answer(command: Option<String>, id: Option<Value>, result: Result<Value, Error>) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("answer"));
    object.extend(command.map(|command| ("command".to_owned(), json!(command))));
    object.extend(id.map(|id| ("id".to_owned(), id)));
    object.insert("ok".to_owned(), json!(result.is_ok()));
    match result {
        Ok(Value::Object(members)) => object.extend(members),
        Ok(_) => {}
        Err(error) => {
            let error = json!({ "name": error.name(), "message": error.to_string(), "hint": error.hint() });
            object.insert("error".to_owned(), error);
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_line_is_answered_in_order_and_with_its_id() {
        let (remote, mut requests) = channel();
        let operation = tokio::spawn(async move {
            loop {
                let request = requests.next().await;
                match request.command.as_str() {
                    "double" => {
                        let doubled = request.arguments["x"].as_i64().unwrap_or(0) * 2;
                        request.answer(Ok(json!({ "x": doubled })));
                    }
                    "leave" => break request.answer(Ok(Value::Null)),
                    _ => request.refuse(&["double", "leave"]),
                }
            }
        });
        let lines = "{\"command\":\"double\",\"x\":21,\"id\":7}\n\n  \n{\"command\":\"fly\"}\nnonsense\n[]\n{\"id\":1}\n\
                     {\"command\":\"leave\"}\n{\"command\":\"double\",\"id\":\"z\"}";
        let mut answers = Vec::new();
        let mut lines = lines.as_bytes();
        while let Some(answer) = remote.serve(&mut lines).await.unwrap() {
            answers.push(answer);
        }
        operation.await.unwrap();
        assert_eq!(answers[0], json!({ "type": "answer", "command": "double", "id": 7, "ok": true, "x": 42 }));
        let names: Vec<_> = answers[1..5].iter().map(|answer| answer["error"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["NotSupportedError", "SyntaxError", "SyntaxError", "SyntaxError"]);
        assert_eq!(answers[4]["id"], 1);
        assert_eq!((&answers[5]["ok"], &answers[6]["error"]["name"]), (&json!(true), &json!("InvalidStateError")));
        assert_eq!(answers[6]["id"], "z");
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_collected_for_ever() {
        let (remote, _requests) = channel();
        let mut endless = tokio::io::BufReader::new(tokio::io::repeat(b'x'));
        assert!(remote.serve(&mut endless).await.is_err());
    }
}
