//! Writes a posterior as a prediction: a JSON object with every unobserved variable, in the order of the network file.

use rollcall_shared::json::{Fields, Json, JsonString};

use super::evidence::Evidence;
use super::network::Network;
use super::posterior::Posterior;

/// Writes predictions. All names are escaped once, when it is created.
#[derive(Debug)]
pub(super) struct PredictionWriter {
    variables: Vec<Labels>,
    distributions: bool,
    /// No prediction has more bytes.
    longest: usize,
}

/// The names of a variable and its states.
#[derive(Debug)]
struct Labels {
    name: JsonString,
    states: Vec<JsonString>,
}

impl PredictionWriter {
    /// With `distributions`, predictions have the probability of every state: `{"x":{"yes":0.81,"no":0.19}}`. Otherwise they have the most
    /// probable state and its probability: `{"x":["yes",0.81]}`.
    pub(super) fn new(network: &Network, distributions: bool) -> Self {
        let labels = network.variables.iter().map(|variable| Labels {
            name: JsonString::new(&variable.name),
            states: variable.states.iter().map(|state| JsonString::new(state)).collect(),
        });
        let variables: Vec<Labels> = labels.collect();
        let longest = 2 + variables.iter().map(|labels| labels.longest(distributions)).sum::<usize>();
        Self { variables, distributions, longest }
    }

    pub(super) fn write(&self, evidence: &Evidence, posterior: &Posterior) -> Json {
        Json::object(self.longest, |prediction| {
            for (index, labels) in self.variables.iter().enumerate().filter(|(index, _)| evidence.state(*index).is_none()) {
                let states = labels.states.iter().zip(posterior.probabilities(index));
                if self.distributions {
                    prediction.object(&labels.name, |distribution| {
                        states.for_each(|(state, probability)| distribution.probability(state, probability));
                    });
                } else {
                    write_most_probable(prediction, &labels.name, states);
                }
            }
        })
    }
}

impl Labels {
    /// The most bytes that this variable takes in a prediction.
    fn longest(&self, distributions: bool) -> usize {
        let with_probability = self.states.iter().map(|state| state.as_str().len() + ":0.000000,".len());
        let states: usize = if distributions { with_probability.sum() } else { with_probability.max().unwrap_or_default() };
        self.name.as_str().len() + ":{},".len() + states
    }
}

/// Writes the most probable state. Of equally probable states it is the one that was declared first.
fn write_most_probable<'s>(prediction: &mut Fields<'_>, name: &JsonString, states: impl Iterator<Item = (&'s JsonString, f64)>) {
    if let Some((state, probability)) = states.reduce(|best, next| if next.1 > best.1 { next } else { best }) {
        prediction.word_and_probability(name, state, probability);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equally_probable_states_the_first_is_named() {
        let states = ["a", "b", "c"].map(JsonString::new);
        let json = Json::object(0, |prediction| {
            write_most_probable(prediction, &JsonString::new("x"), states.iter().zip([0.2, 0.4, 0.4]));
        });
        assert_eq!(json.as_str(), r#"{"x":["b",0.4]}"#);
    }
}
