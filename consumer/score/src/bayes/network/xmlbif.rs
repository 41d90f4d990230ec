//! Parses XMLBIF 0.3, the XML form of the Bayesian Interchange Format, as JavaBayes, Weka, pgmpy and aGrUM write it.
//!
//! ```text
//! <BIF VERSION="0.3"><NETWORK><NAME>asia</NAME>
//!   <VARIABLE TYPE="nature"><NAME>tub</NAME><OUTCOME>yes</OUTCOME><OUTCOME>no</OUTCOME></VARIABLE>
//!   <DEFINITION><FOR>tub</FOR><GIVEN>asia</GIVEN><TABLE>0.05 0.95 0.01 0.99</TABLE></DEFINITION>
//! </NETWORK></BIF>
//! ```
//! The parser does not recurse and does not expand entities that the file defines, so memory stays proportional to the file.

mod xml;

use quick_xml::events::BytesStart;

use self::xml::{FILE, Xml, not_xml};
use super::document::{Document, Entry, EntryKind, ProbabilityBlock, VariableBlock, probability};
use super::name_list::NameList;
use crate::bayes::quote::quote;
use crate::error::ParseError;

/// The content of a file, with entities resolved in all texts. A [`Document`] borrows from it.
#[derive(Debug, Default)]
pub(crate) struct XmlNetwork {
    variables: Vec<Variable>,
    definitions: Vec<Definition>,
}

#[derive(Debug)]
struct Variable {
    name: String,
    outcomes: Vec<String>,
    line: usize,
}

#[derive(Debug)]
struct Definition {
    child: String,
    parents: Vec<String>,
    /// The probabilities and the line of each `TABLE`.
    tables: Vec<(Vec<f64>, usize)>,
    line: usize,
}

/// Whether a text is XML. A BIF file cannot begin with `<`.
pub(super) fn is_xml(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

impl XmlNetwork {
    /// Parses a whole file.
    ///
    /// # Errors
    /// The first error in the text, with its line.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let mut xml = Xml::new(text);
        let mut network = Self::default();
        xml.only_child(FILE, "BIF")?;
        xml.only_child("BIF", "NETWORK")?;
        while let Some(child) = xml.child("NETWORK", &["VARIABLE", "DEFINITION", "NAME", "PROPERTY"])? {
            match child.name().into_inner() {
                "VARIABLE" => network.variables.push(xml.variable(&child)?),
                "DEFINITION" => network.definitions.push(xml.definition()?),
                _ => xml.skip(&child)?,
            }
        }
        xml.child("BIF", &[])?;
        xml.child(FILE, &[])?;
        Ok(network)
    }

    /// The content as a format-independent document.
    pub(crate) fn document(&self) -> Document<'_> {
        Document {
            variables: self.variables.iter().map(Variable::block).collect(),
            probabilities: self.definitions.iter().map(Definition::block).collect(),
        }
    }
}

impl Variable {
    fn block(&self) -> VariableBlock<'_> {
        let states = self.outcomes.iter().map(String::as_str).collect();
        VariableBlock { name: &self.name, states, line: self.line }
    }
}

impl Definition {
    fn block(&self) -> ProbabilityBlock<'_> {
        let family = std::iter::once(&self.child).chain(&self.parents).map(String::as_str).collect();
        let entry = |(probabilities, line): &(Vec<f64>, usize)| Entry {
            kind: EntryKind::ByConfiguration,
            probabilities: probabilities.clone(),
            line: *line,
        };
        ProbabilityBlock { family: NameList::Names(family), entries: self.tables.iter().map(entry).collect(), line: self.line }
    }
}

impl Xml<'_> {
    fn variable(&mut self, element: &BytesStart<'_>) -> Result<Variable, ParseError> {
        let line = self.line;
        let kind = element.try_get_attribute("TYPE").map_err(|error| not_xml(line, &error))?;
        if let Some(kind) = kind.filter(|kind| &*kind.value != "nature") {
            let found = quote(&kind.value);
            return Err(ParseError::new(
                line,
                format!("expected a VARIABLE of TYPE 'nature', found {found}; remove or change it"),
            ));
        }
        let (mut names, mut outcomes) = (Vec::new(), Vec::new());
        while let Some(child) = self.child("VARIABLE", &["NAME", "OUTCOME", "PROPERTY"])? {
            match child.name().into_inner() {
                "NAME" => names.push(self.text(&child)?),
                "OUTCOME" => outcomes.push(self.text(&child)?),
                _ => self.skip(&child)?,
            }
        }
        Ok(Variable { name: one("NAME", names, line)?, outcomes, line })
    }

    fn definition(&mut self) -> Result<Definition, ParseError> {
        let line = self.line;
        let (mut children, mut parents, mut tables) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(child) = self.child("DEFINITION", &["FOR", "GIVEN", "TABLE", "PROPERTY"])? {
            match child.name().into_inner() {
                "FOR" => children.push(self.text(&child)?),
                "GIVEN" => parents.push(self.text(&child)?),
                "TABLE" => tables.push((self.line, self.text(&child)?)),
                _ => self.skip(&child)?,
            }
        }
        let tables = tables.into_iter().map(|(line, text)| Ok((probabilities(&text, line)?, line)));
        Ok(Definition { child: one("FOR", children, line)?, parents, tables: tables.collect::<Result<_, ParseError>>()?, line })
    }
}

/// The text of an element that must be there exactly once.
fn one(name: &str, mut found: Vec<String>, line: usize) -> Result<String, ParseError> {
    match (found.pop(), found.len()) {
        (Some(text), 0) => Ok(text),
        (text, others) => {
            let found = others + usize::from(text.is_some());
            Err(ParseError::new(line, format!("expected one {name}, found {found}; correct the element")))
        }
    }
}

