//! Scores companies with a Bayesian network: given the fields of a company's record that are variables of the network,
//! how probable is each state of every other variable?
//!
//! The answer is estimated by likelihood weighting. The way of a company: [`evidence`] is read from its record, blocks
//! of [`particles`] are drawn and weighed, their [`posterior`] is summed up, and the [`answer`] is written. Where no
//! particle agrees with the evidence, [`possible`] finds out why.
//!
//! A prediction depends on the model file, the number of particles and the record, and on nothing else: not on the
//! machine, the thread, the batch or the order. Only whether there is one may depend on the machine, for a company has a
//! [`deadline`]. This module learns no networks, knows no continuous variables, and computes no exact posteriors.

mod answer;
mod bif;
mod deadline;
mod define;
mod document;
mod draws;
mod evidence;
mod fault;
mod file;
mod given;
mod lanes;
mod lexer;
mod list;
mod network;
mod particles;
mod possible;
mod posterior;
mod quote;
mod table;
#[cfg(test)]
mod tests;
mod variables;
mod weights;
mod xmlbif;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use self::answer::Answers;
use self::deadline::{Deadline, Late, TIMEOUT};
use self::evidence::{Evidence, no_features};
pub use self::fault::Fault;
use self::lanes::{BLOCK, Lanes};
use self::network::Network;
use self::particles::Particles;
use self::posterior::Posterior;
use self::quote::quote;
use self::table::Scaled;
use super::{Company, Prediction, ScoreError, Scorer, Scores};

/// How a network is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Particles drawn for each company, at least 1. The error of a probability p is about sqrt(p (1 - p) / particles)
    /// without evidence, and grows as the evidence gets less probable.
    pub particles: u32,
    /// Whether predictions hold the probability of every state, or only the most probable state and its own.
    pub distributions: bool,
    /// How long a call may take before it is given up.
    pub timeout: Duration,
}

/// Why a network could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is missing or can't be read.
    #[error("cannot read the network {}: {error}; name a readable file in BIF or XMLBIF", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// The file is larger than any network should be, as it is or unpacked.
    #[error("expected {} to have at most {} bytes; name a network, or a smaller one", path.display(), file::MAX_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is plainly no text, or gzip that cannot be unpacked.
    #[error("expected {} to be text in UTF-8, plain or in gzip, found {found}; {remedy}", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The file holds no valid network.
    #[error("{}, line {line}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where the fault shows.
        line: usize,
        /// What was expected, what was found, and what to do.
        message: String,
    },
    /// The settings ask for no particles.
    #[error("expected at least 1 particle, found 0; ask for some, such as 1000")]
    NoParticles,
}

/// Scores companies with one Bayesian network.
///
/// A prediction is a JSON object with every unobserved variable of the network, in the order of its file. A company fails
/// with one of the causes, of which only the last may go better another time,
/// - `invalid_evidence`: its record is no JSON object, or a field of a variable's name holds no state of that variable;
/// - `impossible_evidence`: its fields have probability 0;
/// - `improbable_evidence`: no particle agreed with its fields, and they are possible or too many to tell;
/// - `timeout`: it took longer than it may.
///
/// A clone shares the network and has room of its own to work in, so that each thread can have one.
#[derive(Debug, Clone)]
pub struct Bayes {
    model: Arc<Model>,
    evidence: Evidence,
    particles: Particles,
    posterior: Posterior,
}

/// What all clones share.
#[derive(Debug)]
struct Model {
    network: Network,
    answers: Answers,
    particles: u32,
    timeout: Duration,
    /// Hash of the model's text.
    fingerprint: u64,
}

impl Bayes {
    /// Loads a network from a file in the Bayesian Interchange Format or XMLBIF, plain or in gzip, and warns of
    /// distributions that had to be scaled to a sum of 1.
    ///
    /// # Errors
    /// Where the file can't be read or holds no valid network, with the line and what to do; and for 0 particles.
    pub fn load(path: &Path, settings: Settings) -> Result<Self, LoadError> {
        if settings.particles == 0 {
            return Err(LoadError::NoParticles);
        }
        let bayes = Self::parse(&file::read(path)?, settings).map_err(|Fault { line, message }| LoadError::Invalid {
            path: path.to_owned(),
            line,
            message,
        })?;
        let Scaled { distributions, first_line, largest_error } = bayes.model.network.scaled;
        if distributions > 0 {
            tracing::warn!(
                file = %path.display(), distributions, first_line, largest_error,
                "some probabilities do not sum to 1; scaled them"
            );
        }
        Ok(bayes)
    }

    /// Reads a network from the text of such a file.
    ///
    /// # Errors
    /// The first fault of the file.
    pub fn parse(file: &[u8], settings: Settings) -> Result<Self, Fault> {
        let network = Network::parse(file)?;
        Ok(Self {
            evidence: Evidence::default(),
            particles: Particles::new(&network, Lanes::fastest()),
            posterior: Posterior::new(&network),
            model: Arc::new(Model {
                answers: Answers::new(&network, settings.distributions),
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
        if let Some(variable) = possible::contradiction(&model.network, &self.evidence) {
            return Err(ruled_out(&model.network.variables[variable].name));
        }
        self.posterior.clear();
        let seed = model.seed(record);
        for (first, count) in blocks(model.particles) {
            if self.particles.sample(&model.network, &self.evidence, seed, first, count, deadline)? {
                self.posterior.add(&self.evidence, &self.particles);
            }
        }
        if self.posterior.has_weight() {
            let no_features = (!self.evidence.has_features()).then(|| no_features(&model.network, record));
            Ok(Prediction { json: model.answers.write(&self.evidence, &self.posterior), no_features })
        } else {
            Err(disagreement(model, &self.evidence, deadline)?)
        }
    }
}

impl Scorer for Bayes {
    /// Each company stands or falls alone. Only time is shared: of a batch whose time is up, each is to be scored by itself.
    fn score(&mut self, companies: &[Company]) -> Scores {
        let mut deadline = Deadline::after(self.model.timeout);
        let mut scores = Vec::with_capacity(companies.len());
        for company in companies {
            match self.predict(&company.record, &mut deadline) {
                Err(late) if late.cause == TIMEOUT => return Err(late.into()),
                score => scores.push(score),
            }
        }
        Ok(scores)
    }
}

impl Model {
    /// The seed of a company's draws: a hash of all that its prediction may depend on.
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

/// What to say where no particle has any weight. Sampling alone can't tell the impossible from the improbable; where a
/// search can't either, the evidence counts as improbable, for more particles may yet agree with it.
fn disagreement(model: &Model, evidence: &Evidence, deadline: &mut Deadline) -> Result<ScoreError, Late> {
    if possible::possible(&model.network, evidence, deadline)? == Some(false) {
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
