//! [`candidates`]: the URLs that may have been signed for one that was asked for, likeliest first.
//!
//! They are nested, and the innermost varies first:
//!
//! 1. **Port**: as it is; without it; and where there is none, the scheme's own. Twilio keeps or
//!    drops it by product and scheme, and its own documents and history disagree, so every SDK tries
//!    both. 443 stands for https and for wss; the node and python SDKs add 80 to a wss URL, so that
//!    comes last.
//! 2. **Path**: as it is; `/` and no path stand for each other, for a server sees `/` where a URL
//!    without a path was signed. On a WebSocket a last `/` may be there or not: Twilio's security
//!    page says to try.
//! 3. **Userinfo**: as it is; dropped, as the same page says Twilio does.
//! 4. **Fragment**: dropped, for it carries connection overrides that Twilio does not sign; kept, for
//!    the SDKs sign it when it is passed to them.
//! 5. **Scheme**: as it is; in lower case, as the SDKs' parsers make it.
//! 6. **Query**: as it is; `'` as `%27`, for back ends that passed the URL through an encoder; on a
//!    WebSocket its pairs as parameters, as Twilio's own agent-connect library signs them; and last
//!    as Node's legacy `querystring` would write it, which among others makes `%27` a `'`. (A plain
//!    `%27` to `'` beside it would accept what no SDK does: `It%27s+ok` for a signed `It's+ok`.)
//!
//! No candidate opens more than the others: each is one fixed string, and all name the same host and,
//! but for a port, a `/` or an escape, the same resource.

use std::borrow::Cow;
use std::fmt;

use crate::twilio::signature::legacy;
use crate::twilio::signature::url::Url;

/// A URL that may have been signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The URL.
    pub(super) url: String,
    /// How it differs from the one that was asked for.
    pub(super) how: How,
    /// The pairs of the query are signed like those of a form.
    pub(super) query_as_parameters: bool,
}

/// How a candidate differs from the URL that was asked for; prints as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    port: Port,
    path: Path,
    userinfo: Userinfo,
    fragment: Fragment,
    scheme: Scheme,
    query: Query,
}

