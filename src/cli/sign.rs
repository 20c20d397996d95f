//! `baton sign make|check|explain`: Twilio's signatures, made and checked without a server.

use std::fs;
use std::io;
use std::io::BufRead;
use std::io::Write;

use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::Failure;
use crate::cli::client::auth_token;
use crate::cli::say;
use crate::domain::algorithm::Algorithm;
use crate::twilio::form;
use crate::twilio::form::Pairs;
use crate::twilio::signature;
use crate::twilio::signature::BODY_HASH;
use crate::twilio::signature::Match;
use crate::twilio::signature::Payload;
use crate::twilio::signature::Request;
use crate::twilio::signature::Scheme;
use crate::twilio::signature::Secret;
use crate::twilio::signature::explain;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the signature of a URL with parameters or a body
    Make(Make),
    /// Check requests: one JSON object a line on standard input, one verdict a line
    #[command(after_help = LINES_HELP)]
    Check,
    /// Check requests like `check`, and say what would make a refused one match
    #[command(after_help = LINES_HELP)]
    Explain,
}

const LINES_HELP: &str = "\
A line is a JSON object with
  auth_token           the account's Auth Token; where signature_settings names an algorithm, the SharedKey's secret
  url                  the URL that Twilio requested, as it was configured there
  params               the form's parameters, decoded, in order: [[\"From\",\"+15551234567\"],…]
  body, content_type   in place of params: the body as it came, and its type
  signature            X-Twilio-Signature
  signature_settings   X-Twilio-Webhooks-Signature-Settings, if there was one
  name                 anything; the verdict repeats it
  previous_auth_token  for explain: another token that may have signed
Others are ignored. A verdict is {\"name\",\"valid\",\"matched\",\"tried\"}, with \"error\" where a line cannot be read; explain adds \"reason\", \"advice\" and \"would_match_if\".";

#[derive(clap::Args, Debug)]
struct Make {
    /// The URL as Twilio requests it
    #[arg(long)]
    url: String,
    /// A parameter of the form; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// File with a body that is no form; the URL to send it to, with its bodySHA256, is printed too
    #[arg(long, conflicts_with = "params")]
    body_file: Option<String>,
    /// File with the Auth Token, or with the SharedKey's secret; or set `TWILIO_AUTH_TOKEN`
    #[arg(long)]
    auth_token_file: Option<String>,
    /// `HMAC_SHA1`, or `HMAC_SHA256` of a SharedKey
    #[arg(long, default_value = "HMAC_SHA1")]
    algorithm: String,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Make(make) => make.run(),
        Action::Check => lines(false),
        Action::Explain => lines(true),
    }
}

impl Make {
    fn run(&self) -> Result<(), Failure> {
        let algorithm = Algorithm::parse(&self.algorithm)
            .ok_or_else(|| Failure::Usage("--algorithm is HMAC_SHA1 or HMAC_SHA256".to_owned()))?;
        let token = auth_token(self.auth_token_file.as_deref())?;
        let secret = Secret::new("", algorithm, token.expose_secret());
        let pair = |text: &String| {
            let (name, value) = text.split_once('=')?;
            Some((name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        };
        let pairs: Option<Pairs> = self.params.iter().map(pair).collect();
        let pairs = pairs.ok_or_else(|| Failure::Usage("--param is NAME=VALUE".to_owned()))?;
        // Twilio drops it before it signs.
        let url = self.url.split('#').next().unwrap_or_default();
        if !url.contains("://") || url.contains(char::is_whitespace) || url.contains(BODY_HASH) {
            let why = "--url is https://host/path?query, as it is configured at Twilio: without blanks, and without the bodySHA256 that Twilio adds";
            return Err(Failure::Usage(why.to_owned()));
        }
        let Some(file) = &self.body_file else {
            say(signature::sign(&secret, url, &pairs));
            return Ok(());
        };
        let body = fs::read(file).map_err(|why| cannot_read(file, &why))?;
        let joint = match url.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        let url = format!("{url}{joint}{BODY_HASH}={}", signature::body_hash(&body));
        say(format!("{}\n{url}", signature::sign(&secret, &url, &pairs)));
        Ok(())
    }
}

fn cannot_read(file: &str, why: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read {file}: {why}"))
}

/// A request, one line of standard input.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    name: Option<Box<RawValue>>,
    auth_token: SecretString,
    #[serde(default)]
    previous_auth_token: Option<SecretString>,
    url: String,
    #[serde(default)]
    params: Option<Vec<(String, String)>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    signature_settings: Option<String>,
}

#[derive(Serialize)]
struct Verdict {
    /// As it is spelled.
    name: Option<Box<RawValue>>,
    valid: bool,
    matched: Option<Matched>,
    tried: Vec<Tried>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    explained: Option<Explained>,
}

#[derive(Serialize)]
struct Matched {
    secret: String,
    #[serde(flatten)]
    url: Tried,
}

#[derive(Serialize)]
struct Tried {
    url: String,
    how: String,
}

#[derive(Serialize)]
struct Explained {
    reason: String,
    advice: &'static str,
    would_match_if: Vec<&'static str>,
}

/// Answers each line of standard input by a verdict.
fn lines(explains: bool) -> Result<(), Failure> {
    let mut unreadable = 0;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().split(b'\n') {
        let line = line.map_err(|why| Failure::Failed(format!("cannot read requests: {why}")))?;
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
        if line.is_empty() {
            continue;
        }
        let verdict = Line::read(line).and_then(|line| line.verdict(explains));
        let verdict = verdict.unwrap_or_else(|error| {
            unreadable += 1;
            Verdict::invalid(Named::read(line), error)
        });
        // Whoever read the verdicts may have had enough of them.
        if writeln!(out, "{}", serde_json::to_string(&verdict).unwrap_or_default()).is_err() {
            return Ok(());
        }
    }
    match unreadable {
        0 => Ok(()),
        some => Err(Failure::Failed(format!("{some} line(s) could not be read"))),
    }
}

#[derive(Deserialize)]
struct Named {
    name: Option<Box<RawValue>>,
}

impl Named {
    fn read(line: &[u8]) -> Option<Box<RawValue>> {
        serde_json::from_slice::<Self>(line).ok().and_then(|named| named.name)
    }
}

impl Verdict {
    fn invalid(name: Option<Box<RawValue>>, error: String) -> Self {
        let (matched, tried, explained) = (None, Vec::new(), None);
        Self { name, valid: false, matched, tried, error: Some(error), explained }
    }
}

impl Line {
    fn read(line: &[u8]) -> Result<Self, String> {
        if !line.starts_with(b"{") {
            return Err("not a JSON object".to_owned());
        }
        // serde's message may quote the line, and a line holds a token.
        serde_json::from_slice(line).map_err(|why| {
            let (kind, column) = (why.classify(), why.column());
            format!("not a request ({kind:?}, column {column}): see `baton sign check --help`")
        })
    }

