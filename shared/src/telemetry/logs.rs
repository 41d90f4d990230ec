//! Logs: to stderr, for people on a terminal, as JSON where asked for. They are lost where nobody reads stderr.

mod lines;

use std::fmt::{self, Debug};
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::{RecordFields, VisitOutput};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};

use self::lines::Lines;
pub use self::lines::flush_logs;
use crate::terminal::{escape_controls, escape_json};

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
    /// What is logged: error, warn, info, debug or trace, or a tracing filter
    #[arg(long, env = "ROLLCALL_LOG", default_value = "info", global = true)]
    pub log: String,
}

impl LogArgs {
    /// Starts logging.
    ///
    /// # Errors
    /// Where the filter does not parse; names it.
    pub fn start(&self) -> Result<(), String> {
        // lapin logs each lost connection as an error of its own; the supervisor says it once, with what it does about it.
        let filter = EnvFilter::try_new(format!("{},lapin=off,async_rs=off", self.log))
            .map_err(|error| format!("expected a level or a tracing filter for --log, found {:?}: {error}", self.log))?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
        // A failed write would be told on standard error, and to fail at that would end the thread that logs.
        let lines = lines.log_internal_errors(false);
        match self.log_format {
            LogFormat::Text => {
                let in_colour = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
                lines.with_writer(Lines::to_stderr).with_ansi(in_colour).fmt_fields(EscapedFields).init();
            }
            LogFormat::Json => lines.with_writer(|| EscapedJson(Lines::to_stderr())).json().flatten_event(true).init(),
        }
        log_panics();
        Ok(())
    }
}

/// Panics are logged like anything else: the default writes them to standard error as they are, whatever text from outside they hold.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let (said, at) = (panic.payload_as_str().unwrap_or("no message"), panic.location().map(ToString::to_string));
        let thread = std::thread::current();
        tracing::error!(event = "panicked", thread = thread.name(), at, "{said}");
    }));
}

/// The fields of a text line as they are by default, with their values escaped: by default only the message is, and less of it.
struct EscapedFields;

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = EscapingVisitor(DefaultVisitor::new(writer, true));
        fields.record(&mut visitor);
        visitor.0.finish()
    }
}

struct EscapingVisitor<'writer>(DefaultVisitor<'writer>);

impl Visit for EscapingVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        self.0.record_debug(field, &format_args!("{}", escape_controls(&value)));
    }
}

/// Takes whole lines of JSON, and hands them on escaped.
struct EscapedJson<W>(W);

impl<W: Write> Write for EscapedJson<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(escape_json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Keeps what is logged.
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
            let lines = tracing_subscriber::fmt().with_writer(kept.clone()).with_ansi(in_colour).fmt_fields(EscapedFields);
            tracing::subscriber::with_default(lines.finish(), log_hostile);
            let text = kept.text();
            assert_eq!(text.matches(SHOWN).count(), 5, "{text:?}");
            assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text:?}");
            // In colour, the only escapes are our own.
            assert_eq!(text.contains('\u{1b}'), in_colour, "{text:?}");
            let plain = text.replace(['\u{1b}', '\n'], "");
            assert_eq!(escape_controls(&plain), plain);
            assert!(in_colour || (text.contains("number=7") && text.contains(&format!("shown={SHOWN}"))), "{text}");
        }
    }

    #[test]
    fn a_json_line_has_the_same_values_and_nothing_that_a_terminal_acts_on() {
        let kept = Kept::default();
        let writer = {
            let kept = kept.clone();
            move || EscapedJson(kept.clone())
        };
        let lines = tracing_subscriber::fmt().with_writer(writer).json().flatten_event(true);
        tracing::subscriber::with_default(lines.finish(), log_hostile);
        let text = kept.text();
        assert_eq!(escape_controls(text.trim_end_matches('\n')), text.trim_end_matches('\n'));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["shown"], &line["quoted"]), (&HOSTILE.into(), &HOSTILE.into()));
        assert_eq!(line["message"], format!("message {HOSTILE}"));
    }
}
