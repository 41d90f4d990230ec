//! Logs: to stderr, for people on a terminal, as JSON where asked for.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        match self.log_format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => lines.json().flatten_event(true).init(),
        }
        Ok(())
    }
}
