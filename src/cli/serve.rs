//! `baton serve`.

use std::fmt::Write;
use std::path::Path;

use crate::app::App;
use crate::app::shutdown::Stop;
use crate::cli::Failure;
use crate::cli::say;
use crate::config::Settings;
use crate::config::StoreKind;
use crate::config::raw::Raw;
use crate::domain::clock::Clock;
use crate::telemetry::logging;
use crate::telemetry::logging::Sink;

pub(super) const SECRETS_HELP: &str = "Secrets are also read from the environment: BATON_ADMIN_KEY, \
BATON_SEAL_KEYS, BATON_SIGNING_KEYS, BATON_TWILIO_AUTH_TOKENS, BATON_TWILIO_SHARED_KEYS, BATON_REDIS_PASSWORD. They have no flag, for every user of a machine can read the \
command line of its processes. What is not given is made at the first start and kept in the data \
directory, readable by its owner alone.";

pub(super) fn run(raw: &Raw) -> Result<(), Failure> {
    let settings = Settings::check(raw).map_err(|faults| Failure::Usage(faults.to_string()))?;
    let log = Sink::start(std::io::stderr()).map_err(|why| Failure::Failed(why.to_string()))?;
    logging::install(&settings.log, &log);
    logging::withhold_panics();
    let kind = settings.store.clone();
    let data_dir = settings.data_dir.clone();
    let app = App::build(settings, Clock::system(), log.clone())
        .map_err(|why| Failure::Failed(why.to_string()))?;
    let served = actix_web::rt::System::new().block_on(async {
        // Before anybody is told that it runs, and may tell it to stop.
        let stop = Stop::on_signals()?;
        say(greeting(&app, &kind, &data_dir));
        app.run(stop).await
    });
    log.flush();
    served.map_err(|why| Failure::Failed(why.to_string()))
}

/// What is printed at the start: where it listens, and three commands to paste.
fn greeting(app: &App, kind: &StoreKind, data_dir: &Path) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = greet(&mut text, app, kind, data_dir);
    text
}

fn greet(text: &mut String, app: &App, kind: &StoreKind, data_dir: &Path) -> std::fmt::Result {
    let url = format!("http://{}", app.address());
    writeln!(text, "Baton listens on {url}")?;
    match kind {
        StoreKind::Embedded => {
            writeln!(text, "Handoffs and keys are kept in {}", data_dir.display())
        }
        StoreKind::Memory => writeln!(text, "Handoffs are kept in memory: all is lost at the end"),
        StoreKind::Redis(redis) => {
            writeln!(text, "Handoffs and keys are kept in Redis, under {}:", redis.prefix)
        }
    }?;
    let (header, variable) = if let Some(file) = &app.start_keys().admin_key_file {
        let file = quoted(&file.display().to_string());
        writeln!(text, "The first admin key is in {file}; the commands below read it from there")?;
        (format!("\"x-api-key: $(cat {file})\""), format!("BATON_API_KEY_FILE={file}"))
    } else {
        writeln!(text, "The admin key is the one you set in BATON_ADMIN_KEY")?;
        let variable = "BATON_API_KEY=\"$BATON_ADMIN_KEY\"".to_owned();
        ("\"x-api-key: $BATON_ADMIN_KEY\"".to_owned(), variable)
    };
    let id = "CA00000000000000000000000000000001";
    writeln!(text, "\n# 1. Write a call's handoff")?;
    writeln!(text, "curl -X PUT '{url}/v1/handoff_state?id={id}' -H {header} \\")?;
    writeln!(
        text,
        "  -d '{{\"data\":{{\"name\":\"Ada\",\"verified\":true,\"reason\":\"billing\",\"tried\":[\"resent the invoice\"]}}}}'; echo"
    )?;
    writeln!(text, "\n# 2. Read it, as a Twilio Function does")?;
    writeln!(text, "curl '{url}/v1/handoff_state?id={id}' -H {header}; echo")?;
    writeln!(text, "\n# 3. Make a read-only key for that Function")?;
    let program = quoted(&program());
    writeln!(
        text,
        "{variable} BATON_URL={url} {program} key new --label 'Twilio Function' --scope handoff:read"
    )?;
    write!(text, "\n# And see what became of it, signed in with the admin key: {url}/console")
}

/// How this program was started, so that the command can be pasted.
fn program() -> String {
    let typed = std::env::args().next().filter(|typed| !typed.is_empty());
    typed.unwrap_or_else(|| "baton".to_owned())
}

/// Text as one word of a shell command.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_of_a_command() {
        assert_eq!(quoted("./baton-data/admin.key"), "./baton-data/admin.key");
        assert_eq!(quoted("my data/it's"), "'my data/it'\\''s'");
    }
}
