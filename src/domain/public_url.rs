//! [`PublicUrl`]: where Baton is as Twilio reaches it, and so the beginning of what Twilio signs.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest public URL, in characters: it stands in Send To Flex's 1024.
pub const MAX_PUBLIC_URL_CHARACTERS: usize = 160;

/// `https://host[:port][/prefix]`, kept as it is spelled but for a last `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    text: String,
    /// `host[:port]`, without the port that its scheme has by itself.
    authority: String,
}

/// Why a text is no public URL.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadPublicUrl {
    /// Not that form.
    #[error("must be https://host[:port][/prefix], without user, query or fragment")]
    Shape,
    /// It goes on to one of Baton's own paths.
    #[error("must end before /twilio/…: Baton adds its own paths")]
    Path,
    /// Too long.
    #[error("must be at most {MAX_PUBLIC_URL_CHARACTERS} characters")]
    TooLong,
}

impl PublicUrl {
    /// The URL, without a `/` at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether what is sent there is encrypted.
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// Whether it is on this machine.
    pub fn is_on_loopback(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _port)| host);
        ["127.0.0.1", "localhost", "[::1]"].contains(&host)
    }

    /// Whether a `Host` header names this one.
    pub fn is_at(&self, host: &str) -> bool {
        self.authority.eq_ignore_ascii_case(without_default_port(host, &self.text))
    }
}

fn without_default_port<'h>(host: &'h str, url: &str) -> &'h str {
    let port = if url.starts_with("https") { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host)
}

impl FromStr for PublicUrl {
    type Err = BadPublicUrl;

    fn from_str(text: &str) -> Result<Self, BadPublicUrl> {
        let text = text.trim_end_matches('/');
        let (scheme, rest) = text.split_once("://").ok_or(BadPublicUrl::Shape)?;
        let authority = rest.split('/').next().unwrap_or_default();
        // No character that is written otherwise when it is rendered, or that ends a path.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:[]%".contains(&b);
        if !["https", "http"].contains(&scheme) || authority.is_empty() || !rest.bytes().all(plain)
        {
            return Err(BadPublicUrl::Shape);
        }
        if rest.split('/').skip(1).any(|segment| segment == "twilio") {
            return Err(BadPublicUrl::Path);
        }
        if text.len() > MAX_PUBLIC_URL_CHARACTERS {
            return Err(BadPublicUrl::TooLong);
        }
        let authority = without_default_port(authority, text).to_owned();
        Ok(Self { text: text.to_owned(), authority })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_known_by_its_host() {
        let url: PublicUrl = "https://Voice.example.com:443/baton/".parse().unwrap();
        assert_eq!(url.as_str(), "https://Voice.example.com:443/baton");
        assert!(url.is_at("voice.example.com") && url.is_at("VOICE.example.com:443"));
        assert!(!url.is_at("voice.example.com:80") && !url.is_at("example.com"));
        let other: PublicUrl = "http://127.0.0.1:8080".parse().unwrap();
        assert!(other.is_at("127.0.0.1:8080") && !other.is_at("127.0.0.1"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "voice.example.com",
            "wss://h",
            "https://",
            "https://u:p@h",
            "https://h?a=1",
            "https://h/#x",
            "https://h/a b",
        ] {
            assert_eq!(text.parse::<PublicUrl>(), Err(BadPublicUrl::Shape), "{text}");
        }
        let path = "https://h/twilio/check".parse::<PublicUrl>();
        assert_eq!(path, Err(BadPublicUrl::Path));
        let long = format!("https://{}", "h".repeat(160));
        assert_eq!(long.parse::<PublicUrl>(), Err(BadPublicUrl::TooLong));
    }
}
