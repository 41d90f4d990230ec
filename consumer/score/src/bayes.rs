//! Scores companies with a Bayesian network: given the fields of a company's record that are variables of the network, how probable is each
//! state of every other variable?
//!
//! The posterior is estimated by likelihood weighting. The path of a company: [`evidence`] is read from its record, the [`sampler`] draws and
//! weights blocks of particles, the [`posterior`] sums them up, and the [`prediction`] is written. If no particle agrees with the evidence,
//! [`feasibility`] finds out why.
//!
//! A prediction depends only on the model file, the number of particles and the record: not on the machine, the thread, the batch or the order.
//! Only whether there is one may depend on the machine, since a call has a [`deadline`]. This module does not learn networks, has no continuous
//! variables, and computes no exact posteriors.

mod deadline;
mod quote;
mod rng;

mod network;

mod evidence;
mod feasibility;
mod sampler;

mod posterior;
mod prediction;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use self::deadline::{Deadline, DeadlineExceeded, TIMEOUT};
use self::evidence::{Evidence, no_features};
use self::network::cpt::Normalised;
use self::network::{Network, file};
use self::posterior::Posterior;
use self::prediction::PredictionWriter;
use self::quote::quote;
use self::sampler::Sampler;
use self::sampler::block::BLOCK;
use self::sampler::simd::SimdLevel;
use crate::error::{Error, ParseError};
use crate::scorer::{Company, Prediction, ScoreError, Scorer, Scores};

/// How a network is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Particles drawn for each company, at least 1. Without evidence, the error of a probability p is about sqrt(p (1 - p) / particles). It
    /// grows as the evidence gets less probable.
    pub particles: u32,
    /// Whether predictions have the probability of every state, or only the most probable state and its probability.
    pub distributions: bool,
    /// How long a call may take.
    pub timeout: Duration,
}

/// Scores companies with one Bayesian network.
///
/// A prediction is a JSON object with every unobserved variable of the network, in the order of its file. A company fails with one of these
/// causes, of which only the last is retryable:
/// - `invalid_evidence`: its record is not a JSON object, or a field with the name of a variable has no state of that variable;
/// - `impossible_evidence`: its fields have probability 0;
/// - `improbable_evidence`: no particle agreed with its fields, which are possible, or it could not be decided whether they are;
/// - `timeout`: the call took longer than it may.
///
/// A clone shares the network and has memory of its own to work in, so that each thread can have one.
#[derive(Debug, Clone)]
pub struct Bayes {
    model: Arc<Model>,
    evidence: Evidence,
    sampler: Sampler,
    posterior: Posterior,
}

/// What all clones share.
#[derive(Debug)]
struct Model {
    network: Network,
    writer: PredictionWriter,
    particles: u32,
    timeout: Duration,
    /// Hash of the model's file.
    fingerprint: u64,
}

impl Bayes {
    /// Loads a network from a file in the Bayesian Interchange Format (BIF) or XMLBIF, plain or in gzip. Logs a warning if distributions had
    /// to be normalised.
    ///
    /// # Errors
    /// If the file can't be read or has no valid network, and for 0 particles.
    pub fn load(path: &Path, settings: Settings) -> Result<Self, Error> {
        if settings.particles == 0 {
            return Err(Error::NoParticles);
        }
        let bayes =
            Self::parse(&file::read(path)?, settings).map_err(|error| Error::InvalidNetwork { path: path.to_owned(), error })?;
        let Normalised { distributions, first_line, largest_error } = bayes.model.network.normalised;
        if distributions > 0 {
            tracing::warn!(
                file = %path.display(), distributions, first_line, largest_error,
                "some probabilities do not sum to 1; scaled them"
            );
        }
        Ok(bayes)
    }

    /// Parses the bytes of such a file, unpacked.
    ///
    /// # Errors
    /// The first error in the file.
    pub fn parse(file: &[u8], settings: Settings) -> Result<Self, ParseError> {
        let network = Network::parse(file)?;
        Ok(Self {
            evidence: Evidence::default(),
            sampler: Sampler::new(&network, SimdLevel::fastest()),
            posterior: Posterior::new(&network),
            model: Arc::new(Model {
                writer: PredictionWriter::new(&network, settings.distributions),
                network,
                particles: settings.particles,
                timeout: settings.timeout,
                fingerprint: xxh3_64(file),
            }),
        })
    }

    fn predict(&mut self, record: &[u8], deadline: &mut Deadline) -> Result<Prediction, ScoreError> {
        let model = &self.model;
        self.evidence.read(&model.network, record)?;
        if let Some(variable) = feasibility::contradiction(&model.network, &self.evidence) {
            return Err(ruled_out(&model.network.variables[variable].name));
        }
        self.posterior.clear();
        let seed = model.seed(record);
        for (first, count) in blocks(model.particles) {
            if self.sampler.sample(&model.network, &self.evidence, seed, first, count, deadline)? {
                self.posterior.add(&self.evidence, &self.sampler);
            }
        }
        if self.posterior.has_weight() {
            let no_features = (!self.evidence.has_features()).then(|| no_features(&model.network, record));
            Ok(Prediction { json: model.writer.write(&self.evidence, &self.posterior), no_features })
        } else {
            Err(no_weight(model, &self.evidence, deadline)?)
        }
    }
}

impl Scorer for Bayes {
    /// Companies fail independently, except that they share the timeout: if it passes, the call fails, and each company is scored again by
    /// itself.
    fn score(&mut self, companies: &[Company]) -> Scores {
        let mut deadline = Deadline::after(self.model.timeout);
        let mut scores = Vec::with_capacity(companies.len());
        for company in companies {
            match self.predict(&company.record, &mut deadline) {
                Err(error) if error.cause == TIMEOUT => return Err(error.into()),
                score => scores.push(score),
            }
        }
        Ok(scores)
    }
}

impl Model {
    /// The seed of a company's draws: a hash of everything that its prediction may depend on.
    fn seed(&self, record: &[u8]) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&self.fingerprint.to_le_bytes());
        hash.update(&self.particles.to_le_bytes());
        hash.update(record);
        hash.digest()
    }
}

/// The first particle and the number of particles of each block.
fn blocks(particles: u32) -> impl Iterator<Item = (u32, usize)> {
    (0..particles).step_by(BLOCK).map(move |first| (first, BLOCK.min((particles - first) as usize)))
}

fn ruled_out(variable: &str) -> ScoreError {
    let name = quote(variable);
    impossible(format!(
        "expected evidence that can happen, found field {name} ruled out by its parents; correct the record or the network"
    ))
}

/// The error for a company of which no particle has weight. The particles alone do not show whether the evidence is impossible or only
/// improbable. If a search doesn't either, the evidence counts as improbable, since more particles may agree with it.
fn no_weight(model: &Model, evidence: &Evidence, deadline: &mut Deadline) -> Result<ScoreError, DeadlineExceeded> {
    if feasibility::is_feasible(&model.network, evidence, deadline)? == Some(false) {
        let message =
            "expected evidence that can happen, found fields that rule each other out; correct the record or the network";
        return Ok(impossible(message.to_owned()));
    }
    let particles = model.particles;
    Ok(ScoreError {
        cause: "improbable_evidence".to_owned(),
        message: format!(
            "expected some particles to agree with the evidence, found none of {particles}; \
             raise --particles or correct the record"
        ),
        retryable: false,
    })
}

fn impossible(message: String) -> ScoreError {
    ScoreError { cause: "impossible_evidence".to_owned(), message, retryable: false }
}
