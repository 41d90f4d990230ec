//! Names the key that was probably meant in place of an unknown one.

/// How like the unknown key another one must be, from 0 to 1, to be named.
const LIKE_ENOUGH: f64 = 0.7;

/// The message of a deserializer with the nearest known key, if it is about an unknown one.
pub(crate) fn explained(message: &str) -> String {
    explained_beside(message, &[])
}

/// The same where there are `other` known keys.
pub(crate) fn explained_beside(message: &str, other: &[&str]) -> String {
    let message = message.trim();
    let unknown = message.split_once("unknown field ").map_or("", |(_, rest)| rest);
    let Some((before, known)) = unknown.split_once(", expected ") else { return message.to_owned() };
    let unknown = before.trim_matches('`');
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).chain(other.iter().copied()).collect();
    let likeness = |known: &str| strsim::jaro_winkler(unknown, known);
    let nearest = known.iter().copied().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|nearest| likeness(nearest) >= LIKE_ENOUGH) {
        Some(nearest) => format!("expected a known key, found {unknown:?}; did you mean {nearest:?}?"),
        None => format!("expected a known key, found {unknown:?}; known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_the_one_that_is_like_it_or_with_all() {
        let known = "expected one of `settle`, `path`, `results_to`";
        let told = explained(&format!("unknown field `result_to`, {known}"));
        assert_eq!(told, r#"expected a known key, found "result_to"; did you mean "results_to"?"#);
        let told = explained(&format!("unknown field `zzz`, {known}"));
        assert_eq!(told, r#"expected a known key, found "zzz"; known are settle, path, results_to"#);
        assert_eq!(explained("missing field `path`"), "missing field `path`");
    }
}
