//! [`TwilioDoor`]: Twilio's signature. Who asks is the Twilio account whose secret verified it.
//!
//! The URL that was signed begins with a configured public URL, never with what a request says of
//! itself: `Host` may only choose among those that are configured, and forwarding headers take no
//! part. An `AccountSid` chooses the secrets that are tried and must then be the account of the one
//! that matched, or one tenant's token could speak for another.

pub mod seen;

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::ExposeSecret;
use thiserror::Error;

use crate::auth::twilio_request::seen::Seen;
use crate::config::twilio::Twilio;
use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::account_sid::AccountSid;
use crate::domain::clock::Clock;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Acting;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::domain::public_url::PublicUrl;
use crate::store::connector::Signer;
use crate::store::connector::StoredConnector;
use crate::twilio::form::Pairs;
use crate::twilio::form::Unclear;
use crate::twilio::secrets::AccountSecrets;
use crate::twilio::signature;
use crate::twilio::signature::Match;
use crate::twilio::signature::Mismatch;
use crate::twilio::signature::Payload;
use crate::twilio::signature::Request;
use crate::twilio::signature::Scheme;
use crate::twilio::signature::Secret;
use crate::twilio::signature::Verdict;
use crate::twilio::signature::explain;
use crate::twilio::studio::WAIT_SECONDS;

/// Parameters of which there must be no two: handlers and people would disagree about which counts.
const SINGLE: [&str; 2] = ["AccountSid", "CallSid"];

/// Opens to Twilio.
#[derive(Debug)]
pub struct TwilioDoor {
    public_urls: Vec<PublicUrl>,
    accounts: BTreeMap<AccountSid, AccountSecrets>,
    clock: Clock,
    /// What was last seen of each connector's requests.
    pub seen: Seen,
}

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'r> {
    /// `X-Twilio-Signature`.
    pub signature: &'r str,
    /// `X-Twilio-Webhooks-Signature-Settings`.
    pub settings: Option<&'r str>,
    /// `Host`.
    pub host: Option<&'r str>,
    /// Path and query, byte for byte.
    pub target: &'r str,
    /// What came with it.
    pub payload: Payload<'r>,
    /// All its parameters, of query and body.
    pub pairs: &'r Pairs,
    /// It is a webhook, so an `AccountSid` must be among them.
    pub is_webhook: bool,
    /// It tells of a workspace's tasks, and asks for no call.
    pub is_of_tasks: bool,
    /// The connector that it is asked through: its linked accounts open its own routes, and no others.
    pub connector: Option<&'r StoredConnector>,
}

/// A request that was let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who asks.
    pub principal: Arc<Principal>,
    /// What was signed, and with what.
    pub matched: Match,
    /// It was signed with a token that another is to replace.
    pub by_previous: bool,
}

/// Why a signature opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// A parameter that must be clear is not.
    #[error("parameter {0} {1}")]
    Parameter(&'static str, Unclear),
    /// The route takes forms, and this is none.
    #[error("the body is no form")]
    NotAForm,
    /// The route needs an `AccountSid`.
    #[error("parameter AccountSid is missing")]
    NoAccount,
    /// The request is of an account that no secret is configured for.
    #[error("no secret is configured for the request's AccountSid")]
    UnknownAccount,
    /// It names a SharedKey that is not configured, or not with that algorithm.
    #[error("the SharedKey that the request names is not configured with its algorithm")]
    UnknownSharedKey,
    /// It is signed by an account whose link was removed, and asks for something else than a call.
    #[error("the link to this account was removed; it still reads by a call's SID, for 24 hours")]
    Removed,
    /// It names an algorithm that nobody here knows.
    #[error("the request names an algorithm that is not known here")]
    UnknownAlgorithm,
    /// The signature is not that of the request.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// What an operator needs to mend a refusal: no secret, no signature, no value of a parameter.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The URLs that were tried, without what may be a value, and how they differ.
    pub tried: Vec<String>,
    /// The labels of the secrets that were tried.
    pub secrets: Vec<String>,
    /// It would have matched if …
    pub would_match_if: Vec<String>,
}

impl TwilioDoor {
    /// A door that knows the secrets of `settings`; `local` are this server's own URLs, for when no
    /// public one is set.
    pub fn new(settings: &Twilio, local: Vec<PublicUrl>, clock: Clock) -> Self {
        let given = settings.public_urls.clone();
        let public_urls = if given.is_empty() { local } else { given };
        let mut door =
            Self { public_urls, accounts: BTreeMap::new(), clock, seen: Seen::default() };
        for (sid, tokens) in &settings.auth_tokens {
            for token in tokens {
                door.account(sid).add_token(token.expose_secret());
            }
        }
        for key in &settings.shared_keys {
            let text = key.secret.expose_secret();
            door.account(&key.account).add_shared_key(&key.id, key.algorithm, text);
        }
        door
    }

