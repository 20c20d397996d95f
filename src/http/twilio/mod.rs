//! What Twilio calls: the door its signature opens, and the answers its products take.

pub(super) mod calls;
pub(super) mod check;
pub(super) mod door;
pub(super) mod events;
pub(super) mod studio;
