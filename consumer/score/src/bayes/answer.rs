//! Writes a posterior as a prediction: a JSON object with every unobserved variable, in the order of the network file.

use super::evidence::Evidence;
use super::network::Network;
use super::posterior::Posterior;

/// Names as JSON text, escaped once for all predictions.
#[derive(Debug)]
pub(super) struct Answers {
    variables: Vec<Labels>,
    distributions: bool,
    /// No prediction has more bytes.
    longest: usize,
}

/// A variable's name and those of its states, as JSON strings.
#[derive(Debug)]
struct Labels {
    name: String,
    states: Vec<String>,
}

impl Answers {
    /// With `distributions`, predictions hold the probability of every state: `{"x":{"yes":0.81,"no":0.19}}`. Else, the
    /// most probable state and its probability: `{"x":["yes",0.81]}`.
    pub(super) fn new(network: &Network, distributions: bool) -> Self {
        let labels = network.variables.iter().map(|variable| Labels {
            name: json_string(&variable.name),
            states: variable.states.iter().map(|state| json_string(state)).collect(),
        });
        let variables: Vec<Labels> = labels.collect();
        let longest = 2 + variables.iter().map(|labels| labels.longest(distributions)).sum::<usize>();
        Self { variables, distributions, longest }
    }

    /// The prediction that a posterior makes.
    pub(super) fn write(&self, evidence: &Evidence, posterior: &Posterior) -> String {
        let mut text = String::with_capacity(self.longest);
        text.push('{');
        for (place, labels) in self.variables.iter().enumerate().filter(|(place, _)| evidence.state(*place).is_none()) {
            separate(&mut text);
            text.push_str(&labels.name);
            text.push(':');
            if self.distributions {
                write_distribution(&mut text, &labels.states, posterior.probabilities(place));
            } else {
                write_most_probable(&mut text, &labels.states, posterior.probabilities(place));
            }
        }
        text.push('}');
        text
    }
}

impl Labels {
    /// The most bytes that this variable takes in a prediction.
    fn longest(&self, distributions: bool) -> usize {
        let with_probability = self.states.iter().map(|state| state.len() + ":0.000000,".len());
        let states: usize = if distributions { with_probability.sum() } else { with_probability.max().unwrap_or_default() };
        self.name.len() + ":{},".len() + states
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write_distribution(text: &mut String, states: &[String], probabilities: impl Iterator<Item = f64>) {
    text.push('{');
    for (state, probability) in states.iter().zip(probabilities) {
        separate(text);
        text.push_str(state);
        text.push(':');
        write_probability(text, probability);
    }
    text.push('}');
}

/// Of equally probable states, the one declared first.
fn write_most_probable(text: &mut String, states: &[String], probabilities: impl Iterator<Item = f64>) {
    let pairs = states.iter().zip(probabilities);
    if let Some((state, probability)) = pairs.reduce(|best, next| if next.1 > best.1 { next } else { best }) {
        text.push('[');
        text.push_str(state);
        text.push(',');
        write_probability(text, probability);
        text.push(']');
    }
}

fn separate(text: &mut String) {
    if !text.ends_with('{') {
        text.push(',');
    }
}

/// Writes a probability rounded to six decimals, without zeros at its end: `0.81`, `1`, `0`.
fn write_probability(text: &mut String, probability: f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000,000")]
    let millionths = (probability * 1e6).round() as u32;
    if millionths == 0 || millionths >= 1_000_000 {
        text.push(if millionths == 0 { '0' } else { '1' });
        return;
    }
    let mut digits = ['0'; 6];
    let mut rest = millionths;
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit(rest % 10, 10).unwrap_or('0');
        rest /= 10;
    }
    let last = digits.iter().rposition(|digit| *digit != '0').unwrap_or_default();
    text.push_str("0.");
    text.extend(&digits[..=last]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(probability: f64) -> String {
        let mut text = String::new();
        write_probability(&mut text, probability);
        text
    }

    #[test]
    fn a_probability_is_the_shortest_text_of_six_decimals() {
        let cases = [(0.0, "0"), (1.0, "1"), (0.81, "0.81"), (1.0 / 3.0, "0.333333"), (0.000_001, "0.000001")];
        for (probability, expected) in cases {
            assert_eq!(written(probability), expected);
        }
        assert_eq!((written(4e-7).as_str(), written(0.999_999_6).as_str(), written(0.100_01).as_str()), ("0", "1", "0.10001"));
    }

    #[test]
    fn of_equally_probable_states_the_first_is_named() {
        let states = ["\"a\"", "\"b\"", "\"c\""].map(str::to_owned);
        let mut text = String::new();
        write_most_probable(&mut text, &states, [0.2, 0.4, 0.4].into_iter());
        assert_eq!(text, "[\"b\",0.4]");
    }
}
