//! Reads the Bayesian Interchange Format, as the bnlearn repository and pgmpy write it, into the blocks it is made of.
//!
//! ```text
//! network asia { property author "Lauritzen"; }
//! variable tub { type discrete [ 2 ] { yes, no }; }
//! probability ( tub | asia ) { (yes) 0.05, 0.95; default 0.01, 0.99; }
//! probability ( asia ) { table 0.01, 0.99; }
//! ```
//! It checks what can be seen inside one block. What the names refer to, and whether a table is complete, is checked
//! by [`super::define`]. Nothing here recurses and nothing is reserved ahead of what the text holds, so memory stays
//! proportional to the file.

use super::fault::Fault;
use super::lexer::{Lexer, Token};
use super::quote::quote;

/// A network file: its blocks in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    pub(super) variables: Vec<VariableBlock<'a>>,
    pub(super) probabilities: Vec<ProbabilityBlock<'a>>,
}

/// `variable name { type discrete [ n ] { states }; }`
#[derive(Debug)]
pub(super) struct VariableBlock<'a> {
    pub(super) name: &'a str,
    pub(super) states: Vec<&'a str>,
    pub(super) line: usize,
}

/// `probability ( child | parents ) { entries }`
#[derive(Debug)]
pub(super) struct ProbabilityBlock<'a> {
    pub(super) child: &'a str,
    pub(super) parents: Vec<&'a str>,
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) line: usize,
}

/// One line of a probability block.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) place: Place<'a>,
    pub(super) probabilities: Vec<f64>,
    pub(super) line: usize,
}

/// What the probabilities of an entry are for.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// `(a, b) p, p;`: the child's distribution where the parents are in these states.
    Row(Vec<&'a str>),
    /// `table p, p;`: all distributions at once.
    Table,
    /// `default p, p;`: the child's distribution wherever no row gives one.
    Default,
}

/// Parses a whole file.
///
/// # Errors
/// The first fault of the text, with its line.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Fault> {
    let mut parser = Parser::new(text)?;
    let mut document = Document::default();
    parser.network()?;
    loop {
        let line = parser.line;
        match parser.advance()? {
            Token::Word("variable") => document.variables.push(parser.variable(line)?),
            Token::Word("probability") => document.probabilities.push(parser.probability(line)?),
            Token::End => return Ok(document),
            found => return Err(unexpected(line, "'variable' or 'probability'", found)),
        }
    }
}

/// Reads tokens with one token of foresight.
struct Parser<'a> {
    lexer: Lexer<'a>,
    next: Token<'a>,
    line: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, Fault> {
        let mut lexer = Lexer::new(text);
        let (next, line) = lexer.next()?;
        Ok(Self { lexer, next, line })
    }

    fn network(&mut self) -> Result<(), Fault> {
        let line = self.line;
        match self.advance()? {
            Token::Word("network") => {}
            found => return Err(unexpected(line, "'network'", found)),
        }
        self.name("the network's name")?;
        self.mark('{')?;
        while !self.accept('}')? {
            let line = self.line;
            match self.advance()? {
                Token::Word("property") => self.skip_property(line)?,
                found => return Err(unexpected(line, "'property' or '}'", found)),
            }
        }
        Ok(())
    }

    fn variable(&mut self, line: usize) -> Result<VariableBlock<'a>, Fault> {
        let name = self.name("a variable's name")?;
        self.mark('{')?;
        let mut states = None;
        while !self.accept('}')? {
            let line = self.line;
            match self.advance()? {
                Token::Word("property") => self.skip_property(line)?,
                Token::Word("type") if states.is_none() => states = Some(self.states(name, line)?),
                found => return Err(unexpected(line, "one 'type', 'property' or '}'", found)),
            }
        }
        let states = states.ok_or_else(|| {
            Fault::new(
                line,
                format!("expected a type for variable {}, found none; add 'type discrete [ n ] {{ … }};'", quote(name)),
            )
        })?;
        Ok(VariableBlock { name, states, line })
    }

    /// `discrete [ n ] { states };`
    fn states(&mut self, variable: &str, line: usize) -> Result<Vec<&'a str>, Fault> {
        match self.advance()? {
            Token::Word("discrete") => {}
            found => return Err(unexpected(line, "'discrete' (the only type supported)", found)),
        }
        self.mark('[')?;
        let count = self.name("the number of states")?;
        self.mark(']')?;
        self.mark('{')?;
        let states = self.names("a state's name", '}')?;
        self.mark(';')?;
        if count.parse() == Ok(states.len()) {
            return Ok(states);
        }
        let (variable, count, found) = (quote(variable), quote(count), states.len());
        Err(Fault::new(
            line,
            format!("expected {count} states of variable {variable}, found {found}; correct the number or the states"),
        ))
    }

    fn probability(&mut self, line: usize) -> Result<ProbabilityBlock<'a>, Fault> {
        self.mark('(')?;
        let child = self.name("a variable's name")?;
        let parents = if self.accept('|')? {
            self.names("a parent's name", ')')?
        } else {
            self.mark(')')?;
            Vec::new()
        };
        self.mark('{')?;
        let mut entries = Vec::new();
        while !self.accept('}')? {
            entries.extend(self.entry()?);
        }
        Ok(ProbabilityBlock { child, parents, entries, line })
    }

    /// One line of a probability block; `None` for a property.
    fn entry(&mut self) -> Result<Option<Entry<'a>>, Fault> {
        let line = self.line;
        let place = match self.advance()? {
            Token::Mark('(') => Place::Row(self.names("a parent's state", ')')?),
            Token::Word("table") => Place::Table,
            Token::Word("default") => Place::Default,
            Token::Word("property") => return self.skip_property(line).map(|()| None),
            found => return Err(unexpected(line, "'(', 'table', 'default', 'property' or '}'", found)),
        };
        let mut probabilities = vec![self.probability_value()?];
        while self.accept(',')? {
            probabilities.push(self.probability_value()?);
        }
        self.mark(';')?;
        Ok(Some(Entry { place, probabilities, line }))
    }

    fn probability_value(&mut self) -> Result<f64, Fault> {
        let line = self.line;
        let found = self.advance()?;
        let value = match found {
            Token::Word(word) => word.parse().ok(),
            _ => None,
        };
        value.filter(|value| (0.0..=1.0).contains(value)).ok_or_else(|| unexpected(line, "a probability from 0 to 1", found))
    }

    /// Names with commas between them, up to and with the mark `end`.
    fn names(&mut self, role: &str, end: char) -> Result<Vec<&'a str>, Fault> {
        let mut names = vec![self.name(role)?];
        while self.accept(',')? {
            names.push(self.name(role)?);
        }
        self.mark(end)?;
        Ok(names)
    }

    fn name(&mut self, role: &str) -> Result<&'a str, Fault> {
        let line = self.line;
        match self.advance()? {
            Token::Word(name) | Token::Quoted(name) if !name.is_empty() => Ok(name),
            found => Err(unexpected(line, role, found)),
        }
    }

    /// Properties say nothing of the distribution: whatever stands before the next `;` is skipped.
    fn skip_property(&mut self, line: usize) -> Result<(), Fault> {
        loop {
            match self.advance()? {
                Token::Mark(';') => return Ok(()),
                Token::End => {
                    return Err(Fault::new(line, "expected ';' after this property, found the end of the file; end it"));
                }
                _ => {}
            }
        }
    }

    fn mark(&mut self, mark: char) -> Result<(), Fault> {
        let line = self.line;
        match self.advance()? {
            Token::Mark(found) if found == mark => Ok(()),
            found => Err(unexpected(line, &format!("'{mark}'"), found)),
        }
    }

    fn accept(&mut self, mark: char) -> Result<bool, Fault> {
        let accepted = self.next == Token::Mark(mark);
        if accepted {
            self.advance()?;
        }
        Ok(accepted)
    }

    fn advance(&mut self) -> Result<Token<'a>, Fault> {
        let (next, line) = self.lexer.next()?;
        self.line = line;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

