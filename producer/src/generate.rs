//! Synthetic companies, for trying Rollcall out and for measuring it.
//!
//! Their columns are the evidence variables of the demo model, `deploy/demo/questionnaire.bif`. A seed gives the same file on every
//! machine and in every version, and a shorter file is the beginning of a longer one.
//!
//! No company is real. Each fact is drawn independently of the others, not from the joint distribution of the model: a nano cap may
//! have the headcount of an enterprise.

use std::io::{self, Write};

/// Writes `companies` synthetic companies as CSV, with a header, to `out`.
///
/// Makes many small writes, so `out` should be buffered.
///
/// # Errors
/// Those of `out`.
pub fn write_companies(out: &mut impl Write, companies: u32, seed: u64) -> io::Result<()> {
    write_header(out)?;
    (0..companies).try_for_each(|index| write_company(out, index, seed))
}

fn write_header(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"company_id,name,synthetic")?;
    for (column, _) in EVIDENCE {
        write!(out, ",{column}")?;
    }
    out.write_all(b"\n")
}

/// Does not quote: no value has a comma, a quote or a line break, which a test checks.
fn write_company(out: &mut impl Write, index: u32, seed: u64) -> io::Result<()> {
    let mut draws = SplitMix64::of_company(seed, index);
    let number = u64::from(index) + 1;
    let place = PLACES[draws.next().choice(PLACES.len())];
    let trade = TRADES[draws.next().choice(TRADES.len())];
    write!(out, "synthetic-{number:07},{place} {trade} {number:07},true")?;
    for (_, states) in EVIDENCE {
        out.write_all(b",")?;
        out.write_all(observe(draws.next(), states).as_bytes())?;
    }
    out.write_all(b"\n")
}

