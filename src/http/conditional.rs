//! `ETag`, `If-Match`, `If-None-Match` (RFC 9110 §8.8.3, §13.1). The tag of a handoff is its
//! revision, strong: the same revision is the same bytes.

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::http::header::HeaderName;

use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::service::handoffs::Precondition;

/// The tag of a revision.
pub(super) fn tag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// Whether a reader says that it has this revision already.
pub(super) fn is_known(request: &HttpRequest, revision: u64) -> bool {
    is_tagged(request, &revision.to_string())
}

/// Whether a reader says that it has what is tagged so.
pub(super) fn is_tagged(request: &HttpRequest, tag: &str) -> bool {
    let tag = format!("\"{tag}\"");
    listed(request, &header::IF_NONE_MATCH)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// What a writer wants to be there.
pub(super) fn precondition(request: &HttpRequest) -> Result<Precondition, ApiError> {
    let has = |name: &HeaderName| request.headers().contains_key(name);
    match (has(&header::IF_MATCH), has(&header::IF_NONE_MATCH)) {
        (false, false) => Ok(Precondition::None),
        (true, true) => Err(ApiError::new(
            Code::InvalidParameter,
            "If-Match and If-None-Match exclude each other; send one",
        )),
        (true, false) => {
            let tags: Vec<_> = listed(request, &header::IF_MATCH).collect();
            match tags.as_slice() {
                ["*"] => Ok(Precondition::Exists),
                // A tag that is not one of ours matches nothing, weak ones among them (§13.1.1).
                tags => Ok(Precondition::OneOf(tags.iter().filter_map(|t| revision(t)).collect())),
            }
        }
        (false, true) if listed(request, &header::IF_NONE_MATCH).eq(["*"]) => {
            Ok(Precondition::Absent)
        }
        (false, true) => Err(ApiError::new(
            Code::InvalidParameter,
            "If-None-Match on a write takes only `*`: store if nothing is there",
        )),
    }
}

fn revision(tag: &str) -> Option<u64> {
    let revision = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
    // `"+7"` and `"07"` are other tags, though they are the same number.
    (self::tag(revision) == tag).then_some(revision)
}

fn listed<'r>(request: &'r HttpRequest, name: &HeaderName) -> impl Iterator<Item = &'r str> {
    let values = request.headers().get_all(name);
    values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn with(name: &'static str, value: &str) -> HttpRequest {
        TestRequest::default().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn a_reader_knows_a_revision_by_its_tag_weak_or_strong_or_by_a_star() {
        for (value, known) in [
            ("\"7\"", true),
            ("W/\"7\"", true),
            ("\"1\", \"7\"", true),
            ("*", true),
            ("\"8\"", false),
            ("7", false),
        ] {
            assert_eq!(is_known(&with("if-none-match", value), 7), known, "{value}");
        }
        assert!(!is_known(&TestRequest::default().to_http_request(), 7));
    }

    #[test]
    fn a_writers_condition_compares_strongly() {
        let of = |name, value| precondition(&with(name, value));
        assert_eq!(of("if-match", "\"7\", \"9\"").unwrap(), Precondition::OneOf(vec![7, 9]));
        assert_eq!(of("if-match", "W/\"7\"").unwrap(), Precondition::OneOf(vec![]));
        assert_eq!(of("if-match", "\"+7\", \"07\", 7").unwrap(), Precondition::OneOf(vec![]));
        assert_eq!(of("if-match", "*").unwrap(), Precondition::Exists);
        assert_eq!(of("if-none-match", "*").unwrap(), Precondition::Absent);
        assert_eq!(of("if-none-match", "\"7\"").unwrap_err().code, Code::InvalidParameter);
        assert_eq!(of("accept", "x").unwrap(), Precondition::None);
    }
}
