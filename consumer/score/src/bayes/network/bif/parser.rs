//! Reads the tokens of a BIF file, with one token of lookahead.

use crate::bayes::network::lexer::{Lexeme, Lexer, Token};
use crate::error::ParseError;

/// A copy of it can be used to backtrack.
#[derive(Clone, Copy)]
pub(super) struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    next: Lexeme<'a>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, ParseError> {
        let mut lexer = Lexer::new(text);
        let next = lexer.next()?;
        Ok(Self { text, lexer, next })
    }

    /// The text of a list up to the mark that closes it. Since names may contain that mark, it is the first one that is followed by a
    /// token for which `ends` holds. If there is none it is the first one, and the caller reports the token that follows.
    pub(super) fn list(&mut self, role: &str, close: char, ends: fn(Token<'_>) -> bool) -> Result<&'a str, ParseError> {
        let start = self.next.start;
        let mut first = None;
        let mut name_before = false;
        while !matches!(self.next.token, Token::End | Token::Mark(';')) {
            let Lexeme { token, line, start: end, .. } = self.advance()?;
            if token == Token::Mark(close) {
                let list = &self.text[start..end];
                if ends(self.next.token) {
                    return if name_before { Ok(list) } else { Err(unexpected(line, role, token)) };
                }
                first.get_or_insert((list, *self));
            }
            let comma = token == Token::Mark(',');
            if comma && !name_before {
                return Err(unexpected(line, role, token));
            }
            name_before = !comma;
        }
        let (list, after) = first.ok_or_else(|| unexpected(self.next.line, &format!("'{close}'"), self.next.token))?;
        *self = after;
        Ok(list)
    }

    /// A name, which ends before the next `{` on the same line.
    pub(super) fn name(&mut self, role: &str) -> Result<&'a str, ParseError> {
        let first = self.advance()?;
        if matches!(first.token, Token::End | Token::Mark('{' | '}' | ',' | ';')) {
            return Err(unexpected(first.line, role, first.token));
        }
        let mut last = first;
        while self.next.token != Token::Mark('{') {
            if self.next.line > first.line || matches!(self.next.token, Token::End | Token::Mark(';' | '}')) {
                return Err(unexpected(self.next.line, "'{'", self.next.token));
            }
            last = self.advance()?;
        }
        match first.token {
            Token::Quoted(name) if last.end == first.end => Ok(name),
            _ => Ok(&self.text[first.start..last.end]),
        }
    }

    /// Skips a property up to the next `;`. Properties do not affect the distribution.
    pub(super) fn skip_property(&mut self, line: usize) -> Result<(), ParseError> {
        loop {
            match self.advance()?.token {
                Token::Mark(';') => return Ok(()),
                Token::End => {
                    return Err(ParseError::new(line, "expected ';' after this property, found the end of the file; end it"));
                }
                _ => {}
            }
        }
    }

    pub(super) fn mark(&mut self, mark: char) -> Result<(), ParseError> {
        let Lexeme { token, line, .. } = self.advance()?;
        if token == Token::Mark(mark) { Ok(()) } else { Err(unexpected(line, &format!("'{mark}'"), token)) }
    }

    pub(super) fn accept(&mut self, mark: char) -> Result<bool, ParseError> {
        let accepted = self.next.token == Token::Mark(mark);
        if accepted {
            self.advance()?;
        }
        Ok(accepted)
    }

    pub(super) fn advance(&mut self) -> Result<Lexeme<'a>, ParseError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

pub(super) fn unexpected(line: usize, expected: &str, found: Token<'_>) -> ParseError {
    ParseError::new(line, format!("expected {expected}, found {}; correct the file", found.describe()))
}
