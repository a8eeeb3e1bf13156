// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client of `tare rpc`: sends requests, sorts replies by id.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Tare;

/// Longer than any wait here: a later reply never comes.
const LONG: Duration = Duration::from_secs(60);

/// A conversation.
pub(crate) struct Rpc {
    /// Keeps the store until the conversation has ended.
    _store: Arc<TempDir>,
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    next: u64,
    /// Replies that arrived before their turn.
    kept: HashMap<u64, Reply>,
}

impl Drop for Rpc {
    fn drop(&mut self) {
        // A failed test must leave no process for the next test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replies to a request.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reply {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Names of the events, in their order.
    pub(crate) events: Vec<String>,
    pub(crate) last: Option<Value>,
}

impl Reply {
    /// Returns the result of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> &Value {
        let last = self.last.as_ref().expect("an answer");
        assert!(last.get("error").is_none(), "{last}");
        &last["result"]
    }

    /// Returns kind, step and errno of the error.
    #[track_caller]
    pub(crate) fn error(&self) -> (&str, &str, Option<i64>) {
        let last = self.last.as_ref().expect("an answer");
        let error = &last["error"];
        assert!(error.is_object(), "{last}");
        let text = |key: &str| error[key].as_str().unwrap();
        (text("kind"), text("step"), error["errno"].as_i64())
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    fn add(&mut self, line: &Value) {
        match line["event"].as_str() {
            None => self.last = Some(line.clone()),
            Some(event) => {
                self.events.push(event.to_owned());
                let stream = match event {
                    "stdout" => &mut self.stdout,
                    "stderr" => &mut self.stderr,
                    _ => return,
                };
                stream.extend(bytes(&line["data"]));
            }
        }
    }
}

/// Returns the parameters of a request that needs none.
pub(crate) fn none() -> Value {
    json!({})
}

/// Returns whether `whole` has everything in `part`, with the same values.
pub(crate) fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| holds(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(a, b)| holds(a, b))
        }
        (whole, part) => whole == part,
    }
}

/// A row of `requests.txt`.
pub(crate) struct Row<'a> {
    pub(crate) of_root: bool,
    pub(crate) method: &'a str,
    params: &'a str,
    /// False if the answer is an error that the schema does not tell.
    pub(crate) in_schema: bool,
    pub(crate) answer: &'a str,
}

impl<'a> Row<'a> {
    pub(crate) fn new(row: &'a str) -> Self {
        let of_root = row.strip_prefix("root: ");
        let line = of_root.unwrap_or(row);
        let told = line.split_once(" => ");
        let (request, answer) = told.or_else(|| line.split_once(" ~> ")).expect(row);
        let (method, params) = request.split_once(' ').expect(row);
        Self {
            of_root: of_root.is_some(),
            method,
            params,
            in_schema: told.is_some(),
            answer,
        }
    }

    pub(crate) fn params(&self) -> Value {
        let params = self.params.replace('@', r#""sandbox": "a""#);
        serde_json::from_str(&params).expect(&params)
    }
}

/// Decodes a string or `{"base64": ...}`.
pub(crate) fn bytes(data: &Value) -> Vec<u8> {
    match data.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(data["base64"].as_str().unwrap()).unwrap(),
    }
}

pub(crate) fn base64(bytes: &[u8]) -> Value {
    json!({"base64": STANDARD.encode(bytes)})
}

impl Rpc {
    pub(crate) fn new(tare: &Tare) -> Self {
        Self::start(tare, read)
    }

    /// Begins a conversation of root with `a`, a view of the host.
    #[track_caller]
    pub(crate) fn in_host() -> Self {
        let mut rpc = Self::new(&Tare::new());
        rpc.open("a");
        rpc
    }

    /// Starts `tare rpc`; `reader` takes the output and passes lines on.
    pub(crate) fn start(tare: &Tare, reader: impl FnOnce(ChildStdout) -> Receiver<Value>) -> Self {
        let mut command = tare.command(&["rpc"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let lines = reader(child.stdout.take().unwrap());
        Self {
            _store: Arc::clone(&tare.store),
            child,
            stdin,
            lines,
            next: 1,
            kept: HashMap::new(),
        }
    }

    /// Sends a request; returns the id.
    pub(crate) fn send(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.line(&json!({"id": id, "method": method, "params": params}).to_string());
        id
    }

    /// Sends a line.
    pub(crate) fn line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("before the end");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Returns the next line.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => line,
            Err(why) => panic!("no line came: {why}"),
        }
    }

    /// Waits for the answer to a request.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: u64) -> Reply {
        self.until(id, |reply| reply.last.is_some());
        self.kept.remove(&id).unwrap()
    }

    /// Waits until the replies to a request satisfy `done`.
    #[track_caller]
    pub(crate) fn until(&mut self, id: u64, done: impl Fn(&Reply) -> bool) -> &Reply {
        while !done(self.kept.entry(id).or_default()) {
            let line = self.next();
            let of = line["id"].as_u64().unwrap_or_else(|| panic!("{line}"));
            let reply = self.kept.entry(of).or_default();
            assert!(reply.last.is_none(), "after its answer: {line}");
            reply.add(&line);
        }
        &self.kept[&id]
    }

    /// Sends a request and waits for its answer.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Reply {
        let id = self.send(method, params);
        self.answer(id)
    }

    /// Sends the request of a row of `requests.txt`, and compares the answer.
    #[track_caller]
    pub(crate) fn check(&mut self, text: &str) {
        let row = Row::new(text);
        let wanted = serde_json::from_str::<Value>(row.answer);
        if row.method == "sh" {
            let reply = self.script("a", row.params, none());
            return assert_eq!(reply.out(), wanted.expect(text), "{text}");
        }
        let reply = self.call(row.method, row.params());
        if let Ok(part) = wanted {
            return assert!(holds(reply.ok(), &part), "{text}: {reply:?}");
        }
        let (kind, step, errno) = reply.error();
        let errno = errno.map_or(String::new(), |number| format!("; {number}"));
        assert_eq!(format!("{kind}; {step}{errno}"), row.answer, "{text}");
        assert!(reply.events.is_empty(), "{text}: {reply:?}");
    }

    /// Opens a view of the host.
    #[track_caller]
    pub(crate) fn open(&mut self, name: &str) {
        self.call("open", json!({"sandbox": name})).ok();
    }

    /// Runs `sh -c script` to its end, with more parameters.
    #[track_caller]
    pub(crate) fn script(&mut self, sandbox: &str, script: &str, more: Value) -> Reply {
        let id = self.send_script(sandbox, script, more);
        self.answer(id)
    }

    pub(crate) fn send_script(&mut self, sandbox: &str, script: &str, more: Value) -> u64 {
        let mut params = json!({"sandbox": sandbox, "argv": ["sh", "-c", script]});
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        self.send("run", params)
    }

    /// Closes the input.
    pub(crate) fn end(&mut self) {
        self.stdin = None;
    }

    /// Closes the input; returns the remaining lines and the exit status.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Vec<Value>, i32) {
        self.end();
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        (rest, self.child.wait().unwrap().code().unwrap_or(-1))
    }
}

/// Reads lines as fast as they come.
fn read(stdout: ChildStdout) -> Receiver<Value> {
    let (sender, lines) = sync_channel(1 << 20);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:.200}"));
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    lines
}
