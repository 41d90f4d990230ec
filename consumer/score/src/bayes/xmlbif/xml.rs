//! Goes through the elements of an XML file, one after another. It knows nothing of networks.

use std::error::Error;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::super::fault::Fault;
use super::super::quote::{on_one_line, quote, quote_all};

/// What messages call the parent of the outermost element.
pub(super) const FILE: &str = "the file";

/// Goes through the elements of a file.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    text: &'a str,
    /// Bytes of the text of which the lines are counted.
    counted: usize,
    /// The line where the newest event begins.
    pub(super) line: usize,
}

impl<'a> Xml<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, text, counted: 0, line: 1 }
    }

    /// Enters the element that must come next.
    pub(super) fn only_child(&mut self, parent: &str, name: &str) -> Result<(), Fault> {
        match self.child(parent, &[name])? {
            Some(_) => Ok(()),
            None => Err(Fault::new(self.line, format!("expected a network as <{name}> in {parent}, found none; add it"))),
        }
    }

    /// Enters the next element of those in `parent`, or leaves that and returns `None`.
    pub(super) fn child(&mut self, parent: &str, expected: &[&str]) -> Result<Option<BytesStart<'a>>, Fault> {
        loop {
            let found = match self.next()? {
                Event::Start(element) if expected.contains(&element.name().into_inner()) => return Ok(Some(element)),
                Event::Start(element) => quote(element.name().into_inner()),
                Event::End(_) => return Ok(None),
                Event::Eof if parent == FILE => return Ok(None),
                Event::Eof => "the end of the file".to_owned(),
                Event::Text(text) if text.trim().is_empty() => continue,
                Event::Text(text) => {
                    let blanks = text.len() - text.trim_start().len();
                    self.count_lines((self.counted + blanks) as u64);
                    quote(text.trim())
                }
                Event::CData(text) => quote(&text),
                Event::GeneralRef(entity) => quote(&entity),
                _ => continue,
            };
            let expected = if expected.is_empty() { "nothing more".to_owned() } else { quote_all(expected) };
            let message = format!("expected {expected} in {parent}, found {found}; correct the file, or export it as XMLBIF 0.3");
            return Err(Fault::new(self.line, message));
        }
    }

    /// The text of the element that was entered, without the blanks around it; leaves the element.
    pub(super) fn text(&mut self, element: &BytesStart<'_>) -> Result<String, Fault> {
        let mut text = String::new();
        let found = loop {
            match self.next()? {
                Event::Text(part) => text.push_str(&part),
                Event::CData(part) => text.push_str(&part),
                Event::GeneralRef(entity) => self.resolve(&entity, &mut text)?,
                Event::End(_) => return Ok(text.trim().to_owned()),
                Event::Start(inner) => break quote(inner.name().into_inner()),
                Event::Eof => break "the end of the file".to_owned(),
                _ => {}
            }
        };
        let name = element.name().into_inner();
        Err(Fault::new(self.line, format!("expected text in {name}, found {found}; correct the file")))
    }

    fn resolve(&self, entity: &BytesRef<'_>, text: &mut String) -> Result<(), Fault> {
        let character = entity.resolve_char_ref().map_err(|error| not_xml(self.line, &error))?;
        match (character, resolve_xml_entity(entity)) {
            (Some(character), _) => text.push(character),
            (None, Some(known)) => text.push_str(known),
            (None, None) => {
                let message =
                    format!("expected an entity of XML itself, found {}; write the text that it stands for", quote(entity));
                return Err(Fault::new(self.line, message));
            }
        }
        Ok(())
    }

    /// Leaves the element that was entered, whatever it holds.
    pub(super) fn skip(&mut self, element: &BytesStart<'_>) -> Result<(), Fault> {
        self.reader.read_to_end(element.name()).map(drop).map_err(|error| self.fault(&error))
    }

    /// The next event. The line is then that where it begins.
    fn next(&mut self) -> Result<Event<'a>, Fault> {
        self.count_lines(self.reader.buffer_position());
        self.reader.read_event().map_err(|error| self.fault(&error))
    }

    fn fault(&mut self, error: &quick_xml::Error) -> Fault {
        self.count_lines(self.reader.error_position());
        not_xml(self.line, error)
    }

    fn count_lines(&mut self, position: u64) {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        let passed = self.text.as_bytes().get(self.counted..position).unwrap_or_default();
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count();
        self.counted += passed.len();
    }
}

pub(super) fn not_xml(line: usize, error: &dyn Error) -> Fault {
    Fault::new(line, format!("expected XML, found a fault: {}; correct the file", on_one_line(&error.to_string())))
}
