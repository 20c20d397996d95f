//! Every way to forge a token, and the keys that sign them.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::harness::SID;
use crate::harness::Server;
use crate::tokens::at_every_route;
use crate::tokens::call_token;
use crate::tokens::is_webhook;

/// A signing key that the test knows, for servers to sign with.
pub struct SigningKey {
    key: Vec<u8>,
    folder: tempfile::TempDir,
}

impl SigningKey {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref().to_vec();
        std::fs::write(folder.path().join("keys"), STANDARD.encode(&key)).unwrap();
        Self { key, folder }
    }

    /// A server that signs with it.
    pub fn server(&self) -> Server {
        Server::with(&["--signing-keys-file", self.folder.path().join("keys").to_str().unwrap()])
    }

    /// A token that says something else than a good one, signed with the server's own key.
    pub fn signed(&self, good: &str, change: impl FnOnce(&mut Header, &mut Value)) -> String {
        let (mut header, mut claims) = parts(good);
        change(&mut header, &mut claims);
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&self.key)).unwrap()
    }

    pub fn public(&self) -> Vec<u8> {
        Ed25519KeyPair::from_pkcs8(&self.key).unwrap().public_key().as_ref().to_vec()
    }
}

pub fn parts(token: &str) -> (Header, Value) {
    let header = jsonwebtoken::decode_header(token).unwrap();
    let claims = token.split('.').nth(1).unwrap();
    (header, serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap())
}

#[tokio::test]
async fn no_forged_token_opens_any_route() {
    let signing = SigningKey::new();
    let server = &signing.server();
    let (id, good) = made(&server.admin(), &reference("a", "live")).await;
    let (other, _) = made(&server.admin(), &reference("b", "live")).await;
    let foreign = Server::start();
    let (_, elsewhere) = made(&foreign.admin(), &reference("a", "live")).await;
    bearer(server, &good).write(SID, "{}").await.ok(201);
    let unchanged = signing.signed(&good, |_, _| {});
    bearer(server, &unchanged).read(SID).await.ok(200);
    let with_header = |header: Value| {
        let (_, rest) = good.split_once('.').unwrap();
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    let (header, _) = parts(&good);
    let kid = header.kid.unwrap();
    let hs256 = |key: &[u8]| {
        let (mut header, claims) = parts(&good);
        header.alg = Algorithm::HS256;
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key)).unwrap()
    };
    let (head, signature) = good.rsplit_once('.').unwrap();
    let claim = |name: &'static str, value: Value| {
        signing.signed(&good, move |_, claims| claims[name] = value)
    };
    let forged = vec![
        ("alg none", with_header(json!({"alg": "none", "typ": "baton-connector+jwt", "kid": kid}))),
        ("alg none, no signature", {
            let none =
                with_header(json!({"alg": "none", "typ": "baton-connector+jwt", "kid": kid}));
            format!("{}.", none.rsplit_once('.').unwrap().0)
        }),
        ("no signature", format!("{head}.")),
        ("HS256 with the public key", hs256(&signing.public())),
        ("HS256 with its base64", hs256(STANDARD.encode(signing.public()).as_bytes())),
        ("another signature", format!("{head}.{}", signature.chars().rev().collect::<String>())),
        ("unknown kid", signing.signed(&good, |header, _| header.kid = Some("nope".to_owned()))),
        ("no kid", signing.signed(&good, |header, _| header.kid = None)),
        ("wrong typ", signing.signed(&good, |header, _| header.typ = Some("JWT".to_owned()))),
        (
            "view link's typ",
            signing.signed(&good, |h, _| h.typ = Some("baton-view+jwt".to_owned())),
        ),
        ("no typ", signing.signed(&good, |header, _| header.typ = None)),
        ("crit", signing.signed(&good, |header, _| header.crit = Some(vec!["exp".to_owned()]))),
        ("wrong aud", claim("aud", json!("baton:view"))),
        ("list of aud", claim("aud", json!(["baton:connector"]))),
        ("no aud", claim("aud", Value::Null)),
        ("wrong iss", claim("iss", json!("ins_00000000000000000000"))),
        ("another connector", claim("sub", json!(other))),
        ("no connector", claim("sub", json!("conn_00000000000000000000"))),
        ("another token id", claim("jti", json!("tok_00000000000000000000"))),
        ("another server's", elsewhere),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("long", signing.signed(&good, |_, claims| claims["pad"] = json!("x".repeat(1000)))),
    ];
    let key = EncodingKey::from_ed_der(
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref(),
    );
    let (header, claims) = parts(&good);
    let strange = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    for (what, token) in forged.into_iter().chain([("another key", strange)]) {
        let client = bearer(server, &token);
        client.read(SID).await.refused(401, "INVALID_TOKEN");
        for (at, status, code) in at_every_route(&client, &id).await {
            assert!(
                code == "INVALID_TOKEN"
                    || (status == 403 && is_webhook(at.split_once(' ').unwrap().1)),
                "{what} at {at}: {status} {code}"
            );
        }
    }
    let past = claim("exp", json!(1));
    bearer(server, &past).read(SID).await.refused(401, "TOKEN_EXPIRED");
    // As a key, or in Basic, a token is none.
    let told = server.client(&good).read(SID).await.refused(401, "INVALID_KEY");
    assert!(told.contains("Bearer"), "{told}");
    let basic = format!("Basic {}", STANDARD.encode(format!("key:{good}")));
    server.presenting("authorization", basic).read(SID).await.refused(401, "INVALID_KEY");
    // Call tokens: each byte of one counts, and none is another server's.
    let call = call_token(server, &id, SID, Duration::from_secs(60));
    let bytes = URL_SAFE_NO_PAD.decode(&call[4..]).unwrap();
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 1;
        let bent = format!("bct_{}", URL_SAFE_NO_PAD.encode(bent));
        bearer(server, &bent).read(SID).await.refused(401, "INVALID_TOKEN");
    }
    for bent in ["bct_".to_owned(), call[..60].to_owned(), format!("{call}AAAA")] {
        bearer(server, &bent).read(SID).await.refused(401, "INVALID_TOKEN");
    }
    let foreign = call_token(&foreign, &id, SID, Duration::from_secs(60));
    bearer(server, &foreign).read(SID).await.refused(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn keys_that_take_each_others_place_verify_both_and_one_that_is_gone_verifies_none() {
    let folder = tempfile::tempdir().unwrap();
    let pair = || STANDARD.encode(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap());
    let (one, two) = (pair(), pair());
    let file = folder.path().join("keys");
    let flags = ["--signing-keys-file", file.to_str().unwrap()];
    std::fs::write(&file, &one).unwrap();
    let mut server = Server::with(&flags);
    let (id, first) = made(&server.admin(), &reference("a", "live")).await;
    let (data, clock) = (server.folder(), server.clock.clone());
    server.ask_to_stop(true);
    server.join();
    std::fs::write(&file, format!("{two} {one}")).unwrap();
    let mut server = Server::on(&data, clock.clone(), &flags);
    bearer(&server, &first).write(SID, "{}").await.ok(201);
    let second = server.admin().post(&format!("{PATH}/{id}/token"), &json!({})).await.ok(201);
    let second = second["connector_token"].as_str().unwrap().to_owned();
    server.ask_to_stop(true);
    server.join();
    std::fs::write(&file, &two).unwrap();
    let server = Server::on(&data, clock, &flags);
    bearer(&server, &first).read(SID).await.refused(401, "INVALID_TOKEN");
    bearer(&server, &second).read(SID).await.ok(200);
}
