//! Logs on standard error, as text or JSON. They are lost if nothing reads standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Debug};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::thread;

use anstream::{AutoStream, ColorChoice};
use serde_json::{Map, Value, json};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::{RecordFields, VisitOutput};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::message::Timestamp;
use crate::terminal::{Stderr, escape_controls, escape_json, escape_lines, flush_unless_stalled, use_json_notices};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The logging flags that every process has.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// How log lines on stderr look
    #[arg(long, env = "ROLLCALL_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// What is logged: off, error, warn, info, debug or trace, and different ones for some targets after it, as in
    /// info,rollcall_consumer=debug; the targets are rollcall_producer, rollcall_consumer, rollcall_aggregator, rollcall_score and
    /// rollcall_shared
    #[arg(long, env = "ROLLCALL_LOG", default_value = "info", global = true)]
    pub log: String,
}

/// A filter that does not parse.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected LEVEL, TARGET or TARGET=LEVEL, separated by commas, for --log, found {found:?}; a LEVEL is off, error, warn, info, debug or trace"
)]
pub struct BadLogFilter {
    found: String,
}

impl LogArgs {
    /// Starts logging.
    ///
    /// # Errors
    /// If the filter does not parse.
    pub fn start(&self) -> Result<(), BadLogFilter> {
        self.start_numbered(None)
    }

    /// Starts logging in a consumer of a fleet, if it has a number there: each line has it as the field `consumer`.
    ///
    /// # Errors
    /// If the filter does not parse.
    pub fn start_numbered(&self, consumer: Option<u16>) -> Result<(), BadLogFilter> {
        let subscriber = self.subscriber(consumer)?;
        if self.log_format == LogFormat::Json {
            use_json_notices();
        }
        subscriber.init();
        log_panics(self.log_format, consumer);
        Ok(())
    }

    fn subscriber(&self, consumer: Option<u16>) -> Result<Box<dyn Subscriber + Send + Sync>, BadLogFilter> {
        let filtered = tracing_subscriber::registry().with(filter(&self.log)?);
        // It would report a failed write on standard error, and panic if that fails too.
        let lines = tracing_subscriber::fmt::layer().with_target(false).log_internal_errors(false);
        Ok(match self.log_format {
            LogFormat::Text => {
                let in_colour = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
                Box::new(filtered.with(lines.with_writer(|| Stderr).with_ansi(in_colour).fmt_fields(EscapedFields { consumer })))
            }
            LogFormat::Json => {
                let writer = move || EscapedJson { writer: Stderr, consumer };
                Box::new(filtered.with(lines.with_writer(writer).json().flatten_event(true)))
            }
        })
    }
}

/// Reads a filter: LEVEL, TARGET or TARGET=LEVEL, separated by commas. A target without a level is logged completely. Empty parts and
/// spaces around a part mean nothing.
fn filter(text: &str) -> Result<Targets, BadLogFilter> {
    let mut targets = Targets::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let bad = || BadLogFilter { found: part.to_owned() };
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target), Some(level)),
            None if part.parse::<LevelFilter>().is_ok() => (None, Some(part)),
            None => (Some(part), None),
        };
        // An empty text would be a level, too.
        let level = match level.map(str::trim) {
            Some("") => return Err(bad()),
            Some(level) => level.parse().map_err(|_| bad())?,
            None => LevelFilter::TRACE,
        };
        targets = match target.map(str::trim) {
            Some(target) if is_target(target) => targets.with_target(target, level),
            Some(_) => return Err(bad()),
            None => targets.with_default(level),
        };
    }
    // lapin logs each lost connection as an error; supervise logs it once, with what it does about it.
    Ok(targets.with_target("lapin", LevelFilter::OFF).with_target("async_rs", LevelFilter::OFF))
}

fn is_target(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_:-".contains(letter))
}

/// Logs panics in the format of the logs, whatever the filter. The default hook would write untrusted text unescaped, and wait for the reader.
/// A panic may end the process, so the hook flushes its line.
fn log_panics(format: LogFormat, consumer: Option<u16>) {
    panic::set_hook(Box::new(move |panic| {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        let line = match format {
            LogFormat::Text => panic_as_text(panic, consumer, backtrace.as_deref()),
            LogFormat::Json => panic_as_json(panic, consumer, backtrace.as_deref()),
        };
        drop(Stderr.write_all(format!("{line}\n").as_bytes()));
        flush_unless_stalled();
    }));
}

/// One line, and one for each line of the backtrace.
fn panic_as_text(panic: &PanicHookInfo<'_>, consumer: Option<u16>, backtrace: Option<&str>) -> String {
    let (message, at, thread) = (message(panic), at(panic), thread::current());
    let thread = thread.name().unwrap_or("without a name");
    let line =
        format!("{} ERROR {message} event=\"panicked\" thread={thread:?} at={at:?}{}", Timestamp::now(), as_text(consumer));
    escape_lines([line.as_str()].into_iter().chain(backtrace.into_iter().flat_map(str::lines)))
}

