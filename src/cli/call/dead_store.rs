//! `--dead-store`: a server of this command's own, whose store fails while the agent talks. What nobody
//! can know then is not made up, and the caller is put through to a person all the same.

use std::env;
use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;

use clap::Parser;
use secrecy::SecretString;
use tokio::sync::oneshot;

use crate::app::App;
use crate::app::shutdown::Stop;
use crate::cli::Failure;
use crate::cli::call::Bends;
use crate::cli::call::Cast;
use crate::cli::call::Stage;
use crate::cli::call::agent;
use crate::cli::call::agent::Agent;
use crate::cli::call::journal::Journal;
use crate::cli::call::play::Player;
use crate::cli::say;
use crate::config::Settings;
use crate::config::raw::Raw;
use crate::config::raw::RawSecrets;
use crate::domain::account_sid::AccountSid;
use crate::domain::clock::Clock;
use crate::domain::random::random_text;
use crate::store::journal::Journal as Noted;
use crate::store::journal::Note;
use crate::store::kv::Delete;
use crate::store::kv::Kv;
use crate::store::kv::Outcome;
use crate::store::kv::Pending;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;
use crate::telemetry::logging::Sink;

const ACCOUNT: &str = "AC00000000000000000000000000000000";

/// Plays a call over a store that fails, and then another one.
pub(super) fn run() -> Result<(), Failure> {
    let folder = Folder::make().map_err(Failure::Failed)?;
    let random = |length| random_text(length).map_err(|why| Failure::Failed(why.to_string()));
    let auth_token = SecretString::from(random(32)?);
    let key = SecretString::from(random(43)?);
    let account: AccountSid =
        ACCOUNT.parse().map_err(|why| Failure::Failed(format!("{ACCOUNT} {why}")))?;
    let mut settings = settings(&folder)?;
    settings.admin_key = Some(key.clone());
    settings.twilio.auth_tokens = vec![(account.clone(), vec![auth_token.clone()])];
    let dies = Arc::<AtomicBool>::default();
    let own = Own::start(settings, Arc::clone(&dies)).map_err(Failure::Failed)?;
    let server = format!("http://{}", own.address);
    let cast = Cast { public_url: server.clone(), server, key, account, auth_token };
    actix_web::rt::System::new()
        .block_on(async {
            let stage = cast.stage(None, Bends::default()).await?;
            scene(&stage, &dies).await
        })
        .map_err(Failure::Failed)
}

async fn scene(stage: &Stage, dies: &AtomicBool) -> Result<(), String> {
    let journal = Journal::default();
    let player = Player::new(stage, &journal)?.over_a_dead_store();
    say(format!("Call {}, on a server of this command's own", player.call()));
    let visit = player.voice(Some((1, 0))).await?;
    dies.store(true, Ordering::SeqCst);
    say("Now the store fails");
    let data = agent::handoff(1, false);
    let answer = Agent::of(&visit)?.write(&stage.wire, &data).await?;
    journal.step("agent", &answer, "what is not stored is not acknowledged");
    if answer.status != 503 {
        return Err(format!("agent: {}, and not 503", answer.status));
    }
    player.back(&visit, &data).await?;
    let other = Player::new(stage, &journal)?.over_a_dead_store();
    say(format!("Call {}", other.call()));
    let visit = other.voice(None).await?;
    other.back(&visit, &data).await?;
    say("Both calls went on to a person, as they should");
    Ok(())
}

/// Settings of a first start on a free port. The environment's are for another server.
fn settings(folder: &Folder) -> Result<Settings, Failure> {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        raw: Raw,
    }
    let data_dir = folder.0.display().to_string();
    let flags = [
        "baton",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "embedded",
        "--data-dir",
        data_dir.as_str(),
    ];
    let line = Line::try_parse_from(flags).map_err(|why| Failure::Failed(why.to_string()))?;
    let raw = Raw { public_url: None, secrets: RawSecrets::default(), ..line.raw };
    Settings::check(&raw).map_err(|faults| Failure::Usage(faults.to_string()))
}

/// A folder of one's own, which goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, String> {
        let name = random_text(16).map_err(|why| why.to_string())?;
        let folder = env::temp_dir().join(format!("baton-call-{name}"));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|why| format!("cannot make {}: {why}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a folder of temporary files is nobody's loss: it is sealed, and the key random.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server on a thread of its own, which ends with this value.
struct Own {
    address: SocketAddr,
    stop: Option<oneshot::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Own {
    fn start(settings: Settings, dies: Arc<AtomicBool>) -> Result<Self, String> {
        let (tell, told) = mpsc::channel();
        let (stop, asked) = oneshot::channel();
        let serve = move || {
            let built = Sink::start(io::sink()).map_err(|why| why.to_string()).and_then(|log| {
                let mortal = move |inner| -> Arc<dyn Kv> { Arc::new(Mortal { inner, dies }) };
                App::build_over(settings, Clock::system(), log, mortal)
                    .map_err(|why| why.to_string())
            });
            match built {
                Err(why) => {
                    let _ = tell.send(Err(why));
                }
                Ok(app) => {
                    let _ = tell.send(Ok(app.address()));
                    // How it ends is nobody's concern any more.
                    let _ = actix_web::rt::System::new().block_on(app.run(Stop::When(asked)));
                }
            }
        };
        let thread = thread::Builder::new().name("baton-call-server".to_owned()).spawn(serve);
        let thread = thread.map_err(|why| why.to_string())?;
        let address = told.recv().map_err(|_gone| "the server did not start".to_owned())??;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(true);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An engine that fails from when it is told to.
#[derive(Debug)]
struct Mortal {
    inner: Arc<dyn Kv>,
    dies: Arc<AtomicBool>,
}

impl Mortal {
    fn alive(&self) -> Result<&dyn Kv, StoreError> {
        if self.dies.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("baton call made it fail".to_owned()));
        }
        Ok(self.inner.as_ref())
    }
}

impl Kv for Mortal {
    fn get(&self, key: Vec<u8>) -> Pending<'_, Option<Slot>> {
        Box::pin(async move { self.alive()?.get(key).await })
    }

    fn put(&self, put: Put) -> Pending<'_, Outcome> {
        Box::pin(async move { self.alive()?.put(put).await })
    }

    fn delete(&self, delete: Delete) -> Pending<'_, Outcome> {
        Box::pin(async move { self.alive()?.delete(delete).await })
    }

    fn members(
        &self,
        set: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Pending<'_, Vec<Vec<u8>>> {
        Box::pin(async move { self.alive()?.members(set, after, limit).await })
    }

    fn note(&self, notes: Vec<Note>) -> Pending<'_, Vec<bool>> {
        Box::pin(async move { self.alive()?.note(notes).await })
    }

    fn journal(&self, key: Vec<u8>) -> Pending<'_, Noted> {
        Box::pin(async move { self.alive()?.journal(key).await })
    }

    fn watch(&self, key: Vec<u8>) -> Pending<'_, ()> {
        Box::pin(async move { self.alive()?.watch(key).await })
    }

    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async move { self.alive()?.ping().await })
    }

    fn close(&self) {
        self.inner.close();
    }
}
