//! Connections to servers, by what was set.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::Client;
use redis::ConnectionAddr;
use redis::IntoConnectionInfo;
use redis::ProtocolVersion;
use redis::PushInfo;
use redis::RedisConnectionInfo;
use redis::RedisError;
use redis::TlsCertificates;
use redis::aio::MultiplexedConnection;
use secrecy::ExposeSecret;

use crate::config::redis::Address;
use crate::config::redis::Redis as Settings;

// Commands that wait to be sent on one connection.
const QUEUE: usize = 4096;
// A server that does not take a connection in this time is as good as gone.
const CONNECT: Duration = Duration::from_millis(750);

/// Who one is to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    /// The user that was set, in the database that was set.
    User,
    /// The same, where there are no databases.
    UserOfSentinel,
    /// Nobody.
    Guest,
}

/// How connections are made.
#[derive(Debug)]
pub(super) struct Dial {
    settings: Settings,
}

impl Dial {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// A connection to a server that keeps records. Nothing is sent on it that may block, but by whoever
    /// has it alone.
    pub(super) async fn connect(
        &self,
        at: &Address,
        answers_in: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        self.dial(at, As::User, config(answers_in)).await
    }

    /// A connection of which `heard` is told what the server tells of its own accord, and its end.
    pub(super) async fn listen(
        &self,
        at: &Address,
        answers_in: Duration,
        heard: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, RedisError> {
        let told = move |info| -> Result<(), std::convert::Infallible> {
            heard(info);
            Ok(())
        };
        self.dial(at, As::User, config(answers_in).set_push_sender(told)).await
    }

    /// A connection to a Sentinel: without the password, or with it where one is wanted.
    pub(super) async fn sentinel(
        &self,
        at: &Address,
        answers_in: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        match self.dial(at, As::Guest, config(answers_in)).await {
            Err(refused) if !refused.is_io_error() => {
                self.dial(at, As::UserOfSentinel, config(answers_in)).await
            }
            answer => answer,
        }
    }

    async fn dial(
        &self,
        at: &Address,
        who: As,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let Settings { is_tls, ca, username, password, database, .. } = &self.settings;
        let mut redis = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if who != As::Guest {
            if let Some(username) = username {
                redis = redis.set_username(username);
            }
            if let Some(password) = password {
                redis = redis.set_password(password.expose_secret());
            }
        }
        if who == As::User {
            redis = redis.set_db(*database);
        }
        let (host, port) = (at.host.clone(), at.port);
        let address = if *is_tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = address.into_connection_info()?.set_redis_settings(redis);
        let client = match ca {
            Some(ca) if *is_tls => {
                let trusted = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
                Client::build_with_tls(info, trusted)?
            }
            Some(_) | None => Client::open(info)?,
        };
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}

fn config(answers_in: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(answers_in))
        // What waits for a place in a shorter queue is woken once more for each command.
        .set_pipeline_buffer_size(QUEUE)
}