fn panic_as_json(panic: &PanicHookInfo<'_>, consumer: Option<u16>, backtrace: Option<&str>) -> String {
    let fields = [
        ("timestamp", Some(json!(Timestamp::now()))),
        ("level", Some(json!("ERROR"))),
        ("message", Some(json!(message(panic)))),
        ("event", Some(json!("panicked"))),
        ("thread", Some(json!(thread::current().name()))),
        ("at", Some(json!(at(panic)))),
        ("consumer", consumer.map(Value::from)),
        ("backtrace", backtrace.map(Value::from)),
    ];
    let fields: Map<String, Value> = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    escape_json(&Value::from(fields).to_string()).into_owned()
}

fn message<'p>(panic: &'p PanicHookInfo<'_>) -> &'p str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn at(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map(ToString::to_string).unwrap_or_default()
}

/// The last field of a text line, if the process has a number.
fn as_text(consumer: Option<u16>) -> String {
    consumer.map_or_else(String::new, |number| format!(" consumer={number}"))
}

/// The default format of fields, with every value escaped. By default only the message is, and not completely.
struct EscapedFields {
    consumer: Option<u16>,
}

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = EscapingVisitor(DefaultVisitor::new(writer.by_ref(), true));
        fields.record(&mut visitor);
        visitor.0.finish()?;
        writer.write_str(&as_text(self.consumer))
    }
}

struct EscapingVisitor<'writer>(DefaultVisitor<'writer>);

impl Visit for EscapingVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        self.0.record_debug(field, &format_args!("{}", escape_controls(&value)));
    }
}

/// Escapes whole lines of JSON.
struct EscapedJson<W> {
    writer: W,
    consumer: Option<u16>,
}

