//! [`Element`]: `TwiML` as Twilio reads it: a tree of elements.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::unescape;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;

/// An element.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) children: Vec<Element>,
    /// The text in it, unescaped.
    pub(super) text: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// Reads a document: its `<Response>`.
    pub(super) fn read(document: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(document);
        // Elements that are open, the innermost last; around them all, one for the document.
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().map_err(|why| why.to_string())? {
                Event::Start(start) => open.push(Self::begun(&start)?),
                Event::Empty(start) => {
                    let element = Self::begun(&start)?;
                    innermost(&mut open)?.children.push(element);
                }
                Event::End(_) => {
                    let element = open.pop().unwrap_or_default();
                    innermost(&mut open)?.children.push(element);
                }
                Event::Text(text) => innermost(&mut open)?.text.push_str(&text.xml10_content()),
                Event::CData(text) => innermost(&mut open)?.text.push_str(&text.xml10_content()),
                Event::GeneralRef(name) => {
                    let written = format!("&{};", name.xml10_content());
                    let meant = unescape(&written).map_err(|why| why.to_string())?;
                    innermost(&mut open)?.text.push_str(&meant);
                }
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
                Event::Eof => break,
            }
        }
        let [mut document] = <[Self; 1]>::try_from(open).map_err(|_open| "it ends too early")?;
        let root = document.children.pop().filter(|root| root.name == "Response");
        root.filter(|_| document.children.is_empty())
            .ok_or_else(|| "it is no single <Response>".to_owned())
    }

    fn begun(start: &BytesStart<'_>) -> Result<Self, String> {
        let mut element = Self { name: start.name().into_inner().to_owned(), ..Self::default() };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|why| why.to_string())?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|why| why.to_string())?.into_owned();
            element.attributes.push((attribute.key.into_inner().to_owned(), value));
        }
        Ok(element)
    }

    /// The first child of a name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn innermost(open: &mut [Element]) -> Result<&mut Element, String> {
    open.last_mut().ok_or_else(|| "it closes what it did not open".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_as_twilio_reads_it() {
        let read = Element::read(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Enqueue workflowSid=\"WW1\" action=\"https://a/b?leg=1&amp;after=2\"><Task priority=\"5\">{&quot;a&quot;:&quot;&lt;b&gt; &amp; é &#x1F600;&quot;}</Task></Enqueue></Response>",
        )
        .unwrap();
        let enqueue = read.child("Enqueue").unwrap();
        assert_eq!(enqueue.attribute("action"), Some("https://a/b?leg=1&after=2"));
        assert_eq!(enqueue.attribute("waitUrl"), None);
        let task = enqueue.child("Task").unwrap();
        assert_eq!(
            (task.attribute("priority"), task.text.as_str()),
            (Some("5"), "{\"a\":\"<b> & é 😀\"}")
        );
        assert!(Element::read("<Response/>").unwrap().children.is_empty());
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for document in [
            "",
            "{}",
            "<Say/>",
            "<Response>",
            "<Response></Say>",
            "<Response/><Response/>",
            "</Response>",
            "<Response>&x;</Response>",
        ] {
            assert!(Element::read(document).is_err(), "{document}");
        }
    }
}
