//! Reads the elements of an XML file. Independent of the content.

use std::error::Error;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::bayes::quote::{on_one_line, quote, quote_all};
use crate::error::ParseError;

/// The name that messages use for the parent of the outermost element.
pub(super) const FILE: &str = "the file";

/// Reads the elements of a file, one after another.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    text: &'a str,
    /// The bytes of the text in which lines have been counted.
    counted: usize,
    /// The line where the last event begins.
    pub(super) line: usize,
}

impl<'a> Xml<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, text, counted: 0, line: 1 }
    }

    /// Enters the element `name`, which must come next.
    pub(super) fn only_child(&mut self, parent: &str, name: &str) -> Result<(), ParseError> {
        match self.child(parent, &[name])? {
            Some(_) => Ok(()),
            None => Err(ParseError::new(self.line, format!("expected a network as <{name}> in {parent}, found none; add it"))),
        }
    }

    /// Enters the next element in `parent`, which must be one of `expected`. `None` at the end of `parent`, which is then left.
    pub(super) fn child(&mut self, parent: &str, expected: &[&str]) -> Result<Option<BytesStart<'a>>, ParseError> {
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
            return Err(ParseError::new(self.line, message));
        }
    }

    /// Reads the text of the entered element, without the blanks around it, and leaves the element.
    pub(super) fn text(&mut self, element: &BytesStart<'_>) -> Result<String, ParseError> {
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
        Err(ParseError::new(self.line, format!("expected text in {name}, found {found}; correct the file")))
    }

    fn resolve(&self, entity: &BytesRef<'_>, text: &mut String) -> Result<(), ParseError> {
        let character = entity.resolve_char_ref().map_err(|error| not_xml(self.line, &error))?;
        match (character, resolve_xml_entity(entity)) {
            (Some(character), _) => text.push(character),
            (None, Some(known)) => text.push_str(known),
            (None, None) => {
                let message =
                    format!("expected an entity of XML itself, found {}; write the text that it stands for", quote(entity));
                return Err(ParseError::new(self.line, message));
            }
        }
        Ok(())
    }

    /// Leaves the entered element, whatever it contains.
    pub(super) fn skip(&mut self, element: &BytesStart<'_>) -> Result<(), ParseError> {
        self.reader.read_to_end(element.name()).map(drop).map_err(|error| self.error(&error))
    }

    /// The next event; sets `line` to where it begins.
    fn next(&mut self) -> Result<Event<'a>, ParseError> {
        self.count_lines(self.reader.buffer_position());
        self.reader.read_event().map_err(|error| self.error(&error))
    }

    fn error(&mut self, error: &quick_xml::Error) -> ParseError {
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

pub(super) fn not_xml(line: usize, error: &dyn Error) -> ParseError {
    ParseError::new(line, format!("expected XML, found a fault: {}; correct the file", on_one_line(&error.to_string())))
}
