//! `TwiML`: the verbs that Baton answers with, written so that nothing which stands in them can end an
//! element or begin one.
//!
//! Sources: Twilio's `TwiML` pages for each verb; what its own library writes for the same nouns is what
//! `tests/twilio/voice.mjs` compares these with.

use std::borrow::Cow;
use std::fmt;

use quick_xml::Writer;
use quick_xml::escape::escape;
use quick_xml::escape::partial_escape;
use quick_xml::events::BytesDecl;
use quick_xml::events::BytesEnd;
use quick_xml::events::BytesStart;
use quick_xml::events::BytesText;
use quick_xml::events::Event;

use crate::domain::connector::ConnectorId;

/// The answer to a call that is over, or for which there is nothing to do.
pub const EMPTY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

/// An element of `TwiML`: its attributes, and a text or further elements.
#[derive(Clone)]
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: String,
    children: Vec<Element>,
}

// Tokens and passwords may stand in it.
impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.name)
    }
}

impl Element {
    /// An element with nothing in it.
    pub fn new(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), text: String::new(), children: Vec::new() }
    }

    /// The same with an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// The same with an attribute, if there is a value for it.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The same with a text in it.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// The same with an element in it.
    #[must_use]
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let mut start = BytesStart::new(self.name);
        for (name, value) in &self.attributes {
            start.push_attribute((*name, on_one_line(value).as_ref()));
        }
        if self.children.is_empty() && self.text.is_empty() {
            return writer.write_event(Event::Empty(start));
        }
        writer.write_event(Event::Start(start))?;
        if !self.text.is_empty() {
            writer.write_event(Event::Text(BytesText::from_escaped(partial_escape(allowed(
                &self.text,
            )))))?;
        }
        for child in &self.children {
            child.write(writer)?;
        }
        writer.write_event(Event::End(BytesEnd::new(self.name)))
    }
}

/// A document of `verbs`, in order.
pub fn response(verbs: impl IntoIterator<Item = Element>) -> String {
    let mut response = Element::new("Response");
    response.children.extend(verbs);
    let mut writer = Writer::new(Vec::with_capacity(2048));
    // Writing to memory does not fail.
    let _ = writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    let _ = response.write(&mut writer);
    String::from_utf8(writer.into_inner()).unwrap_or_else(|_never| EMPTY.to_owned())
}

/// The reference's own form, byte for byte but for the id and, where one is set, the greeting. Twilio
/// knows no `connectorId`: it does nothing there.
pub fn compat(connector: &ConnectorId, greeting: &str) -> String {
    let greeting = if greeting.is_empty() { "Connecting your call..." } else { greeting };
    let greeting = escape(allowed(greeting).into_owned()).into_owned();
    format!(
        "<Response>\n  <Say>{greeting}</Say>\n  <Connect connectorId=\"{connector}\" />\n</Response>"
    )
}

/// A text without the characters that XML cannot hold, in whatever form; a space stands for each.
fn allowed(text: &str) -> Cow<'_, str> {
    let is_not = |c: char| (c < ' ' && !"\t\n\r".contains(c)) || "\u{fffe}\u{ffff}".contains(c);
    if text.contains(is_not) { text.replace(is_not, " ").into() } else { text.into() }
}

/// The same for an attribute, whose line breaks every parser makes spaces.
fn on_one_line(text: &str) -> Cow<'_, str> {
    match allowed(text) {
        text if text.contains(['\t', '\n', '\r']) => text.replace(['\t', '\n', '\r'], " ").into(),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;

    use super::*;

    #[test]
    fn what_stands_in_an_element_stays_in_it() {
        let say =
            Element::new("Say").with("language", "\"><Hangup/>").text("]]> </Say>\u{0}&\u{b}é😀");
        assert_eq!(
            response([say]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Say language=\"&quot;&gt;&lt;Hangup/&gt;\">]]&gt; &lt;/Say&gt; &amp; é😀</Say></Response>"
        );
        assert_eq!(response([]), EMPTY);
    }

    #[test]
    fn the_compatible_form_is_the_references() {
        let reference = include_str!("../../tests/vectors/reference-twiml.xml");
        let id: ConnectorId = "conn_00000000000000000001".parse().unwrap();
        let wanted = reference.trim_end().replace("[Your Connector ID]", id.as_str());
        assert_eq!(compat(&id, ""), wanted);
        assert!(compat(&id, "A & \u{1}B").contains("<Say>A &amp;  B</Say>"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_parser_reads_back_what_was_written(text: String, value: String) {
            let written = response([Element::new("Say").with("voice", value.clone()).text(text.clone())]);
            let mut reader = Reader::from_str(&written);
            let (mut names, mut told) = (Vec::new(), String::new());
            loop {
                match reader.read_event().unwrap() {
                    Event::Eof => break,
                    Event::Start(start) | Event::Empty(start) => {
                        names.push(start.name().as_ref().to_owned());
                    }
                    Event::Text(part) => told.push_str(&part.xml10_content()),
                    Event::GeneralRef(part) => {
                        let name = format!("&{};", part.xml10_content());
                        told.push_str(&quick_xml::escape::unescape(&name).unwrap());
                    }
                    Event::End(_) | Event::Decl(_) => {}
                    Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {
                        panic!("nobody writes that")
                    }
                }
            }
            prop_assert_eq!(names, ["Response", "Say"]);
            prop_assert_eq!(told.replace('\r', "\n"), allowed(&text).replace('\r', "\n"));
        }
    }
}
