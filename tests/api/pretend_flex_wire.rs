//! The port of a pretend: it reads one request a connection, has it answered, and spoils the answer as
//! the mood says. It shares no code with the crate, so that a mistake there is not repeated here.

use std::io;
use std::io::BufRead;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(10);
const HUGE_BYTES: usize = 10 << 20;

/// How a pretend answers: as Twilio does, but for what the name says.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    #[default]
    Answers,
    /// Twilio's error of that status, whoever asks for whatever; nothing is done.
    Status(u16),
    /// What was asked for is done at once, and answered late.
    Slow(Duration),
    Silent,
    Garbage,
    /// To the same path elsewhere.
    Redirect(String),
    /// The usual answer with a member of 10 MB before the others, of no stated length.
    Huge,
}

/// One request: with its Basic user, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub user: Option<String>,
    pub content_type: String,
    pub if_match: Option<String>,
    pub body: String,
}

pub struct Reply {
    pub status: u16,
    pub etag: Option<String>,
    pub body: String,
}

/// What answers: it is given a request and its password, and told nothing of what becomes of the answer.
pub type Answers = Arc<dyn Fn(&Seen, &str) -> (Mood, Reply) + Send + Sync>;

/// A port that listens. Dropping it closes it.
pub struct Port {
    pub address: SocketAddr,
    answers: Answers,
    listening: Mutex<Option<Listening>>,
}

/// What tells the port's thread to stop, and the thread.
type Listening = (Arc<AtomicBool>, thread::JoinHandle<()>);

impl Reply {
    pub fn of(status: u16, body: String) -> Self {
        Self { status, etag: None, body }
    }

    /// Twilio's own words for a status.
    pub fn refusal(status: u16) -> Self {
        let (code, message) = match status {
            401 => (20003, "Authenticate"),
            403 => (20403, "Forbidden"),
            404 => (20404, "The requested resource was not found"),
            412 => (20412, "Precondition failed"),
            429 => (20429, "Too Many Requests"),
            500.. => (20500, "An internal server error has occurred"),
            _ => (20001, "Bad request"),
        };
        let body = json!({ "code": code, "message": message, "status": status });
        Self::of(status, body.to_string())
    }
}

impl Port {
    /// Listens on a free port.
    pub fn open(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listening = Mutex::new(Some(listen(listener, &answers)));
        Self { address, answers, listening }
    }

    /// Connecting fails from now on, and a request still waiting is dropped.
    pub fn close(&self) {
        if let Some((stop, thread)) = self.listening.lock().unwrap().take() {
            stop.store(true, Ordering::SeqCst);
            // Accepting blocks, so it takes a connection to have the flag noticed.
            TcpStream::connect_timeout(&self.address, PATIENCE).ok();
            thread.join().ok();
        }
    }

    /// Listens on the same port again.
    pub fn reopen(&self) {
        let mut listening = self.listening.lock().unwrap();
        if listening.is_none() {
            *listening = Some(listen(TcpListener::bind(self.address).unwrap(), &self.answers));
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.close();
    }
}

fn listen(listener: TcpListener, answers: &Answers) -> Listening {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, answers) = (Arc::clone(&stop), Arc::clone(answers));
    let thread = thread::spawn(move || {
        let open = |_: &io::Result<TcpStream>| !stopping.load(Ordering::SeqCst);
        for stream in listener.incoming().take_while(open).flatten() {
            let (stop, answers) = (Arc::clone(&stopping), Arc::clone(&answers));
            thread::spawn(move || serve(stream, &stop, &answers));
        }
    });
    (stop, thread)
}

/// Answers one request. Whatever goes wrong here is a client that went away.
fn serve(mut stream: TcpStream, stop: &AtomicBool, answers: &Answers) -> Option<()> {
    let (seen, password) = request(&stream)?;
    let (mood, usual) = answers(&seen, &password);
    let Reply { status, etag, mut body } = match &mood {
        Mood::Status(status) => Reply::refusal(*status),
        Mood::Garbage => Reply::of(200, "this is no JSON {".to_owned()),
        Mood::Redirect(_) => Reply::of(307, String::new()),
        _ => usual,
    };
    let mut head = format!("HTTP/1.1 {status} Pretend\r\nConnection: close\r\n");
    head.push_str("Content-Type: application/json\r\n");
    head.extend(etag.map(|etag| format!("ETag: {etag}\r\n")));
    match &mood {
        Mood::Huge => body.insert_str(1, &format!("\"padding\":\"{}\",", "A".repeat(HUGE_BYTES))),
        Mood::Redirect(place) => head.push_str(&format!("Location: {place}{}\r\n", seen.path)),
        _ => {}
    }
    if !matches!(mood, Mood::Huge) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    match mood {
        Mood::Slow(delay) => outlast(&mut stream, stop, delay)?,
        Mood::Silent => outlast(&mut stream, stop, Duration::MAX)?,
        _ => {}
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()
}

/// Waits that long, unless the client goes away or the port is closed before.
fn outlast(stream: &mut TcpStream, stop: &AtomicBool, delay: Duration) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_millis(10))).ok()?;
    let since = Instant::now();
    while since.elapsed() < delay {
        if matches!(stream.read(&mut [0; 1024]), Ok(0)) || stop.load(Ordering::SeqCst) {
            return None;
        }
    }
    Some(())
}

/// The request, and the password it came with.
fn request(stream: &TcpStream) -> Option<(Seen, String)> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let mut reader = io::BufReader::new(stream.take(1 << 20));
    let lines = reader.by_ref().lines();
    let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |wanted: &str| {
        let mut pairs = head.iter().skip(1).filter_map(|line| line.split_once(':'));
        let found = pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let basic = header("authorization").and_then(|given| {
        let bytes = STANDARD.decode(given.strip_prefix("Basic ")?).ok()?;
        let pair = String::from_utf8(bytes).ok()?;
        pair.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    });
    let (user, password) = basic.unzip();
    let mut words = head.first()?.split(' ').map(str::to_owned);
    let seen = Seen {
        method: words.next()?,
        path: words.next()?,
        user,
        content_type: header("content-type").unwrap_or_default(),
        if_match: header("if-match"),
        body: String::from_utf8(body).ok()?,
    };
    Some((seen, password.unwrap_or_default()))
}
