//! Splits a BIF file into tokens, and counts lines. The grammar is in [`super::bif`].

use crate::bayes::quote::quote;
use crate::error::ParseError;

/// One piece of a network file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, a name or a number: any text without white space, marks and double quotes.
    Word(&'a str),
    /// The text between double quotes: a name that may contain spaces and marks, and is never a keyword.
    Quoted(&'a str),
    /// One of `{ } ( ) [ ] , ; |`.
    Mark(char),
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// The token as error messages show it.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Word(text) | Self::Quoted(text) => quote(text),
            Self::Mark(mark) => quote(mark.encode_utf8(&mut [0; 4])),
            Self::End => "the end of the file".to_owned(),
        }
    }
}

/// A token and its position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexeme<'a> {
    pub(super) token: Token<'a>,
    pub(super) line: usize,
    /// The byte range in the text, including quotes.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Iterates over the tokens of a text.
#[derive(Clone, Copy)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, rest: text, line: 1 }
    }

    /// The next token; always [`Token::End`] at the end of the text.
    pub(super) fn next(&mut self) -> Result<Lexeme<'a>, ParseError> {
        self.skip_blanks()?;
        let (line, start) = (self.line, self.taken());
        let token = match self.rest.chars().next() {
            None => Token::End,
            Some('"') => self.quoted()?,
            Some(mark) if is_mark(mark) => {
                self.take(mark.len_utf8());
                Token::Mark(mark)
            }
            Some(_) => self.word(),
        };
        Ok(Lexeme { token, line, start, end: self.taken() })
    }

    /// The number of bytes that have been read.
    fn taken(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// Skips white space and comments. A comment starts only where a token can start: `Asy/Patchy` and `a//b` are words.
    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            self.take(self.rest.len() - self.rest.trim_start().len());
            if self.rest.starts_with("//") {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let Some(length) = self.rest.find("*/") else {
                    return Err(ParseError::new(self.line, "expected '*/', found the end of the file; close this comment"));
                };
                self.take(length + "*/".len());
            } else {
                return Ok(());
            }
        }
    }

    fn quoted(&mut self) -> Result<Token<'a>, ParseError> {
        let inside = &self.rest[1..];
        let length = inside.find(['"', '\n']).filter(|&end| inside[end..].starts_with('"'));
        let Some(length) = length else {
            return Err(ParseError::new(self.line, "expected '\"', found the end of the line; close this quoted name"));
        };
        self.take(length + 2);
        Ok(Token::Quoted(&inside[..length]))
    }

    fn word(&mut self) -> Token<'a> {
        let end = self.rest.find(|c: char| c.is_whitespace() || c == '"' || is_mark(c));
        Token::Word(self.take(end.unwrap_or(self.rest.len())))
    }

    /// Reads `length` bytes and counts the lines in them.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.bytes().filter(|&byte| byte == b'\n').count();
        self.rest = rest;
        taken
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '{' | '}' | '(' | ')' | '[' | ']' | ',' | ';' | '|')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<(Token<'_>, usize)>, ParseError> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.next()? {
                Lexeme { token: Token::End, .. } => return Ok(tokens),
                Lexeme { token, line, .. } => tokens.push((token, line)),
            }
        }
    }

    #[test]
    fn words_hold_every_character_that_is_no_mark() {
        let words = ["<5", "12+", "Asy/Patchy", "a//b", "a200_50", "-1.5e-7", "größe"];
        let expected: Vec<_> = words.iter().map(|&word| (Token::Word(word), 1)).collect();
        assert_eq!(tokens(&words.join(" ")).unwrap(), expected);
    }

    #[test]
    fn every_token_knows_its_line() {
        let text = "a // rest\n/* one\ntwo */ \"Health Care\"\r\n;";
        let expected = [(Token::Word("a"), 1), (Token::Quoted("Health Care"), 3), (Token::Mark(';'), 4)];
        assert_eq!(tokens(text).unwrap(), expected);
    }

    #[test]
    fn every_token_knows_its_place_in_the_text() {
        let text = "größe /* */ \"Health Care\";";
        let mut lexer = Lexer::new(text);
        let mut next = || lexer.next().map(|lexeme| &text[lexeme.start..lexeme.end]).unwrap();
        assert_eq!([next(), next(), next(), next()], ["größe", "\"Health Care\"", ";", ""]);
    }

    #[test]
    fn an_open_comment_is_refused_at_its_first_line() {
        let error = tokens("a\n/* b\n\n").unwrap_err();
        assert_eq!((error.line, error.message.contains("close this comment")), (2, true));
    }

    #[test]
    fn a_quoted_name_ends_on_its_line() {
        for text in ["\n\"a", "\n\"a\n\""] {
            let error = tokens(text).unwrap_err();
            assert_eq!((error.line, error.message.contains("close this quoted name")), (2, true));
        }
    }
}
