//! The flags of `producer serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use rollcall_shared::duration::parse_positive;
use rollcall_shared::telemetry::MetricsArgs;

const GATEWAY: &str = "Gateway";

/// Where a gateway listens, and what it does by itself.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Serve the page and the API on this address; any but a loopback address needs tokens, or a proxy that is trusted
    #[arg(long, env = "ROLLCALL_LISTEN", default_value = "127.0.0.1:8080", help_heading = GATEWAY)]
    pub listen: SocketAddr,
    /// The gateway's configuration: who may use it, what starts jobs, and whom to tell [default: the API and the page alone]
    #[arg(long, env = "ROLLCALL_CONFIG", help_heading = GATEWAY)]
    pub config: Option<PathBuf>,
    /// Check the configuration, and do nothing else
    #[arg(long, value_parser = FalseyValueParser::new(), requires = "config", help_heading = GATEWAY)]
    pub check: bool,
    /// How long to go on with uploads once it is asked to stop
    #[arg(long, env = "ROLLCALL_GRACE", default_value = "30s", value_parser = parse_positive, help_heading = GATEWAY)]
    pub grace: Duration,
    /// Metrics.
    #[command(flatten, next_help_heading = "Metrics and logs")]
    pub metrics: MetricsArgs,
}
