//! Turns the blocks of a network file into definitions: names are resolved, and tables are complete with rows that sum to 1.
//!
//! This looks at one variable at a time. Cycles are found by [`super::order`].

use super::cpt::{CptBuilder, Normalised};
use super::declarations::Declarations;
use super::document::{Document, EntryKind, ProbabilityBlock, VariableBlock};
use crate::bayes::quote::quote;
use crate::error::ParseError;

/// The most probabilities in all tables together. The largest network of the bnlearn repository has half a million. A variable with many
/// parents can have billions, and a file of a few lines with a `default` entry would allocate them all.
const MAX_PROBABILITIES: usize = 1 << 24;

/// A variable, its parents and its distribution given each configuration of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) states: Vec<String>,
    /// Indices of the definitions of the parents, in the order in which the file lists the parents.
    pub(crate) parents: Vec<usize>,
    /// The table: one distribution over `states` after another, each with a sum of 1 except for rounding. The last parent's state changes
    /// fastest from one to the next.
    pub(crate) probabilities: Vec<f64>,
    /// The line of the probability block.
    pub(crate) line: usize,
}

/// Checks and completes a document. Returns one definition per variable, in the order of the variable blocks, and which distributions had
/// to be normalised.
///
/// # Errors
/// An unknown or repeated name, a repeated or missing distribution, a wrong number of probabilities, a distribution whose sum is too far
/// from 1, or too large a table.
pub(crate) fn resolve(document: &Document<'_>) -> Result<(Vec<Definition>, Normalised), ParseError> {
    let declarations = Declarations::new(&document.variables)?;
    let families = declarations.families(&document.probabilities)?;
    let mut room = MAX_PROBABILITIES;
    let mut normalised = Normalised::default();
    let define = |(child, family)| declarations.define(child, family, &mut room, &mut normalised);
    let definitions = families.into_iter().enumerate().map(define).collect::<Result<_, _>>()?;
    Ok((definitions, normalised))
}

/// The indices of a variable's parents, and its probability block.
type Family<'b> = (Vec<usize>, &'b ProbabilityBlock<'b>);

