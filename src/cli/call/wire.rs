//! [`Wire`]: what goes to the server, and how long its answers take.

use std::time::Duration;
use std::time::Instant;

use reqwest::Client;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::header;

use crate::telemetry::outbound;

// Twilio's own patience: what takes longer has lost the call.
const LIMIT: Duration = Duration::from_secs(15);

/// The way to the server.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    client: Client,
    /// Where requests go.
    server: String,
    /// Where Twilio believes that they go: how the server's own links begin.
    public: String,
}

/// An answer. It may hold a call token, so it is not printed.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: String,
    pub(super) took: Duration,
}

impl Wire {
    /// The way to `server`, which Twilio reaches as `public`.
    pub(super) fn new(server: &str, public: &str) -> Result<Self, String> {
        let client = outbound::client(LIMIT).map_err(|why| why.to_string())?;
        Ok(Self { client, server: server.to_owned(), public: public.to_owned() })
    }

    /// Where the server is.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The URL that Twilio knows for a path of the server's.
    pub(super) fn public(&self, path: &str) -> String {
        format!("{}{path}", self.public)
    }

    /// A request for one of the server's own links, or for a path of it.
    pub(super) fn request(&self, method: Method, link: &str) -> RequestBuilder {
        self.client.request(method, self.here(link))
    }

    /// Where a link is reached from here: its path is kept behind the public URL's own.
    fn here(&self, link: &str) -> String {
        let is_path = |rest: &&str| rest.starts_with('/');
        let own = Some(link).filter(is_path);
        let own = own.or_else(|| link.strip_prefix(self.public.as_str()).filter(is_path));
        // It may be made from another of the server's public URLs.
        let path = own.or_else(|| {
            let (_, rest) = link.split_once("://")?;
            rest.get(rest.find('/')?..)
        });
        format!("{}{}", self.server, path.unwrap_or_default())
    }
}

/// Sends a request and takes its whole answer.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let began = Instant::now();
    let answer = request.send().await.map_err(unreached)?;
    let status = answer.status().as_u16();
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.to_owned();
    let body = answer.text().await.map_err(unreached)?;
    Ok(Answer { status, content_type, body, took: began.elapsed() })
}

fn unreached(why: reqwest::Error) -> String {
    if why.is_builder() {
        return "BATON_URL, or what is sent with the request, cannot be sent: not a URL, or characters that no header takes".to_owned();
    }
    if why.is_timeout() {
        return format!("no answer within {} seconds, Twilio's own patience", LIMIT.as_secs());
    }
    format!(
        "cannot reach the server: {}. Is `baton serve` running there? Set BATON_URL",
        why.without_url()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_the_servers_is_reached_where_the_server_is() {
        let wire = Wire {
            client: outbound::client(LIMIT).unwrap(),
            server: "http://127.0.0.1:8080".to_owned(),
            public: "https://voice.example.com/baton".to_owned(),
        };
        for (link, wanted) in [
            ("/v1/handoff_state", "http://127.0.0.1:8080/v1/handoff_state"),
            (
                "https://voice.example.com/baton/twilio/x?leg=1",
                "http://127.0.0.1:8080/twilio/x?leg=1",
            ),
            ("https://other.example.com/twilio/x", "http://127.0.0.1:8080/twilio/x"),
            ("https://voice.example.com", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(wire.here(link), wanted);
        }
    }
}
