//! [`Raw`]: settings as they were written. The doc comments here are what `--help` prints and what
//! README's table says; a test holds the two together.

use clap::Args;
use secrecy::SecretString;

/// Settings of `baton serve`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Settings")]
pub struct Raw {
    /// Address and port to listen on
    #[arg(
        long,
        env = "BATON_LISTEN",
        default_value = "127.0.0.1:8080",
        allow_hyphen_values = true
    )]
    pub listen: String,
    /// Where Twilio reaches this server, such as `https://voice.example.com`; several by blanks
    #[arg(long, env = "BATON_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Twilio's REST API, where links are confirmed; a host that is not Twilio's own serves all regions
    #[arg(long, env = "BATON_TWILIO_API_URL", default_value = "https://api.twilio.com")]
    pub twilio_api_url: String,
    /// Seconds until Twilio is asked again about links that it has not confirmed
    #[arg(
        long,
        env = "BATON_TWILIO_RETRY_SECONDS",
        default_value = "30",
        allow_hyphen_values = true
    )]
    pub twilio_retry_seconds: String,
    /// Twilio's IAM, which says whose a Flex user's token is
    #[arg(long, env = "BATON_TWILIO_IAM_URL", default_value = "https://iam.twilio.com")]
    pub twilio_iam_url: String,
    /// Twilio's `TaskRouter`, where tasks are given what was written after they were made
    #[arg(
        long,
        env = "BATON_TWILIO_TASKROUTER_URL",
        default_value = "https://taskrouter.twilio.com"
    )]
    pub twilio_taskrouter_url: String,
    /// Roles of Flex users who may read, by blanks
    #[arg(long, env = "BATON_FLEX_ROLES", default_value = "agent supervisor admin")]
    pub flex_roles: String,
    /// Origins whose pages may read, beside `https://flex.twilio.com`, by blanks
    #[arg(long, env = "BATON_CORS_ORIGINS")]
    pub cors_origins: Option<String>,
    /// Origins whose pages may show the panel in a frame, beside `https://flex.twilio.com`, by blanks
    #[arg(long, env = "BATON_FRAME_ANCESTORS")]
    pub frame_ancestors: Option<String>,
    /// Whether each handoff's story is kept: `on` or `off`
    #[arg(long, env = "BATON_TIMELINE", default_value = "on")]
    pub timeline: String,
    /// Directory of the embedded store and of the keys that Baton makes itself
    #[arg(long, env = "BATON_DATA_DIR", default_value = "./baton-data")]
    pub data_dir: String,
    /// Where handoffs are kept: `embedded`, a Redis (`redis://…`), or `memory` for trials (all is lost at the end)
    #[arg(long, env = "BATON_STORE", default_value = "embedded", hide_env_values = true)]
    pub store: String,
    /// What begins the name of every key in Redis
    #[arg(long, env = "BATON_REDIS_PREFIX", default_value = "baton")]
    pub redis_prefix: String,
    /// Replicas that must have a write before it is acknowledged; all that may become primary
    #[arg(long, env = "BATON_REDIS_REPLICAS", default_value = "0", allow_hyphen_values = true)]
    pub redis_replicas: String,
    /// What Redis may take to answer, in milliseconds
    #[arg(
        long,
        env = "BATON_REDIS_TIMEOUT_MS",
        default_value = "1000",
        allow_hyphen_values = true
    )]
    pub redis_timeout_ms: String,
    /// File with the certificate, in PEM, of a certificate authority of your own, for `rediss://`
    #[arg(long, env = "BATON_REDIS_CA_FILE")]
    pub redis_ca_file: Option<String>,
    /// How old what memory answers before Redis is asked may be, in milliseconds; 0: Redis is asked first
    #[arg(long, env = "BATON_L1_TTL_MS", default_value = "0", allow_hyphen_values = true)]
    pub l1_ttl_ms: String,
    /// For how long memory answers when Redis cannot, marked as stale
    #[arg(long, env = "BATON_STALE_SECONDS", default_value = "60", allow_hyphen_values = true)]
    pub stale_seconds: String,
    /// What is logged: a level, or a filter such as `info,baton::access=off`
    #[arg(long, env = "BATON_LOG", default_value = "info")]
    pub log: String,
    /// Memory for hot records, in bytes
    #[arg(
        long,
        env = "BATON_L1_MAX_BYTES",
        default_value = "134217728",
        allow_hyphen_values = true
    )]
    pub l1_max_bytes: String,
    /// How long requests are still taken after SIGTERM, with `/readyz` at 503
    #[arg(long, env = "BATON_DRAIN_SECONDS", default_value = "5", allow_hyphen_values = true)]
    pub drain_seconds: String,
    /// Life of a handoff whose writer sends no `ttl_seconds`: 60 to 2592000
    #[arg(
        long,
        env = "BATON_DEFAULT_TTL_SECONDS",
        default_value = "86400",
        allow_hyphen_values = true
    )]
    pub default_ttl_seconds: String,
    /// Largest request body, in bytes
    #[arg(
        long,
        env = "BATON_MAX_BODY_BYTES",
        default_value = "262144",
        allow_hyphen_values = true
    )]
    pub max_body_bytes: String,
    /// From a request's last byte to its answer, in milliseconds
    #[arg(
        long,
        env = "BATON_REQUEST_TIMEOUT_MS",
        default_value = "2500",
        allow_hyphen_values = true
    )]
    pub request_timeout_ms: String,
    /// For a request head, from the first byte read after the last answer, in milliseconds
    #[arg(long, env = "BATON_HEAD_TIMEOUT_MS", default_value = "5000", allow_hyphen_values = true)]
    pub head_timeout_ms: String,
    /// From the end of the request head to the end of the body, in milliseconds
    #[arg(long, env = "BATON_BODY_TIMEOUT_MS", default_value = "5000", allow_hyphen_values = true)]
    pub body_timeout_ms: String,
    /// How long an idle connection is kept; longer than your proxy keeps its own
    #[arg(
        long,
        env = "BATON_KEEP_ALIVE_SECONDS",
        default_value = "75",
        allow_hyphen_values = true
    )]
    pub keep_alive_seconds: String,
    /// Requests worked on at once; more are refused with 503
    #[arg(long, env = "BATON_MAX_IN_FLIGHT", default_value = "2048", allow_hyphen_values = true)]
    pub max_in_flight: String,
    /// Reads that wait at once (`wait=`); they count here and not among those worked on
    #[arg(long, env = "BATON_MAX_WAITING", default_value = "10000", allow_hyphen_values = true)]
    pub max_waiting: String,
    /// Requests a second that one key may send in the long run; 0 is no limit
    #[arg(long, env = "BATON_RATE_REQUESTS", default_value = "2000", allow_hyphen_values = true)]
    pub rate_requests: String,
    /// Requests that one key may send at once after a pause
    #[arg(
        long,
        env = "BATON_RATE_REQUESTS_BURST",
        default_value = "4000",
        allow_hyphen_values = true
    )]
    pub rate_requests_burst: String,
    /// Different ids a second that one key may ask for and miss in the long run; 0 is no limit
    #[arg(long, env = "BATON_RATE_MISSES", default_value = "20", allow_hyphen_values = true)]
    pub rate_misses: String,
    /// Different ids that one key may miss at once after a pause
    #[arg(
        long,
        env = "BATON_RATE_MISSES_BURST",
        default_value = "1200",
        allow_hyphen_values = true
    )]
    pub rate_misses_burst: String,
    /// Open connections, as far as the limit on open files allows
    #[arg(
        long,
        env = "BATON_MAX_CONNECTIONS",
        default_value = "20000",
        allow_hyphen_values = true
    )]
    pub max_connections: String,
    /// Worker threads; 0 is one a core
    #[arg(long, env = "BATON_WORKERS", default_value = "0", allow_hyphen_values = true)]
    pub workers: String,
    /// The secrets.
    #[command(flatten)]
    pub secrets: RawSecrets,
}

