//! A network file comes from outside: whatever its content, parsing it ends in a network or an error.

use std::fmt::Write;

use proptest::prelude::*;

use super::super::network::bif;
use super::super::network::resolve::{Definition, resolve};
use super::super::network::xmlbif::XmlNetwork;
use super::super::*;

const ASIA: &[u8] = include_bytes!("../asia.bif");
/// Random files are made of these pieces. They get further into the parsers than random bytes.
const PIECES: [&str; 32] = [
    "network",
    "n",
    "{",
    "}",
    "variable",
    "a",
    "b",
    "type",
    "discrete",
    "[",
    "2",
    "]",
    ";",
    ",",
    "(",
    ")",
    "|",
    "probability",
    "table",
    "default",
    "0.5",
    "\"",
    "/*",
    "//",
    "<BIF>",
    "<NETWORK>",
    "</NETWORK>",
    "<VARIABLE>",
    "<NAME>",
    "</NAME>",
    "&lt;",
    "<!--",
];

fn read_and_describe(bytes: &[u8]) {
    if let Err(error) = Network::parse(bytes) {
        assert!(error.line >= 1 && !error.message.contains('\n'), "{error:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        read_and_describe(&bytes);
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in prop::collection::vec(prop::sample::select(&PIECES), 0..200)) {
        read_and_describe(pieces.join(" ").as_bytes());
    }

    #[test]
    fn a_damaged_file_never_panics(at in 0..ASIA.len(), cut in 0..40_usize, bytes in prop::collection::vec(any::<u8>(), 0..4)) {
        let rest = &ASIA[ASIA.len().min(at + cut)..];
        read_and_describe(&[&ASIA[..at], &bytes, rest].concat());
    }

    #[test]
    fn a_file_with_lines_moved_never_panics(from in 0..60_usize, to in 0..60_usize) {
        let mut lines: Vec<&[u8]> = ASIA.split(|&byte| byte == b'\n').collect();
        lines.swap(from, to);
        read_and_describe(&lines.join(&b'\n'));
    }

    #[test]
    fn a_printed_network_is_read_back(definitions in networks("[a-z<>+/_.=%äß0-9-]{1,8}|[a-z(){};|, ]{1,8}")) {
        assert_same(&resolve(&bif::parse(&print(&definitions)).unwrap()).unwrap().0, &definitions);
    }

    #[test]
    fn a_network_printed_without_quotes_is_read_back(definitions in networks(r"[a-z<>\[\]_.=%äß0-9-]{1,4}( [a-z0-9]{1,3}){0,2}")) {
        let text = print(&definitions).replace('"', "");
        assert_same(&resolve(&bif::parse(&text).unwrap()).unwrap().0, &definitions);
    }

    #[test]
    fn a_network_printed_as_xml_is_read_back(definitions in networks("[a-z<>&'\"äß]([a-z(){};|, ]{0,6}[a-z<>&])?")) {
        let network = XmlNetwork::parse(&print_xml(&definitions)).unwrap();
        assert_same(&resolve(&network.document()).unwrap().0, &definitions);
    }
}

proptest! {
    #[test]
    fn a_prediction_is_json_whatever_the_names(
        (definitions, distributions) in (networks("[a-z<>&'\"\\\\äß]([a-z(){};|,\"\\\\ ]{0,6}[a-z<>&])?"), any::<bool>())
    ) {
        let settings = Settings { particles: 2, distributions, timeout: Duration::MAX };
        let mut bayes = Bayes::parse(print_xml(&definitions).as_bytes(), settings).unwrap();
        let prediction = bayes.predict(b"{}", &mut Deadline::after(Duration::MAX)).unwrap();
        let variables: serde_json::Map<_, _> = serde_json::from_str(prediction.json.as_str()).unwrap();
        prop_assert!(definitions.iter().all(|definition| variables.contains_key(&definition.name)), "{}", prediction.json);
    }
}

#[track_caller]
fn assert_same(read: &[Definition], printed: &[Definition]) {
    assert_eq!(read.len(), printed.len());
    for (read, printed) in read.iter().zip(printed) {
        assert_eq!((&read.name, &read.states, &read.parents), (&printed.name, &printed.states, &printed.parents));
        assert_eq!(read.probabilities, printed.probabilities);
    }
}

#[test]
fn deep_and_long_files_end_in_an_error() {
    let pieces = [
        "{",
        "(",
        "network n {",
        "/*",
        "property ",
        "\"a\" ",
        "variable a",
        "(a) ",
        ", ",
        "<BIF>",
        "<BIF><NETWORK>",
        "<a>",
        "&a;",
    ];
    for piece in pieces {
        read_and_describe(piece.repeat(100_000).as_bytes());
        read_and_describe(["network n { ", &piece.repeat(100_000)].concat().as_bytes());
    }
}

/// Networks in which each variable has some of the variables before it as parents, with names like `name`.
fn networks(name: &'static str) -> impl Strategy<Value = Vec<Definition>> {
    let variable = (prop::collection::btree_set(name, 1..4), prop::collection::vec(any::<bool>(), 6), any::<u64>());
    prop::collection::btree_map(name, variable, 1..6).prop_map(|drawn| {
        let mut definitions: Vec<Definition> = Vec::new();
        for (name, (states, edges, seed)) in drawn {
            let parents: Vec<usize> = (0..definitions.len()).filter(|&parent| edges[parent]).collect();
            let rows: usize = parents.iter().map(|&parent| definitions[parent].states.len()).product();
            let probabilities = (0..rows).flat_map(|row| distribution(states.len(), seed.wrapping_add(row as u64))).collect();
            definitions.push(Definition { name, states: states.into_iter().collect(), parents, probabilities, line: 0 });
        }
        definitions
    })
}

/// Some distribution over so many states.
pub(super) fn distribution(states: usize, seed: u64) -> Vec<f64> {
    let mut rng = rng::Rng::new(seed, 0);
    let draws: Vec<u16> = std::iter::from_fn(|| Some(rng.step())).flatten().take(states).collect();
    let sum: f64 = draws.iter().map(|&draw| f64::from(draw) + 1.0).sum();
    draws.iter().map(|&draw| (f64::from(draw) + 1.0) / sum).collect()
}

/// Writes a network in the Bayesian Interchange Format, every name in quotes.
pub(super) fn print(definitions: &[Definition]) -> String {
    let mut text = "network n {\n}\n".to_owned();
    for Definition { name, states, .. } in definitions {
        let (count, states) = (states.len(), quoted(states));
        writeln!(text, "variable \"{name}\" {{\n  type discrete [ {count} ] {{ {states} }};\n}}").unwrap();
    }
    for definition in definitions {
        let parents: Vec<&Definition> = definition.parents.iter().map(|&parent| &definitions[parent]).collect();
        let names: Vec<&String> = parents.iter().map(|parent| &parent.name).collect();
        let head = if names.is_empty() { String::new() } else { format!(" | {}", quoted(&names)) };
        writeln!(text, "probability ( \"{}\"{head} ) {{", definition.name).unwrap();
        for (row, distribution) in definition.probabilities.chunks_exact(definition.states.len()).enumerate() {
            let place =
                if names.is_empty() { "table".to_owned() } else { format!("({})", quoted(&configuration(row, &parents))) };
            let values: Vec<String> = distribution.iter().map(f64::to_string).collect();
            writeln!(text, "  {place} {};", values.join(", ")).unwrap();
        }
        text.push_str("}\n");
    }
    text
}

/// Writes a network in XMLBIF.
fn print_xml(definitions: &[Definition]) -> String {
    let mut text = "<?xml version=\"1.0\"?>\n<BIF VERSION=\"0.3\"><NETWORK>\n".to_owned();
    let element = |name: &str, content: &str| format!("<{name}>{}</{name}>", quick_xml::escape::escape(content));
    for Definition { name, states, parents, probabilities, .. } in definitions {
        let states: String = states.iter().map(|state| element("OUTCOME", state)).collect();
        let parents: String = parents.iter().map(|&parent| element("GIVEN", &definitions[parent].name)).collect();
        let values: Vec<String> = probabilities.iter().map(f64::to_string).collect();
        writeln!(text, "<VARIABLE>{}{states}</VARIABLE>", element("NAME", name)).unwrap();
        let (child, table) = (element("FOR", name), element("TABLE", &values.join(" ")));
        writeln!(text, "<DEFINITION>{child}{parents}{table}</DEFINITION>").unwrap();
    }
    text + "</NETWORK></BIF>\n"
}

fn configuration<'a>(mut row: usize, parents: &[&'a Definition]) -> Vec<&'a String> {
    let mut states: Vec<&String> = Vec::new();
    for parent in parents.iter().rev() {
        states.push(&parent.states[row % parent.states.len()]);
        row /= parent.states.len();
    }
    states.reverse();
    states
}

fn quoted<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("\"{}\"", name.as_ref())).collect::<Vec<_>>().join(", ")
}
