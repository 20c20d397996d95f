//! The nouns of Baton: ids, handoffs, keys, who may do what. Nothing here reads a clock, a socket
//! or a disk; everything can be made only through a constructor that checks it.

pub mod account;
pub mod account_sid;
pub mod algorithm;
pub mod aliases;
pub mod api_key;
pub mod call;
pub mod clock;
pub mod connector;
pub mod data;
pub mod fields;
pub mod flex_user;
pub mod handoff;
pub mod handoff_id;
pub mod members;
pub mod merge;
pub mod principal;
pub mod public_url;
pub mod random;
pub mod secret_text;
pub mod timeline;
pub mod view;
pub mod view_link;
