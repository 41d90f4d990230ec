//! Where the consumers of a fleet serve their metrics: number N on the fleet's port plus N.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// The addresses of the consumers' metrics.
#[derive(Debug)]
pub(super) struct MetricsPorts {
    /// Where the fleet serves its own; `None` if nothing is served.
    of_fleet: Option<SocketAddr>,
    /// Numbers whose ports were found taken.
    taken: BTreeSet<u16>,
}

impl MetricsPorts {
    pub(super) fn new(of_fleet: Option<SocketAddr>) -> MetricsPorts {
        MetricsPorts { of_fleet, taken: BTreeSet::new() }
    }

    /// The smallest number that is not in use and whose port is free, with its address; `None` if there is none. Logs a port that
    /// another program has, once: a consumer would end for it, and the fleet with it.
    pub(super) fn first_free(&mut self, is_used: impl Fn(u16) -> bool) -> Option<(u16, Option<SocketAddr>)> {
        for number in (1..=u16::MAX).filter(|number| !is_used(*number)) {
            let Some(mut address) = self.of_fleet else { return Some((number, None)) };
            // Port 0 is any free one.
            if address.port() != 0 {
                address.set_port(address.port().checked_add(number)?);
            }
            if !TcpListener::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
                return Some((number, Some(address)));
            }
            if self.taken.insert(number) {
                tracing::warn!(
                    event = "metrics_port_taken",
                    consumer = number,
                    %address,
                    "another program has the port of this consumer's metrics; skipping the number"
                );
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener whose port has others above it.
    fn listener() -> TcpListener {
        let at = || TcpListener::bind("127.0.0.1:0").unwrap();
        std::iter::repeat_with(at).find(|listener| listener.local_addr().unwrap().port() < u16::MAX - 100).unwrap()
    }

    #[test]
    fn a_number_whose_port_is_taken_is_skipped_and_so_is_one_in_use() {
        let taken = listener();
        let mut of_fleet = taken.local_addr().unwrap();
        of_fleet.set_port(of_fleet.port() - 1);
        let mut ports = MetricsPorts::new(Some(of_fleet));
        for _ in 0..2 {
            let (number, address) = ports.first_free(|_| false).unwrap();
            assert!(number > 1 && address.unwrap().port() == of_fleet.port() + number, "{number} {address:?}");
        }
        assert!(ports.taken.contains(&1));
        let (number, _) = ports.first_free(|number| number < 50).unwrap();
        assert!(number >= 50, "{number}");
    }

    #[test]
    fn consumers_without_metrics_have_the_smallest_numbers_and_ports_may_run_out() {
        assert_eq!(MetricsPorts::new(None).first_free(|number| number == 1), Some((2, None)));
        let last = "127.0.0.1:65535".parse().unwrap();
        assert_eq!(MetricsPorts::new(Some(last)).first_free(|_| false), None);
    }
}
