use proptest::prelude::*;

use super::*;

fn read_7(line: &str, expected: usize) -> Result<Line, AnswerError> {
    read(line.as_bytes(), "7", expected)
}

fn outcomes(line: &str, expected: usize) -> Outcomes {
    match read_7(line, expected) {
        Ok(Line::Answer(outcomes)) => outcomes,
        other => panic!("expected an answer, found {other:?} in {line}"),
    }
}

fn good(prediction: &str) -> Result<Prediction, ScoreError> {
    Ok(prediction.parse::<Json>().unwrap().into())
}

fn assert_invalid_for_good(outcome: &Result<Prediction, ScoreError>, word: &str) {
    let error = outcome.as_ref().unwrap_err();
    assert_eq!((error.cause.as_str(), error.retryable), ("invalid_answer", false), "{error}");
    assert!(error.message.contains(word), "expected {word} in: {error}");
}

#[test]
fn an_id_may_come_back_as_a_number_and_a_line_may_end_as_on_windows() {
    assert_eq!(outcomes("\u{feff}{\"id\":\"7\",\"predictions\":[1]}\n", 1), [good("1")]);
    for id in ["\"7\"", "7", "7.0", "\"7.0\""] {
        assert_eq!(outcomes(&format!("{{\"id\":{id},\"predictions\":[1]}}\r\n"), 1), [good("1")], "{id}");
    }
}

#[test]
fn a_line_that_is_no_object_with_an_id_is_log() {
    for line in [
        "Loading model v2...\n",
        "\n",
        "[0.5]\n",
        "\"{\"\n",
        "{\"level\":\"info\",\"msg\":\"loaded\"}\n",
        "{\"level\":\"info\",\"loss\":NaN}\n",
        "{\"level\":\"error\",\"error\":{\"kind\":\"io\"}}\n",
        "{loading}\n",
        "{\n",
    ] {
        assert_eq!(read_7(line, 1), Ok(Line::Log), "{line}");
    }
    assert_eq!(read(b"caf\xe9\n", "7", 1), Ok(Line::Log));
    assert_eq!(read(b"{caf\xe9\n", "7", 1), Ok(Line::Log));
}

#[test]
fn what_python_writes_for_no_number_fails_its_own_company_for_good_and_no_other() {
    for word in ["NaN", "Infinity", "-Infinity"] {
        let line = format!("{{\"id\": \"7\", \"predictions\": [0.5, {{\"p\": {word}}}, {word}, {{\"a\": [\"],NaN\", 1]}}]}}\n");
        let outcomes = outcomes(&line, 4);
        assert_eq!((&outcomes[0], &outcomes[3]), (&good("0.5"), &good("{\"a\": [\"],NaN\", 1]}")));
        for bad in &outcomes[1..3] {
            assert_invalid_for_good(bad, &format!("found {word} in"));
            assert_invalid_for_good(bad, "write null");
        }
    }
}

#[test]
fn a_prediction_that_is_no_json_for_another_reason_fails_its_own_company_too() {
    for bad in ["True", "None", "'x'", "", "01", "{\"a\":1,}", "{'p': 1}", "1 2", "{\"error\":{\"cause\":\"a\"},\"error\":null}"]
    {
        let outcomes = outcomes(&format!("{{\"predictions\":[1,{bad},\"2\"],\"id\":\"7\"}}\n"), 3);
        assert_eq!((&outcomes[0], &outcomes[2]), (&good("1"), &good("\"2\"")), "{bad}");
        assert_invalid_for_good(&outcomes[1], "found");
    }
}

#[test]
fn what_is_no_json_beside_the_predictions_costs_none_of_them() {
    assert_eq!(outcomes("{\"id\":\"7\",\"seconds\":NaN,\"predictions\":[1,2]}\n", 2), [good("1"), good("2")]);
}

