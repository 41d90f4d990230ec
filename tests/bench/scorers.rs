//! The scorers that benchmarks use beside the demo's: one that costs nothing, and one that only waits.

use rollcall_tests::Fleet;

/// Results are then about 1.5 kB long.
const STATE_BYTES: usize = 1_300;

/// A network of one variable with one state, whose name is as long as a prediction may be: all that remains to be done for a company is
/// its way.
pub fn costs_nothing(fleet: &Fleet) -> String {
    let network = format!(
        "network nothing {{ }}\nvariable answer {{ type discrete [ 1 ] {{ {} }}; }}\nprobability ( answer ) {{ table 1.0; }}\n",
        "x".repeat(STATE_BYTES)
    );
    format!("bayes:{}", fleet.file("nothing.bif", network).display())
}