/// Secrets come from the environment or from a file, one of the two. There is no flag that takes a
/// secret itself: the command line of a process is there for every user of the machine to read.
#[derive(Args, Clone, Debug, Default)]
pub struct RawSecrets {
    /// File with the first admin key: all scopes, all accounts; at least 32 characters
    #[arg(long, env = "BATON_ADMIN_KEY_FILE")]
    pub admin_key_file: Option<String>,
    /// File with the sealing keys: base64 of 32 bytes each, newest first, blanks between
    #[arg(long, env = "BATON_SEAL_KEYS_FILE")]
    pub seal_keys_file: Option<String>,
    /// File with the signing keys: base64 of Ed25519 PKCS#8 each, newest first, blanks between
    #[arg(long, env = "BATON_SIGNING_KEYS_FILE")]
    pub signing_keys_file: Option<String>,
    /// File with Twilio's Auth Tokens: `AC…=token`, or `AC…=token,token` while one replaces another
    #[arg(long, env = "BATON_TWILIO_AUTH_TOKENS_FILE")]
    pub twilio_auth_tokens_file: Option<String>,
    /// File with webhook SharedKeys: `AC…:webhooks_sharedkey_…:HMAC_SHA256=secret`, blanks between
    #[arg(long, env = "BATON_TWILIO_SHARED_KEYS_FILE")]
    pub twilio_shared_keys_file: Option<String>,
    /// File with the password of Redis, where the URL holds none
    #[arg(long, env = "BATON_REDIS_PASSWORD_FILE")]
    pub redis_password_file: Option<String>,
    /// The first admin key itself, from the environment alone.
    #[arg(skip = from_environment("BATON_ADMIN_KEY"))]
    pub admin_key: Option<SecretString>,
    /// The sealing keys themselves, from the environment alone.
    #[arg(skip = from_environment("BATON_SEAL_KEYS"))]
    pub seal_keys: Option<SecretString>,
    /// The signing keys themselves, from the environment alone.
    #[arg(skip = from_environment("BATON_SIGNING_KEYS"))]
    pub signing_keys: Option<SecretString>,
    /// Twilio's Auth Tokens themselves, from the environment alone.
    #[arg(skip = from_environment("BATON_TWILIO_AUTH_TOKENS"))]
    pub twilio_auth_tokens: Option<SecretString>,
    /// The SharedKeys themselves, from the environment alone.
    #[arg(skip = from_environment("BATON_TWILIO_SHARED_KEYS"))]
    pub twilio_shared_keys: Option<SecretString>,
    /// The password of Redis itself, from the environment alone.
    #[arg(skip = from_environment("BATON_REDIS_PASSWORD"))]
    pub redis_password: Option<SecretString>,
}

/// Secrets that are read from the environment and take no flag: the variable's name.
pub const SECRETS: [&str; 6] = [
    "BATON_ADMIN_KEY",
    "BATON_SEAL_KEYS",
    "BATON_SIGNING_KEYS",
    "BATON_TWILIO_AUTH_TOKENS",
    "BATON_TWILIO_SHARED_KEYS",
    "BATON_REDIS_PASSWORD",
];

/// A variable that is not UTF-8 is given all the same: it reads as something that no secret is, so
/// that the check refuses it and nobody takes it for unset.
fn from_environment(name: &str) -> Option<SecretString> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned().into())
}
