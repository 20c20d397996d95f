//! Texts that nobody can guess.

use aws_lc_rs::rand;
use thiserror::Error;

/// What they are made of: nothing that a URL, a header or a shell would take for something else.
pub const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The random source failed; nothing was made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the system's random source failed")]
pub struct NoRandom;

/// `length` characters, each of them equally likely.
pub fn random_text(length: usize) -> Result<String, NoRandom> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0_u8; 64];
    while text.len() < length {
        rand::fill(&mut bytes).map_err(|_unspecified| NoRandom)?;
        // 248 = 4 × 62: larger bytes would favour the first letters.
        for byte in bytes.iter().filter(|b| **b < 248) {
            if let (true, Some(c)) = (text.len() < length, ALPHABET.get(usize::from(byte % 62))) {
                text.push(char::from(*c));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_long_as_asked_and_no_two_are_alike() {
        let texts: std::collections::HashSet<_> =
            (0..1000).map(|_| random_text(20).unwrap()).collect();
        assert_eq!(texts.len(), 1000);
        assert!(texts.iter().all(|text| text.len() == 20));
        let letters: std::collections::HashSet<_> = texts.iter().flat_map(|t| t.bytes()).collect();
        assert_eq!(letters.len(), 62);
    }
}