    fn verdict(self, explains: bool) -> Result<Verdict, String> {
        let algorithm = match Scheme::of(self.signature_settings.as_deref()) {
            Scheme::AuthToken => Algorithm::HmacSha1,
            Scheme::SharedKey { algorithm, .. } => algorithm,
            Scheme::Unsupported(name) => {
                let error = format!("algorithm {name} is not HMAC_SHA1 or HMAC_SHA256");
                return Ok(Verdict::invalid(self.name, error));
            }
        };
        let secret =
            |label: &str, text: &SecretString| Secret::new(label, algorithm, text.expose_secret());
        let current = secret("auth_token", &self.auth_token);
        let previous =
            self.previous_auth_token.as_ref().map(|token| secret("previous_auth_token", token));
        let form = self.form()?;
        let mut urls = vec![self.url.clone()];
        // Blanks that came with copying: the SDKs' parsers drop them too. On the wire there are none.
        let clean: String =
            self.url.trim_start().chars().filter(|c| !"\t\r\n".contains(*c)).collect();
        if clean != self.url {
            urls.insert(0, clean);
        }
        let raw = self.body.as_deref().map(str::as_bytes);
        let payload = match (&form, raw) {
            (Some(pairs), raw) => Payload::Form { pairs, raw: raw.filter(|raw| !raw.is_empty()) },
            (None, Some(body)) => Payload::Body(body),
            (None, None) => Payload::None,
        };
        let signature = self.signature.as_deref().unwrap_or_default();
        let request = Request { urls: &urls, payload, signature };
        let signature::Verdict { outcome, tried } = signature::verify(&request, &[&current]);
        let explained = explains.then(|| match outcome {
            Ok(_) => Explained {
                reason: "it matches".to_owned(),
                advice: "",
                would_match_if: Vec::new(),
            },
            Err(mismatch) => Explained {
                reason: mismatch.to_string(),
                advice: explain::advice(mismatch),
                would_match_if: explain::would_match_if(
                    &request,
                    &[&current],
                    &previous.iter().collect::<Vec<_>>(),
                ),
            },
        });
        let shown = |Match { url, how, secret }| Matched {
            secret,
            url: Tried { url, how: how.to_string() },
        };
        Ok(Verdict {
            valid: outcome.is_ok(),
            matched: outcome.ok().map(shown),
            tried: tried
                .into_iter()
                .map(|(url, how)| Tried { url, how: how.to_string() })
                .collect(),
            error: None,
            explained,
            name: self.name,
        })
    }

    /// The form's pairs: given as such, or in a body that is declared one. Never beside another body,
    /// for one of the two would not be checked.
    fn form(&self) -> Result<Option<Pairs>, String> {
        let pair = |(name, value): &(String, String)| {
            (name.clone().into_bytes(), value.clone().into_bytes())
        };
        let params = self.params.as_ref();
        let params: Option<Pairs> = params.map(|params| params.iter().map(pair).collect());
        let given = params.as_ref().is_some_and(|pairs| !pairs.is_empty());
        let of_body = match self.body.as_deref() {
            None => return Ok(params),
            Some("") if given => return Ok(params),
            Some(body) => self.is_form().then(|| Pairs::decode(body.as_bytes())),
        };
        if given && of_body != params {
            return Err("params and another body: give one of them".to_owned());
        }
        Ok(of_body)
    }

    fn is_form(&self) -> bool {
        form::is_form(self.content_type.as_deref().unwrap_or_default())
    }
}
