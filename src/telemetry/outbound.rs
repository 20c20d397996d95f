//! The only maker of HTTP clients.

use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(1);

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
