//! `baton migrate` and `baton rekey`: work on a whole store, without a server.

use std::fs::DirBuilder;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

use crate::app::STORE_FILE;
use crate::app::engines;
use crate::app::first_start::Keys;
use crate::cli::Failure;
use crate::cli::say;
use crate::config::Settings;
use crate::config::StoreKind;
use crate::config::raw::Raw;
use crate::config::redis::Redis;
use crate::domain::clock::Clock;
use crate::store::copy;
use crate::store::copy::Count;
use crate::store::copy::Engine;
use crate::store::kv::StoreError;
use crate::telemetry::logging;
use crate::telemetry::logging::Sink;

pub(super) const MIGRATE_HELP: &str = "A store is `embedded` (of BATON_DATA_DIR), `embedded:DIRECTORY`, or a Redis as in \
BATON_STORE; the settings of `baton serve` that begin with BATON_REDIS_ hold here too. An embedded store must \
not be open in a server. Copied are handoffs, keys, connectors, links, timelines and the memory of what was \
erased, each with its revision and its end. What is newer at the destination stays, so that it may be run \
again, after it was broken off or to fetch what was written since. The sealing keys do not change: give \
BATON_SEAL_KEYS of the one to the other (of an embedded store they are in its seal.key), and the admin key.";

pub(super) const REKEY_HELP: &str = "Settings are those of `baton serve`. To replace a sealing key: give every server the new \
key behind the old one in BATON_SEAL_KEYS, then before it, so that it seals; then run this; then take the old \
one away. An embedded store must not be open in a server; one in Redis may be in use. It may be run again \
after it was broken off.";

/// Settings of `baton migrate`.
#[derive(clap::Args, Debug)]
pub(super) struct Migrate {
    /// The store to copy from
    #[arg(long)]
    from: String,
    /// The store to copy to
    #[arg(long)]
    to: String,
    #[command(flatten)]
    raw: Raw,
}

/// A store that was opened, and what it is called.
struct Opened {
    engine: Engine,
    name: String,
}

pub(super) fn migrate(args: &Migrate) -> Result<(), Failure> {
    let log = log_to_errors()?;
    if args.from == args.to {
        return Err(Failure::Usage("--from and --to are the same store".to_owned()));
    }
    let from = open(&args.raw, &args.from, false)?;
    let to = open(&args.raw, &args.to, true)?;
    let shown = |count: &Count| progress(&format!("{} copied, {} there", count.done, count.there));
    let copied = run(copy::migrate(&from.engine, &to.engine, Clock::system().now(), shown))?;
    from.engine.close();
    to.engine.close();
    log.flush();
    let Count { done, there, over, .. } = copied;
    say(format!(
        "From {} to {}: {done} copied, {there} there already, {over} left behind whose time is over",
        from.name, to.name
    ));
    Ok(())
}

pub(super) fn rekey(raw: &Raw) -> Result<(), Failure> {
    let settings = Settings::check(raw).map_err(|faults| Failure::Usage(faults.to_string()))?;
    let log = log_to_errors()?;
    let seal = Keys::find_or_make(&settings).and_then(|keys| keys.seal());
    let seal = seal.map_err(|why| Failure::Failed(why.to_string()))?;
    let engine = match settings.store {
        StoreKind::Redis(redis) => opened(engines::redis(*redis), "the store in Redis")?.engine,
        StoreKind::Embedded => existing(&settings.data_dir)?.engine,
        StoreKind::Memory => {
            return Err(Failure::Usage("a store in memory ends with its server".to_owned()));
        }
    };
    let shown = |count: &Count| progress(&format!("{} sealed anew", count.done));
    let sealed = run(copy::rekey(&engine, &seal, shown))?;
    engine.close();
    log.flush();
    let newest = seal.ids().into_iter().next().unwrap_or_default();
    let Count { done, there, changed, unreadable, .. } = sealed;
    say(format!("{done} sealed anew with the key {newest}, {there} were already"));
    if unreadable > 0 {
        return Err(Failure::Failed(format!(
            "{unreadable} could not be opened by any key of BATON_SEAL_KEYS and were left as they are; keep the old keys"
        )));
    }
    if changed > 0 {
        return Err(Failure::Failed(format!(
            "{changed} changed again and again meanwhile; run this once more before you take the old keys away"
        )));
    }
    say("The other keys of BATON_SEAL_KEYS are needed no more");
    Ok(())
}

fn open(raw: &Raw, store: &str, may_make: bool) -> Result<Opened, Failure> {
    let folder = match store.split_once(':') {
        None if store == "embedded" => Some(PathBuf::from(&raw.data_dir)),
        Some(("embedded", folder)) => Some(PathBuf::from(folder)),
        _ => None,
    };
    match folder {
        Some(folder) if may_make => {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|why| Failure::Failed(format!("{}: {why}", folder.display())))?;
            opened(engines::embedded(&folder), &folder.display().to_string())
        }
        Some(folder) => existing(&folder),
        None => {
            let redis =
                Redis::at(raw, store).map_err(|faults| Failure::Usage(faults.to_string()))?;
            // Not its URL, which may hold a password.
            let name = format!("Redis under {}:", redis.prefix);
            opened(engines::redis(redis), &name)
        }
    }
}

fn existing(folder: &Path) -> Result<Opened, Failure> {
    let file = folder.join(STORE_FILE);
    if !file.exists() {
        return Err(Failure::Failed(format!("there is no store at {}", file.display())));
    }
    opened(engines::embedded(folder), &folder.display().to_string())
}

fn opened(engine: Result<Engine, StoreError>, name: &str) -> Result<Opened, Failure> {
    let engine = engine.map_err(|why| Failure::Failed(format!("cannot open {name}: {why}")))?;
    Ok(Opened { engine, name: name.to_owned() })
}

fn run<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
    let done = actix_web::rt::System::new().block_on(work);
    if io::stderr().is_terminal() {
        let _ = writeln!(io::stderr());
    }
    done.map_err(|why| Failure::Failed(format!("{why}. What was done is kept; run it again")))
}

/// Shows where it is, to whoever looks on.
fn progress(text: &str) {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r{text}   ");
    }
}

fn log_to_errors() -> Result<Sink, Failure> {
    let log = Sink::start(io::stderr()).map_err(|why| Failure::Failed(why.to_string()))?;
    logging::install("warn", &log);
    logging::withhold_panics();
    Ok(log)
}