    fn account(&mut self, sid: &AccountSid) -> &mut AccountSecrets {
        let new = || AccountSecrets::new(sid.clone(), "");
        self.accounts.entry(sid.clone()).or_insert_with(new)
    }

    /// Whether any secret is configured.
    pub fn verifies(&self) -> bool {
        !self.accounts.is_empty()
    }

    /// Where Twilio reaches this server: the first, for links.
    pub fn public_url(&self) -> &str {
        self.public_urls.first().map_or("", PublicUrl::as_str)
    }

    /// All of them.
    pub fn public_urls(&self) -> impl Iterator<Item = &str> {
        self.public_urls.iter().map(PublicUrl::as_str)
    }

    /// Who signed a request.
    pub fn admit(&self, presented: &Presented<'_>) -> Result<Admitted, Refused> {
        let admitted = self.verified(presented);
        if let Some(connector) = presented.connector {
            let why = admitted.as_ref().err().map(ToString::to_string);
            self.seen.note(&connector.record.id, self.clock.now(), why);
        }
        admitted
    }

    fn verified(&self, presented: &Presented<'_>) -> Result<Admitted, Refused> {
        let accounts = self.claimed(presented)?;
        let scheme = Scheme::of(presented.settings);
        let secrets = secrets(&accounts, scheme)?;
        let urls = self.urls(presented);
        let matched = signature::verify(&presented.request(&urls), &secrets).outcome?;
        let is_its = |(own, _): &&Claimed<'_>| {
            own.of(scheme).iter().any(|secret| secret.label() == matched.secret)
        };
        let (own, signer) = accounts.iter().find(is_its).ok_or(Mismatch::NoneMatched)?;
        let of_call = presented.asks_for_a_call();
        if signer.is_some_and(|signer| signer.until.is_some()) && !of_call {
            return Err(Refused::Removed);
        }
        let credential = match signer {
            None => Credential::TwilioSignature,
            Some(signer) => Credential::LinkedSignature { since: signer.since, of_call },
        };
        let principal = Arc::new(signed_by(own.sid(), credential, presented));
        let by_previous = own.is_previous(&matched.secret);
        Ok(Admitted { principal, matched, by_previous })
    }

    /// Why a request was refused, at length. Hashes two or three times as much as the refusal may.
    pub fn explain(&self, presented: &Presented<'_>) -> Explanation {
        let accounts = self.claimed(presented).unwrap_or_default();
        let scheme = Scheme::of(presented.settings);
        let secrets = secrets(&accounts, scheme).unwrap_or_default();
        let urls = self.urls(presented);
        let request = presented.request(&urls);
        let Verdict { tried, outcome, .. } = signature::verify(&request, &secrets);
        let mut would_match_if = Vec::new();
        // One that does match was refused for another reason.
        if outcome.is_err() {
            let told = explain::would_match_if(&request, &secrets, &[]);
            would_match_if.extend(told.into_iter().map(str::to_owned));
            would_match_if.extend(at_its_own_host(presented, &secrets));
        }
        Explanation {
            tried: tried
                .into_iter()
                .map(|(url, how)| format!("{} ({how})", nameless(&url)))
                .collect(),
            secrets: secrets.iter().map(|secret| secret.label().to_owned()).collect(),
            would_match_if,
        }
    }

    /// The accounts whose secrets may have signed a request: the one it names, or all. Those from the
    /// settings first: they open every route.
    fn claimed<'a>(&'a self, presented: &Presented<'a>) -> Result<Vec<Claimed<'a>>, Refused> {
        for name in SINGLE {
            presented.pairs.one(name).map_err(|unclear| Refused::Parameter(name, unclear))?;
        }
        // Studio renders what it does not know as nothing.
        let named = presented.pairs.one("AccountSid").ok().flatten().filter(|sid| !sid.is_empty());
        let named = named.map(|sid| sid.parse::<AccountSid>().map_err(|_none| sid));
        let now = self.clock.now();
        let linked = presented.connector.into_iter().flat_map(|connector| connector.signers(now));
        let linked = linked.map(|signer| (&signer.secrets, Some(signer)));
        let known = self.accounts.values().map(|secrets| (secrets, None)).chain(linked);
        match named {
            None if presented.is_webhook => Err(Refused::NoAccount),
            None => Ok(known.collect()),
            Some(Err(_no_sid)) => Err(Refused::UnknownAccount),
            Some(Ok(sid)) => {
                let of: Vec<_> = known.filter(|(secrets, _)| *secrets.sid() == sid).collect();
                if of.is_empty() { Err(Refused::UnknownAccount) } else { Ok(of) }
            }
        }
    }

    fn urls(&self, presented: &Presented<'_>) -> Vec<String> {
        let full = |url: &PublicUrl| format!("{url}{}", presented.target);
        let host = presented.host.unwrap_or_default();
        let named: Vec<_> =
            self.public_urls.iter().filter(|url| url.is_at(host)).map(full).collect();
        if named.is_empty() { self.public_urls.iter().map(full).collect() } else { named }
    }
}