macro_rules! variants {
    ($name:ident { $($variant:ident = $text:literal),+ }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum $name { $($variant,)+ }

        impl $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// What it does to a URL; empty when nothing.
            fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

variants!(Port {
    AsIs = "", Dropped = "port dropped", Added = "default port added", Added80 = "port 80 added"
});
variants!(Path { AsIs = "", WithoutSlash = "last / dropped", WithSlash = "last / added" });
variants!(Userinfo { AsIs = "", Dropped = "userinfo dropped" });
variants!(Fragment { Dropped = "", Kept = "fragment kept" });
variants!(Scheme { AsIs = "", Lowered = "scheme in lower case" });
variants!(Query {
    AsIs = "",
    Escaped = "' escaped as %27",
    AsParameters = "query as parameters",
    Legacy = "query re-encoded"
});

const AS_IS: How = How {
    port: Port::AsIs,
    path: Path::AsIs,
    userinfo: Userinfo::AsIs,
    fragment: Fragment::Dropped,
    scheme: Scheme::AsIs,
    query: Query::AsIs,
};

/// The URLs that may have been signed for `url`, likeliest first; made as they are asked for, and
/// perhaps the same more than once.
pub(super) fn candidates(url: &str) -> impl Iterator<Item = Candidate> {
    let parts = Url::of(url);
    // What is no URL may still be what was signed.
    let verbatim = parts.is_none().then(|| Candidate::verbatim(url));
    let varied = parts.into_iter().flat_map(|parts| {
        let queries = Query::ALL.iter().filter_map(move |query| Some((*query, query.of(&parts)?)));
        queries.flat_map(move |(query, text)| {
            around_the_query(parts).map(move |how| how.with(query).written(&parts, text.as_deref()))
        })
    });
    verbatim.into_iter().chain(varied)
}

/// All that varies but the query.
fn around_the_query(parts: Url<'_>) -> impl Iterator<Item = How> {
    let schemes = Scheme::ALL.iter().filter(move |scheme| scheme.fits(&parts));
    schemes.flat_map(move |scheme| {
        within_the_scheme(parts).map(move |how| How { scheme: *scheme, ..how })
    })
}

fn within_the_scheme(parts: Url<'_>) -> impl Iterator<Item = How> {
    let fragments = Fragment::ALL.iter().filter(move |fragment| fragment.fits(&parts));
    fragments.flat_map(move |fragment| {
        let userinfos = Userinfo::ALL.iter().filter(move |userinfo| userinfo.fits(&parts));
        userinfos.flat_map(move |userinfo| {
            let paths = Path::ALL.iter().filter(move |path| path.fits(&parts));
            paths.flat_map(move |path| {
                let ports = Port::ALL.iter().filter(move |port| port.fits(&parts));
                ports.map(move |port| How {
                    port: *port,
                    path: *path,
                    userinfo: *userinfo,
                    fragment: *fragment,
                    ..AS_IS
                })
            })
        })
    })
}

impl Candidate {
    fn verbatim(url: &str) -> Self {
        Self { url: url.to_owned(), how: AS_IS, query_as_parameters: false }
    }
}

impl Port {
    fn fits(self, url: &Url<'_>) -> bool {
        match self {
            Self::AsIs => true,
            Self::Dropped => !url.port.is_empty(),
            Self::Added => url.port.is_empty(),
            Self::Added80 => url.port.is_empty() && url.is_socket() && url.is_secure(),
        }
    }
}

impl Path {
    fn fits(self, url: &Url<'_>) -> bool {
        let ends_in_slash = url.path.ends_with('/');
        match self {
            Self::AsIs => true,
            Self::WithoutSlash => ends_in_slash && (url.path == "/" || url.is_socket()),
            Self::WithSlash => !ends_in_slash && (url.path.is_empty() || url.is_socket()),
        }
    }
}

impl Userinfo {
    fn fits(self, url: &Url<'_>) -> bool {
        self == Self::AsIs || !url.userinfo.is_empty()
    }
}

impl Fragment {
    fn fits(self, url: &Url<'_>) -> bool {
        self == Self::Dropped || url.fragment.is_some()
    }
}

impl Scheme {
    fn fits(self, url: &Url<'_>) -> bool {
        self == Self::AsIs || url.scheme.bytes().any(|byte| byte.is_ascii_uppercase())
    }
}

impl Query {
    /// The query in this form; `None` when the form does not apply, `Some(None)` when there is none.
    #[expect(clippy::option_option, reason = "a URL without a query is written without one")]
    fn of<'u>(self, url: &Url<'u>) -> Option<Option<Cow<'u, str>>> {
        let Some(query) = url.query else { return (self == Self::AsIs).then_some(None) };
        let changed: Cow<'u, str> = match self {
            Self::AsIs => return Some(Some(query.into())),
            Self::Escaped => query.replace('\'', "%27").into(),
            Self::AsParameters => return url.is_socket().then_some(None),
            Self::Legacy => legacy::reencoded(query).into(),
        };
        (changed != query).then_some(Some(changed))
    }
}

impl How {
    fn with(self, query: Query) -> Self {
        Self { query, ..self }
    }

