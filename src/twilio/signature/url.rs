//! [`Url`]: a URL taken apart and never normalised. Its parts put together are the text it came
//! from: `//`, `%2F`, `/./`, the spelling of host and escapes are what was signed. (A parser that
//! resolves `/a/../b` would accept a signature that was made for another route.)

/// The parts of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'u> {
    /// Before `://`.
    pub(super) scheme: &'u str,
    /// With its `@`, or empty.
    pub(super) userinfo: &'u str,
    /// A name or address; an IPv6 one with its brackets.
    pub(super) host: &'u str,
    /// With its `:`, or empty.
    pub(super) port: &'u str,
    /// With its first `/`, or empty.
    pub(super) path: &'u str,
    /// Without its `?`.
    pub(super) query: Option<&'u str>,
    /// Without its `#`.
    pub(super) fragment: Option<&'u str>,
}

impl<'u> Url<'u> {
    /// Takes `text` apart; `None` when it is no `scheme://…`.
    pub(super) fn of(text: &'u str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let of_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+.-".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(of_scheme) {
            return None;
        }
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (userinfo, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        // Within an IPv6 address a colon begins no port.
        let bracket = host.rfind(']').map_or(0, |at| at + 1);
        let (_, after) = host.split_at(bracket);
        let colon = after.find(':').map_or(host.len(), |at| bracket + at);
        let (host, port) = host.split_at(colon);
        Some(Self { scheme, userinfo, host, port, path, query, fragment })
    }

    /// Whether it is a WebSocket's.
    pub(super) fn is_socket(&self) -> bool {
        ["ws", "wss"].iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme))
    }

    /// Whether its scheme is over TLS.
    pub(super) fn is_secure(&self) -> bool {
        ["https", "wss"].iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme))
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url_are_its_text() {
        for (text, parts) in [
            ("https://h/p?q=1?2#f?g", ("", "h", "", "/p", Some("q=1?2"), Some("f?g"))),
            ("http://u:p@h:80", ("u:p@", "h", ":80", "", None, None)),
            (
                "wss://[2001:DB8::1]:8443//a@b:1",
                ("", "[2001:DB8::1]", ":8443", "//a@b:1", None, None),
            ),
            ("https://[::1]/", ("", "[::1]", "", "/", None, None)),
            ("https://a@b@h:?x@y:1", ("a@b@", "h", ":", "", Some("x@y:1"), None)),
            ("HTTPS://h#", ("", "h", "", "", None, Some(""))),
        ] {
            let url = Url::of(text).unwrap();
            let found = (url.userinfo, url.host, url.port, url.path, url.query, url.fragment);
            assert_eq!(found, parts, "{text}");
        }
        for text in ["", "h/p", "://h", "a b://h"] {
            assert_eq!(Url::of(text), None, "{text}");
        }
    }
}
