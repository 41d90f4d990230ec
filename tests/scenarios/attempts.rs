//! A retryable failure is tried again after a delay; a final one is not.

use rollcall_tests::{Fleet, Outcome, SCORER};

#[test]
fn a_failure_that_may_pass_is_tried_again_and_the_last_attempt_is_what_counts() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let scorer = format!("{SCORER} {}", fleet.path("notes").display());
    let _consumer = fleet.consumer("m", &scorer, &["--threads", "1"]);
    let file = fleet.file("c.csv", "company_id,do\na,\nb,busy twice\nc,busy\nd,refuse\n");
    fleet.enqueue(&file, "m", "j", &["--wait", "--retry-delays", "50ms,200ms"]).expect(1);
    let record = fleet.finished("j");
    record.assert_counted_once(4);
    let [a, b, c, d] = [0, 1, 2, 3].map(|index| record.bodies().find(|body| body["index"] == index).unwrap());
    assert_eq!((&a["outcome"], &a["attempt"]), (&"succeeded".into(), &1.into()));
    assert_eq!((&b["outcome"], &b["attempt"]), (&"succeeded".into(), &3.into()));
    assert_eq!((&c["outcome"], &c["attempt"], &c["error"]["cause"]), (&"failed".into(), &3.into(), &"busy".into()));
    assert_eq!((&d["outcome"], &d["attempt"], &d["error"]["cause"]), (&"failed".into(), &1.into(), &"no_data".into()));
    assert_eq!(c["record"], serde_json::json!({"company_id": "c", "do": "busy"}), "a failure brings its record");
    let done = &record.done[0]["data"];
    assert_eq!((&done["retries"], &done["duplicates"]), (&4.into(), &0.into()), "{done}");
}

#[test]
fn how_often_a_company_is_tried_is_said_by_its_job_or_else_by_the_consumer() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--max-attempts", "2", "--retry-delays", "20ms"]);
    let file = fleet.file("c.csv", "company_id,do\na,busy\n");
    for (job, more, attempts) in [("silent", &[][..], 2), ("once", &["--max-attempts", "1"], 1)] {
        fleet.enqueue(&file, "m", job, &[&["--wait"], more].concat()).expect(1);
        let record = fleet.finished(job);
        assert_eq!(record.outcomes[&0], [Outcome::Failed("busy".to_owned())]);
        assert_eq!(record.bodies().next().unwrap()["attempt"], attempts, "{job}");
    }
    for bad in [&["--max-attempts", "0"][..], &["--retry-delays", "0s"], &["--retry-delays", "soon"]] {
        let refused = fleet.enqueue(&file, "m", "bad", bad).expect(2);
        assert!(refused.stderr.contains(bad[0]), "{refused:?}");
    }
}