    fn written(self, url: &Url<'_>, query: Option<&str>) -> Candidate {
        let mut text =
            String::with_capacity(url.host.len() + url.path.len() + query.map_or(0, str::len) + 32);
        match self.scheme {
            Scheme::AsIs => text.push_str(url.scheme),
            Scheme::Lowered => text.push_str(&url.scheme.to_ascii_lowercase()),
        }
        text.push_str("://");
        if self.userinfo == Userinfo::AsIs {
            text.push_str(url.userinfo);
        }
        text.push_str(url.host);
        text.push_str(match self.port {
            Port::AsIs => url.port,
            Port::Dropped => "",
            Port::Added if url.is_secure() => ":443",
            Port::Added | Port::Added80 => ":80",
        });
        text.push_str(match self.path {
            Path::AsIs | Path::WithSlash => url.path,
            Path::WithoutSlash => url.path.strip_suffix('/').unwrap_or(url.path),
        });
        if self.path == Path::WithSlash {
            text.push('/');
        }
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        if let Some(fragment) = url.fragment.filter(|_| self.fragment == Fragment::Kept) {
            text.push('#');
            text.push_str(fragment);
        }
        let query_as_parameters = self.query == Query::AsParameters;
        Candidate { url: text, how: self, query_as_parameters }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.port.text(),
            self.path.text(),
            self.userinfo.text(),
            self.fragment.text(),
            self.scheme.text(),
            self.query.text(),
        ];
        let mut words = words.into_iter().filter(|word| !word.is_empty());
        f.write_str(words.next().unwrap_or("as received"))?;
        words.try_for_each(|word| write!(f, ", {word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Vec<String> {
        candidates(url).map(|c| format!("{} ({})", c.url, c.how)).collect()
    }

    #[test]
    fn a_usual_url_has_two_candidates() {
        assert_eq!(
            of("https://h/p?a=1"),
            ["https://h/p?a=1 (as received)", "https://h:443/p?a=1 (default port added)"]
        );
        assert_eq!(
            of("http://h:8080/p/"),
            ["http://h:8080/p/ (as received)", "http://h/p/ (port dropped)"]
        );
    }

    #[test]
    fn each_rule_has_its_candidates() {
        let has = |url: &str, wanted: &str| {
            let urls: Vec<_> = candidates(url).map(|c| c.url).collect();
            assert!(urls.iter().any(|url| url == wanted), "{wanted} is not of {url}: {urls:?}");
        };
        has("https://u:p@h:8443/p", "https://h/p");
        has("https://u:p@h/p", "https://u:p@h:443/p");
        has("https://h/p?q#rc=3", "https://h/p?q");
        has("https://h/p?q#rc=3", "https://h/p?q#rc=3");
        has("https://h/", "https://h");
        has("https://h?a=1", "https://h/?a=1");
        has("wss://h/s", "wss://h:443/s/");
        has("wss://h/s/", "wss://h/s");
        has("wss://h/s", "wss://h:80/s");
        has("ws://h/s", "ws://h:80/s");
        has("https://[::1]:8443/p", "https://[::1]/p");
        has("https://h/p?a='x'", "https://h/p?a=%27x%27");
        has("https://h/p?a=%27x'", "https://h/p?a='x'");
        has("HTTPS://h/p", "https://h:443/p");
        has("https://h/p?b&a=x+y", "https://h/p?b=&a=x%20y");
        has("no url", "no url");
    }

    #[test]
    fn a_path_is_never_resolved_and_a_last_slash_matters_but_to_a_socket() {
        for (url, never) in [
            ("https://h/a/../b", "https://h/b"),
            ("https://h/a/", "https://h/a"),
            ("https://h/a", "https://h/a/"),
            ("https://h/a?b=%20", "https://h/a?b=+"),
            ("https://h/a?b=+", "https://h/a?b=%2B"),
            ("https://h/p?a=%27+", "https://h/p?a='+"),
            ("https://h/p", "https://h:8443/p"),
            ("https://h/p'", "https://h/p%27"),
        ] {
            assert!(candidates(url).all(|candidate| candidate.url != never), "{url}: {never}");
        }
    }

    #[test]
    fn a_sockets_query_may_be_signed_as_parameters() {
        let as_parameters: Vec<_> =
            candidates("wss://h/s?b=2&a=1").filter(|c| c.query_as_parameters).collect();
        assert_eq!(as_parameters.first().unwrap().url, "wss://h/s");
        assert!(candidates("https://h/s?b=2").all(|c| !c.query_as_parameters));
    }
}
