//! What the tests need beside their sources.

use crate::environment::{broker_url, require_python};
use crate::programs::programs;

/// Ends the test process, with one line, if something is missing. It must be called before a private broker is started: a broker outlives
/// the test process, whichever test ends it.
pub(crate) fn require_all() {
    broker_url();
    require_python();
    programs();
}