/// An account that may have signed, and by which link; none is by a secret from the settings.
type Claimed<'a> = (&'a AccountSecrets, Option<&'a Signer>);

/// Who it is that an account's secret proves: through a connector, that one's project and environment;
/// else what is nobody's in particular.
fn signed_by(sid: &AccountSid, credential: Credential, presented: &Presented<'_>) -> Principal {
    let connector = presented.connector;
    let (account, project, acting) = match connector.map(|connector| &connector.record) {
        None => (AccountId::default(), ProjectId::default(), None),
        Some(connector) => {
            let acting = Acting {
                connector: connector.id.clone(),
                environment: connector.client_env,
                call: None,
                leg: 0,
            };
            (connector.account.clone(), connector.project.clone(), Some(acting))
        }
    };
    // What one tenant asks for by an account is not counted against another who has linked it too.
    let name = match (&credential, connector) {
        (_, Some(connector)) => format!("{}:{sid}", connector.record.id),
        (_, None) => sid.to_string(),
    };
    Principal {
        credential,
        name,
        reach: Reach::Account(account),
        projects: Projects::Only(vec![project]),
        // A call's webhooks bring what its agent says, and tell that it has ended.
        scopes: if presented.is_webhook && connector.is_some() {
            vec![Scope::HandoffRead, Scope::HandoffWrite]
        } else {
            vec![Scope::HandoffRead]
        },
        expires_at: None,
        read_defaults: ReadDefaults { wait: WAIT_SECONDS, miss_200: true },
        acting,
    }
}

impl<'r> Presented<'r> {
    fn request(&self, urls: &'r [String]) -> Request<'r> {
        Request { urls, payload: self.payload, signature: self.signature }
    }

    /// Whether it asks for a call by its SID, which nobody guesses; a shared id may be guessed.
    fn asks_for_a_call(&self) -> bool {
        if self.is_of_tasks {
            return false;
        }
        let given = |name| self.pairs.one(name).ok().flatten().filter(|text| !text.is_empty());
        let is_call = |id: &str| id.parse().is_ok_and(|id: HandoffId| id.is_call_sid());
        let asked = given("id").or_else(|| given("CallSid"));
        given("shared_id").is_none() && asked.is_some_and(is_call)
    }
}

/// The secrets of `accounts` that a scheme may choose.
fn secrets<'a>(accounts: &[Claimed<'a>], scheme: Scheme<'_>) -> Result<Vec<&'a Secret>, Refused> {
    let secrets: Vec<_> = accounts.iter().flat_map(|(own, _)| own.of(scheme)).collect();
    match scheme {
        Scheme::Unsupported(_) => Err(Refused::UnknownAlgorithm),
        Scheme::SharedKey { .. } if secrets.is_empty() => Err(Refused::UnknownSharedKey),
        Scheme::SharedKey { .. } | Scheme::AuthToken => Ok(secrets),
    }
}

/// Whether it would match if the public URL were where the request itself says it was sent: the
/// commonest fault, and told only when it is one.
fn at_its_own_host(presented: &Presented<'_>, secrets: &[&Secret]) -> Option<String> {
    let host = presented.host?;
    ["https", "http"].into_iter().find_map(|scheme| {
        let urls = [format!("{scheme}://{host}{}", presented.target)];
        let matched = signature::verify(&presented.request(&urls), secrets).outcome.is_ok();
        matched.then(|| format!("BATON_PUBLIC_URL had {scheme}://{host}"))
    })
}

/// A URL without the values of its query, and without what may be one.
fn nameless(url: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    format!("{before}?{}", names(query).collect::<Vec<_>>().join("&"))
}

/// The names of a query or a form, as they may be told: those that look like names and have a value.
/// Others may be values, put where a name belongs.
pub fn names(encoded: &str) -> impl Iterator<Item = String> {
    encoded.split('&').filter(|part| !part.is_empty()).map(|part| match part.split_once('=') {
        Some((name, value)) if is_name(name) && !value.is_empty() => format!("{name}=…"),
        _ => "…".to_owned(),
    })
}

fn is_name(text: &str) -> bool {
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b"_.-[]".contains(&b);
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    begins && text.len() <= 64 && text.bytes().all(is_of_name)
}

#[cfg(test)]
mod tests;
