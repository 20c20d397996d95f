//! The rules one by one; the SDKs' own vectors are run in tests/api and through `baton sign check`.

use proptest::prelude::*;

use super::*;

const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

fn secret() -> Secret {
    Secret::new("token", Algorithm::HmacSha1, "12345")
}

fn pairs(form: &str) -> Pairs {
    Pairs::decode(form.as_bytes())
}

fn check(url: &str, payload: Payload<'_>, signature: &str) -> Result<Match, Mismatch> {
    let urls = [url.to_owned()];
    verify(&Request { urls: &urls, payload, signature }, &[&secret()]).outcome
}

fn form(pairs: &Pairs) -> Payload<'_> {
    Payload::Form { pairs, raw: None }
}

#[test]
fn the_example_of_twilios_own_sdk() {
    let given = pairs(
        "To=%2B18005551212&From=%2B14158675309&Digits=1234&Caller=%2B14158675309&CallSid=CA1234567890ABCDE",
    );
    assert_eq!(sign(&secret(), URL, &given), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    let found = check(URL, form(&given), "RSOYDt4T1cUTdK1PDd93/VVr8B8=").unwrap();
    assert_eq!((found.secret.as_str(), found.how.to_string().as_str()), ("token", "as received"));
}

#[test]
fn pairs_are_sorted_by_name_then_value_and_stand_once() {
    let signature = sign(&secret(), URL, &pairs("b=2&a=3&a=1&A=0&a=3&empty="));
    let all = "https://mycompany.com/myapp.php?foo=1&bar=2A0a1a3b2empty";
    assert_eq!(signature, sign(&secret(), all, &Pairs::default()));
    // By name, and not by name and value: `Reason` stands before `ReasonX`.
    let signature = sign(&secret(), "u", &pairs("ReasonX=1&Reason=z"));
    assert_eq!(signature, sign(&secret(), "uReasonzReasonX1", &Pairs::default()));
}

#[test]
fn beyond_the_basic_plane_both_orders_are_good() {
    // U+1F600 is D83D DE00 in UTF-16, and so before U+FFFD there, and behind it in UTF-8.
    let given = pairs("%F0%9F%98%80=1&%EF%BF%BD=2");
    for order in ["😀1\u{fffd}2", "\u{fffd}2😀1"] {
        let signature = sign(&secret(), &format!("https://h/{order}"), &Pairs::default());
        assert!(check("https://h/", form(&given), &signature).is_ok(), "{order}");
    }
}

#[test]
fn a_body_that_is_no_form_is_signed_by_its_hash_alone() {
    let body = br#"{"a": 1}"#;
    let with_hash = format!("{URL}&bodySHA256={}", body_hash(body));
    let signed = |url: &str| sign(&secret(), url, &Pairs::default());
    assert!(check(&with_hash, Payload::Body(body), &signed(&with_hash)).is_ok());
    for (url, other, why) in [
        (with_hash.as_str(), &br#"{"a":1}"#[..], Mismatch::OtherBody),
        (&with_hash, b"", Mismatch::OtherBody),
        (URL, body, Mismatch::NoBodyHash),
        (&format!("{URL}&x=bodySHA256"), body, Mismatch::NoBodyHash),
        (&format!("{URL}&bodysha256={}", body_hash(body)), body, Mismatch::NoBodyHash),
    ] {
        assert_eq!(check(url, Payload::Body(other), &signed(url)), Err(why), "{url}");
    }
    let encoded = with_hash.replace("bodySHA256", "bodySHA25%36");
    assert!(check(&encoded, Payload::Body(body), &signed(&encoded)).is_ok());
    let first_counts = format!("{with_hash}&bodySHA256=00");
    assert!(check(&first_counts, Payload::Body(body), &signed(&first_counts)).is_ok());
}

#[test]
fn a_form_with_a_body_hash_is_signed_either_way_and_whole() {
    let raw = b"a=1&b=2";
    let given = Pairs::decode(raw);
    let url = format!("{URL}&bodySHA256={}", body_hash(raw));
    let payload = Payload::Form { pairs: &given, raw: Some(raw) };
    assert!(check(&url, payload, &sign(&secret(), &url, &given)).is_ok());
    let by_hash = sign(&secret(), &url, &Pairs::default());
    assert!(check(&url, payload, &by_hash).is_ok());
    let other = pairs("a=1&b=3");
    let changed = Payload::Form { pairs: &other, raw: Some(b"a=1&b=3") };
    assert!(check(&url, changed, &by_hash).is_err());
}

#[test]
fn a_sockets_query_may_be_signed_as_parameters() {
    let signed = sign(&secret(), "wss://h/s/", &pairs("b=2&a=1"));
    assert!(check("wss://h/s?b=2&a=1", Payload::None, &signed).is_ok());
    assert!(check("https://h/s?b=2&a=1", Payload::None, &signed).is_err());
    // Not in the place of parameters that came with it.
    assert!(check("wss://h/s?b=2&a=1", form(&pairs("To=evil")), &signed).is_err());
}

#[test]
fn a_signature_is_exactly_its_text_and_each_secret_is_tried() {
    let good = sign(&secret(), URL, &Pairs::default());
    let lower = good.to_lowercase();
    let unpadded = good.trim_end_matches('=').to_owned();
    let twice = format!("{good},{good}");
    assert_eq!(check(URL, Payload::None, ""), Err(Mismatch::NoSignature));
    assert_eq!(check(URL, Payload::None, &lower), Err(Mismatch::NoneMatched));
    for bad in [" ", &unpadded, &twice, &format!("sha1={good}"), &format!(" {good}")] {
        assert_eq!(check(URL, Payload::None, bad), Err(Mismatch::NotASignature), "{bad}");
    }
    let urls = [URL.to_owned()];
    let request = Request { urls: &urls, payload: Payload::None, signature: &good };
    let other = Secret::new("other", Algorithm::HmacSha1, "54321");
    let sha256 = Secret::new("sha256", Algorithm::HmacSha256, "12345");
    assert_eq!(verify(&request, &[&other, &secret()]).outcome.unwrap().secret, "token");
    assert_eq!(verify(&request, &[&other, &sha256]).outcome, Err(Mismatch::NoneMatched));
    assert_eq!(verify(&request, &[]).outcome, Err(Mismatch::NoSecret));
}

#[test]
fn a_refusal_costs_a_bounded_number_of_hmacs_and_names_each_url_once() {
    let urls: Vec<_> = (0..2000).map(|n| format!("wss://u:p@h{n}/?a='&b=%27+#f")).collect();
    let wrong = "A".repeat(28);
    let request = Request { urls: &urls, payload: Payload::None, signature: &wrong };
    let verdict = verify(&request, &[&secret()]);
    let hashed: usize = verdict.tried.iter().map(|(url, _)| url.len() + 100).sum();
    assert!(verdict.tried.len() > 1000 && hashed <= MAX_HASHED_BYTES);
    assert_eq!(verdict.outcome, Err(Mismatch::TooMuch));
    let large = Pairs::decode(&vec![b'x'; 64 * 1024]);
    let verdict = verify(&Request { payload: form(&large), ..request }, &[&secret()]);
    assert!(verdict.tried.len() <= 32, "{}", verdict.tried.len());
    let usual = [URL.to_owned()];
    let verdict = verify(&Request { urls: &usual, ..request }, &[&secret()]);
    let tried: Vec<_> = verdict.tried.into_iter().map(|(url, _)| url).collect();
    assert_eq!(tried, [URL, "https://mycompany.com:443/myapp.php?foo=1&bar=2"]);
}

#[test]
fn however_many_secrets_there_are_the_likeliest_url_is_tried_with_each() {
    let large = Pairs::decode(&vec![b'x'; 64 * 1024]);
    let others: Vec<_> =
        (0..200).map(|n| Secret::new("", Algorithm::HmacSha1, &n.to_string())).collect();
    let last = secret();
    let secrets: Vec<_> = others.iter().chain([&last]).collect();
    let (urls, good) = ([URL.to_owned()], sign(&last, URL, &large));
    let request = Request { urls: &urls, payload: form(&large), signature: &good };
    assert_eq!(verify(&request, &secrets).outcome.unwrap().secret, "token");
    let wrong = Request { signature: &"A".repeat(28), ..request };
    assert_eq!(verify(&wrong, &secrets).outcome, Err(Mismatch::TooMuch));
}

/// What a stranger can make an explanation cost: a check of a request of that size, a few times.
#[test]
fn an_explanation_costs_little_more_than_a_refusal() {
    let many: String = (0..1000).map(|n| format!("name{n}=&")).collect();
    let many = pairs(&many);
    let urls = ["https://h/p?a&b&c&d&e".to_owned()];
    let wrong = "A".repeat(28);
    let request = Request { urls: &urls, payload: form(&many), signature: &wrong };
    let time = |work: &dyn Fn()| {
        let started = std::time::Instant::now();
        work();
        started.elapsed()
    };
    let refusal = (0..9).map(|_| time(&|| drop(verify(&request, &[&secret()])))).min().unwrap();
    let explained = || drop(explain::would_match_if(&request, &[&secret()], &[]));
    let explained = (0..9).map(|_| time(&explained)).min().unwrap();
    assert!(explained < refusal * 60, "{explained:?} beside {refusal:?}");
}

#[test]
fn a_body_is_hashed_as_the_sdks_hash_it() {
    let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    assert_eq!(body_hash(br#"{"property": "value", "boolean": true}"#), hash);
}

#[test]
fn a_refusal_is_explained_by_the_one_thing_that_would_mend_it() {
    let reasons = |url: &str, payload, signature: &str| {
        let urls = [url.to_owned()];
        let previous = Secret::new("previous", Algorithm::HmacSha1, "old");
        let request = Request { urls: &urls, payload, signature };
        explain::would_match_if(&request, &[&secret()], &[&previous]).join("; ")
    };
    let none = Pairs::default();
    let signed = |url: &str, given: &Pairs| sign(&secret(), url, given);
    let said = reasons("http://h/p?a=1", Payload::None, &signed("https://h/p?a=1", &none));
    assert!(said.contains("https") && !said.contains(';'), "{said}");
    assert!(
        reasons("https://h/p?a=1", Payload::None, &signed("https://h/p/?a=1", &none))
            .contains("path")
    );
    assert!(
        reasons("https://h/p?b&a", Payload::None, &signed("https://h/p?a&b", &none))
            .contains("another order")
    );
    let (padded, given) = (pairs("a=1+&b="), pairs("a=1&b="));
    assert!(reasons(URL, form(&padded), &signed(URL, &given)).contains("trimmed"));
    assert!(reasons(URL, form(&given), &signed(URL, &pairs("a=1"))).contains("empty"));
    let json = Payload::Body(br#"{"a":"1","b":""}"#);
    assert!(reasons(URL, json, &signed(URL, &given)).contains("like a form's"));
    let get = "https://h/p?a=1";
    assert!(reasons(get, Payload::None, &signed(get, &pairs("a=1"))).contains("again"));
    let old = Secret::new("previous", Algorithm::HmacSha1, "old");
    assert!(reasons(URL, Payload::None, &sign(&old, URL, &none)).contains("previous token"));
    assert_eq!(reasons(URL, Payload::None, &"A".repeat(28)), "");
    let with_fragment =
        reasons("https://h/p?b&a#rc=2", Payload::None, &signed("https://h/p?a&b", &none));
    assert!(with_fragment.contains("another order"), "{with_fragment}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_signed_verifies_and_one_changed_byte_does_not(
        query in "[a-z=&%'+]{0,12}", form_text in "[a-zA-Z0-9=&%+]{0,24}", at in any::<prop::sample::Index>(), to in "[A-Za-z0-9+/=]"
    ) {
        let url = format!("https://h/p?{query}");
        let given = pairs(&form_text);
        let signature = sign(&secret(), &url, &given);
        prop_assert!(check(&url, form(&given), &signature).is_ok());
        let at = at.index(signature.len());
        let changed = format!("{}{to}{}", &signature[..at], &signature[at + 1..]);
        prop_assert_eq!(check(&url, form(&given), &changed).is_ok(), changed == signature);
    }

    #[test]
    fn no_text_panics(url in "\\PC{0,40}", query in "[a-z=&%'+?#/:@\\[\\]]{0,40}", body in prop::collection::vec(any::<u8>(), 0..40), signature in "\\PC{0,30}") {
        for url in [url, format!("https://{query}"), format!("wss://h{query}")] {
            let given = Pairs::decode(&body);
            for payload in [Payload::None, form(&given), Payload::Body(&body)] {
                let urls = [url.clone()];
                let request = Request { urls: &urls, payload, signature: &signature };
                prop_assert!(verify(&request, &[&secret()]).outcome.is_err());
                explain::would_match_if(&request, &[&secret()], &[]);
            }
        }
    }
}
