//! What becomes of a company that a worker has begun: a pure decision.

use std::time::Duration;

use rollcall_score::{Prediction, ScoreError};
use rollcall_shared::message::{LONGEST_CAUSE, RetryPolicy, ScoredCompany, Timestamp, Work};

use crate::intake::work_item::WorkItem;

/// Bytes. RabbitMQ 4.x closes the channel on a message over 16 MiB, and the results of other companies on that channel are lost with it.
const LARGEST_PREDICTION: usize = 8 << 20;

/// Characters of an error message that are published.
const LONGEST_MESSAGE: usize = 4 << 10;

/// A work item with its disposition.
#[derive(Debug)]
pub(crate) struct DecidedItem {
    pub(crate) item: WorkItem,
    pub(crate) disposition: Disposition,
}

/// What is done about a work item after a call of the scorer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Publish its result.
    Publish {
        scored: ScoredCompany,
        scored_at: Timestamp,
        /// How long it took; within a batch, its share.
        duration: Duration,
    },
    /// Try again after this delay.
    Retry(Duration),
    /// Republish it to its queue, uncharged: it was not scored.
    Republish,
}

/// Decides by the outcome of an attempt, which ended at `scored_at` and took `duration`. If the job has no retry policy, `policy`
/// applies.
pub(crate) fn disposition(
    work: &Work,
    scored: Result<Prediction, ScoreError>,
    policy: &RetryPolicy,
    scored_at: Timestamp,
    duration: Duration,
) -> Disposition {
    let scored = match scored {
        Ok(Prediction { json, .. }) if json.as_str().len() > LARGEST_PREDICTION => ScoredCompany::Error {
            cause: "prediction_too_large".to_owned(),
            message: format!("expected a prediction of at most {LARGEST_PREDICTION} bytes, found {}", json.as_str().len()),
        },
        Ok(prediction) => ScoredCompany::Prediction(prediction.json),
        Err(error) => {
            let policy = work.retry.as_ref().unwrap_or(policy);
            match policy.delay_after(work.attempt) {
                Some(delay) if error.retryable => return Disposition::Retry(delay),
                _ => failed(&error),
            }
        }
    };
    Disposition::Publish { scored, scored_at, duration }
}

fn failed(error: &ScoreError) -> ScoredCompany {
    ScoredCompany::Error { cause: normalised(&error.cause), message: error.message.chars().take(LONGEST_MESSAGE).collect() }
}

/// A cause as a short stable word: failures are counted by it, and it goes into a header and a metric's label.
fn normalised(cause: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let cause: String = cause.trim().chars().take(LONGEST_CAUSE).map(word).collect();
    if cause.is_empty() { "unknown".to_owned() } else { cause }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollcall_shared::json::Json;
    use rollcall_shared::message::{Index, Priority};

    use super::*;

    fn work(attempt: u32, retry: Option<&str>) -> Work {
        Work {
            job: "j".parse().unwrap(),
            index: Index(0),
            company_id: String::new(),
            attempt,
            round: 0,
            opening: None,
            priority: Priority::Normal,
            deliveries: 0,
            deliveries_alone: 0,
            retry: retry.map(|retry| retry.parse().unwrap()),
            traceparent: String::new(),
            record: Vec::new(),
        }
    }

    fn error(retryable: bool) -> Result<Prediction, ScoreError> {
        Err(ScoreError { cause: "Timeout!".to_owned(), message: "late".to_owned(), retryable })
    }

    fn disposition(work: &Work, scored: Result<Prediction, ScoreError>, policy: &RetryPolicy) -> Disposition {
        super::disposition(work, scored, policy, Timestamp::UNIX_EPOCH, Duration::ZERO)
    }

    fn is_failed(disposition: &Disposition) -> bool {
        matches!(disposition, Disposition::Publish { scored: ScoredCompany::Error { cause, .. }, .. } if cause == "timeout_")
    }

    #[test]
    fn only_a_failure_that_may_go_better_is_tried_again_and_only_up_to_the_last_attempt() {
        let policy = RetryPolicy::default();
        assert_eq!(disposition(&work(1, None), error(true), &policy), Disposition::Retry(Duration::from_secs(1)));
        assert!(is_failed(&disposition(&work(3, None), error(true), &policy)));
        assert!(is_failed(&disposition(&work(1, None), error(false), &policy)));
        assert!(matches!(
            disposition(&work(1, None), Ok("1".parse::<Json>().unwrap().into()), &policy),
            Disposition::Publish { scored: ScoredCompany::Prediction(_), .. }
        ));
    }

    #[test]
    fn the_policy_of_the_job_comes_before_that_of_the_consumer() {
        let policy = RetryPolicy::default();
        assert_eq!(disposition(&work(4, Some("5;2s")), error(true), &policy), Disposition::Retry(Duration::from_secs(2)));
        assert!(is_failed(&disposition(&work(1, Some("1;2s")), error(true), &policy)));
    }

    #[test]
    fn a_cause_becomes_a_short_stable_word() {
        assert_eq!(normalised(" Out of Memory "), "out_of_memory");
        assert_eq!(normalised(""), "unknown");
        assert_eq!(normalised(&"x".repeat(1_000)).len(), 64);
    }

    proptest! {
        #[test]
        fn a_company_that_always_fails_is_tried_as_often_as_its_policy_says_and_then_answered(
            (most, of_the_job) in (1_u32..20, any::<bool>())
        ) {
            let text = format!("{most};1s,1m");
            let (job, consumer) = if of_the_job { (Some(text.as_str()), "7;5s") } else { (None, text.as_str()) };
            let consumer: RetryPolicy = consumer.parse().unwrap();
            let settled: Vec<Disposition> = (1..=most).map(|attempt| disposition(&work(attempt, job), error(true), &consumer)).collect();
            let (last, earlier) = settled.split_last().unwrap();
            prop_assert!(is_failed(last));
            prop_assert!(earlier.iter().all(|disposition| matches!(disposition, Disposition::Retry(_))));
        }

        #[test]
        fn no_attempt_beyond_the_last_is_tried_again_whatever_the_header_says(attempt in 3_u32..) {
            prop_assert!(is_failed(&disposition(&work(attempt, None), error(true), &RetryPolicy::default())));
        }

        #[test]
        fn whatever_a_scorer_says_an_answer_has_a_cause_to_count_by_and_a_message_of_bounded_length(
            (cause, message) in (".{0,80}", ".{0,80}")
        ) {
            let error = ScoreError { cause, message: message.repeat(100), retryable: false };
            let answered = disposition(&work(1, None), Err(error), &RetryPolicy::default());
            let Disposition::Publish { scored: ScoredCompany::Error { cause, message }, .. } = answered else {
                return Err(TestCaseError::fail("expected a failure"));
            };
            prop_assert!((1..=64).contains(&cause.len()), "{cause:?}");
            prop_assert!(cause.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{cause:?}");
            prop_assert!(message.chars().count() <= LONGEST_MESSAGE);
        }
    }
}