fn unexpected(line: usize, expected: &str, found: Token<'_>) -> Fault {
    Fault::new(line, format!("expected {expected}, found {}; correct the file", found.describe()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "network n {}\n";

    fn fault(blocks: &str) -> (usize, String) {
        let fault = parse(&format!("{HEAD}{blocks}")).unwrap_err();
        (fault.line, fault.message)
    }

    #[test]
    fn every_kind_of_block_and_entry_is_read() {
        let text = r#"network "my network" { property author = "A. B." (1988) ; }
            variable "Health Care" { type discrete [ 2 ] { "not at all", 12+ }; property position = (73, 165) ; }
            probability ( "Health Care" ) { property x; table 1e-1, 0.9; }
            probability ( a | "Health Care", b ) { ("not at all", <5) 0, 1; default .5, .5; }"#;
        let document = parse(text).unwrap();
        assert_eq!(document.variables[0].states, ["not at all", "12+"]);
        assert_eq!(document.probabilities[0].entries[0].probabilities, [0.1, 0.9]);
        let rows = &document.probabilities[1];
        assert_eq!((rows.parents.as_slice(), rows.line), (["Health Care", "b"].as_slice(), 4));
        assert!(matches!(&rows.entries[0].place, Place::Row(states) if states == &["not at all", "<5"]));
        assert!(matches!(rows.entries[1].place, Place::Default));
    }

    #[test]
    fn a_word_out_of_place_is_named_with_its_line() {
        let cases = [
            ("\nvariabel x {}", 3, "'variable' or 'probability', found 'variabel'"),
            ("variable x { type continuous; }", 2, "'discrete' (the only type supported), found 'continuous'"),
            ("variable x { }", 2, "a type for variable 'x', found none"),
            ("variable x {\n type discrete [ 3 ] { a, b };\n}", 3, "'3' states of variable 'x', found 2"),
            ("variable x {\n type discrete [ 1 ] { \"\" };\n}", 3, "a state's name, found ''"),
            ("probability ( x y ) { }", 2, "')', found 'y'"),
            ("probability ( x ) {\n rows }", 3, "'(', 'table', 'default', 'property' or '}', found 'rows'"),
            ("probability ( x ) {\n table 0.5 0.5; }", 3, "';', found '0.5'"),
            ("probability ( x ) {\n table 0.5, 0.5", 3, "';', found the end of the file"),
            ("probability ( x ) {\n property a", 3, "';' after this property"),
        ];
        for (text, line, message) in cases {
            let found = fault(text);
            assert!(found.0 == line && found.1.contains(message), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_probability_is_a_finite_number_from_0_to_1() {
        for number in ["1.5", "-0.1", "nan", "inf", "1e999", "one", "\"0.5\""] {
            let found = fault(&format!("probability ( x ) {{ table {number}, 0; }}"));
            assert!(found.1.contains("expected a probability from 0 to 1, found"), "{number}: {found:?}");
        }
    }

    #[test]
    fn an_empty_file_is_no_network() {
        assert!(parse(" // nothing\n").unwrap_err().message.contains("expected 'network', found the end of the file"));
    }
}
