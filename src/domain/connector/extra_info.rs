//! [`ExtraInfo`]: what `PolyAI` calls `extra_info`: the languages, and whatever else a client sends,
//! kept byte for byte.

use oxilangtag::LanguageTag;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error;
use serde_json::value::RawValue;

use crate::domain::connector::address::plain;

/// Longest `extra_info`, in bytes.
pub const MAX_EXTRA_INFO_BYTES: usize = 16_384;

/// A JSON object with, perhaps, `telephony{asr_lang_code, tts_lang_code, twilio_partnership}`.
#[derive(Clone, Debug)]
pub struct ExtraInfo {
    text: String,
    telephony: Telephony,
}

/// The part of it that Baton reads.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Telephony {
    /// What the caller is heard in, BCP 47; empty if it is not said.
    #[serde(default)]
    pub asr_lang_code: Language,
    /// What the agent speaks, BCP 47; empty if it is not said.
    #[serde(default)]
    pub tts_lang_code: Language,
    /// Taken for clients that send it; it changes nothing here.
    #[serde(default, rename = "twilio_partnership")]
    _twilio_partnership: Option<bool>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    telephony: Telephony,
}

/// A language tag, kept as it is spelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Language(String);

impl Language {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        match LanguageTag::parse(text.as_str()) {
            Ok(_) => Ok(Self(text)),
            Err(_) if text.is_empty() => Ok(Self::default()),
            Err(why) => Err(D::Error::custom(format!(
                "must be a BCP 47 language tag such as en-GB ({why})"
            ))),
        }
    }
}

impl ExtraInfo {
    /// What it says of telephony.
    pub fn telephony(&self) -> &Telephony {
        &self.telephony
    }
}

impl Default for ExtraInfo {
    fn default() -> Self {
        Self { text: "{}".to_owned(), telephony: Telephony::default() }
    }
}

impl Serialize for ExtraInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ExtraInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        if text.len() > MAX_EXTRA_INFO_BYTES {
            let why = format!("must be at most {MAX_EXTRA_INFO_BYTES} bytes");
            return Err(D::Error::custom(why));
        }
        if !text.starts_with('{') {
            return Err(D::Error::custom("must be an object"));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let read: Read = serde_path_to_error::deserialize(&mut reader).map_err(|why| {
            D::Error::custom(format!(
                "is wrong: {} {}",
                why.path(),
                plain(&why.inner().to_string())
            ))
        })?;
        Ok(Self { text: text.to_owned(), telephony: read.telephony })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ExtraInfo, String> {
        serde_json::from_str(text).map_err(|why| why.to_string())
    }

    #[test]
    fn what_baton_does_not_know_keeps_its_bytes() {
        let text = r#"{"telephony":{"asr_lang_code":"en-GB","ari":true},"n":1.10,"big":12345678901234567890123}"#;
        let info = read(text).unwrap();
        assert_eq!(serde_json::to_string(&info).unwrap(), text);
        assert_eq!(info.telephony().asr_lang_code.as_str(), "en-GB");
        assert_eq!(info.telephony().tts_lang_code.as_str(), "");
    }

    #[test]
    fn languages_are_bcp_47_and_the_fault_is_named() {
        for tag in ["en", "en-GB", "zh-Hans-CN", "es-419", "sr-Latn", "de-CH-1996", "i-klingon"] {
            let text = format!(r#"{{"telephony":{{"tts_lang_code":"{tag}"}}}}"#);
            assert!(read(&text).is_ok(), "{tag}");
        }
        for none in
            [r#"{"telephony":{"tts_lang_code":""}}"#, r#"{"telephony":{"tts_lang_code":null}}"#]
        {
            assert_eq!(read(none).unwrap().telephony().tts_lang_code.as_str(), "");
        }
        for tag in ["english-language-x", "en_GB", "en-", "e", "en GB", "[LANG]"] {
            let text = format!(r#"{{"telephony":{{"tts_lang_code":"{tag}"}}}}"#);
            let why = read(&text).unwrap_err();
            assert!(why.contains("telephony.tts_lang_code") && why.contains("BCP 47"), "{why}");
        }
        assert!(
            read("[]").is_err() && read(r#"{"telephony":{"twilio_partnership":"yes"}}"#).is_err()
        );
    }
}
