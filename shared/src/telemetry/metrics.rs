//! All metrics. The values of labels are bounded: never a job or a company.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector, exponential_buckets,
};

use crate::message::{DEFAULT_TARGET, Model, ScaleSignal, State};

/// Causes that are label values, at most. They come from scorers, and one might return a new cause for every company.
const DISTINCT_CAUSES: usize = 50;

/// The metrics of a consumer.
#[derive(Debug)]
pub struct ConsumerMetrics {
    /// The registry of all of them.
    pub registry: Registry,
    /// Work messages taken from the queue.
    pub work_taken: IntCounter,
    /// Attempts at scoring a company.
    pub attempts: IntCounter,
    /// Seconds to score a company; within a batch, its share.
    pub score_duration: Histogram,
    /// Companies scored in one call.
    pub batch_companies: Histogram,
    /// Companies held: taken, and their result not yet confirmed.
    pub in_flight: IntGauge,
    /// Companies to hold at the measured speed.
    pub hold_target: IntGauge,
    /// Companies to score in one call, at most.
    pub batch_target: IntGauge,
    /// Measured seconds that a thread needs for a company; 0 before the first.
    pub seconds_per_company: Gauge,
    /// Results published and not yet confirmed.
    pub confirms_pending: IntGauge,
    /// Results that a subscriber's queue refused, and that were published to the ledger alone.
    pub results_refused: IntCounter,
    /// Malformed work messages.
    pub malformed: IntCounter,
    /// Companies moved to another queue without a result: to a retry queue, the quarantine or the queue of a paused job, or back.
    pub moved: IntCounterVec,
    /// Companies dropped unscored, because their job had ended without them.
    pub dropped: IntCounter,
    /// Companies without any field that is a feature of the model.
    pub no_features: IntCounter,
    /// Scoring threads.
    pub workers: IntGauge,
    /// Scoring threads replaced, because their scorer was stuck or they panicked.
    pub workers_replaced: IntCounterVec,
    /// Reconnections to the broker.
    pub reconnections: IntCounter,
    results: IntCounterVec,
    causes: Mutex<HashSet<String>>,
}

impl ConsumerMetrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// If two metrics have the same name.
    pub fn new() -> prometheus::Result<ConsumerMetrics> {
        let registry = Registry::new();
        let seconds = exponential_buckets(0.000_1, 4.0, 10)?;
        let companies = exponential_buckets(1.0, 2.0, 11)?;
        Ok(ConsumerMetrics {
            work_taken: counter(&registry, "rollcall_work_taken_total", "Work messages taken from the queue")?,
            attempts: counter(&registry, "rollcall_attempts_total", "Attempts at scoring a company")?,
            score_duration: histogram(&registry, "rollcall_score_duration_seconds", "Time to score a company", seconds)?,
            batch_companies: histogram(&registry, "rollcall_batch_companies", "Companies scored in one call", companies)?,
            in_flight: gauge(&registry, "rollcall_in_flight", "Companies held: taken, and their result not yet confirmed")?,
            hold_target: gauge(&registry, "rollcall_hold_target_companies", "Companies to hold at the measured speed")?,
            batch_target: gauge(&registry, "rollcall_batch_target_companies", "Companies to score in one call, at most")?,
            seconds_per_company: registered(
                &registry,
                Gauge::new(
                    "rollcall_seconds_per_company",
                    "Measured seconds that a thread needs for a company; 0 before the first",
                )?,
            )?,
            confirms_pending: gauge(&registry, "rollcall_confirms_pending", "Results published and not yet confirmed")?,
            moved: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("rollcall_moved_total", "Companies moved to another queue without a result"),
                    &["to"],
                )?,
            )?,
            results_refused: counter(
                &registry,
                "rollcall_results_refused_total",
                "Results that a subscriber's queue refused, and that were published to the ledger alone",
            )?,
            malformed: counter(&registry, "rollcall_malformed_work_total", "Malformed work messages; they are dead-lettered")?,
            dropped: counter(
                &registry,
                "rollcall_dropped_total",
                "Companies dropped unscored, because their job had ended without them",
            )?,
            no_features: counter(
                &registry,
                "rollcall_no_features_total",
                "Companies without any field that is a feature of the model",
            )?,
            workers: gauge(&registry, "rollcall_workers", "Scoring threads")?,
            workers_replaced: registered(
                &registry,
                IntCounterVec::new(Opts::new("rollcall_workers_replaced_total", "Scoring threads replaced, by why"), &["why"])?,
            )?,
            reconnections: counter(&registry, "rollcall_reconnections_total", "Reconnections to the broker")?,
            results: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("rollcall_results_total", "Results confirmed by the broker"),
                    &["outcome", "cause"],
                )?,
            )?,
            causes: Mutex::default(),
            registry,
        })
    }

    /// Counts a result; `cause` is empty for one that succeeded.
    pub fn count_result(&self, outcome: &str, cause: &str) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = causes.contains(cause) || (causes.len() < DISTINCT_CAUSES && causes.insert(cause.to_owned()));
        self.results.with_label_values(&[outcome, if known { cause } else { "other" }]).inc();
    }
}

