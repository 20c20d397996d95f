//! [`Callers`]: callers' numbers, so that a call can be found by one and none is kept: what stands in
//! records and in names of index sets is a keyed hash, by keys of the sealing ring.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::account::AccountId;
use crate::store::kv::StoreError;
use crate::store::seal::Seal;

const PURPOSE: &[u8] = b"baton callers";
// Of a hash that tells numbers apart.
const MARK_BYTES: usize = 16;
// Digits of a number that may be somebody's. E.164 has 15 at most.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Marks callers' numbers.
#[derive(Clone, Debug)]
pub struct Callers {
    /// One for each sealing key; the first marks.
    keys: Vec<hmac::Key>,
}

impl Callers {
    /// Marks by keys of `seal`, so that all processes over one store agree.
    pub fn new(seal: &Seal) -> Result<Self, StoreError> {
        let keys = seal.derive_all(PURPOSE)?;
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect();
        Ok(Self { keys })
    }

    /// The mark of a number, if it is one: `+44 1632 960000`, `tel:`, or `sip:` with a number before its `@`.
    pub fn mark(&self, account: &AccountId, number: &str) -> Option<String> {
        let digits = digits(number)?;
        self.keys.first().map(|key| mark(key, account, &digits))
    }

    /// Every mark that a number may have been given, by older keys as well.
    pub fn marks(&self, account: &AccountId, number: &str) -> Vec<String> {
        let digits = digits(number);
        let keys = digits.iter().flat_map(|digits| self.keys.iter().map(move |key| (key, digits)));
        keys.map(|(key, digits)| mark(key, account, digits)).collect()
    }
}

fn mark(key: &hmac::Key, account: &AccountId, digits: &str) -> String {
    let text = [account.as_str(), digits].join("\0");
    let tag = hmac::sign(key, text.as_bytes());
    URL_SAFE_NO_PAD.encode(tag.as_ref().get(..MARK_BYTES).unwrap_or_default())
}

/// The digits of a number, without the way out of a country's network.
pub fn digits(number: &str) -> Option<String> {
    let text = number.trim();
    let scheme = ["sips:", "sip:", "tel:"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let text = scheme.unwrap_or(text).split(['@', ';']).next().unwrap_or_default();
    let is_of_numbers = |c: char| c.is_ascii_digit() || " +-.()/\u{a0}".contains(c);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.strip_prefix("00").map(str::to_owned).unwrap_or(digits);
    (text.chars().all(is_of_numbers) && DIGITS.contains(&digits.len())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::seal::tests::ring;

    #[test]
    fn a_number_is_the_same_however_it_is_spelled_and_marked_for_one_account() {
        for text in
            ["+44 1632 960000", "0044 (1632) 960-000", "441632960000", "sip:+441632960000@pbx"]
        {
            assert_eq!(digits(text).as_deref(), Some("441632960000"), "{text}");
        }
        for text in ["", "anonymous", "sip:alice@pbx", "123456", "CA0123456789", "1234567890123456"]
        {
            assert_eq!(digits(text), None, "{text}");
        }
        let (a, b): (AccountId, AccountId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let old = Callers::new(&ring(&[1])).unwrap();
        let new = Callers::new(&ring(&[2, 1])).unwrap();
        let number = "+441632960000";
        assert_ne!(old.mark(&a, number), old.mark(&b, number));
        assert_ne!(old.mark(&a, number), new.mark(&a, number));
        assert!(new.marks(&a, number).contains(&old.mark(&a, number).unwrap()));
    }
}
