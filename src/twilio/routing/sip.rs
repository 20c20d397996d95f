//! SIP addresses as `<Sip>` takes them, with the headers that the call carries: `?X-Name=value&…`.

use std::collections::HashSet;

use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;

// Twilio's errors 13251 and 21227: fewer than 255 characters of address and 1024 of headers.
const MAX_CHARACTERS: usize = 1024;
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An address whose call is encrypted, TLS and SRTP, unless it says itself whether it is.
pub(super) fn secured(uri: &str) -> String {
    if uri.starts_with("sips:") || uri.contains(";secure=") {
        uri.to_owned()
    } else {
        format!("{uri};secure=true")
    }
}

/// An address with headers, the first of each name, as many as Twilio takes.
pub(super) fn with_headers<'h>(
    uri: &str,
    headers: impl Iterator<Item = (&'h str, &'h str)>,
) -> String {
    let mut whole = uri.to_owned();
    let mut names = HashSet::new();
    for (name, value) in headers {
        let joint = if names.is_empty() { '?' } else { '&' };
        let header = format!("{joint}{name}={}", utf8_percent_encode(value, VALUE));
        let is_new = !names.contains(&name.to_ascii_lowercase());
        if is_new && whole.len() + header.len() <= MAX_CHARACTERS {
            names.insert(name.to_ascii_lowercase());
            whole.push_str(&header);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_encoded_named_once_and_within_what_twilio_takes() {
        assert_eq!(secured("sip:a@b"), "sip:a@b;secure=true");
        assert_eq!(secured("sip:a@b;secure=false"), "sip:a@b;secure=false");
        assert_eq!(secured("sips:a@b"), "sips:a@b");
        let headers = [("X-A", "a&b=c?"), ("x-a", "2"), ("X-B", "https://x/y?z=1")];
        assert_eq!(
            with_headers("sip:a@b", headers.into_iter()),
            "sip:a@b?X-A=a%26b%3Dc%3F&X-B=https%3A%2F%2Fx%2Fy%3Fz%3D1"
        );
        let long = "x".repeat(1100);
        let headers = [("X-Long", long.as_str()), ("X-C", "1")];
        assert_eq!(with_headers("sip:a@b", headers.into_iter()), "sip:a@b?X-C=1");
        assert_eq!(with_headers("sip:a@b", [].into_iter()), "sip:a@b");
    }
}
