//! Parses the Bayesian Interchange Format (BIF) 0.15 as JavaBayes, the bnlearn repository, R's bnlearn, pgmpy and aGrUM write it.
//!
//! ```text
//! network asia { property author "Lauritzen"; }
//! variable tub { type discrete [ 2 ] { yes, no }; }
//! probability ( tub | asia ) { (yes) 0.05, 0.95; default 0.01, 0.99; }
//! probability ( asia ) { table 0.01, 0.99; }
//! ```
//! Commas and bars are optional, and names may contain blanks and even brackets: see [`super::name_list`]. The parser checks what can be
//! seen within one block. [`super::resolve`] checks what names refer to and whether tables are complete. The parser does not recurse and
//! reserves no memory for counts that the file states, so memory stays proportional to the file.

mod parser;

use self::parser::{Parser, unexpected};
use super::document::{Document, Entry, EntryKind, ProbabilityBlock, VariableBlock, probability};
use super::lexer::{Lexeme, Token};
use super::name_list::NameList;
use crate::bayes::quote::quote;
use crate::error::ParseError;

/// Parses a whole file.
///
/// # Errors
/// The first error in the text, with its line.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, ParseError> {
    let mut parser = Parser::new(text)?;
    let mut document = Document::default();
    parser.network()?;
    loop {
        let Lexeme { token, line, .. } = parser.advance()?;
        match token {
            Token::Word("variable") => document.variables.push(parser.variable(line)?),
            Token::Word("probability") => document.probabilities.push(parser.probability(line)?),
            Token::End => return Ok(document),
            found => return Err(unexpected(line, "'variable' or 'probability'", found)),
        }
    }
}

impl<'a> Parser<'a> {
    fn network(&mut self) -> Result<(), ParseError> {
        let Lexeme { token, line, .. } = self.advance()?;
        if token != Token::Word("network") {
            return Err(unexpected(line, "'network'", token));
        }
        self.name("the network's name")?;
        self.mark('{')?;
        while !self.accept('}')? {
            let Lexeme { token, line, .. } = self.advance()?;
            match token {
                Token::Word("property") => self.skip_property(line)?,
                found => return Err(unexpected(line, "'property' or '}'", found)),
            }
        }
        Ok(())
    }

    fn variable(&mut self, line: usize) -> Result<VariableBlock<'a>, ParseError> {
        let name = self.name("a variable's name")?;
        self.mark('{')?;
        let mut states = None;
        while !self.accept('}')? {
            let Lexeme { token, line, .. } = self.advance()?;
            match token {
                Token::Word("property") => self.skip_property(line)?,
                Token::Word("type") if states.is_none() => states = Some(self.states(name, line)?),
                found => return Err(unexpected(line, "one 'type', 'property' or '}'", found)),
            }
        }
        let states = states.ok_or_else(|| {
            ParseError::new(
                line,
                format!("expected a type for variable {}, found none; add 'type discrete [ n ] {{ … }};'", quote(name)),
            )
        })?;
        Ok(VariableBlock { name, states, line })
    }

    /// `discrete [ n ] { states };`
    fn states(&mut self, variable: &str, line: usize) -> Result<Vec<&'a str>, ParseError> {
        let Lexeme { token, line: found_at, .. } = self.advance()?;
        if token != Token::Word("discrete") {
            return Err(unexpected(found_at, "'discrete' (the only type supported)", token));
        }
        self.mark('[')?;
        let Lexeme { token: number, line: found_at, .. } = self.advance()?;
        let count = match number {
            Token::Word(word) => word.parse().ok(),
            _ => None,
        };
        let count: usize = count.ok_or_else(|| unexpected(found_at, "the number of states", number))?;
        self.mark(']')?;
        self.mark('{')?;
        let list = NameList::Text(self.list("a state's name", '}', |next| next == Token::Mark(';'))?);
        self.mark(';')?;
        list.readings().find(|states| states.len() == count).ok_or_else(|| {
            let (variable, found) = (quote(variable), list.readings().next().map_or(0, |states| states.len()));
            let message =
                format!("expected {count} states of variable {variable}, found {found}; correct the number or the states");
            ParseError::new(line, message)
        })
    }

    fn probability(&mut self, line: usize) -> Result<ProbabilityBlock<'a>, ParseError> {
        self.mark('(')?;
        let family = NameList::Barred(self.list("a variable's name", ')', |next| next == Token::Mark('{'))?);
        self.mark('{')?;
        let mut entries = Vec::new();
        while !self.accept('}')? {
            entries.extend(self.entry()?);
        }
        Ok(ProbabilityBlock { family, entries, line })
    }

    /// One entry of a probability block; `None` if it is a property.
    fn entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        let Lexeme { token, line, .. } = self.advance()?;
        let kind = match token {
            Token::Mark('(') => EntryKind::Row(NameList::Text(self.list("a parent's state", ')', is_number)?)),
            // BIF 0.15: of the child and its parents, in the order of the block's head, the state of the last changes fastest.
            Token::Word("table") => EntryKind::ByState,
            Token::Word("default") => EntryKind::Default,
            Token::Word("property") => return self.skip_property(line).map(|()| None),
            found => return Err(unexpected(line, "'(', 'table', 'default', 'property' or '}'", found)),
        };
        let mut probabilities = vec![self.probability_value("a probability from 0 to 1")?];
        while !self.accept(';')? {
            let role = if self.accept(',')? { "a probability from 0 to 1" } else { "';' or a probability from 0 to 1" };
            probabilities.push(self.probability_value(role)?);
        }
        Ok(Some(Entry { kind, probabilities, line }))
    }

    fn probability_value(&mut self, role: &str) -> Result<f64, ParseError> {
        let Lexeme { token, line, .. } = self.advance()?;
        let value = match token {
            Token::Word(word) => probability(word),
            _ => None,
        };
        value.ok_or_else(|| unexpected(line, role, token))
    }
}

