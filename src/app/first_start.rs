//! The keys a server starts with: those it was given, those it made before, or, on its first start,
//! new ones.
//!
//! Each is a file of mode 0600 in the data directory, synced before anything is sealed with it, and
//! never replaced: two servers that start at once agree on the first one's file. The first admin
//! key stays in its file and is not printed, so that it enters no terminal's scrollback and no
//! container's log; the commands printed at the start read it from there.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use secrecy::SecretString;
use thiserror::Error;

use crate::app::STORE_FILE;
use crate::config::Settings;
use crate::config::StoreKind;
use crate::store::seal::KEY_BYTES;
use crate::store::seal::Seal;

/// The file of the first admin key.
pub const ADMIN_KEY_FILE: &str = "admin.key";
const SEAL_KEY_FILE: &str = "seal.key";

/// The keys of a server.
#[derive(Debug)]
pub struct Keys {
    /// The first admin key.
    pub admin_key: SecretString,
    /// Its file, unless it came by the environment.
    pub admin_key_file: Option<PathBuf>,
    /// The sealing ring, newest first.
    pub seal_keys: Vec<SecretSlice<u8>>,
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum NoKeys {
    /// A key's file cannot be read or made.
    #[error("cannot read or make the key file {0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// A key's file holds something else.
    #[error(
        "{0} holds no key of the right form. Restore it from a backup, or give the key by its setting"
    )]
    Unreadable(PathBuf),
    /// There is a store, and nothing to open it with.
    #[error(
        "{} is there but its sealing key {} is not, so nothing in it can be read. Restore the key from a backup or give it as BATON_SEAL_KEYS; to start anew, move the store away",
        store.display(),
        key.display()
    )]
    SealKeyLost {
        /// The store.
        store: PathBuf,
        /// The missing key.
        key: PathBuf,
    },
    /// The sealing ring is empty or holds a key of another length.
    #[error("BATON_SEAL_KEYS holds no keys of 32 bytes")]
    SealKeys,
    /// No random bytes.
    #[error("the system's random source failed")]
    NoRandom,
}

impl Keys {
    /// Finds the keys that were given or made before, and makes the others.
    pub fn find_or_make(settings: &Settings) -> Result<Self, NoKeys> {
        let folder = &settings.data_dir;
        let seal_keys = match &settings.seal_keys {
            Some(keys) => keys.clone(),
            None => vec![seal_key(folder, &settings.store)?],
        };
        let (admin_key, admin_key_file) = match &settings.admin_key {
            Some(key) => (key.clone(), settings.admin_key_file.clone()),
            None => admin_key(folder)?,
        };
        Ok(Self { admin_key, admin_key_file, seal_keys })
    }

    /// The sealing ring.
    pub fn seal(&self) -> Result<Seal, NoKeys> {
        Seal::new(self.seal_keys.clone()).ok_or(NoKeys::SealKeys)
    }
}

fn seal_key(folder: &Path, store: &StoreKind) -> Result<SecretSlice<u8>, NoKeys> {
    let key = folder.join(SEAL_KEY_FILE);
    let file = folder.join(STORE_FILE);
    if matches!(store, StoreKind::Embedded) && file.exists() && !key.exists() {
        return Err(NoKeys::SealKeyLost { store: file, key });
    }
    let text = find_or_make(&key, || {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes).map_err(|_unspecified| NoKeys::NoRandom)?;
        Ok(STANDARD.encode(bytes))
    })?;
    let bytes = decoded(&text).filter(|bytes| bytes.expose_secret().len() == KEY_BYTES);
    bytes.ok_or(NoKeys::Unreadable(key))
}

fn admin_key(folder: &Path) -> Result<(SecretString, Option<PathBuf>), NoKeys> {
    let file = folder.join(ADMIN_KEY_FILE);
    let text = find_or_make(&file, || {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_unspecified| NoKeys::NoRandom)?;
        Ok(format!("bta_{}", URL_SAFE_NO_PAD.encode(bytes)))
    })?;
    if text.expose_secret().len() < crate::config::ADMIN_KEY_CHARACTERS {
        return Err(NoKeys::Unreadable(file));
    }
    Ok((text, Some(file)))
}

fn decoded(text: &SecretString) -> Option<SecretSlice<u8>> {
    STANDARD.decode(text.expose_secret()).ok().map(SecretSlice::from)
}

/// The text in `file`; on the first start, what `make` makes.
fn find_or_make(
    file: &Path,
    make: impl FnOnce() -> Result<String, NoKeys>,
) -> Result<SecretString, NoKeys> {
    let failed = |why| NoKeys::File(file.to_path_buf(), why);
    if !file.try_exists().map_err(failed)? {
        let text = make()?;
        put_in_place(file, &text).map_err(failed)?;
    }
    let text = fs::read_to_string(file).map_err(failed)?;
    if fs::metadata(file).map_err(failed)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %file.display(), "a key file is readable by others; chmod 600 it");
    }
    Ok(text.trim().to_owned().into())
}

/// Writes a file whole or not at all, durably, unless somebody else was first.
fn put_in_place(file: &Path, text: &str) -> io::Result<()> {
    // A name of its own: two containers on one volume are both process 1.
    let mut name = [0; 8];
    rand::fill(&mut name).map_err(io::Error::other)?;
    let unfinished = file.with_extension(format!("new-{:016x}", u64::from_be_bytes(name)));
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let text = format!("{text}\n");
    let written = out.write_all(text.as_bytes()).and_then(|()| out.sync_all());
    if written.is_err() {
        // Half a secret is left to nobody.
        fs::remove_file(&unfinished)?;
    }
    written?;
    // A link, not a rename: it fails when the file is there by now, and that file is then the key.
    let linked = fs::hard_link(&unfinished, file);
    fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked?,
    }
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}
