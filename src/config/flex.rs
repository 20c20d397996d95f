//! Reads what Baton knows of Flex: whose pages may ask, and who of its users is let in.

use crate::config::Faults;
use crate::config::raw::Raw;
use crate::domain::public_url::PublicUrl;

/// What is set of Flex.
#[derive(Clone, Debug, Default)]
pub struct Flex {
    /// Origins whose pages may ask, beside Flex's own.
    pub origins: Vec<String>,
    /// Origins whose pages may frame the panel, beside Flex's own.
    pub frame_ancestors: Vec<String>,
    /// Roles that are let in.
    pub roles: Vec<String>,
    /// Where Twilio's IAM is.
    pub iam_url: String,
    /// Where Twilio's `TaskRouter` is.
    pub taskrouter_url: String,
}

impl Flex {
    pub(super) fn read(raw: &Raw, faults: &mut Faults) -> Self {
        let origins = origins("BATON_CORS_ORIGINS", raw.cors_origins.as_deref(), faults);
        let of_frames = raw.frame_ancestors.as_deref();
        let frame_ancestors = self::origins("BATON_FRAME_ANCESTORS", of_frames, faults);
        let roles: Vec<_> = raw.flex_roles.split_whitespace().map(str::to_owned).collect();
        if roles.is_empty() {
            faults.0.push("BATON_FLEX_ROLES must name at least one role, such as agent".to_owned());
        }
        Self {
            origins,
            frame_ancestors,
            roles,
            iam_url: twilio_url("BATON_TWILIO_IAM_URL", &raw.twilio_iam_url, faults),
            taskrouter_url: twilio_url(
                "BATON_TWILIO_TASKROUTER_URL",
                &raw.twilio_taskrouter_url,
                faults,
            ),
        }
    }
}

/// Where credentials are sent: encrypted, or to a stand-in on this machine.
pub(super) fn twilio_url(name: &str, text: &str, faults: &mut Faults) -> String {
    let url = text.trim().parse::<PublicUrl>().ok();
    if let Some(url) = url.filter(|url| url.is_https() || url.is_on_loopback()) {
        return url.as_str().to_owned();
    }
    let fault = format!("{name} must be https://host, without user, query or fragment");
    faults.add(fault).unwrap_or_default()
}

fn origins(name: &str, given: Option<&str>, faults: &mut Faults) -> Vec<String> {
    let origins: Vec<_> = given.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    for origin in origins.iter().filter(|origin| !is_origin(origin)) {
        faults.0.push(format!(
            "{name} {origin} must be an origin as a browser spells it: https://host[:port] in lower case, without a path or a slash at the end"
        ));
    }
    origins
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
    host.is_some_and(|host| {
        let default = if text.starts_with("https") { ":443" } else { ":80" };
        !host.is_empty() && host.bytes().all(plain) && !host.ends_with(default)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_spelled_as_a_browser_spells_it() {
        for origin in ["https://flex.example.com", "http://localhost:3000", "https://[::1]:8443"] {
            assert!(is_origin(origin), "{origin}");
        }
        for text in [
            "*",
            "null",
            "https://",
            "https://Flex.example.com",
            "https://flex.example.com/",
            "https://flex.example.com:443",
            "https://*.example.com",
            "flex.example.com",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