/// The state of a fact, or no text if it is not observed.
fn observe(draw: Draw, states: &[(&'static str, usize)]) -> &'static str {
    if draw.percent() < UNOBSERVED_PERCENT {
        return "";
    }
    let mut left = draw.choice(100);
    for &(state, percent) in states {
        if left < percent {
            return state;
        }
        left -= percent;
    }
    // Not reached: the percentages of each fact sum to 100, which a test checks.
    ""
}

/// How often a fact is not observed: real files have empty cells, which a model has to handle.
const UNOBSERVED_PERCENT: usize = 10;

/// The evidence variables of the demo model, and their states with an invented percentage of companies each.
const EVIDENCE: [(&str, &[(&str, usize)]); 20] = [
    (
        "sector",
        &[
            ("Communication Services", 5),
            ("Consumer Discretionary", 12),
            ("Consumer Staples", 7),
            ("Energy", 4),
            ("Financials", 14),
            ("Health Care", 11),
            ("Industrials", 16),
            ("Information Technology", 12),
            ("Materials", 9),
            ("Real Estate", 6),
            ("Utilities", 4),
        ],
    ),
    ("market_cap", &[("Nano Cap", 32), ("Micro Cap", 26), ("Small Cap", 21), ("Mid Cap", 12), ("Large Cap", 8), ("Mega Cap", 1)]),
    ("region", &[("north_america", 38), ("europe", 25), ("asia_pacific", 27), ("latin_america", 6), ("middle_east_africa", 4)]),
    ("employees", &[("micro", 28), ("small", 32), ("medium", 21), ("large", 13), ("enterprise", 6)]),
    ("incorporated_age", &[("young", 18), ("established", 47), ("mature", 35)]),
    ("has_ciso", &[("yes", 25), ("no", 75)]),
    ("iso_27001", &[("certified", 18), ("in_progress", 7), ("none", 75)]),
    ("soc_2", &[("type_2", 19), ("type_1", 6), ("none", 75)]),
    ("cloud_use", &[("none", 10), ("some", 45), ("mostly", 33), ("only", 12)]),
    ("handles_health_data", &[("yes", 17), ("no", 83)]),
    ("handles_card_data", &[("yes", 33), ("no", 67)]),
    ("operates_ot", &[("yes", 31), ("no", 69)]),
    ("remote_work", &[("rare", 35), ("hybrid", 48), ("mostly", 17)]),
    ("outsourced_it", &[("none", 19), ("partly", 45), ("fully", 36)]),
    ("breach_history", &[("none", 70), ("one", 22), ("several", 8)]),
    ("cyber_insurance", &[("yes", 42), ("no", 58)]),
    ("dmarc_policy", &[("reject", 24), ("quarantine", 16), ("monitor", 25), ("missing", 35)]),
    ("patching_cadence", &[("weekly", 18), ("monthly", 42), ("quarterly", 26), ("slower", 14)]),
    ("exposed_services", &[("none", 30), ("few", 48), ("many", 22)]),
    ("tls_hygiene", &[("good", 45), ("fair", 38), ("poor", 17)]),
];

const PLACES: [&str; 24] = [
    "Alderbrook",
    "Ashcombe",
    "Birchfield",
    "Blackmere",
    "Cedarholm",
    "Coldwater",
    "Eastgate",
    "Elmstead",
    "Fairhaven",
    "Foxley",
    "Greywater",
    "Harrowgate",
    "Highmoor",
    "Kestrel",
    "Larkhill",
    "Millbrook",
    "Northfield",
    "Oakhurst",
    "Ravenscar",
    "Silverdale",
    "Stonebridge",
    "Thornbury",
    "Westmark",
    "Wrenfield",
];

const TRADES: [&str; 16] = [
    "Analytics",
    "Biologics",
    "Capital",
    "Components",
    "Energy",
    "Engineering",
    "Foods",
    "Freight",
    "Holdings",
    "Instruments",
    "Logistics",
    "Materials",
    "Media",
    "Mining",
    "Retail",
    "Systems",
];

/// Random draws from `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
/// <https://doi.org/10.1145/2660193.2660195>), with the constants of its reference implementation.
///
/// Implemented here so that a seed gives the same companies for ever, whatever a crate changes. Not for secrets.
struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The numbers for one company. The state is a plain counter, so that each company has a section of the sequence of its own,
    /// which does not depend on the companies before it.
    fn of_company(seed: u64, index: u32) -> Self {
        let drawn_before = u64::from(index) * DRAWS_PER_COMPANY;
        Self { state: seed.wrapping_add(drawn_before.wrapping_mul(Self::STEP)) }
    }

    fn next(&mut self) -> Draw {
        self.state = self.state.wrapping_add(Self::STEP);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Draw(bits ^ (bits >> 31))
    }
}

/// More than a company uses, so that a fact that is added at the end later changes no other value.
const DRAWS_PER_COMPANY: u64 = 64;
const _: () = assert!(2 + EVIDENCE.len() as u64 <= DRAWS_PER_COMPANY, "a company draws two words of its name, and its facts");

/// 64 random bits, used for up to two independent choices.
#[derive(Clone, Copy)]
struct Draw(u64);

impl Draw {
    /// A number from 0 to below `choices`, by the upper half of the bits.
    fn choice(self, choices: usize) -> usize {
        let [high, low, ..] = self.0.to_be_bytes();
        scale([high, low], choices)
    }

    /// A number from 0 to 99, by the lower half of the bits.
    fn percent(self) -> usize {
        let [.., high, low] = self.0.to_be_bytes();
        scale([high, low], 100)
    }
}

/// Scales 16 bits to a number below `choices`; with 100 choices, their probabilities differ by at most 1 in 650.
fn scale(bits: [u8; 2], choices: usize) -> usize {
    (usize::from(u16::from_be_bytes(bits)) * choices) >> 16
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn the_same_seed_writes_the_same_bytes() {
        assert_eq!(companies(500, 7), companies(500, 7));
    }

    /// Pinned: a benchmark or a bug report that names a seed must mean the same companies for ever.
    #[test]
    fn a_seed_means_the_same_company_in_every_version() {
        assert_eq!(
            companies(2, 42).lines().skip(1).collect::<Vec<_>>(),
            [
                "synthetic-0000001,Oakhurst Capital 0000001,true,Energy,Micro Cap,north_america,large,established,no,none,none,some,\
                 no,no,no,hybrid,partly,none,no,reject,quarterly,many,good",
                "synthetic-0000002,Elmstead Instruments 0000002,true,Utilities,Nano Cap,asia_pacific,large,mature,no,certified,none,\
                 mostly,,yes,no,rare,,none,,quarantine,monthly,few,good",
            ]
        );
    }

    #[test]
    fn a_shorter_file_is_the_beginning_of_a_longer_one() {
        let longer = companies(300, 7);
        for shorter in [0, 1, 2, 299] {
            assert!(longer.starts_with(&companies(shorter, 7)), "{shorter} companies");
        }
        assert_eq!(longer.lines().count(), 1 + 300);
    }

    #[test]
    fn another_seed_writes_other_companies() {
        let (one, other) = (companies(50, 7), companies(50, 8));
        let same = one.lines().zip(other.lines()).skip(1).filter(|(a, b)| a == b).count();
        assert_eq!(same, 0);
    }

    #[test]
    fn every_column_and_value_is_a_variable_and_state_of_the_demo_model() {
        let model = variables(include_str!("../../deploy/demo/questionnaire.bif"));
        assert_eq!(model.len(), 20 + 255);
        // The model's answers are named after controls, in capitals; its evidence in small letters.
        let evidence: BTreeMap<_, _> =
            model.into_iter().filter(|(name, _)| name.starts_with(|first: char| first.is_ascii_lowercase())).collect();
        // Enough companies for the rarest state, one in a hundred, to occur.
        let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for company in records(&companies(5_000, 7)) {
            for (column, value) in company.into_iter().skip(3) {
                let values = written.entry(column).or_default();
                if !value.is_empty() {
                    values.insert(value);
                }
            }
        }
        assert_eq!(written, evidence);
    }

    #[test]
    fn every_company_is_marked_synthetic_and_has_an_id_and_a_name_of_its_own() {
        let companies = records(&companies(2_000, 7));
        assert_eq!(companies[0][0], ("company_id".to_owned(), "synthetic-0000001".to_owned()));
        assert!(companies[1_999][1].1.ends_with(" 0002000"), "{:?}", companies[1_999][1]);
        assert!(companies.iter().all(|company| company[2] == ("synthetic".to_owned(), "true".to_owned())));
        for unique in [0, 1] {
            let values: BTreeSet<_> = companies.iter().map(|company| &company[unique].1).collect();
            assert_eq!(values.len(), companies.len(), "{}", companies[0][unique].0);
        }
    }

    #[test]
    fn about_one_fact_in_ten_is_not_observed() {
        let facts: Vec<_> = records(&companies(5_000, 7)).into_iter().flat_map(|company| company.into_iter().skip(3)).collect();
        let unobserved = facts.iter().filter(|(_, value)| value.is_empty()).count();
        assert_eq!(facts.len(), 100_000);
        assert!((9_500..10_500).contains(&unobserved), "{unobserved} of {}", facts.len());
    }

    #[test]
    fn the_percentages_of_every_fact_sum_to_a_hundred() {
        for (column, states) in EVIDENCE {
            assert_eq!(states.iter().map(|(_, percent)| percent).sum::<usize>(), 100, "{column}");
        }
    }

    #[test]
    fn no_value_needs_quoting() {
        let written = companies(2_000, 7);
        assert!(!written.contains(['"', '\r']));
        assert!(written.lines().all(|line| line.matches(',').count() == 2 + EVIDENCE.len()));
    }

    /// The outputs for seed 1234567 that implementations of `SplitMix64` are commonly checked against.
    #[test]
    fn the_draws_are_those_of_splitmix64() {
        let mut draws = SplitMix64::of_company(1_234_567, 0);
        let first = [draws.next().0, draws.next().0, draws.next().0];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    fn companies(companies: u32, seed: u64) -> String {
        let mut out = Vec::new();
        write_companies(&mut out, companies, seed).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn records(written: &str) -> Vec<Vec<(String, String)>> {
        let mut reader = csv::Reader::from_reader(written.as_bytes());
        let columns = reader.headers().unwrap().clone();
        let named = |record: csv::StringRecord| columns.iter().map(str::to_owned).zip(record.iter().map(str::to_owned)).collect();
        reader.records().map(|record| named(record.unwrap())).collect()
    }

    /// Each variable of a model and its states, from lines like `variable X {` and `type discrete [ 2 ] { yes, "not yet" };`.
    fn variables(bif: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut variables = BTreeMap::new();
        let mut name = "";
        for line in bif.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("variable ") {
                name = rest.trim_end_matches('{').trim();
            } else if line.starts_with("type discrete") {
                let (_, states) = line.split_once('{').unwrap();
                let states = states.trim_end_matches(';').trim_end().trim_end_matches('}').split(',');
                let states = states.map(|state| state.trim().trim_matches('"').to_owned()).collect();
                variables.insert(name.to_owned(), states);
            }
        }
        variables
    }
}
