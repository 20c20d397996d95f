//! Twilio's request signatures: made, checked, and explained when they do not match. Pure: no clock,
//! no settings, no I/O.
//!
//! A signature is the base64 of an HMAC over the URL that Twilio asked for and, when the body is a
//! form, each name and value of it, sorted, with nothing between. What the URL looked like is not
//! always what a server sees, so several are tried, in the order and for the reasons that
//! `candidates.rs` gives; for each, the parameters in the order of bytes and, only where it differs
//! (characters beyond U+FFFF), in that of UTF-16, as the JavaScript, Java and C# SDKs sort.
//!
//! A body that is no form is signed only through `bodySHA256` in the query: without it, or when it
//! is another's hash, nothing is valid. Only the pairs of the query count for that, not the text
//! `bodySHA256` anywhere in it. A form whose URL carries a `bodySHA256` may be signed either way; each
//! way covers all of it.
//!
//! At most [`MAX_HASHED_BYTES`] are hashed for a request; each HMAC is compared in constant time. What matched is
//! told, what would have matched never is.
//!
//! Sources: Twilio's security page and its SDKs; vectors from their own suites are in
//! tests/vectors/twilio-signature.jsonl.

mod candidates;
pub mod explain;
mod legacy;
mod scheme;
mod url;

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use crate::domain::algorithm::Algorithm;
use crate::twilio::form::Pairs;

use crate::twilio::signature::candidates::candidates;

pub use crate::twilio::signature::candidates::How;
pub use crate::twilio::signature::scheme::Scheme;

/// Bytes that checking one request may hash beyond its first candidate, a hundred more for each HMAC:
/// thousands of HMACs of what Twilio sends, and still few of what a stranger may. A usual request
/// takes one or two HMACs, a refused one two for each secret.
pub const MAX_HASHED_BYTES: usize = 2 << 20;
const HMAC_BYTES: usize = 100;
// Base64 of SHA-1 and of SHA-256.
const SIGNATURE_CHARACTERS: [usize; 2] = [28, 44];
/// The query's parameter with the hash of a body that is no form.
pub const BODY_HASH: &str = "bodySHA256";

/// A secret that Twilio signs with; it is not printed, its label is.
#[derive(Clone)]
pub struct Secret {
    label: String,
    algorithm: Algorithm,
    key: hmac::Key,
}

impl Secret {
    /// A secret by its text, byte for byte, and what it is called where a person reads.
    pub fn new(label: impl Into<String>, algorithm: Algorithm, text: &str) -> Self {
        let hash = match algorithm {
            Algorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::HmacSha256 => hmac::HMAC_SHA256,
        };
        let key = hmac::Key::new(hash, text.as_bytes());
        Self { label: label.into(), algorithm, key }
    }

    /// What it is called.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn sign(&self, url: &str, parameters: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(url.as_bytes());
        context.update(parameters);
        STANDARD.encode(context.sign())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, {})", self.label, self.algorithm)
    }
}

/// What came with the URL.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'r> {
    /// Nothing.
    None,
    /// A form; `raw` is its body as it came, where that is known.
    Form {
        /// Its pairs, in the order they came.
        pairs: &'r Pairs,
        /// Its bytes.
        raw: Option<&'r [u8]>,
    },
    /// A body that is no form.
    Body(&'r [u8]),
}

/// A request whose signature is to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The URLs it may have been sent to, likeliest first: one for each public origin.
    pub urls: &'r [String],
    /// What came with it.
    pub payload: Payload<'r>,
    /// The value of `X-Twilio-Signature`.
    pub signature: &'r str,
}

/// What was found to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The URL.
    pub url: String,
    /// How it differs from the one that was asked for.
    pub how: How,
    /// The label of the secret.
    pub secret: String,
}

/// Why a signature was not found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// There is no secret to check it with.
    #[error("there is no secret to check it with")]
    NoSecret,
    /// No signature.
    #[error("there is no signature")]
    NoSignature,
    /// Not what a signature looks like.
    #[error("the signature is none: it must be 28 characters of base64, or 44 of HMAC_SHA256")]
    NotASignature,
    /// The body is no form, and the URL has no hash of it.
    #[error("the body is no form, and the URL has no bodySHA256 that would sign it")]
    NoBodyHash,
    /// The body is another than the one whose hash the URL has.
    #[error("the body is not the one whose hash bodySHA256 in the URL is")]
    OtherBody,
    /// No candidate matched.
    #[error("no URL that was tried gives this signature")]
    NoneMatched,
    /// There would have been more candidates than are worth it.
    #[error(
        "no URL that was tried gives this signature, and there are too many more for a request of this size: let it carry its AccountSid"
    )]
    TooMuch,
}

/// The outcome of a check, with the URLs that were tried, each once.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What matched, or why nothing did.
    pub outcome: Result<Match, Mismatch>,
    /// The URLs that were tried and how they differ.
    pub tried: Vec<(String, How)>,
}

/// The signature of a URL and parameters.
pub fn sign(secret: &Secret, url: &str, pairs: &Pairs) -> String {
    secret.sign(url, &in_order(pairs.iter().collect::<BTreeSet<_>>().into_iter()))
}