fn probabilities(text: &str, line: usize) -> Result<Vec<f64>, ParseError> {
    let value = |word| {
        probability(word).ok_or_else(|| {
            ParseError::new(line, format!("expected a probability from 0 to 1 in TABLE, found {}; correct the file", quote(word)))
        })
    };
    text.split_whitespace().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::super::resolve::{Definition, resolve};
    use super::*;

    fn defined(text: &str) -> Result<Vec<Definition>, ParseError> {
        resolve(&XmlNetwork::parse(text)?.document()).map(|(definitions, _)| definitions)
    }

    fn network(inside: &str) -> Result<Vec<Definition>, ParseError> {
        defined(&format!("<BIF><NETWORK>{inside}\n</NETWORK></BIF>"))
    }

    #[test]
    fn the_first_given_changes_slowest_and_the_variable_itself_fastest() {
        let text = r#"<?xml version="1.0"?>
            <!DOCTYPE BIF [ <!ELEMENT BIF ( NETWORK )*> <!ATTLIST BIF VERSION CDATA #REQUIRED> ]>
            <BIF VERSION="0.3"><NETWORK><NAME>n</NAME><PROPERTY/>
            <VARIABLE TYPE="nature"><NAME>a</NAME><OUTCOME>x</OUTCOME><OUTCOME>y</OUTCOME><PROPERTY>at (1, 2)</PROPERTY></VARIABLE>
            <VARIABLE><NAME>b</NAME><OUTCOME> very low </OUTCOME><OUTCOME>a&lt;b &#38; "c", d</OUTCOME></VARIABLE>
            <VARIABLE><NAME>c</NAME><OUTCOME>1</OUTCOME><OUTCOME><![CDATA[2]]></OUTCOME></VARIABLE>
            <DEFINITION><FOR>a</FOR><TABLE>1 0</TABLE></DEFINITION>
            <DEFINITION><FOR>b</FOR><TABLE><!-- half --> 0.5 <!-- half --> 0.5 </TABLE></DEFINITION>
            <DEFINITION><FOR>c</FOR><GIVEN>a</GIVEN><GIVEN>b</GIVEN>
              <TABLE>0 1  0.25 0.75
                1.0000000000000002 0  0.5 0.5</TABLE></DEFINITION></NETWORK></BIF>"#;
        let definitions = defined(text).unwrap();
        assert_eq!(definitions[1].states, ["very low", "a<b & \"c\", d"]);
        assert_eq!((&definitions[2].states[1][..], &definitions[2].parents[..]), ("2", &[0, 1][..]));
        assert_eq!(definitions[2].probabilities, [0.0, 1.0, 0.25, 0.75, 1.0, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn an_element_out_of_place_is_named_with_its_line() {
        let cases = [
            ("\n<VARIABLE TYPE='utility'>", 2, "TYPE 'nature', found 'utility'"),
            ("\n<VARIABLE><VALUE>a</VALUE></VARIABLE>", 2, "'NAME', 'OUTCOME', 'PROPERTY' in VARIABLE, found 'VALUE'"),
            ("<NAME>n</NAME>\n\n<VARIABLE></VARIABLE>", 3, "expected one NAME, found 0"),
            ("\n<VARIABLE><NAME>a</NAME></VARIABLE>", 2, "a name for each state of variable 'a', found none"),
            ("<VARIABLE><NAME>a</NAME>\n<OUTCOME/></VARIABLE>", 1, "a name for each state of variable 'a', found none"),
            ("\n<DEFINITION><FOR>a</FOR><FOR>b</FOR></DEFINITION>", 2, "expected one FOR, found 2"),
            (
                "\n<DEFINITION><FOR>a</FOR>\n<TABLE>0.5 one</TABLE></DEFINITION>",
                3,
                "a probability from 0 to 1 in TABLE, found 'one'",
            ),
            ("<VARIABLE><NAME>a<b/></NAME></VARIABLE>", 1, "expected text in NAME, found 'b'"),
            ("<VARIABLE>\n<NAME>a&b;</NAME></VARIABLE>", 2, "an entity of XML itself, found 'b'"),
            ("\n\nmore", 3, "found 'more'"),
            (
                "\n<VARIABLE></NAME\nE>",
                2,
                "expected XML, found a fault: ill-formed document: expected `</VARIABLE>`, but `</NAME\\nE>`",
            ),
            ("</NETWORK>\n<NETWORK>", 2, "nothing more in BIF, found 'NETWORK'"),
            ("</NETWORK></BIF>\n<BIF>", 2, "nothing more in the file, found 'BIF'"),
        ];
        for (text, line, message) in cases {
            let error = network(text).unwrap_err();
            assert!(error.line == line && error.message.contains(message), "{text}: {error:?}");
        }
    }

    #[test]
    fn another_kind_of_xml_and_half_a_file_are_refused() {
        let cases = [
            ("\n<smile version='1.0'/>", 2, "expected 'BIF' in the file, found 'smile'"),
            ("<BIF>\n</BIF>", 2, "<NETWORK> in BIF, found none"),
            ("<BIF><NETWORK>\n<VARIABLE><NAME>a", 2, "text in NAME, found the end of the file"),
            ("<BIF><NETWORK>\n<VARIABLE><NAME", 2, "expected XML, found a fault"),
            ("<BIF><NETWORK>\n", 2, "found the end of the file"),
            ("<!-- nothing -->", 1, "<BIF> in the file, found none"),
        ];
        for (text, line, message) in cases {
            let error = defined(text).unwrap_err();
            assert!(is_xml(text) && error.line == line && error.message.contains(message), "{text}: {error:?}");
        }
    }
}
