//! Lists of names: the states of a variable, a variable and its parents, the states of a row.
//!
//! Programs that write BIF do not quote names, though these may contain blanks, and some separate names by blanks where others use commas.
//! Whether `( very low )` is one name or two depends on how many names there must be, or on which are declared. So a list is kept as
//! text, and the code that knows this chooses among the possible readings.

use super::lexer::{Lexeme, Lexer, Token};

/// The names between two brackets.
#[derive(Debug)]
pub(super) enum NameList<'a> {
    /// Names that the file separates unambiguously.
    Names(Vec<&'a str>),
    /// The text between the brackets. Commas or blanks separate names.
    Text(&'a str),
    /// The text between the brackets. Commas, blanks or bars separate names. (In `Text`, a bar is part of a name.)
    Barred(&'a str),
}

/// A name, or a part of a name that contains blanks.
struct Word<'a> {
    text: &'a str,
    /// The byte range in the list.
    start: usize,
    end: usize,
    /// What separates it from the word before.
    gap: Gap,
}

/// What separates two words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Blanks, which may be part of a name.
    Blanks,
    /// A comma inside brackets, which may be part of a name.
    InnerComma,
    /// A separator that is never part of a name: another comma, a bar, the end of a line, a comment, or a quote.
    End,
}

impl<'a> NameList<'a> {
    /// The possible readings of the list, the likeliest first; there is at least one. Names are separated
    /// - by commas, and may contain blanks: `very low, high`;
    /// - by commas or blanks: `low high`;
    /// - by commas outside brackets: `(0, 5], (5, 10]`.
    pub(super) fn readings(&self) -> impl Iterator<Item = Vec<&'a str>> {
        let (text, words) = match self {
            Self::Names(names) => ("", names.iter().map(|text| Word { text, start: 0, end: 0, gap: Gap::End }).collect()),
            Self::Text(text) => (*text, words(text, false)),
            Self::Barred(text) => (*text, words(text, true)),
        };
        let joins: [fn(Gap) -> bool; 3] = [|gap| gap == Gap::Blanks, |_| false, |gap| gap != Gap::End];
        joins.into_iter().map(move |joins| join(text, &words, joins))
    }
}

/// Splits a list into its words.
fn words(text: &str, bars: bool) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut lexer = Lexer::new(text);
    let (mut after_quoted, mut depth) = (true, 0_usize);
    // The parser has read this text before, so the lexer finds no error in it.
    while let Ok(Lexeme { token, start, end, .. }) = lexer.next() {
        let (part, quoted) = match token {
            Token::End => break,
            Token::Mark(',') => continue,
            Token::Mark('|') if bars => continue,
            Token::Quoted(name) => (name, true),
            Token::Word(_) | Token::Mark(_) => (&text[start..end], false),
        };
        match words.last_mut() {
            Some(word) if word.end == start && !quoted && !after_quoted => {
                (word.text, word.end) = (&text[word.start..end], end);
            }
            last => {
                let between = &text[last.map_or(0, |word| word.end)..start];
                let gap = if quoted || after_quoted { Gap::End } else { gap(between, depth) };
                words.push(Word { text: part, start, end, gap });
            }
        }
        after_quoted = quoted;
        match token {
            Token::Mark('(' | '[') => depth += 1,
            Token::Mark(')' | ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    words
}

fn gap(between: &str, depth: usize) -> Gap {
    match between.trim_matches([' ', '\t']) {
        "" => Gap::Blanks,
        "," if depth > 0 => Gap::InnerComma,
        _ => Gap::End,
    }
}

/// Joins words into names. What separates the words of a name is part of the name.
fn join<'a>(text: &'a str, words: &[Word<'a>], joins: fn(Gap) -> bool) -> Vec<&'a str> {
    let names = words.chunk_by(|_, next| joins(next.gap));
    let name = |words: &[Word<'a>]| match words {
        [first, .., last] => &text[first.start..last.end],
        [word] => word.text,
        [] => "",
    };
    names.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings<const NAMES: usize>(list: &NameList<'static>) -> Option<Vec<&'static str>> {
        list.readings().find(|names| names.len() == NAMES)
    }

    #[test]
    fn names_are_separated_by_commas_or_else_by_blanks_or_else_by_commas_outside_brackets() {
        let text = NameList::Text;
        assert_eq!(readings::<2>(&text("very low, high")).unwrap(), ["very low", "high"]);
        assert_eq!(readings::<1>(&text(" very low ")).unwrap(), ["very low"]);
        assert_eq!(readings::<2>(&text("very low")).unwrap(), ["very", "low"]);
        assert_eq!(readings::<3>(&text("a, b c")).unwrap(), ["a", "b", "c"]);
        assert_eq!(readings::<2>(&text("(0, 5], (5, 10]")).unwrap(), ["(0, 5]", "(5, 10]"]);
        assert_eq!(readings::<2>(&text("[0_5_, a|b (c)")).unwrap(), ["[0_5_", "a|b (c)"]);
        assert_eq!(readings::<3>(&text("a b, c d")), None);
        assert_eq!(readings::<0>(&text(" ")).unwrap(), [""; 0]);
    }

    #[test]
    fn a_name_in_quotes_is_by_itself_and_may_hold_anything() {
        let list = NameList::Text(r#""very, low" "" high "a|b"c"#);
        assert!(list.readings().all(|names| names == ["very, low", "", "high", "a|b", "c"]));
    }

    #[test]
    fn a_name_ends_with_its_line_and_before_a_comment() {
        let list = NameList::Text("very\nlow /* not */ high // it\n");
        assert!(list.readings().all(|names| names == ["very", "low", "high"]));
    }

    #[test]
    fn a_bar_separates_only_where_it_may() {
        assert_eq!(readings::<3>(&NameList::Barred("a b|c, d")).unwrap(), ["a b", "c", "d"]);
        assert_eq!(readings::<2>(&NameList::Text("a b|c, d")).unwrap(), ["a b|c", "d"]);
    }
}
