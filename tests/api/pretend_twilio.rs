//! A pretend of Twilio's REST API: a real server on a free port of this machine, which knows the
//! accounts, API keys and numbers a test gave it, and answers in whatever mood the test wants.
//! It shares no code with the crate, so that a mistake there is not repeated here.

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

/// The account that [`Mood::OtherAccount`] answers for.
pub const OTHER_ACCOUNT: &str = "ACffffffffffffffffffffffffffffffff";

const ROOT: &str = "/2010-04-01/Accounts/";
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PATIENCE: Duration = Duration::from_secs(10);

/// How it answers: as Twilio does, but for what the name says.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    #[default]
    Answers,
    /// Twilio's error of that status, whoever asks for whatever.
    Status(u16),
    Slow(Duration),
    Silent,
    Garbage,
    WrongShape,
    /// The answer is about [`OTHER_ACCOUNT`].
    OtherAccount,
    Redirect(String),
    /// A body of no stated length that ends only after 64 MB.
    Huge,
    Cut,
    Suspended,
    /// 403 by a proxy on the way, in its own words.
    Blocked,
}

/// One request it was sent: its path with the query, and its Basic user without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub user: Option<String>,
}

/// The running pretend. Dropping it stops it.
pub struct PretendTwilio {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    listening: Mutex<Option<Listening>>,
}

#[derive(Default)]
struct World {
    mood: Mood,
    logins: Vec<Login>,
    numbers: Vec<(String, String)>,
    seen: Vec<Seen>,
}

/// What tells the port's thread to stop, and the thread.
type Listening = (Arc<AtomicBool>, thread::JoinHandle<()>);

/// An account, and a user and a password good for it: the user is the account itself, or a key.
type Login = [String; 3];

impl PretendTwilio {
    /// Starts it on a free port, with no account and in [`Mood::Answers`].
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::default();
        Self { address, listening: Mutex::new(Some(listen(listener, &world))), world }
    }

    /// Where it is, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How it answers every request that arrives from now on.
    pub fn mood(&self, mood: Mood) {
        self.world.lock().unwrap().mood = mood;
    }

    /// Adds an account, or gives one it has other auth tokens. Each of them is good.
    pub fn account(&self, sid: &str, auth_tokens: &[&str]) {
        let logins = &mut self.world.lock().unwrap().logins;
        logins.retain(|[_, user, _]| user != sid);
        logins.extend(auth_tokens.iter().map(|token| [sid, sid, token].map(str::to_owned)));
    }

    /// Adds a Standard API key, which may list the account's numbers and not read the account.
    pub fn api_key(&self, account_sid: &str, key_sid: &str, secret: &str) {
        self.world.lock().unwrap().logins.push([account_sid, key_sid, secret].map(str::to_owned));
    }

    /// Adds a number to the end of the account's list; `json` goes out as it is.
    pub fn number(&self, account_sid: &str, json: String) {
        self.world.lock().unwrap().numbers.push((account_sid.to_owned(), json));
    }

    /// Every request so far, the oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.world.lock().unwrap().seen.clone()
    }

    /// Closes the port: connecting fails, and a request still waiting is dropped.
    pub fn refuse_connections(&self) {
        if let Some((stop, thread)) = self.listening.lock().unwrap().take() {
            stop.store(true, Ordering::SeqCst);
            // Accepting blocks, so it takes a connection to have the flag noticed.
            TcpStream::connect_timeout(&self.address, PATIENCE).ok();
            thread.join().ok();
        }
    }

    /// Listens on the same port again.
    pub fn come_back(&self) {
        let mut listening = self.listening.lock().unwrap();
        if listening.is_none() {
            *listening = Some(listen(TcpListener::bind(self.address).unwrap(), &self.world));
        }
    }
}

impl Drop for PretendTwilio {
    fn drop(&mut self) {
        self.refuse_connections();
    }
}