/// The metrics of a fleet.
#[derive(Debug, Clone)]
pub struct FleetMetrics {
    /// The registry of all of them.
    pub registry: Registry,
    /// Consumers that run and were not asked to stop.
    pub consumers: IntGauge,
    /// Consumers that there should be.
    pub wanted: IntGauge,
    /// Consumers that ended by themselves.
    pub restarts: IntCounter,
}

impl FleetMetrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// If two metrics have the same name.
    pub fn new() -> prometheus::Result<FleetMetrics> {
        let registry = Registry::new();
        Ok(FleetMetrics {
            consumers: gauge(&registry, "rollcall_fleet_consumers", "Consumers that run and were not asked to stop")?,
            wanted: gauge(&registry, "rollcall_fleet_consumers_wanted", "Consumers that there should be")?,
            restarts: counter(&registry, "rollcall_fleet_restarts_total", "Consumers that ended by themselves")?,
            registry,
        })
    }
}

/// The metrics of a gateway.
#[derive(Debug)]
pub struct GatewayMetrics {
    /// The registry of all of them.
    pub registry: Registry,
    /// Requests, by route, method and status.
    pub requests: IntCounterVec,
    /// Seconds from a request to the beginning of its answer, by route.
    pub request_duration: HistogramVec,
    /// Uploads that are being enqueued.
    pub uploads: IntGauge,
    /// Bytes of uploads.
    pub upload_bytes: IntCounter,
    /// Channels of each pool: how many there are, how many of them are free, and how many operations wait for one.
    pub pool_channels: IntGaugeVec,
    /// Jobs that triggers have enqueued, by trigger.
    pub triggered: IntCounterVec,
    /// What triggers have refused, by trigger.
    pub refused: IntCounterVec,
    /// Results written, or not, by outcome.
    pub exports: IntCounterVec,
    /// Attempts to send a done event, by webhook and outcome.
    pub webhook_attempts: IntCounterVec,
    /// 1 while this gateway watches the inbox and the schedules.
    pub leads: IntGauge,
    /// Reconnections to the broker.
    pub reconnections: IntCounter,
}

impl GatewayMetrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// If two metrics have the same name.
    pub fn new() -> prometheus::Result<GatewayMetrics> {
        let registry = Registry::new();
        let seconds = exponential_buckets(0.001, 4.0, 9)?;
        let counters =
            |name: &str, help: &str, labels: &[&str]| registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        Ok(GatewayMetrics {
            requests: counters("rollcall_http_requests_total", "Requests", &["route", "method", "status"])?,
            request_duration: registered(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("rollcall_http_request_duration_seconds", "From a request to the beginning of its answer")
                        .buckets(seconds),
                    &["route"],
                )?,
            )?,
            uploads: gauge(&registry, "rollcall_uploads", "Uploads that are being enqueued")?,
            upload_bytes: counter(&registry, "rollcall_upload_bytes_total", "Bytes of uploads")?,
            pool_channels: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "rollcall_pool_channels",
                        "Channels to the broker, by pool: open, free, and operations that wait for one",
                    ),
                    &["pool", "state"],
                )?,
            )?,
            triggered: counters("rollcall_triggered_jobs_total", "Jobs that triggers have enqueued", &["trigger"])?,
            refused: counters("rollcall_trigger_refusals_total", "What triggers have refused", &["trigger"])?,
            exports: counters("rollcall_exports_total", "Attempts to write the results of a job", &["outcome"])?,
            webhook_attempts: counters(
                "rollcall_webhook_attempts_total",
                "Attempts to send a done event",
                &["webhook", "outcome"],
            )?,
            leads: gauge(&registry, "rollcall_gateway_leads", "1 while this gateway watches the inbox and the schedules")?,
            reconnections: counter(&registry, "rollcall_reconnections_total", "Reconnections to the broker")?,
            registry,
        })
    }
}

/// The metrics of an aggregator.
#[derive(Debug)]
pub struct AggregatorMetrics {
    /// The registry of all of them.
    pub registry: Registry,
    /// 1 while it is the leader.
    pub active: IntGauge,
    /// The ledger offset that it reads next.
    pub ledger_offset: IntGauge,
    /// Seconds since the record read last was published, while there are more to read.
    pub ledger_lag: Gauge,
    /// Seconds from reading a job's last outcome to reading its done event back from the ledger.
    pub last_result_to_done: Histogram,
    /// Reconnections to the broker.
    pub reconnections: IntCounter,
    /// Malformed ledger records.
    pub malformed: IntCounter,
    /// Dead letters taken, by the cause of their failed result; `dropped` if their company is not known.
    pub dead_letters: IntCounterVec,
    /// Jobs with lost companies.
    pub jobs_stalled: IntGauge,
    /// Ignored ledger records, by why.
    pub ignored: IntCounterVec,
    jobs: IntGaugeVec,
    unfinished: IntGaugeVec,
    due_later: IntGaugeVec,
    seconds_per_company: GaugeVec,
    work_seconds: GaugeVec,
    consumers_wanted: IntGaugeVec,
    scaled_models: Mutex<HashSet<Model>>,
}

