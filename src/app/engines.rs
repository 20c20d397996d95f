//! Engines for work on a whole store, without a server.

use std::path::Path;
use std::sync::Arc;

use crate::app::STORE_FILE;
use crate::config::redis::Redis as RedisSettings;
use crate::domain::clock::Clock;
use crate::store::copy::Engine;
use crate::store::embedded::Embedded;
use crate::store::feed::Feed;
use crate::store::kv::StoreError;
use crate::store::redis::Redis;
use crate::telemetry::metrics::StoreMeter;

/// The embedded store in a data directory; made there if it is not.
pub fn embedded(folder: &Path) -> Result<Engine, StoreError> {
    let file = folder.join(STORE_FILE);
    Ok(Arc::new(Embedded::open(&file, Clock::system(), StoreMeter::default())?))
}

/// A Redis.
pub fn redis(settings: RedisSettings) -> Result<Engine, StoreError> {
    let feed = Arc::new(Feed::new(Arc::default()));
    Ok(Arc::new(Redis::open(settings, Clock::system(), StoreMeter::default(), feed)?))
}