/// The hash of a body as `bodySHA256` has it: 64 lower-case hex digits.
pub fn body_hash(body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    hash.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Checks a request against secrets.
pub fn verify(request: &Request<'_>, secrets: &[&Secret]) -> Verdict {
    let mut left = MAX_HASHED_BYTES;
    verify_within(request, secrets, &mut left)
}

/// The same, with what may still be hashed.
fn verify_within(request: &Request<'_>, secrets: &[&Secret], left: &mut usize) -> Verdict {
    let mut tried = Vec::new();
    let outcome = if secrets.is_empty() {
        Err(Mismatch::NoSecret)
    } else if request.signature.is_empty() {
        Err(Mismatch::NoSignature)
    } else if !is_signature(request.signature) {
        Err(Mismatch::NotASignature)
    } else {
        let orders = signed_parameters(request);
        orders.and_then(|orders| find(request, secrets, &orders, (left, &mut tried)))
    };
    Verdict { outcome, tried }
}

/// Whether a text may be a signature: base64, with padding, of one of the two hashes.
pub fn is_signature(text: &str) -> bool {
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    SIGNATURE_CHARACTERS.contains(&text.len()) && text.bytes().all(is_base64)
}

fn find(
    request: &Request<'_>,
    secrets: &[&Secret],
    orders: &[Vec<u8>],
    (left, tried): (&mut usize, &mut Vec<(String, How)>),
) -> Result<Match, Mismatch> {
    // Only where there are no other parameters, or these would not be checked.
    let has_none = orders.iter().all(Vec::is_empty);
    for candidate in request.urls.iter().flat_map(|url| candidates(url)) {
        let as_parameters = candidate.query_as_parameters.then(|| query_parameters(request));
        let orders = match as_parameters.as_deref() {
            Some(_) if !has_none => continue,
            Some(orders) => orders,
            None if tried.iter().any(|(url, _)| *url == candidate.url) => continue,
            None => orders,
        };
        let messages = orders.iter().map(|order| order.len() + candidate.url.len() + HMAC_BYTES);
        let hashed = secrets.len() * messages.sum::<usize>();
        // The likeliest is always tried, with every secret.
        if hashed > *left && !tried.is_empty() {
            return Err(Mismatch::TooMuch);
        }
        *left = left.saturating_sub(hashed);
        let signing = |secret: &&&Secret| {
            orders.iter().any(|order| {
                let good = secret.sign(&candidate.url, order);
                good.as_bytes().ct_eq(request.signature.as_bytes()).into()
            })
        };
        let secret = secrets.iter().find(signing).map(|secret| secret.label.clone());
        tried.push((candidate.url.clone(), candidate.how));
        if let Some(secret) = secret {
            return Ok(Match { url: candidate.url, how: candidate.how, secret });
        }
    }
    Err(Mismatch::NoneMatched)
}

/// What may stand behind the URL in what was signed.
fn signed_parameters(request: &Request<'_>) -> Result<Vec<Vec<u8>>, Mismatch> {
    match request.payload {
        Payload::None => Ok(vec![Vec::new()]),
        Payload::Form { pairs, raw } => {
            let mut orders = orders(pairs);
            let is_bound = raw.is_some_and(|raw| bound(request, raw).is_ok());
            if is_bound && !pairs.is_empty() {
                orders.push(Vec::new());
            }
            Ok(orders)
        }
        Payload::Body(body) => bound(request, body).map(|()| vec![Vec::new()]),
    }
}

/// Whether the URL has the hash of `body`. An empty body without one adds nothing to be signed.
fn bound(request: &Request<'_>, body: &[u8]) -> Result<(), Mismatch> {
    let pairs = request.urls.first().map(|url| query_of(url)).unwrap_or_default();
    // The first counts, as with the node and python SDKs; the URL itself is signed.
    let mut hashes = pairs.iter().filter(|(name, _)| *name == BODY_HASH.as_bytes());
    match hashes.next() {
        Some((_, hash)) if hash == body_hash(body).as_bytes() => Ok(()),
        Some(_) => Err(Mismatch::OtherBody),
        None if body.is_empty() => Ok(()),
        None => Err(Mismatch::NoBodyHash),
    }
}

fn query_of(url: &str) -> Pairs {
    let query = url::Url::of(url).and_then(|url| url.query);
    Pairs::decode(query.unwrap_or_default().as_bytes())
}

/// The query's pairs, in each order, as they would be signed behind a URL without them. All URLs have
/// the same.
fn query_parameters(request: &Request<'_>) -> Vec<Vec<u8>> {
    request.urls.first().map(|url| orders(&query_of(url))).unwrap_or_default()
}

/// The pairs as they are signed, each once: names ascending, and the values of a name ascending. By
/// bytes, and by UTF-16 units where that is another order.
fn orders(pairs: &Pairs) -> Vec<Vec<u8>> {
    let unique: BTreeSet<_> = pairs.iter().collect();
    let by_bytes = in_order(unique.iter().copied());
    // Only a character beyond U+FFFF (four bytes, the first F0 or more) sorts elsewhere.
    if !by_bytes.iter().any(|byte| *byte >= 0xf0) {
        return vec![by_bytes];
    }
    let units = |bytes: &[u8]| String::from_utf8_lossy(bytes).encode_utf16().collect::<Vec<_>>();
    let mut sorted: Vec<_> = unique.into_iter().collect();
    sorted.sort_by_cached_key(|(name, value)| (units(name), units(value)));
    let by_utf16 = in_order(sorted.into_iter());
    if by_utf16 == by_bytes { vec![by_bytes] } else { vec![by_bytes, by_utf16] }
}

fn in_order<'p>(pairs: impl Iterator<Item = (&'p [u8], &'p [u8])>) -> Vec<u8> {
    pairs.flat_map(|(name, value)| [name, value]).flatten().copied().collect()
}

#[cfg(test)]
mod tests;