impl AggregatorMetrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// If two metrics have the same name.
    pub fn new() -> prometheus::Result<AggregatorMetrics> {
        let registry = Registry::new();
        let seconds = exponential_buckets(0.001, 2.0, 14)?;
        Ok(AggregatorMetrics {
            active: gauge(&registry, "rollcall_aggregator_active", "1 while this aggregator is the leader")?,
            ledger_offset: gauge(&registry, "rollcall_ledger_offset", "Ledger offset to be read next")?,
            ledger_lag: registered(
                &registry,
                Gauge::new(
                    "rollcall_ledger_lag_seconds",
                    "Age of the ledger record read last, while there are more to read, by the clock of its publisher",
                )?,
            )?,
            last_result_to_done: histogram(
                &registry,
                "rollcall_last_result_to_done_seconds",
                "From reading a job's last outcome to reading its done event back from the ledger",
                seconds,
            )?,
            reconnections: counter(&registry, "rollcall_reconnections_total", "Reconnections to the broker")?,
            malformed: counter(&registry, "rollcall_malformed_records_total", "Malformed ledger records")?,
            dead_letters: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("rollcall_dead_letters_total", "Dead letters taken, by the cause of their failed result"),
                    &["cause"],
                )?,
            )?,
            jobs_stalled: gauge(
                &registry,
                "rollcall_jobs_stalled",
                "Jobs with companies that have no outcome and are nowhere on the broker",
            )?,
            ignored: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "rollcall_ignored_records_total",
                        "Ignored ledger records: of another opening of their job's name, of a job that is not open, or in contradiction to the counts",
                    ),
                    &["why"],
                )?,
            )?,
            jobs: registered(&registry, IntGaugeVec::new(Opts::new("rollcall_jobs", "Jobs by state"), &["state"])?)?,
            unfinished: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "rollcall_scale_unfinished",
                        "Companies without an outcome that can be scored now: not paused, and not between two attempts",
                    ),
                    &["model"],
                )?,
            )?,
            due_later: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new("rollcall_scale_due_later", "Companies without an outcome whose next attempt is not due yet"),
                    &["model"],
                )?,
            )?,
            seconds_per_company: registered(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "rollcall_scale_seconds_per_company",
                        "Seconds of one scoring thread for a company; 1 before the first",
                    ),
                    &["model"],
                )?,
            )?,
            work_seconds: registered(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "rollcall_scale_work_seconds",
                        "Seconds of one scoring thread for all companies that can be scored now",
                    ),
                    &["model"],
                )?,
            )?,
            consumers_wanted: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "rollcall_scale_consumers_wanted",
                        format!("Consumers of one thread that finish this work within {} s", DEFAULT_TARGET.as_secs()),
                    ),
                    &["model"],
                )?,
            )?,
            scaled_models: Mutex::default(),
            registry,
        })
    }

    /// Sets how many jobs are in each state.
    pub fn set_jobs(&self, states: impl Iterator<Item = State>) {
        self.jobs.reset();
        for state in states {
            self.jobs.with_label_values(&[&state.to_string()]).inc();
        }
    }
}

impl AggregatorMetrics {
    /// Sets the scale signal and the number of wanted consumers of each model; others have none.
    pub fn set_scale<'a>(&self, signals: impl Iterator<Item = (&'a ScaleSignal, u64)>) {
        let mut gone = self.scaled_models.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models = HashSet::new();
        let whole = |number| i64::try_from(number).unwrap_or(i64::MAX);
        for (signal, wanted) in signals {
            let model = [signal.model.as_str()];
            self.unfinished.with_label_values(&model).set(whole(signal.unfinished));
            self.due_later.with_label_values(&model).set(whole(signal.due_later));
            self.seconds_per_company.with_label_values(&model).set(signal.seconds_per_company);
            self.work_seconds.with_label_values(&model).set(signal.work_seconds);
            self.consumers_wanted.with_label_values(&model).set(whole(wanted));
            gone.remove(&signal.model);
            models.insert(signal.model.clone());
        }
        for model in std::mem::replace(&mut *gone, models) {
            let model = [model.as_str()];
            // An error says that there is none.
            drop(self.unfinished.remove_label_values(&model));
            drop(self.due_later.remove_label_values(&model));
            drop(self.seconds_per_company.remove_label_values(&model));
            drop(self.work_seconds.remove_label_values(&model));
            drop(self.consumers_wanted.remove_label_values(&model));
        }
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    registered(registry, IntCounter::new(name, help)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    registered(registry, IntGauge::new(name, help)?)
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: Vec<f64>) -> prometheus::Result<Histogram> {
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?)
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
