use std::sync::mpsc;

use rollcall_shared::json::Json;
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{RetryPolicy, ScoredCompany};
use rollcall_shared::telemetry::ConsumerMetrics;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::intake::work_item::{Isolation, test_item};
use crate::results::disposition::{DecidedItem, Disposition};
use crate::workers::features::Features;
use crate::workers::health::Health;
use crate::workers::hold::{Hold, HoldLimits};
use crate::workers::local_queue::LocalQueue;
use crate::workers::slot::Slots;
use rollcall_score::{Company, Prediction, Scores};

/// Never returns from a company whose record is `stuck`; panics at one that is `deadly`.
struct Troubled(mpsc::Receiver<()>);

impl Scorer for Troubled {
    fn score(&mut self, companies: &[Company]) -> Scores {
        if companies.iter().any(|company| company.record == b"stuck") {
            // The test keeps the sender, so this waits until the test ends.
            assert!(self.0.recv().is_err());
        }
        if companies.iter().any(|company| company.record == b"deadly") {
            std::panic::panic_any(PanicsAgain);
        }
        Ok(companies.iter().map(|_| Ok("1".parse::<Json>().unwrap().into())).collect())
    }
}

/// The payload of a panic, which panics again when it is dropped.
struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        panic!("once more");
    }
}

fn item(index: u32, record: &str) -> WorkItem {
    let mut item = test_item(index, record);
    item.work.retry = Some("1;1s".parse().unwrap());
    item
}

/// A context for one worker and ten companies, of which the one at index 4 is as `record` says.
fn context(record: &str) -> (Arc<WorkerContext>, UnboundedReceiver<Vec<DecidedItem>>) {
    let queue = LocalQueue::default();
    queue.add((0..10).map(|index| item(index, if index == 4 { record } else { "{}" })));
    let (decided, outcomes) = unbounded_channel();
    let metrics = Arc::new(ConsumerMetrics::new().unwrap());
    let context = WorkerContext {
        queue,
        decided,
        features: Features::new(false, Arc::clone(&metrics)),
        slots: Slots::default(),
        metrics,
        hold: Hold::new(HoldLimits {
            hold: Duration::from_secs(86_400),
            workers: 1,
            prefetch: 512,
            batch: 10,
            score_timeout: Duration::from_secs(60),
        }),
        health: Arc::new(Health::new(String::new(), "", Shutdown::manual().0, false)),
        workers: 1,
        call_timeout: Duration::from_millis(50),
        consumer_timeout: Duration::from_secs(1_800),
        retry: RetryPolicy::default(),
    };
    (Arc::new(context), outcomes)
}

/// Scores what is in the queue and asserts that all succeed but the one at index 4, which fails for `cause`.
fn assert_costs_one_company(record: &str, failed_for: &str, why: &str) {
    let (context, mut outcomes) = context(record);
    let (kept, held) = mpsc::channel::<mpsc::Sender<()>>();
    let start_scorer = move || {
        let (sender, receiver) = mpsc::channel();
        kept.send(sender).unwrap();
        Ok(Box::new(Troubled(receiver)) as Box<dyn Scorer>)
    };
    let first = start_scorer().unwrap();
    let pool = WorkerPool::start(vec![first], Arc::clone(&context), Box::new(start_scorer), Readiness::default());
    let mut ended: Vec<(u32, bool, Vec<u8>)> = Vec::new();
    while ended.len() < 10 {
        for DecidedItem { item, disposition } in outcomes.blocking_recv().unwrap() {
            let failed = match disposition {
                Disposition::Publish { scored: ScoredCompany::Error { cause, .. }, .. } => cause == failed_for,
                _ => false,
            };
            ended.push((item.work.index.0, failed, item.work.record));
        }
    }
    ended.sort();
    let expected = |index| if index == 4 { (4, true, record.as_bytes().to_vec()) } else { (index, false, b"{}".to_vec()) };
    assert_eq!(ended, (0..10).map(expected).collect::<Vec<_>>());
    // In its batch, and then alone.
    assert_eq!(context.metrics.workers_replaced.with_label_values(&[why]).get(), 2);
    context.queue.close();
    drop((held, pool));
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
    let (context, mut outcomes) = context("deadly");
    let ready = Readiness::default();
    ready.set(true);
    let (allow, allowed) = mpsc::channel::<()>();
    let start_scorer = move || match allowed.try_recv() {
        Ok(()) => Ok(Box::new(Troubled(mpsc::channel().1)) as Box<dyn Scorer>),
        Err(mpsc::TryRecvError::Empty) => Err(StartError::Scorer("no memory".to_owned())),
        Err(mpsc::TryRecvError::Disconnected) => panic!("the test has ended"),
    };
    let pool = WorkerPool::start(
        vec![Box::new(Troubled(mpsc::channel().1))],
        Arc::clone(&context),
        Box::new(start_scorer),
        ready.clone(),
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    let wait_until = |missing: Option<&str>| {
        while ready.missing().as_deref() != missing {
            assert!(Instant::now() < deadline, "expected {missing:?}, found {:?}", ready.missing());
            thread::yield_now();
        }
    };
    wait_until(Some("no scorer can be started: no memory"));
    assert_eq!(context.metrics.workers.get(), 0);
    // One for the batch, one for the company alone.
    (0..2).for_each(|_| allow.send(()).unwrap());
    wait_until(None);
    let mut ended = 0;
    while ended < 10 {
        ended += outcomes.blocking_recv().unwrap().len();
    }
    context.queue.close();
    drop((pool, allow));
}

/// A subscriber that panics at each log line.
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
    let (context, mut outcomes) = context("{}");
    let batch = context.queue.take(|| 10, 1).unwrap();
    // The first company without features is logged.
    let score = |_: &WorkItem| Ok(Prediction { json: "1".parse().unwrap(), no_features: Some("none".to_owned()) });
    let scores = batch.iter().map(score).collect();
    let passed_on = catch_unwind(AssertUnwindSafe(|| {
        tracing::subscriber::with_default(Unloggable, || context.pass_on(batch, scores, Duration::ZERO).is_ok())
    }));
    assert!(passed_on.is_err(), "it did not panic");
    assert!(outcomes.try_recv().is_err());
    let back: Vec<_> = context.queue.clear().iter().map(|item| (item.work.index.0, item.isolation)).collect();
    assert_eq!(back, (0..10).map(|index| (index, Isolation::Alone)).collect::<Vec<_>>());
}
