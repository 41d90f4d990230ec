//! One network in the form that each program writes.

use super::super::*;

const BNLEARN: &str = "network unknown {
}
variable sales trend {
  type discrete [ 2 ] { going up, down };
}
variable late {
  type discrete [ 2 ] { yes, no };
}
probability ( sales trend ) {
  table 0.25, 0.75;
}
probability ( late | sales trend ) {
  (going up) 0.1, 0.9;
  (down) 1.0, 0.0;
}
";

const PGMPY: &str = "network unknown {
}
variable late {
    type discrete [ 2 ] { yes, no };
    property weight = None ;
}
variable sales trend {
    type discrete [ 2 ] { going up, down };
}
probability ( late | sales trend ) {
    ( going up ) 0.1, 0.9;
    ( down ) 1.0000000000000002, -1e-17;

}
probability ( sales trend ) {
    table 0.25, 0.75 ;
}
";

const AGRUM: &str = "network \"unnamedBN\" {
// written by aGrUM 3.3.1
}

variable sales trend {
   type discrete[2] {going up, down};
}

variable late {
   type discrete[2] {yes, no};
}

probability (sales trend) {
   table 0.25 0.75;
}
probability (late | sales trend) {
   (going up) 0.1 0.9;
   (down) 1 0;
}
";

const JAVA_BAYES: &str = "// Bayesian network
network \"First-Network\" { //2 variables and 2 probability distributions
\tproperty \"credal-set constant-density-bounded 1.1\" ;
}
variable  \"sales trend\" { //2 values
\ttype discrete[2] {  \"going up\"  \"down\" };
\tproperty \"position = (73, 165)\" ;
}
variable  \"late\" { //2 values
\ttype discrete[2] {  \"yes\"  \"no\" };
}
probability (  \"sales trend\" ) { //1 variable(s) and 2 values
\ttable 0.25 0.75 ;
}
probability (  \"late\"  \"sales trend\" ) { //2 variable(s) and 4 values
\ttable 0.1 1.0 0.9 0.0 ;
}
";

const XML: &str = r#"<?xml version="1.0" encoding="US-ASCII"?>
<!DOCTYPE BIF [ <!ELEMENT BIF ( NETWORK )*> <!ELEMENT NAME (#PCDATA)> ]>
<BIF VERSION="0.3">
<NETWORK>
<NAME>First-Network</NAME>
<VARIABLE TYPE="nature"><NAME>sales trend</NAME><OUTCOME>going up</OUTCOME><OUTCOME>down</OUTCOME></VARIABLE>
<VARIABLE TYPE="nature"><NAME>late</NAME><OUTCOME>yes</OUTCOME><OUTCOME>no</OUTCOME></VARIABLE>
<DEFINITION><FOR>sales trend</FOR><TABLE>0.25 0.75</TABLE></DEFINITION>
<DEFINITION><FOR>late</FOR><GIVEN>sales trend</GIVEN><TABLE>0.1 0.9 1.0 0.0</TABLE></DEFINITION>
</NETWORK>
</BIF>
"#;

#[test]
fn every_dialect_says_the_same_network() {
    for (writer, text) in [("bnlearn", BNLEARN), ("pgmpy", PGMPY), ("aGrUM", AGRUM), ("JavaBayes", JAVA_BAYES), ("XML", XML)] {
        for begin in ["", "\u{feff}", "\n \n"] {
            let network =
                Network::parse(format!("{begin}{text}").as_bytes()).unwrap_or_else(|error| panic!("{writer}: {error:?}"));
            let variable = |name| &network.variables[network.index_of(name).unwrap()];
            let (trend, late) = (variable("sales trend"), variable("late"));
            assert_eq!(
                (&trend.states[..], &*trend.likelihoods),
                (&["going up".to_owned(), "down".to_owned()][..], &[0.25, 0.75][..])
            );
            assert_eq!((late.parents.len(), &*late.likelihoods), (1, &[0.1, 0.9, 1.0, 0.0][..]), "{writer}");
            assert_eq!(network.normalised, Normalised::default());
        }
    }
}

#[test]
fn what_was_scaled_to_1_is_told() {
    let text = BNLEARN.replace("0.1, 0.9", "0.33, 0.66");
    let normalised = Network::parse(text.as_bytes()).unwrap().normalised;
    assert_eq!((normalised.distributions, normalised.first_line), (1, 13));
}
