//! `baton call`: plays whole calls against a running server, with a pretend Twilio ([`twilio`]) and a
//! pretend agent ([`agent`]).
//!
//! Nothing of the server's is gone round: webhooks come signed, `TwiML` is read and followed, the agent
//! writes with the call token that it was given. What is answered is held to what it should be, so that
//! exit 0 says that the way of a call is whole.

mod agent;
mod api;
mod attributes;
mod dead_store;
mod journal;
mod play;
mod twilio;
mod twiml;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use secrecy::SecretString;

use crate::cli::Failure;
use crate::cli::call::api::Api;
use crate::cli::call::journal::Figures;
use crate::cli::call::journal::Journal;
use crate::cli::call::journal::millis;
use crate::cli::call::play::Arrival;
use crate::cli::call::play::Player;
use crate::cli::call::twilio::Twilio;
use crate::cli::call::wire::Wire;
use crate::cli::client::Server;
use crate::cli::client::auth_token;
use crate::cli::complain;
use crate::cli::say;
use crate::domain::account_sid::AccountSid;
use crate::domain::connector::ConnectorId;
use crate::domain::public_url::PublicUrl;
use crate::twilio::studio::WAIT_SECONDS;

const LONGEST: Duration = Duration::from_secs(60);
// Of many calls that failed, as many are told.
const TOLD: usize = 5;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    server: Server,
    /// Through which connector; through one that is made for it and deleted at the end, if none is named
    #[arg(long)]
    connector: Option<String>,
    /// The Twilio account that signs: AC…
    #[arg(long, env = "TWILIO_ACCOUNT_SID")]
    account_sid: Option<String>,
    /// File with its Auth Token; or set `TWILIO_AUTH_TOKEN`
    #[arg(long)]
    auth_token_file: Option<String>,
    /// Where Twilio reaches the server, for that is what it signs; `BATON_URL`, if it is not said
    #[arg(long, env = "BATON_PUBLIC_URL")]
    public_url: Option<String>,
    /// So many calls under way at once, and how long their steps take
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u16).range(1..))]
    parallel: Option<u16>,
    /// Time over which their beginnings are spread, and for which each agent talks
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s", requires = "parallel")]
    over: Duration,
    #[command(flatten)]
    bends: Bends,
}

/// In what a call is unlike most.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Bends")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Bends {
    /// It comes from a Studio flow and goes back into it
    #[arg(long)]
    studio: bool,
    /// The agent is on SIP
    #[arg(long)]
    sip: bool,
    /// The agent writes so long after the call came back, such as 2s or 500ms; from 3s on it is too late
    #[arg(long, value_name = "TIME", value_parser = time)]
    late: Option<Duration>,
    /// The agent writes nothing
    #[arg(long, conflicts_with_all = ["late", "contained", "wrong_token", "second_visit"])]
    no_handoff: bool,
    /// The agent settles the call itself
    #[arg(long, conflicts_with_all = ["wrong_token", "second_visit"])]
    contained: bool,
    /// The caller hangs up on the agent
    #[arg(long, conflicts_with = "second_visit")]
    hangup: bool,
    /// It visits the agent a second time, and another handoff is written
    #[arg(long)]
    second_visit: bool,
    /// The agent presents another call token than it was given
    #[arg(long, conflicts_with_all = ["late", "second_visit"])]
    wrong_token: bool,
    /// The store fails while the agent talks. Needs no server: it starts one of its own
    #[arg(
        long,
        conflicts_with_all = [
            "connector", "parallel", "studio", "sip", "late", "no_handoff", "contained", "hangup",
            "second_visit", "wrong_token",
        ]
    )]
    dead_store: bool,
}

impl Bends {
    fn arrival(&self) -> Arrival {
        let waits = Duration::from_secs(WAIT_SECONDS.into());
        match self.late {
            _ if self.no_handoff || self.wrong_token => Arrival::Never,
            None => Arrival::Before,
            Some(late) if late < waits => Arrival::Meanwhile,
            Some(_) => Arrival::Never,
        }
    }
}

/// What calls are played on.
#[derive(Debug)]
struct Stage {
    wire: Wire,
    twilio: Twilio,
    api: Api,
    connector: String,
    /// The connector was made for this, so that what it says is known.
    is_made: bool,
    bends: Bends,
}

/// Who plays, and where.
struct Cast {
    server: String,
    public_url: String,
    key: SecretString,
    account: AccountSid,
    auth_token: SecretString,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { server, account_sid, auth_token_file, public_url, bends, .. } = args;
    if bends.dead_store {
        return dead_store::run();
    }
    let none = "no Twilio account: set TWILIO_ACCOUNT_SID, or give --account-sid. One whose Auth Token the server has (BATON_TWILIO_AUTH_TOKENS), or that the connector is linked to";
    let account = account_sid.ok_or_else(|| Failure::Usage(none.to_owned()))?;
    let wrong = |why| Failure::Usage(format!("--account-sid {account} {why}"));
    let account: AccountSid = account.parse().map_err(wrong)?;
    if let Some(id) = &args.connector {
        let wrong = |why| Failure::Usage(format!("--connector {id} {why}"));
        id.parse::<ConnectorId>().map_err(wrong)?;
    }
    let url = server.url().trim_end_matches('/').to_owned();
    // Of several, the first makes the server's own links.
    let public_url = public_url.as_deref().and_then(|urls| urls.split_whitespace().next());
    let public_url = public_url.unwrap_or(&url);
    let wrong = |why| Failure::Usage(format!("BATON_PUBLIC_URL {public_url} {why}"));
    let public_url: PublicUrl = public_url.parse().map_err(wrong)?;
    let cast = Cast {
        public_url: public_url.as_str().to_owned(),
        server: url,
        key: server.key()?.into(),
        account,
        auth_token: auth_token(auth_token_file.as_deref())?,
    };
    let parallel = args.parallel.map(|calls| (calls, args.over));
    let played = cast.play(args.connector, bends, parallel);
    actix_web::rt::System::new().block_on(played).map_err(Failure::Failed)
}

