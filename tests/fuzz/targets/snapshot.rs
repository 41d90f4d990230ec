//! A checkpoint is parsed into a state that survives a round trip, or it is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_aggregator::jobs::Jobs;
use rollcall_fuzz::assert_one_line;
use rollcall_shared::message::CompanySet;

fuzz_target!(|bytes: &[u8]| {
    let jobs = match Jobs::from_checkpoint(bytes) {
        Ok(jobs) => jobs,
        Err(bad) => return assert_one_line(&bad.to_string()),
    };
    assert_eq!(Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap(), jobs);
    for (job, state) in jobs.all() {
        state.status(job, Some(1.0), jobs.next_offset());
        state.companies(&CompanySet::Failed);
    }
});