impl World {
    fn answer(&self, seen: &Seen, password: &str) -> (u16, String) {
        let (resource, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        let good = |[_, user, pass]: &&Login| Some(user) == seen.user.as_ref() && pass == password;
        let Some(login) = self.logins.iter().find(good) else { return refusal(401, resource) };
        let [sid, user, _] = login;
        let asked = resource.strip_prefix(ROOT).and_then(|rest| rest.strip_suffix(".json"));
        let listed = asked.and_then(|asked| asked.strip_suffix("/IncomingPhoneNumbers"));
        if seen.method != "GET" {
            refusal(405, resource)
        } else if listed == Some(sid) {
            self.page(sid, resource, query)
        } else if user != sid && asked.is_some_and(|asked| !asked.contains('/')) {
            refusal(401, resource)
        } else if asked == Some(sid) {
            let status = if matches!(self.mood, Mood::Suspended) { "suspended" } else { "active" };
            let body = format!(
                r#"{{"sid":"{sid}","friendly_name":"Pretend","status":"{status}","type":"Full","uri":"{resource}"}}"#
            );
            (200, body)
        } else {
            refusal(404, resource)
        }
    }

    /// A page of the account's numbers; the token of a page says which number it begins with.
    fn page(&self, sid: &str, resource: &str, query: &str) -> (u16, String) {
        let field = |name| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let count = |name| field(name).and_then(|value| value.parse::<u16>().ok()).map(usize::from);
        let size = count("PageSize").unwrap_or(50).clamp(1, 1000);
        let page = count("Page").unwrap_or(0);
        let place = |token: &str| token.strip_prefix("PAPN")?.parse().ok();
        let Some(begin) = field("PageToken").map_or(Some(page * size), place) else {
            return refusal(400, resource);
        };
        let uri = |page: usize, begin: usize| {
            let token = if page == 0 { String::new() } else { format!("&PageToken=PAPN{begin}") };
            format!(r#""{resource}?PageSize={size}&Page={page}{token}""#)
        };
        let mut rest = self.numbers.iter().filter(|number| number.0 == sid).skip(begin);
        let numbers: Vec<_> = rest.by_ref().take(size).map(|number| number.1.as_str()).collect();
        let next = rest.next().map_or("null".to_owned(), |_| uri(page + 1, begin + size));
        let (numbers, here, first) = (numbers.join(","), uri(page, begin), uri(0, 0));
        let body = format!(
            r#"{{"incoming_phone_numbers":[{numbers}],"page":{page},"page_size":{size},"uri":{here},"next_page_uri":{next},"first_page_uri":{first}}}"#
        );
        (200, body)
    }
}

fn refusal(status: u16, resource: &str) -> (u16, String) {
    let (code, message) = match status {
        401 => (20003, "Authenticate".to_owned()),
        403 => (20403, "Forbidden".to_owned()),
        404 => (20404, format!("The requested resource {resource} was not found")),
        429 => (20429, "Too Many Requests".to_owned()),
        500.. => (20500, "An internal server error has occurred".to_owned()),
        _ => (20001, "Bad request".to_owned()),
    };
    let more = format!(r#""more_info":"https://www.twilio.com/docs/errors/{code}","#);
    let more = if status < 500 { more } else { String::new() };
    (status, format!(r#"{{"code":{code},"message":"{message}",{more}"status":{status}}}"#))
}

fn listen(listener: TcpListener, world: &Arc<Mutex<World>>) -> Listening {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, world) = (Arc::clone(&stop), Arc::clone(world));
    let thread = thread::spawn(move || {
        let open = |_: &io::Result<TcpStream>| !stopping.load(Ordering::SeqCst);
        for stream in listener.incoming().take_while(open).flatten() {
            let (stop, world) = (Arc::clone(&stopping), Arc::clone(&world));
            thread::spawn(move || serve(stream, &stop, &world));
        }
    });
    (stop, thread)
}

/// Answers one request. Whatever goes wrong here is a client that went away.
fn serve(mut stream: TcpStream, stop: &AtomicBool, world: &Mutex<World>) -> Option<()> {
    let (seen, password) = request(&stream)?;
    let mut known = world.lock().unwrap();
    known.seen.push(seen.clone());
    let (mood, usual) = (known.mood.clone(), known.answer(&seen, &password));
    drop(known);
    let (status, body) = match &mood {
        Mood::Status(status) => refusal(*status, seen.path.split('?').next()?),
        Mood::Blocked => (403, r#"{"error":"blocked"}"#.to_owned()),
        Mood::Garbage => (200, "this is no JSON {".to_owned()),
        Mood::WrongShape => (200, r#"{"hello":1}"#.to_owned()),
        Mood::Redirect(_) => (307, String::new()),
        Mood::OtherAccount => {
            let sid = seen.path.split(['/', '.', '?']).nth(3).filter(|sid| !sid.is_empty())?;
            (usual.0, usual.1.replace(sid, OTHER_ACCOUNT))
        }
        _ => usual,
    };
    let json = "Content-Type: application/json\r\nConnection: close\r\n";
    let head = format!("HTTP/1.1 {status} Pretend\r\n{json}");
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut answer = match &mood {
        Mood::Huge => format!("{head}\r\n{{\"sid\":\""),
        Mood::Redirect(place) => format!("{head}{length}Location: {place}\r\n\r\n"),
        _ => format!("{head}{length}\r\n{body}"),
    }
    .into_bytes();
    match mood {
        Mood::Slow(delay) => outlast(&mut stream, stop, delay)?,
        Mood::Silent => outlast(&mut stream, stop, Duration::MAX)?,
        Mood::Huge => answer.resize(64 << 20, b'A'),
        Mood::Cut => answer.truncate(answer.len() - body.len().div_ceil(2)),
        _ => (),
    }
    stream.write_all(&answer).ok()
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
    let lines = io::BufReader::new(stream.take(1 << 20)).lines();
    let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let mut words = head.first()?.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let login = head.iter().find_map(|line| {
        let basic = line.to_ascii_lowercase().starts_with("authorization: basic ");
        let text = base64(line.split(' ').nth(2).filter(|_| basic)?)?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    });
    let (user, password) = login.unzip();
    Some((Seen { method, path, user }, password.unwrap_or_default()))
}

fn base64(code: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for four in code.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0;
        for place in 0..4 {
            let letter = four.get(place).unwrap_or(&b'A');
            bits = (bits << 6) | ALPHABET.iter().position(|known| known == letter)?;
        }
        bytes.extend(&u32::try_from(bits).ok()?.to_be_bytes()[1..four.len()]);
    }
    String::from_utf8(bytes).ok()
}