/// Reads a time such as `2s` or `500ms`.
fn time(text: &str) -> Result<Duration, String> {
    let whole = |number: &str| number.parse::<u64>().ok();
    let read = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => whole(number).map(Duration::from_millis),
        (None, Some(number)) => whole(number).map(Duration::from_secs),
        (None, None) => None,
    };
    let fits = read.filter(|time| *time <= LONGEST);
    fits.ok_or_else(|| format!("a time is such as 2s or 500ms, {}s at most", LONGEST.as_secs()))
}

impl Cast {
    /// Plays through a connector, or through one that is made for it and deleted whatever happens.
    async fn play(
        self,
        connector: Option<String>,
        bends: Bends,
        parallel: Option<(u16, Duration)>,
    ) -> Result<(), String> {
        let is_made = connector.is_none();
        let stage = Rc::new(self.stage(connector, bends).await?);
        let (account, connector) = (stage.twilio.account(), &stage.connector);
        let made = if is_made { ", made for this" } else { "" };
        say(format!("Through {connector}{made}, as {account}, on {}", stage.wire.server()));
        let playing = async {
            match parallel {
                None => one(&stage).await,
                Some((calls, over)) => many(&stage, calls, over).await,
            }
        };
        let played = tokio::select! {
            played = playing => played,
            Ok(()) = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        };
        let deleted = if is_made { stage.api.delete_connector(connector).await } else { Ok(()) };
        match (played, deleted) {
            (Ok(()), deleted) => deleted,
            (failed, Ok(())) => failed,
            (failed, Err(left_behind)) => {
                complain(left_behind);
                failed
            }
        }
    }

    async fn stage(self, connector: Option<String>, bends: Bends) -> Result<Stage, String> {
        let wire = Wire::new(&self.server, &self.public_url)?;
        let twilio = Twilio::new(wire.clone(), self.account, &self.auth_token);
        let api = Api::new(wire.clone(), self.key);
        let (connector, is_made) = match connector {
            Some(id) => (id, false),
            None => (api.make_connector(bends.sip).await?, true),
        };
        Ok(Stage { wire, twilio, api, connector, is_made, bends })
    }
}

/// Plays one call and tells each step.
async fn one(stage: &Stage) -> Result<(), String> {
    let journal = Journal::default();
    let player = Player::new(stage, &journal)?;
    say(format!("Call {}", player.call()));
    let took = player.play(Duration::ZERO).await?;
    say(format!("whole       {:>11}  as it should be", millis(took)));
    Ok(())
}

/// Plays many calls, and tells how long their steps took. Callers do not all ring in one moment: their
/// beginnings are spread `over` a time, and each agent talks for as long, so that at its end all of them
/// are under way.
async fn many(stage: &Rc<Stage>, calls: u16, over: Duration) -> Result<(), String> {
    let begin = |call: u16| {
        let stage = Rc::clone(stage);
        let wait = over * u32::from(call) / u32::from(calls);
        actix_web::rt::spawn(async move {
            tokio::time::sleep(wait).await;
            let journal = Journal::silent();
            let whole = match Player::new(&stage, &journal) {
                Ok(player) => player.play(over).await,
                Err(why) => Err(why),
            };
            (journal.into_steps(), whole)
        })
    };
    let under_way: Vec<_> = (0..calls).map(begin).collect();
    let (mut figures, mut wholes, mut failed) = (Figures::default(), Vec::new(), Vec::new());
    for call in under_way {
        let (steps, whole) = call.await.map_err(|why| why.to_string())?;
        for (name, took) in steps {
            figures.add(name, took);
        }
        match whole {
            Ok(took) => wholes.push(took),
            Err(why) => failed.push(why),
        }
    }
    for took in wholes {
        figures.add("whole", took);
    }
    let good = usize::from(calls) - failed.len();
    say(format!(
        "{calls} calls under way at once, {good} as they should be; begun within {over:?}"
    ));
    say(figures.table());
    for why in failed.iter().take(TOLD) {
        complain(why);
    }
    match failed.len() {
        0 => Ok(()),
        some => Err(format!("{some} of {calls} calls failed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_milliseconds() {
        assert_eq!(time("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        for text in ["", "2", "s", "ms", "-1s", "1.5s", "2m", "61s", " 2s"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_handoff_is_there_when_its_agent_writes_it_in_time() {
        let of = |late: Option<u64>, bends: Bends| {
            Bends { late: late.map(Duration::from_millis), ..bends }.arrival()
        };
        let plain = Bends::default;
        assert_eq!(of(None, plain()), Arrival::Before);
        assert_eq!(of(Some(2000), plain()), Arrival::Meanwhile);
        assert_eq!(of(Some(3000), plain()), Arrival::Never);
        assert_eq!(of(None, Bends { no_handoff: true, ..plain() }), Arrival::Never);
        assert_eq!(of(None, Bends { wrong_token: true, ..plain() }), Arrival::Never);
    }
}
