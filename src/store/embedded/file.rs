//! The file of the embedded store: made so that a crash cannot leave half of one, and opened.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use redb::Database;

use crate::store::embedded::table::Tables;
use crate::store::kv::StoreError;

// redb's own default is 1 GiB. Hot handoffs are in L1; this holds the inner pages of the trees.
const CACHE_BYTES: usize = 64 << 20;

/// Opens the file at `path`; makes it when it is not there.
///
/// A crash while redb first writes a file leaves one that never opens again, so it is made under
/// another name, synced, and renamed (facts/reliability.md §0.4).
pub(super) fn open_or_create(path: &Path) -> Result<Database, StoreError> {
    if path.try_exists().map_err(StoreError::failed)? {
        return open(path);
    }
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::failed(error));
        }
        _ => {}
    }
    // redb takes an empty file for a new one; what is in it is sealed, but nobody else's to copy.
    let empty = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
    drop(empty.map_err(StoreError::failed)?);
    let database = Database::create(&unfinished).map_err(explain)?;
    let transaction = database.begin_write().map_err(explain)?;
    Tables::open(&transaction).map_err(explain)?;
    transaction.commit().map_err(explain)?;
    drop(database);
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(StoreError::failed)?;
    fs::rename(&unfinished, path).map_err(StoreError::failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::failed)?;
    open(path)
}

/// Opens a file that is there. One that cannot be read is an error, never an empty store.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    Database::builder().set_cache_size(CACHE_BYTES).open(path).map_err(explain)
}

/// Tells a full disk from other failures.
pub(super) fn explain(error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    if matches!(&error, redb::Error::Io(io) if is_full(io)) {
        return StoreError::Full;
    }
    if matches!(error, redb::Error::DatabaseAlreadyOpen) {
        let one =
            "another process has this data directory open; one embedded store serves one process";
        return StoreError::Unavailable(one.to_owned());
    }
    StoreError::failed(error)
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::FileTooLarge;
    use io::ErrorKind::QuotaExceeded;
    use io::ErrorKind::StorageFull;
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
