//! The only maker of HTTP clients.

use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(1);
const GLANCE: Duration = Duration::from_secs(2);
const GLANCE_BYTES: usize = 200;

/// A client that answers or fails within `total`: reqwest's own defaults wait for ever, follow ten
/// redirects and obey proxy variables.
pub fn client(total: Duration) -> reqwest::Result<reqwest::Client> {
    #[expect(clippy::disallowed_methods, reason = "this is where the limits are set")]
    let builder = reqwest::Client::builder();
    builder
        .connect_timeout(CONNECT)
        .timeout(total)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Asks `url` once, within two seconds: status and body, as far as a small one goes; or, in a few
/// words, why there was no answer.
pub async fn glance(url: &str) -> Result<(u16, String), &'static str> {
    let told = |why: reqwest::Error| match (why.is_timeout(), why.is_connect()) {
        (true, _) => "no answer within two seconds",
        (false, true) => {
            "no connection (a name that does not resolve, a closed port, or a certificate that does not hold)"
        }
        (false, false) => "the connection broke",
    };
    let mut answer = client(GLANCE).map_err(told)?.get(url).send().await.map_err(told)?;
    let status = answer.status().as_u16();
    let body = answer.chunk().await.map_err(told)?.unwrap_or_default();
    let body = body.get(..body.len().min(GLANCE_BYTES)).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(body).into_owned()))
}