/// Whether a token is a number, as after the states of a row.
fn is_number(token: Token<'_>) -> bool {
    matches!(token, Token::Word(word) if word.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "network n {}\n";

    fn fault(blocks: &str) -> (usize, String) {
        let error = parse(&format!("{HEAD}{blocks}")).unwrap_err();
        (error.line, error.message)
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
        assert_eq!((rows.family.readings().next().unwrap(), rows.line), (vec!["a", "Health Care", "b"], 4));
        assert!(
            matches!(&rows.entries[0].kind, EntryKind::Row(states) if states.readings().next().unwrap() == ["not at all", "<5"])
        );
        assert!(matches!(rows.entries[1].kind, EntryKind::Default));
    }

    #[test]
    fn commas_and_bars_are_optional_and_blanks_around_marks_too() {
        let text = "network \"n\"{}variable x{type discrete[2]{\n  \"true\"  \"false\" };}
            probability(x  y){ //2 variable(s)\n table 0.6 0.05, 0.4\n0.95;}";
        let document = parse(text).unwrap();
        assert_eq!(document.variables[0].states, ["true", "false"]);
        assert_eq!(document.probabilities[0].entries[0].probabilities, [0.6, 0.05, 0.4, 0.95]);
        assert!(document.probabilities[0].family.readings().any(|names| names == ["x", "y"]));
    }

    #[test]
    fn names_without_quotes_hold_blanks_and_brackets() {
        let text =
            "network My first (small) network {\n} variable net worth (EUR) {\n type discrete [ 2 ] { (0, 5], {5} or more };\n}
            probability ( late | net worth (EUR) ) {\n ((0, 5]) 0.1, 0.9;\n ( {5} or more ) 0.7, 0.3;\n}";
        let document = parse(text).unwrap();
        assert_eq!(
            (document.variables[0].name, &document.variables[0].states[..]),
            ("net worth (EUR)", &["(0, 5]", "{5} or more"][..])
        );
        let block = &document.probabilities[0];
        assert_eq!(block.family.readings().next().unwrap(), ["late", "net worth (EUR)"]);
        let rows: Vec<_> = block
            .entries
            .iter()
            .filter_map(|entry| match &entry.kind {
                EntryKind::Row(states) => states.readings().find(|states| states.len() == 1),
                _ => None,
            })
            .collect();
        assert_eq!(rows, [["(0, 5]"], ["{5} or more"]]);
    }

    #[test]
    fn a_word_out_of_place_is_named_with_its_line() {
        let cases = [
            ("\nvariabel x {}", 3, "'variable' or 'probability', found 'variabel'"),
            ("variable x\n;", 3, "'{', found ';'"),
            ("variable x y\n z {", 3, "'{', found 'z'"),
            ("variable {}", 2, "a variable's name, found '{'"),
            ("variable x { type continuous; }", 2, "'discrete' (the only type supported), found 'continuous'"),
            ("variable x { }", 2, "a type for variable 'x', found none"),
            ("variable x {\n type discrete [ two ] { a, b };\n}", 3, "the number of states, found 'two'"),
            ("variable x {\n type discrete [ 3 ] { a, b };\n}", 3, "3 states of variable 'x', found 2"),
            ("variable x {\n type discrete [ 2 ] { a b c };\n}", 3, "2 states of variable 'x', found 1"),
            ("variable x {\n type discrete [ 2 ] { a,, b };\n}", 3, "a state's name, found ','"),
            ("variable x {\n type discrete [ 2 ] { a, b, };\n}", 3, "a state's name, found '}'"),
            ("variable x {\n type discrete [ 2 ] { a, b } }", 3, "';', found '}'"),
            ("variable x {\n type discrete [ 2 ] { a, b ; }", 3, "'}', found ';'"),
            ("probability ( ) { }", 2, "a variable's name, found ')'"),
            ("probability ( x | y, ) { }", 2, "a variable's name, found ')'"),
            ("probability ( x ) table 1;", 2, "'{', found 'table'"),
            ("probability ( x ) {\n rows }", 3, "'(', 'table', 'default', 'property' or '}', found 'rows'"),
            ("probability ( x ) {\n table 0.5,, 0.5; }", 3, "a probability from 0 to 1, found ','"),
            ("probability ( x ) {\n table 0.5, 0.5, ; }", 3, "a probability from 0 to 1, found ';'"),
            ("probability ( x ) {\n table 0.5, 0.5", 3, "';' or a probability from 0 to 1, found the end of the file"),
            ("probability ( x | y ) {\n (a) one, 0; }", 3, "a probability from 0 to 1, found 'one'"),
            ("probability ( x | y ) {\n (a 1, 0; }", 3, "')', found ';'"),
            ("probability ( x | y ) {\n (a) ; (b) 1, 0; }", 3, "a probability from 0 to 1, found ';'"),
            ("probability ( x ) {\n table \"0.5\", 0.5; }", 3, "a probability from 0 to 1, found '0.5'"),
            ("probability ( x ) {\n property a", 3, "';' after this property"),
        ];
        for (text, line, message) in cases {
            let found = fault(text);
            assert!(found.0 == line && found.1.contains(message), "{text}: {found:?}");
        }
    }

    #[test]
    fn an_empty_file_is_no_network() {
        assert!(parse(" // nothing\n").unwrap_err().message.contains("expected 'network', found the end of the file"));
    }
}
