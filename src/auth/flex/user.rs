//! A Flex user as who they come in.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::account_sid::AccountSid;
use crate::domain::flex_user::FlexUser;
use crate::domain::flex_user::Line;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::domain::timeline::Worker;
use crate::store::connector::StoredConnector;
use crate::twilio::iam::TokenOwner;

/// The owner of a token, as who they come in.
pub(super) fn principal(
    owner: &TokenOwner,
    account: &AccountSid,
    linked: &[Arc<StoredConnector>],
) -> Principal {
    let lines: Vec<_> = linked.iter().map(|found| Line::of(&found.record)).collect();
    let mut accounts: Vec<_> = lines.iter().map(|line| line.account.clone()).collect();
    accounts.sort();
    accounts.dedup();
    let projects = lines.iter().map(|line| line.project.clone()).collect();
    let worker = owner.worker_sid.clone();
    let identity = Some(owner.identity.clone()).filter(|identity| !identity.is_empty());
    // Who has no worker is told from others all the same, and not by name.
    let user = || format!("user-{}", hashed(&owner.identity));
    let name = format!("{account}:{}", worker.clone().unwrap_or_else(user));
    let worker = Worker { worker_sid: worker, worker: identity };
    Principal {
        credential: Credential::FlexUser(Arc::new(FlexUser {
            account_sid: account.clone(),
            worker,
            lines,
        })),
        name,
        reach: Reach::Among(accounts),
        projects: Projects::Only(projects),
        scopes: vec![Scope::HandoffRead],
        expires_at: owner.expires_at,
        read_defaults: ReadDefaults::default(),
        acting: None,
    }
}

fn hashed(identity: &str) -> String {
    let hash = digest::digest(&digest::SHA256, identity.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..6).unwrap_or_default())
}