impl Declarations<'_> {
    /// The one probability block of each variable.
    fn families<'b>(&self, blocks: &'b [ProbabilityBlock<'b>]) -> Result<Vec<Family<'b>>, ParseError> {
        let mut found: Vec<Option<Family<'b>>> = vec![None; self.variables.len()];
        for block in blocks {
            let (child, parents) = self.family(block)?;
            if let Some((_, first)) = found[child].replace((parents, block)) {
                let (name, first) = (quote(self.variables[child].name), first.line);
                return Err(ParseError::new(
                    block.line,
                    format!("variable {name} has two probability blocks, the first on line {first}; remove one"),
                ));
            }
        }
        let missing = |variable: &VariableBlock<'_>| {
            let name = quote(variable.name);
            ParseError::new(variable.line, format!("expected probabilities of variable {name}, found none; add them"))
        };
        found.into_iter().zip(self.variables).map(|(family, variable)| family.ok_or_else(|| missing(variable))).collect()
    }

    fn define(
        &self,
        child: usize,
        (parents, block): Family<'_>,
        room: &mut usize,
        normalised: &mut Normalised,
    ) -> Result<Definition, ParseError> {
        let VariableBlock { name, states, .. } = &self.variables[child];
        let configurations = self.configurations(&parents, states.len(), block, name, room)?;
        let mut cpt = CptBuilder::new(name, block.line, states.len(), configurations, normalised);
        for entry in &block.entries {
            match &entry.kind {
                EntryKind::Row(states) => cpt.fill_row(self.row(states, &parents, entry, name)?, entry)?,
                EntryKind::ByState => cpt.fill_by_state(entry)?,
                EntryKind::ByConfiguration => cpt.fill_by_configuration(entry)?,
                EntryKind::Default => cpt.set_default(entry)?,
            }
        }
        let probabilities = cpt.complete(|row| self.configuration(row, &parents))?;
        Ok(Definition {
            name: (*name).to_owned(),
            states: states.iter().map(|&state| state.to_owned()).collect(),
            parents,
            probabilities,
            line: block.line,
        })
    }

    /// How many configurations the parents have. Takes the size of the table off `room`, the probabilities that the network may still have.
    fn configurations(
        &self,
        parents: &[usize],
        states: usize,
        block: &ProbabilityBlock<'_>,
        child: &str,
        room: &mut usize,
    ) -> Result<usize, ParseError> {
        let counts = parents.iter().map(|&parent| self.variables[parent].states.len());
        let configurations = counts.fold(1, usize::saturating_mul);
        let left = room.checked_sub(configurations.saturating_mul(states)).ok_or_else(|| {
            let name = quote(child);
            let message = format!(
                "expected at most {MAX_PROBABILITIES} probabilities in the network, exceeded at variable {name}; \
                 give it fewer parents or states"
            );
            ParseError::new(block.line, message)
        })?;
        *room = left;
        Ok(configurations)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bif::parse;
    use super::*;

    const HEAD: &str = "network n {} variable a { type discrete [ 2 ] { x, y }; }
        variable b { type discrete [ 3 ] { 1, 2, 3 }; }
        probability ( a ) { table 0.25, 0.75; }";

    fn defined(blocks: &str) -> Result<Vec<Definition>, ParseError> {
        resolve(&parse(&format!("{HEAD}\n{blocks}")).unwrap()).map(|(definitions, _)| definitions)
    }

    fn fault(blocks: &str) -> (usize, String) {
        let error = defined(blocks).unwrap_err();
        (error.line, error.message)
    }

    #[test]
    fn rows_a_table_and_a_default_say_the_same() {
        let rows = defined("probability ( b | a ) { (y) 0, 0.5, 0.5; (x) 0.5, 0.25, 0.25; }").unwrap();
        assert_eq!(rows[1].probabilities, [0.5, 0.25, 0.25, 0.0, 0.5, 0.5]);
        // P(b=1|x), P(b=1|y), P(b=2|x), P(b=2|y), P(b=3|x), P(b=3|y)
        let table = defined("probability ( b | a ) { table 0.5, 0, 0.25, 0.5, 0.25, 0.5; }").unwrap();
        let default = defined("probability ( b | a ) { default 0.5, 0.25, 0.25; (y) 0, 0.5, 0.5; }").unwrap();
        assert_eq!((&rows, &rows), (&table, &default));
    }

    #[test]
    fn a_head_is_read_so_that_its_names_are_declared() {
        let variable =
            |name| format!("variable {name} {{ type discrete [ 2 ] {{ x, y }}; }} probability ( {name} ) {{ table 1, 0; }}");
        let heads = [("b | a b, c", vec![2, 3]), ("b, a b", vec![2]), ("b a c", vec![0, 3]), ("b c | a", vec![3, 0])];
        for (head, parents) in heads {
            let text = format!("{} {} probability ( {head} ) {{ default 1, 0, 0; }}", variable("\"a b\""), variable("c"));
            assert_eq!(defined(&text).unwrap()[1].parents, parents, "{head}");
        }
    }

    #[test]
    fn of_two_readings_of_a_head_the_entries_decide_and_where_they_do_not_it_is_refused() {
        let root = |name, states: usize| {
            let table = vec!["0"; states - 1].join(", ");
            format!(
                "variable \"{name}\" {{ type discrete [ {states} ] {{ {} }}; }} probability ( \"{name}\" ) {{ table 1, {table}; }}",
                (0..states).map(|state| state.to_string()).collect::<Vec<_>>().join(" ")
            )
        };
        let [c, a_c, wide] = [("c", 2), ("a c", 2), ("a c", 4)].map(|(name, states)| root(name, states));
        let read = |variables: &[&str], entries: &str| {
            defined(&format!("{} probability ( b | a c ) {{ {entries} }}", variables.concat())).map(|all| all[1].parents.clone())
        };
        assert_eq!(read(&[&c, &a_c], "(x 0) 1, 0, 0; default 1, 0, 0;").unwrap(), [0, 2]);
        assert_eq!(read(&[&c, &a_c], "(0) 1, 0, 0; (1) 1, 0, 0;").unwrap(), [3]);
        assert_eq!(read(&[&c, &a_c], "table 1, 1, 0, 0, 0, 0;").unwrap(), [3]);
        for (second, entries) in [(&a_c, "default 1, 0, 0;"), (&wide, "table 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0;")] {
            let error = read(&[&c, second], entries).unwrap_err();
            assert!(error.message.contains("found ('b', 'a c') or ('b', 'a', 'c'); put each name in quotes"), "{error:?}");
        }
    }

    #[test]
    fn where_no_reading_of_a_head_fits_the_entry_at_fault_is_named_on_its_own_line() {
        let root = |name| {
            format!("variable \"{name}\" {{ type discrete [ 2 ] {{ 0, 1 }}; }} probability ( \"{name}\" ) {{ table 0.5, 0.5; }}")
        };
        let roots = [root("c"), root("a c")].concat();
        for (entries, line, message) in [
            ("\n(0) 1, 0, 0;\n(2) 1, 0, 0;", 2, "expected a state of 'a c' ('0', '1'), found '2'"),
            ("\n(x 0) 1, 0, 0;\n(y 2) 1, 0, 0;\n(y 0) 1, 0, 0;", 2, "expected a state of 'c' ('0', '1'), found '2'"),
            ("\n(0) 1, 0, 0;\n(1) 1, 0;", 2, "expected 3 probabilities of variable 'b', found 2"),
            ("table 1, 0;", 0, "expected 6 probabilities of variable 'b', found 2"),
            ("", 0, "expected a distribution of variable 'b' for ('0'), found none"),
        ] {
            let found = fault(&format!("{roots} probability ( b | a c ) {{ {entries} }}"));
            assert!(found.0 == 4 + line && found.1.contains(message), "{entries}: {found:?}");
        }
    }

    #[test]
    fn a_row_is_read_so_that_each_parent_has_a_state() {
        let text = "variable c { type discrete [ 2 ] { very low, y }; } probability ( c ) { table 1, 0; }
            probability ( b | c, a ) { ( very low, x ) 1, 0, 0; (y x) 0, 1, 0; ( \"very low\" y ) 0, 0, 1; default 1, 0, 0; }";
        let probabilities = &defined(text).unwrap()[1].probabilities;
        assert_eq!(probabilities[..], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_name_that_is_unknown_or_repeated_is_named() {
        let b = "probability ( b ) { table 1, 0, 0; }";
        let cases = [
            ("probability ( c ) { table 1; }".to_owned(), "a declared variable, found 'c'"),
            ("probability ( b | c ) { default 1, 0, 0; }".to_owned(), "a declared variable, found 'c'"),
            ("probability ( b | a ) { (z) 1, 0, 0; }".to_owned(), "a state of 'a' ('x', 'y'), found 'z'"),
            ("probability ( b | a, a ) { default 1, 0, 0; }".to_owned(), "variable 'b' has parent 'a' twice"),
            (format!("{b} {b}"), "variable 'b' has two probability blocks, the first on line 4"),
            (format!("variable a {{ type discrete [ 1 ] {{ x }}; }} {b}"), "variable 'a' is declared twice, first on line 1"),
            (format!("variable c {{ type discrete [ 2 ] {{ x, x }}; }} {b}"), "variable 'c' has state 'x' twice"),
        ];
        for (text, message) in cases {
            let found = fault(&text);
            assert!(found.0 == 4 && found.1.contains(message), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_missing_distribution_is_named_with_its_parents() {
        let (line, message) = fault("probability ( b | a ) { (x) 1, 0, 0; }");
        assert_eq!((line, message.contains("a distribution of variable 'b' for ('y'), found none")), (4, true));
        assert!(fault("probability ( b ) { }").1.contains("a distribution of variable 'b', found none"));
        let (line, message) = fault("");
        assert_eq!((line, message.contains("expected probabilities of variable 'b', found none")), (2, true));
    }

    #[test]
    fn an_entry_holds_each_distribution_once_and_whole() {
        let cases = [
            ("(x) 1, 0; default 1, 0, 0;", "expected 3 probabilities of variable 'b', found 2"),
            ("table 1, 0, 0;", "expected 6 probabilities of variable 'b', found 3"),
            ("(x, y) 1, 0, 0;", "each of the 1 parents of variable 'b', found 2"),
            ("(x) 1, 0, 0; (x) 1, 0, 0;", "given twice"),
            ("(x) 1, 0, 0; table 1, 1, 0, 0, 0, 0;", "given twice"),
            ("default 1, 0, 0; default 1, 0, 0;", "given twice"),
        ];
        for (entries, message) in cases {
            let found = fault(&format!("probability ( b | a ) {{ {entries} }}"));
            assert!(found.1.contains(message), "{entries}: {found:?}");
        }
    }

    #[test]
    fn tables_beyond_the_limits_are_refused_before_memory_is_taken() {
        let states: Vec<String> = (0..256).map(|state| state.to_string()).collect();
        let (_, message) = fault(&format!("variable c {{ type discrete [ 256 ] {{ {} }}; }}", states.join(", ")));
        assert!(message.contains("at most 255 states of variable 'c', found 256"), "{message}");

        let names: Vec<String> = (0..64).map(|place| format!("p{place}")).collect();
        let variables = names.iter().map(|name| format!("variable {name} {{ type discrete [ 2 ] {{ 0, 1 }}; }}"));
        let roots = names.iter().map(|name| format!("probability ( {name} ) {{ table 0.5, 0.5; }}"));
        let child = format!("probability ( b | {} ) {{ default 1, 0, 0; }}", names.join(", "));
        let blocks: Vec<String> = variables.chain(roots).chain([child]).collect();
        let (_, message) = fault(&blocks.concat());
        assert!(message.contains("at most 16777216 probabilities") && message.contains("variable 'b'"), "{message}");
    }

    #[test]
    fn a_network_without_variables_is_refused() {
        let error = resolve(&parse("network n {}").unwrap()).unwrap_err();
        assert!(error.message.contains("at least one variable"));
    }
}