#[test]
fn an_answer_that_makes_no_sense_as_a_whole_says_what_was_found() {
    for (line, words) in [
        ("{\"id\":\"7\",\"predictions\":[1,]}", "trailing comma"),
        ("{\"id\":\"7\",\"predictions\":[1],\"predictions\":[2]}", "duplicate field"),
        ("{\"id\":\"7\",\"id\":\"7\",\"predictions\":[1]}", "duplicate field"),
        ("{\"id\":\"7\",\"predictions\":{\"a\":1}}", "expected a sequence"),
        ("{\"id\":\"7\",\"predictions\":0.5}", "expected a sequence"),
        ("{\"id\":\"7\",\"predictions\":[1]", "EOF"),
        ("{\"id\":\"7\",\"predictions\":[1]} {", "trailing characters"),
        ("{\"error\":{\"cause\":\"c\"},\"id\":\"7\"}", "expected a string"),
        ("{\"id\":\"7\"}", "neither"),
        ("{'id': '7', 'predictions': [1]}", "expected one line of JSON"),
        ("{\"id\":\"7\",\"predictions\":[]}", "found 0"),
        ("{\"id\":\"7\",\"predictions\":[NaN,1]}", "found 2"),
        ("{\"id\":\"7\",\"predictions\":[NaN],\"error\":\"x\"}", "expected one line of JSON"),
        ("{\"predictions\":[1]}", "without an id"),
        ("{\"id\":null,\"predictions\":[1]}", "without an id"),
        ("{\"id\":\"x\",\"predictions\":[1]}", "found one to id \"x\""),
        ("{\"id\":{\"a\":7},\"predictions\":[1]}", "found one to id"),
        ("{\"id\":8,\"predictions\":[NaN]}", "found one to id \"8\""),
    ] {
        let Err(AnswerError::Invalid(message)) = read_7(line, 1) else { panic!("{line}: {:?}", read_7(line, 1)) };
        assert!(message.contains(words), "{line}: {message}");
    }
    let Err(AnswerError::Invalid(latin)) = read(b"{\"id\":\"7\",\"predictions\":[\"caf\xe9\"]}\n", "7", 1) else {
        panic!("accepted")
    };
    assert!(latin.contains("0xe9") && latin.contains("caf") && latin.contains("PYTHONIOENCODING"), "{latin}");
}

#[test]
fn a_second_answer_to_an_earlier_request_is_told_from_other_nonsense() {
    for line in ["{\"id\":\"6\",\"predictions\":[1]}", "{\"id\":6,\"predictions\":[NaN]}"] {
        assert_eq!(read_7(line, 1), Err(AnswerError::Repeated { expected: "7".to_owned(), found: "6".to_owned() }));
    }
}

proptest! {
    #[test]
    fn whatever_a_child_prints_an_answer_has_as_many_outcomes_as_asked_for_and_each_prediction_is_json(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("{\"id\":\"7\","), Just("\"predictions\":["), Just("]}"), Just("]"), Just("}"), Just("{"), Just(","), Just(":"),
                Just("\""), Just("\\"), Just("NaN"), Just("1"), Just("\"error\":"), Just("null"), Just(" "), Just("é"), Just("\"a\":")
            ],
            0..24,
        )
    ) {
        let line = parts.concat();
        if let Ok(Line::Answer(outcomes)) = read_7(&line, 2) {
            prop_assert_eq!(outcomes.len(), 2);
            for prediction in outcomes.into_iter().flatten() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(prediction.json.as_str()).is_ok(), "{:?} in {line}", prediction.json);
            }
        }
    }

    #[test]
    fn an_answer_is_read_the_same_with_and_without_something_in_it_that_is_no_json(
        predictions in proptest::collection::vec(
            prop_oneof![
                Just("1"), Just("-0.5e3"), Just("null"), Just("\"a,]}\\\"\""), Just("{\"a\":[1,{\"b\":\"x\"}]}"), Just("[[],[1]]"),
                Just("{\"error\":{\"cause\":\"c\"}}")
            ],
            1..8,
        )
    ) {
        let (list, count) = (predictions.join(" , "), predictions.len());
        let strict = outcomes(&format!("{{\"id\":\"7\",\"predictions\":[{list}]}}"), count);
        let lenient = outcomes(&format!("{{\"id\":\"7\",\"predictions\":[{list},NaN]}}"), count + 1);
        prop_assert_eq!(&strict, &lenient[..count].to_vec());
    }
}
