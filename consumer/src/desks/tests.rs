use std::sync::mpsc;

use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{RetryPolicy, ScoredCompany};
use rollcall_shared::telemetry::ConsumerMetrics;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::batch::Scored;
use crate::features::Features;
use crate::health::Health;
use crate::hold::{Hold, HoldLimits};
use crate::intake::just_taken;
use crate::settle::Settle;
use crate::waiting::Waiting;
use rollcall_score::{Prediction, Scores};

/// Never comes back from a company whose record is `stuck`; ends its thread at one that is `deadly`.
struct Troubled(mpsc::Receiver<()>);

impl Scorer for Troubled {
    fn score(&mut self, companies: &[Company]) -> Scores {
        if companies.iter().any(|company| company.record == b"stuck") {
            // The sender is kept by the test: this waits for its end.
            assert!(self.0.recv().is_err());
        }
        if companies.iter().any(|company| company.record == b"deadly") {
            std::panic::panic_any(PanicsAgain);
        }
        Ok(companies.iter().map(|_| Ok("1".to_owned().into())).collect())
    }
}

/// What is thrown by a panic, and panics once more where whoever caught it drops it.
struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        panic!("once more");
    }
}

fn taken(index: u32, record: &str) -> Taken {
    let mut taken = just_taken(index, record);
    taken.work.retry = Some("1;1s".parse().unwrap());
    taken
}

/// A room with one desk and ten companies, of which the one at index 4 is as `record` says.
fn room(record: &str) -> (Arc<Room>, UnboundedReceiver<Vec<Scored>>) {
    let waiting = Arc::new(Waiting::default());
    waiting.add((0..10).map(|index| taken(index, if index == 4 { record } else { "{}" })));
    let (scored, outcomes) = unbounded_channel();
    let metrics = Arc::new(ConsumerMetrics::new().unwrap());
    let room = Room {
        waiting,
        scored,
        features: Features::new(false, Arc::clone(&metrics)),
        seats: Seats::default(),
        metrics,
        hold: Arc::new(Hold::new(HoldLimits {
            hold: Duration::from_secs(86_400),
            workers: 1,
            prefetch: 512,
            batch: 10,
            score_timeout: Duration::from_secs(60),
        })),
        health: Arc::new(Health::new(String::new(), Shutdown::manual().0)),
        desks: 1,
        patience: Duration::from_millis(50),
        held_at_most: Duration::from_secs(1_800),
        retry: RetryPolicy::default(),
    };
    (Arc::new(room), outcomes)
}

/// Scores what waits in `room` and asserts that all succeed but the one at index 4, which fails for `cause`.
fn assert_costs_one_company(record: &str, failed_for: &str, why: &str) {
    let (room, mut outcomes) = room(record);
    let (kept, held) = mpsc::channel::<mpsc::Sender<()>>();
    let new_scorer = move || {
        let (sender, receiver) = mpsc::channel();
        kept.send(sender).unwrap();
        Ok(Box::new(Troubled(receiver)) as Box<dyn Scorer>)
    };
    let first = new_scorer().unwrap();
    let desks = Desks::open(vec![first], Arc::clone(&room), Box::new(new_scorer), Readiness::default());
    let mut ended: Vec<(u32, bool, Vec<u8>)> = Vec::new();
    while ended.len() < 10 {
        for Scored { taken, settle, .. } in outcomes.blocking_recv().unwrap() {
            let failed = matches!(settle, Settle::Answer(ScoredCompany::Error { cause, .. }) if cause == failed_for);
            ended.push((taken.work.index.0, failed, taken.work.record));
        }
    }
    ended.sort();
    let expected = |index| if index == 4 { (4, true, record.as_bytes().to_vec()) } else { (index, false, b"{}".to_vec()) };
    assert_eq!(ended, (0..10).map(expected).collect::<Vec<_>>());
    // In its batch, and then alone.
    assert_eq!(room.metrics.workers_replaced.with_label_values(&[why]).get(), 2);
    room.waiting.close();
    drop((held, desks));
}

#[test]
fn a_stuck_scorer_costs_the_company_that_it_is_stuck_on_and_nobody_else() {
    assert_costs_one_company("stuck", "timeout", "stuck");
}

#[test]
fn a_thread_that_dies_costs_the_company_that_it_dies_of_and_nobody_else() {
    assert_costs_one_company("deadly", "scorer_crashed", "panicked");
}

#[test]
fn a_consumer_without_a_thread_that_scores_is_not_ready_until_one_can_be_started() {
    let (room, mut outcomes) = room("deadly");
    let ready = Readiness::default();
    ready.set(true);
    let (allow, allowed) = mpsc::channel::<()>();
    let new_scorer = move || match allowed.try_recv() {
        Ok(()) => Ok(Box::new(Troubled(mpsc::channel().1)) as Box<dyn Scorer>),
        Err(mpsc::TryRecvError::Empty) => Err("no memory".to_owned()),
        Err(mpsc::TryRecvError::Disconnected) => panic!("the test has ended"),
    };
    let desks = Desks::open(vec![Box::new(Troubled(mpsc::channel().1))], Arc::clone(&room), Box::new(new_scorer), ready.clone());
    let deadline = Instant::now() + Duration::from_secs(20);
    let wait_until = |missing: Option<&str>| {
        while ready.missing().as_deref() != missing {
            assert!(Instant::now() < deadline, "expected {missing:?}, found {:?}", ready.missing());
            thread::yield_now();
        }
    };
    wait_until(Some("no scorer can be started: no memory"));
    assert_eq!(room.metrics.workers.get(), 0);
    // One for the batch, one for the company alone.
    (0..2).for_each(|_| allow.send(()).unwrap());
    wait_until(None);
    let mut ended = 0;
    while ended < 10 {
        ended += outcomes.blocking_recv().unwrap().len();
    }
    room.waiting.close();
    drop((desks, allow));
}

/// Panics at each line of log.
struct Unloggable;

impl tracing::Subscriber for Unloggable {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("in the midst of it");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_panic_on_the_way_to_the_session_gives_the_batch_back() {
    let (room, mut outcomes) = room("{}");
    let batch = room.waiting.take(|| 10, 1).unwrap();
    // The first company without features is logged.
    let score = |_: &Taken| Ok(Prediction { json: "1".to_owned(), no_features: Some("none".to_owned()) });
    let scores = batch.iter().map(score).collect();
    let passed_on = catch_unwind(AssertUnwindSafe(|| {
        tracing::subscriber::with_default(Unloggable, || room.pass_on(batch, scores, Duration::ZERO).is_ok())
    }));
    assert!(passed_on.is_err(), "it did not panic");
    assert!(outcomes.try_recv().is_err());
    let back: Vec<_> = room.waiting.clear().iter().map(|taken| (taken.work.index.0, taken.alone)).collect();
    assert_eq!(back, (0..10).map(|index| (index, true)).collect::<Vec<_>>());
}