impl<W: Write> Write for EscapedJson<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let escaped = escape_json(&text);
        let numbered = self.consumer.zip(escaped.strip_suffix("}\n"));
        let numbered = numbered.map(|(number, fields)| format!("{fields},\"consumer\":{number}}}\n"));
        // In one write: each is a line.
        self.writer.write_all(numbered.as_deref().unwrap_or(&escaped).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::{self, Command, Output};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Kept;
        fn make_writer(&self) -> Kept {
            self.clone()
        }
    }

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn a_filter_is_levels_by_target_and_the_highest_level_is_that_of_the_filter() {
        for (text, max, own, dependency) in [
            ("info", LevelFilter::INFO, LevelFilter::INFO, LevelFilter::INFO),
            ("info,", LevelFilter::INFO, LevelFilter::INFO, LevelFilter::INFO),
            (" WARN", LevelFilter::WARN, LevelFilter::WARN, LevelFilter::WARN),
            ("info, rollcall_consumer=debug", LevelFilter::DEBUG, LevelFilter::DEBUG, LevelFilter::INFO),
            ("rollcall_consumer=warn , debug", LevelFilter::DEBUG, LevelFilter::WARN, LevelFilter::DEBUG),
            ("rollcall_consumer::intake-x", LevelFilter::TRACE, LevelFilter::OFF, LevelFilter::OFF),
            ("rollcall_consumer", LevelFilter::TRACE, LevelFilter::TRACE, LevelFilter::OFF),
            ("off", LevelFilter::OFF, LevelFilter::OFF, LevelFilter::OFF),
            ("", LevelFilter::OFF, LevelFilter::OFF, LevelFilter::OFF),
            ("trace,lapin=trace", LevelFilter::TRACE, LevelFilter::TRACE, LevelFilter::TRACE),
        ] {
            let targets = filter(text).unwrap();
            let of = |target| {
                let levels = [LevelFilter::TRACE, LevelFilter::DEBUG, LevelFilter::INFO, LevelFilter::WARN, LevelFilter::ERROR];
                let is_logged =
                    |filter: &LevelFilter| filter.into_level().is_some_and(|level| targets.would_enable(target, &level));
                levels.into_iter().find(is_logged).unwrap_or(LevelFilter::OFF)
            };
            let found = (of("rollcall_consumer::run"), of("serde"), of("lapin::channel"));
            assert_eq!(found, (own, dependency, LevelFilter::OFF), "{text:?}");
            for log_format in [LogFormat::Text, LogFormat::Json] {
                let subscriber = LogArgs { log_format, log: text.to_owned() }.subscriber(None).unwrap();
                assert_eq!(subscriber.max_level_hint(), Some(max), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_neither_a_level_nor_a_target_is_refused_in_one_line() {
        for (text, found) in [
            ("info,!!", "!!"),
            ("[span]=debug", "[span]=debug"),
            ("rollcall_consumer=", "rollcall_consumer="),
            ("rollcall_consumer=loud", "rollcall_consumer=loud"),
            ("=debug", "=debug"),
            ("a=b=info", "a=b=info"),
            ("info;warn", "info;warn"),
            ("a\nb", "a\nb"),
        ] {
            let error = filter(text).unwrap_err().to_string();
            assert!(error.contains(&format!("found {found:?}")) && !error.contains('\n'), "{error}");
        }
    }

    const HOSTILE: &str = "a\u{1b}]0;b\u{7}\n\r\u{7f}\u{9b}31m\u{202e}z";
    const SHOWN: &str = r"a\u{1b}]0;b\u{7}\n\r\u{7f}\u{9b}31m\u{202e}z";

    fn log_hostile() {
        let error = io::Error::other(HOSTILE);
        let dynamic: &dyn std::error::Error = &error;
        tracing::info!(shown = %HOSTILE, quoted = HOSTILE, debugged = ?HOSTILE, error = dynamic, number = 7, "message {HOSTILE}");
    }

    #[test]
    fn what_a_text_line_tells_of_is_escaped_in_every_kind_of_field_and_in_the_message() {
        for in_colour in [false, true] {
            let kept = Kept::default();
            let lines = tracing_subscriber::fmt()
                .with_writer(kept.clone())
                .with_ansi(in_colour)
                .fmt_fields(EscapedFields { consumer: Some(3) });
            tracing::subscriber::with_default(lines.finish(), log_hostile);
            let text = kept.text();
            assert_eq!(text.matches(SHOWN).count(), 5, "{text:?}");
            assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text:?}");
            // In colour, the only escape sequences are those of the format.
            assert_eq!(text.contains('\u{1b}'), in_colour, "{text:?}");
            let plain = text.replace(['\u{1b}', '\n'], "");
            assert_eq!(escape_controls(&plain), plain);
            assert!(in_colour || (text.contains("number=7") && text.contains(&format!("shown={SHOWN}"))), "{text}");
            assert!(text.ends_with(" consumer=3\n"), "{text:?}");
        }
    }

    #[test]
    fn a_json_line_has_the_same_values_and_nothing_that_a_terminal_acts_on() {
        let kept = Kept::default();
        let writer = {
            let kept = kept.clone();
            move || EscapedJson { writer: kept.clone(), consumer: Some(3) }
        };
        let lines = tracing_subscriber::fmt().with_writer(writer).json().flatten_event(true);
        tracing::subscriber::with_default(lines.finish(), log_hostile);
        let text = kept.text();
        assert_eq!(escape_controls(text.trim_end_matches('\n')), text.trim_end_matches('\n'));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["shown"], &line["quoted"], &line["consumer"]), (&HOSTILE.into(), &HOSTILE.into(), &3.into()));
        assert_eq!(line["message"], format!("message {HOSTILE}"));
    }

    /// Starts this test process again with these variables, to run the test that panics.
    fn panicked(variables: &[(&str, &str)]) -> Output {
        let mut again = Command::new(env::current_exe().unwrap());
        again.args(["--exact", "telemetry::logs::tests::a_process_that_panics", "--ignored", "--nocapture", "--test-threads=1"]);
        let output = again.env_remove("RUST_BACKTRACE").envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(101), "{output:?}");
        output
    }

    #[test]
    #[ignore = "ends its process: the tests below start it in one of its own"]
    fn a_process_that_panics() {
        let log_format = if env::var_os("JSON").is_some() { LogFormat::Json } else { LogFormat::Text };
        LogArgs { log_format, log: "off".to_owned() }.start().unwrap();
        assert!(panic::catch_unwind(|| panic!("{HOSTILE}")).is_err());
        // Without a flush: what is not written yet is lost.
        process::exit(101);
    }

    #[test]
    fn a_panic_is_told_in_one_line_whatever_is_logged_and_though_the_process_ends_with_it() {
        // The system cannot start a thread with such a stack, as beyond a limit of processes.
        for no_thread in [None, Some(("RUST_MIN_STACK", "1152921504606846976"))] {
            let said = String::from_utf8(panicked(no_thread.as_slice()).stderr).unwrap();
            let line = said.lines().find(|line| line.contains("panicked")).unwrap_or_default();
            assert!(line.contains(&format!(" ERROR {SHOWN} event=\"panicked\" thread=\"")), "{no_thread:?}: {said:?}");
            assert!(line.contains("at=\"shared/src/telemetry/logs.rs:"), "{line}");
            assert!(!said.contains('\u{1b}') && !said.contains("stack backtrace"), "{said:?}");
        }
    }

    #[test]
    fn a_panic_is_json_where_logs_are_and_has_a_backtrace_where_one_is_asked_for() {
        let output = panicked(&[("JSON", "1"), ("RUST_BACKTRACE", "1")]);
        let said = String::from_utf8(output.stderr).unwrap();
        let line: Value = serde_json::from_str(said.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
        assert_eq!((&line["event"], &line["level"], &line["message"]), (&"panicked".into(), &"ERROR".into(), &HOSTILE.into()));
        assert!(line["backtrace"].as_str().is_some_and(|trace| trace.contains("a_process_that_panics")), "{said}");
        let text = String::from_utf8(panicked(&[("RUST_BACKTRACE", "1")]).stderr).unwrap();
        assert!(text.lines().any(|line| line.contains("a_process_that_panics")), "{text}");
    }
}
