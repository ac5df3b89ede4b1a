//! A FastCGI client for tests: one connection, one request at a time, every wait bounded.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use regie_fastcgi::management::{self, Values, is_goaway};
use regie_fastcgi::{BeginRequest, Framer, Kind, Role, Step, cgi, params, record};

/// No answer takes longer in a test that passes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A request to a script.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) params: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    /// `GET uri` of the script.
    pub(crate) fn get(script: &Path, uri: &str) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut ask = Self::default();
        for (name, value) in [
            ("SCRIPT_FILENAME", script.to_str().unwrap()),
            ("SCRIPT_NAME", path),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", uri),
            ("QUERY_STRING", query),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", "example.org"),
            ("HTTP_HOST", "example.org"),
            ("REMOTE_ADDR", "192.0.2.7"),
        ] {
            ask = ask.with(name, value);
        }
        ask
    }

    /// With a parameter, in place of one of that name.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.params.retain(|(known, _)| known != name);
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As a POST of that body.
    pub(crate) fn post(mut self, content_type: &str, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.with("REQUEST_METHOD", "POST")
            .with("CONTENT_TYPE", content_type)
            .with("CONTENT_LENGTH", &body.len().to_string())
    }

    pub(crate) fn to_bytes(&self, keep_connection: bool) -> Vec<u8> {
        let mut out = BeginRequest { role: Role::Responder, keep_connection }.to_record(1).to_vec();
        let mut pairs = Vec::new();
        for (name, value) in &self.params {
            params::put_pair(&mut pairs, name.as_bytes(), value.as_bytes());
        }
        record::put_stream(&mut out, Kind::Params, 1, &pairs);
        record::put_stream_end(&mut out, Kind::Params, 1);
        record::put_stream(&mut out, Kind::Stdin, 1, &self.body);
        record::put_stream_end(&mut out, Kind::Stdin, 1);
        out
    }
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Heads of informational responses, as `103 Link=…`.
    pub(crate) informational: Vec<String>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The worker said goodbye after it.
    pub(crate) goodbye: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn parse(mut stdout: &[u8]) -> Self {
        let mut answer = Self::default();
        loop {
            let end = cgi::find_end(stdout)
                .unwrap()
                .unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(stdout)));
            let head = cgi::parse(&stdout[..end]).unwrap();
            let headers: Vec<(String, String)> = head
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), String::from_utf8_lossy(value).into_owned()))
                .collect();
            stdout = &stdout[end..];
            if head.status < 200 {
                let shown: Vec<String> =
                    headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
                answer.informational.push(format!("{} {}", head.status, shown.join(" ")));
                continue;
            }
            (answer.status, answer.headers, answer.body) = (head.status, headers, stdout.to_vec());
            return answer;
        }
    }
}

/// A connection to a pool.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    framer: Framer,
    input: Vec<u8>,
}

/// A record, or a piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Stdout(Vec<u8>),
    StdoutEnd,
    End(Vec<u8>),
    Values(Values),
    Goodbye,
    Other(u8),
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, framer: Framer::default(), input: Vec::new() }
    }

    /// As Régie's gateway opens it.
    pub(crate) fn open_as_gateway(socket: &Path) -> Self {
        let mut connection = Self::open(socket);
        connection.send(&management::get_values()).unwrap();
        match connection.next().unwrap() {
            Got::Values(values) => assert!(values.knows_goaway),
            other => panic!("{other:?} in answer to GET_VALUES"),
        }
        connection
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next thing that the peer says.
    pub(crate) fn next(&mut self) -> io::Result<Got> {
        loop {
            let (taken, got) = match self.framer.step(&self.input).unwrap() {
                (taken, Step::Piece { kind: Kind::Stdout, data, .. }) => {
                    (taken, Some(Got::Stdout(data.to_vec())))
                }
                (taken, Step::StreamEnd { kind: Kind::Stdout, .. }) => (taken, Some(Got::StdoutEnd)),
                (taken, Step::Record { kind: Kind::EndRequest, body, .. }) => {
                    (taken, Some(Got::End(body.to_vec())))
                }
                (taken, Step::Record { kind: Kind::GetValuesResult, body, .. }) => {
                    (taken, Some(Got::Values(Values::parse(body))))
                }
                (taken, Step::Record { kind: Kind::UnknownType, body, .. }) if is_goaway(body) => {
                    (taken, Some(Got::Goodbye))
                }
                (
                    taken,
                    Step::Record { kind, .. } | Step::Piece { kind, .. } | Step::StreamEnd { kind, .. },
                ) => (taken, Some(Got::Other(kind.byte()))),
                (taken, Step::Skipped) => (taken, None),
                (_, Step::NeedMore) => {
                    let mut piece = [0; 65_536];
                    let len = self.stream.read(&mut piece)?;
                    if len == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.input.extend_from_slice(&piece[..len]);
                    (0, None)
                }
            };
            self.input.drain(..taken);
            if let Some(got) = got {
                return Ok(got);
            }
        }
    }

    /// Reads an answer to its end.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut stdout = Vec::new();
        loop {
            match self.next()? {
                Got::Stdout(data) => stdout.extend_from_slice(&data),
                Got::End(_) => break,
                // Said while the request was under way; it is said again at the end.
                Got::StdoutEnd | Got::Goodbye => {}
                other => panic!("{other:?} within a response"),
            }
        }
        let mut answer = Answer::parse(&stdout);
        // The goodbye comes in the same write as the end.
        answer.goodbye = self.input.get(1) == Some(&Kind::UnknownType.byte());
        Ok(answer)
    }

    pub(crate) fn try_ask(&mut self, ask: &Ask) -> io::Result<Answer> {
        self.send(&ask.to_bytes(true))?;
        self.answer()
    }

    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.try_ask(ask).unwrap_or_else(|error| panic!("{error}: {:?}", ask.params))
    }
}
