//! Shows names and values from outside in one-line messages: quoted, with control characters escaped, and shortened.

/// The most characters of a value that a message shows.
const SHOWN_CHARACTERS: usize = 60;
/// The most characters of another program's message that a message shows.
const SHOWN_MESSAGE_CHARACTERS: usize = 200;
/// The most names that a message lists.
const SHOWN_NAMES: usize = 8;

/// `text` in quotes on one line, cut after 60 characters.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", shown(text, SHOWN_CHARACTERS))
}

/// A message of another program, on one line and cut after 200 characters.
pub(super) fn on_one_line(message: &str) -> String {
    shown(message, SHOWN_MESSAGE_CHARACTERS)
}

fn shown(text: &str, characters: usize) -> String {
    let end = text.char_indices().nth(characters).map(|(end, _)| end);
    let mut shown = String::new();
    for character in text[..end.unwrap_or(text.len())].chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if end.is_some() {
        shown.push('…');
    }
    shown
}

/// The first eight of `names`, quoted, and how many more there are.
pub(super) fn quote_all<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN_NAMES).map(|name| quote(name.as_ref())).collect();
    match names.len().saturating_sub(SHOWN_NAMES) {
        0 => shown.join(", "),
        hidden => format!("{} and {hidden} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_and_stays_on_one_line() {
        let quoted = quote(&format!("a\n{}", "b".repeat(100)));
        assert!(quoted.starts_with("'a\\nbbb") && quoted.ends_with("b…'"), "{quoted}");
        assert_eq!(quoted.chars().count(), SHOWN_CHARACTERS + 4);
    }

    #[test]
    fn a_long_list_says_how_many_names_it_leaves_out() {
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(quote_all(&names), "'0', '1', '2', '3', '4', '5', '6', '7' and 2 more");
        assert_eq!(quote_all(&names[..2]), "'0', '1'");
    }
}
