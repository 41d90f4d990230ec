//! A checkpoint is a count that goes on, and is written and read back the same, or it is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_aggregator::ledger::Ledger;
use rollcall_fuzz::assert_one_line;
use rollcall_shared::message::CompanySet;

fuzz_target!(|bytes: &[u8]| {
    let ledger = match Ledger::from_snapshot(bytes) {
        Ok(ledger) => ledger,
        Err(bad) => return assert_one_line(&bad.to_string()),
    };
    assert_eq!(Ledger::from_snapshot(&ledger.to_snapshot().unwrap()).unwrap(), ledger);
    for (job, count) in ledger.jobs() {
        count.status(job, Some(1.0), ledger.next_offset());
        count.companies(&CompanySet::Failed);
    }
});
