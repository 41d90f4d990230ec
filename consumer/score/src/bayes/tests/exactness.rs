//! Compares estimates with exact posteriors. A deviation is measured in standard errors of the estimate. By the delta method,
//! an estimate of a probability p from weights w has the standard error sqrt(sum of w^2 (1[state] - p)^2) / sum of w
//! (Owen 2013, "Monte Carlo theory, methods and examples", section 9.2). That is itself estimated from the particles,
//! and says nothing if hardly any of them is in the state, or out of it. Then sqrt(p (1 - p) / n) is used, with
//! the effective sample size n = (sum of w)^2 / sum of w^2 (Kong 1992).
//!
//! The network kept here is "Asia" of Lauritzen & Spiegelhalter 1988, "Local computations with probabilities on graphical
//! structures and their application to expert systems". Other networks are read if their folder exists.
//!
//! Seeds are fixed, so that these tests either always pass or always fail.

use std::fs;

use serde_json::Value;

use super::super::*;

const PARTICLES: u32 = 100_000;
const MAX_STANDARD_ERRORS: f64 = 4.0;
/// Fewer particles than these in a state, or out of it, say nothing about the error.
const MIN_DRAWN: u32 = 25;
/// The exact posteriors are rounded to six decimals.
const ROUNDING: f64 = 1e-6;

/// The largest deviation of all comparisons.
#[derive(Default)]
struct Worst {
    comparisons: u32,
    standard_errors: f64,
    place: String,
}

#[test]
fn asia_agrees_with_its_exact_posteriors() {
    let mut worst = Worst::default();
    compare(include_bytes!("../asia.bif"), include_str!("../asia.posteriors.json"), &mut worst);
    worst.check();
}

#[test]
fn networks_of_the_bnlearn_repository_agree_with_their_exact_posteriors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/networks");
    if !folder.is_dir() {
        super::skip(&format!("{} does not exist", folder.display()));
        return;
    }
    let mut worst = Worst::default();
    for name in ["asia", "alarm", "insurance", "hepar2"] {
        let network = fs::read(folder.join(name).with_extension("bif")).unwrap();
        let posteriors = fs::read_to_string(folder.join(name).with_extension("posteriors.json")).unwrap();
        compare(&network, &posteriors, &mut worst);
    }
    worst.check();
}

impl Worst {
    fn check(&self) {
        let Self { comparisons, standard_errors, place } = self;
        println!("{comparisons} comparisons, the largest deviation {standard_errors:.2} standard errors, at {place}");
        assert!(*comparisons > 0 && *standard_errors <= MAX_STANDARD_ERRORS, "{standard_errors} at {place}");
    }

    fn note(&mut self, standard_errors: f64, place: String) {
        self.comparisons += 1;
        if self.place.is_empty() || standard_errors > self.standard_errors {
            (self.standard_errors, self.place) = (standard_errors, place);
        }
    }
}

fn compare(network: &[u8], posteriors: &str, worst: &mut Worst) {
    let mut bayes =
        Bayes::parse(network, Settings { particles: PARTICLES, distributions: true, timeout: Duration::MAX }).unwrap();
    let posteriors: Value = serde_json::from_str(posteriors).unwrap();
    for case in posteriors["cases"].as_array().unwrap() {
        let record = case["evidence"].to_string();
        bayes.predict(record.as_bytes(), &mut Deadline::after(Duration::MAX)).unwrap();
        let exact = exact(&bayes, &case["posterior"]);
        let errors = standard_errors(&mut bayes, record.as_bytes(), &exact);
        for (variable, (exact, errors)) in exact.iter().zip(&errors).enumerate() {
            for (state, estimate) in bayes.posterior.probabilities(variable).enumerate().take(exact.len()) {
                let deviation = ((estimate - exact[state]).abs() - ROUNDING).max(0.0);
                let place = || format!("{record}: {} {state}", bayes.model.network.variables[variable].name);
                worst.note(if deviation == 0.0 { 0.0 } else { deviation / errors[state] }, place());
            }
        }
    }
}

/// The exact probabilities of each variable's states; none for observed variables.
fn exact(bayes: &Bayes, posterior: &Value) -> Vec<Vec<f64>> {
    let variables = bayes.model.network.variables.iter().enumerate();
    let states = |(place, variable): (usize, &network::variable::Variable)| match bayes.evidence.state(place) {
        Some(_) => Vec::new(),
        None => variable.states.iter().map(|state| posterior[&variable.name][state].as_f64().unwrap()).collect(),
    };
    variables.map(states).collect()
}

/// The particles in one state.
#[derive(Clone, Copy, Default)]
struct Drawn {
    count: u32,
    squared_weights: f64,
}

/// The standard errors of the estimates for a record, from its particles drawn once more.
fn standard_errors(bayes: &mut Bayes, record: &[u8], exact: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (mut weights, mut all) = (0.0, Drawn::default());
    let mut drawn: Vec<Vec<Drawn>> = exact.iter().map(|states| vec![Drawn::default(); states.len()]).collect();
    let seed = bayes.model.seed(record);
    for (first, count) in blocks(PARTICLES) {
        let mut deadline = Deadline::after(Duration::MAX);
        if !bayes.sampler.sample(&bayes.model.network, &bayes.evidence, seed, first, count, &mut deadline).unwrap() {
            continue;
        }
        let of_block: Vec<f64> = (0..count).map(|particle| bayes.sampler.weights().likelihood(particle)).collect();
        weights += of_block.iter().sum::<f64>();
        of_block.iter().for_each(|weight| all.add(*weight));
        for (variable, drawn) in drawn.iter_mut().enumerate().filter(|(_, drawn)| !drawn.is_empty()) {
            let pairs = bayes.sampler.states(variable).iter().zip(&of_block);
            pairs.for_each(|(&state, weight)| drawn[usize::from(state)].add(*weight));
        }
    }
    let errors = drawn
        .iter()
        .zip(exact)
        .map(|(drawn, exact)| drawn.iter().zip(exact).map(|(drawn, p)| drawn.standard_error(all, *p) / weights).collect());
    errors.collect()
}

impl Drawn {
    fn add(&mut self, weight: f64) {
        self.count += 1;
        self.squared_weights += weight * weight;
    }

    /// The standard error of an estimate of p, times the sum of all weights.
    fn standard_error(self, all: Self, p: f64) -> f64 {
        let others = all.squared_weights - self.squared_weights;
        if self.count.min(all.count - self.count) < MIN_DRAWN {
            (all.squared_weights * p * (1.0 - p)).sqrt()
        } else {
            (self.squared_weights * (1.0 - p).powi(2) + others * p.powi(2)).sqrt()
        }
    }
}
