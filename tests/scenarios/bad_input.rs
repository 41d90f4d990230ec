//! Input is checked before anything is enqueued: one clear error, exit code 2, and no partial job.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use rollcall_tests::{Fleet, eventually};

const GOOD: &str = "company_id,sector\nacme,Energy\nbolt,Materials\n";

/// A file of the fleet's folder that is enqueued with the flags, and the words expected in the one-line error.
struct Case {
    name: &'static str,
    contents: Vec<u8>,
    flags: &'static [&'static str],
    expected: &'static [&'static str],
}

fn case(
    name: &'static str,
    contents: impl AsRef<[u8]>,
    flags: &'static [&'static str],
    expected: &'static [&'static str],
) -> Case {
    Case { name, contents: contents.as_ref().to_vec(), flags, expected }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn parquet() -> Vec<u8> {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|company| format!("company-{company}"))));
    let batch = RecordBatch::try_from_iter([("company_id", ids)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn first_half(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() / 2]
}

fn bad_files() -> Vec<Case> {
    // Fewer rows than are checked before a job is opened.
    let many: String = (0..800).map(|company| format!("c{company},Energy\n")).collect();
    let zipped = gzip(format!("company_id,sector\n{many}").as_bytes());
    let mut damaged = zipped.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].fill(0xff);
    let long = format!("company_id,sector\na,Energy\nb,{}\n", "x".repeat(300));
    let (whole, cut) = (parquet(), "{\"company_id\":\"a\"}\n\n{\"company_id\":\"b\",}\n");
    vec![
        case("empty.csv", "", &[], &["empty file"]),
        case("empty.jsonl", "\n\n", &[], &["at least one company"]),
        case("header-only.csv", "company_id,sector\n", &[], &["at least one company"]),
        case("too-many.csv", format!("{GOOD}c,Energy,more\n"), &[], &["row 3 (line 4)", "expected 2 fields, found 3"]),
        case("too-few.csv", format!("{GOOD}c\n"), &[], &["row 3 (line 4)", "expected 2 fields, found 1"]),
        case("after-quote.csv", format!("{GOOD}c,\"Ener\"gy\n"), &[], &["line 4", "closing quote"]),
        case("inside-quote.csv", format!("{GOOD}c,En\"ergy\n"), &[], &["line 4", "quote inside an unquoted field"]),
        case("open-quote.csv", format!("{GOOD}c,\"Energy\nd,x\n"), &[], &["line 4", "end to the quotes"]),
        case("latin-1.csv", b"company_id,sector\na,\xe9nergie\n", &[], &["row 1 (line 2)", "field \"sector\"", "UTF-8", "0xe9"]),
        case("utf-16.csv", b"\xff\xfec\0o\0m\0p\0", &[], &["UTF-16", "save the file as UTF-8"]),
        case("twice.csv", "company_id,a,b,a\n1,2,3,4\n", &[], &["field \"a\"", "columns 2 and 4"]),
        case("twice-broken.csv", "\"x\ny\",\"x\ny\"\n1,2\n", &[], &["x\\ny", "columns 1 and 2"]),
        case("unnamed.csv", "company_id,,b\n1,2,3\n", &[], &["name for every column", "column 2"]),
        case("no-id.csv", GOOD, &["--id-column", "ticker"], &["field \"ticker\"", "company_id, sector", "--id-column"]),
        case("no-id.jsonl", "{\"a\":1}\n", &["--id-column", "ticker"], &["row 1", "field \"ticker\"", "--id-column"]),
        case("repeated.csv", format!("{GOOD}acme,x\n"), &[], &["row 3", "\"company_id\"", "row 1", "--allow-duplicate-ids"]),
        case("long-id.csv", format!("company_id\n{}\n", "i".repeat(256)), &[], &["row 1", "company_id", "255 bytes", "256"]),
        case("comma.jsonl", cut, &[], &["row 2 (line 3)", "one JSON object", "column 19"]),
        case("list.jsonl", "{\"a\":1}\n[1]\n", &[], &["row 2 (line 2)", "found a list"]),
        case("id.jsonl", "{\"company_id\":[1]}\n", &[], &["row 1", "field \"company_id\"", "found a list"]),
        case("cut.csv.gz", first_half(&zipped), &[], &["gzip", "cut short"]),
        case("damaged.csv.gz", damaged, &[], &["gzip", "damaged"]),
        case("cut.csv.zst", first_half(&zstd::encode_all(many.as_bytes(), 0).unwrap()), &[], &["zstd", "cut short"]),
        case("cut.parquet", first_half(&whole), &[], &["Parquet", "cut short"]),
        case("no.parquet", GOOD, &[], &["Parquet", "another format"]),
        case("long.csv", &long, &["--max-record-bytes", "200"], &["row 2", "200 bytes", "--max-record-bytes"]),
        case("long.jsonl", r#"{"a":"long"}"#, &["--max-record-bytes", "5"], &["row 1", "at most 5 bytes, found 12"]),
        case("companies.xlsx", "PK", &[], &[".csv", ".parquet", "--format"]),
    ]
}

/// Asserts that the aggregator knows no job.
fn assert_nothing_was_enqueued(fleet: &Fleet) {
    let jobs = fleet.producer(&["status", "--output", "json"]).expect(0).json();
    assert_eq!(jobs, serde_json::json!([]), "a job was opened");
}

#[test]
fn a_bad_file_is_refused_with_one_line_that_names_the_place_and_nothing_is_enqueued() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    for Case { name, contents, flags, expected } in bad_files() {
        let refused = fleet.enqueue(&fleet.file(name, contents), "m", "bad", flags).expect(2);
        let error = refused.error();
        for words in expected.iter().chain(&[name]) {
            assert!(error.contains(words), "expected {words:?} in: {error}");
        }
        assert_eq!(refused.stdout, "", "{name}");
        let dry = fleet.producer(&[&["enqueue", name, "-m", "m", "--dry-run"], flags].concat()).expect(2);
        assert!(expected.iter().all(|words| dry.stderr.contains(words)), "--dry-run says otherwise than {error}: {dry:?}");
    }
    for (path, words) in [(fleet.path("no-such.csv"), "no such file"), (fleet.path(""), "a directory")] {
        let refused = fleet.enqueue(&path, "m", "bad", &[]).expect(2);
        assert!(refused.error().contains(words) && refused.stdout.is_empty(), "{refused:?}");
    }
    assert_nothing_was_enqueued(&fleet);
    let record = fleet.ledger("bad");
    assert!(record.events.is_empty() && record.done.is_empty(), "{record:?}");
}

#[test]
fn two_companies_of_one_id_are_let_in_where_that_is_asked_for() {
    let fleet = Fleet::fresh();
    let file = fleet.file("c.csv", format!("{GOOD}acme,Utilities\n"));
    let enqueued = fleet.enqueue(&file, "m", "j", &["--allow-duplicate-ids", "--output", "json"]).expect(0);
    assert_eq!(enqueued.json(), serde_json::json!({ "job": "j", "model": "m", "total": 3, "blank_rows": 0 }));
}

#[test]
fn a_dry_run_reports_every_bad_row_and_needs_no_broker() {
    let fleet = Fleet::fresh();
    let url = "amqp://nobody:nothing@127.0.0.1:1/none";
    let dry = |file: &str, more: &[&str]| {
        fleet.producer(&[&["enqueue", file, "-m", "m", "--dry-run", "--amqp-url", url], more].concat())
    };
    fleet.file("good.csv", GOOD);
    let good = dry("good.csv", &[]).expect(0);
    assert!(good.stdout.contains("2 companies") && good.stdout.contains("2 columns: company_id, sector"), "{good:?}");
    let mut unset = fleet.producer_command(&["enqueue", "good.csv", "-m", "m", "--dry-run", "--amqp-url", url]);
    unset.env("ROLLCALL_WAIT", "false");
    fleet.start("producer", unset).wait(Duration::from_secs(10)).expect(0);
    let good = dry("good.csv", &["--output", "json"]).expect(0).json();
    assert_eq!((&good["companies"], &good["bad_rows"]), (&2.into(), &serde_json::json!([])));
    assert_eq!(good["columns"], serde_json::json!(["company_id", "sector"]));

    fleet.file("bad.csv", b"company_id,sector\na,x\nb\nc,\xff\nd,x\na,y\ne,x\n");
    let bad = dry("bad.csv", &[]).expect(2);
    assert!(bad.stdout.contains("3 companies"), "{bad:?}");
    for words in ["row 2 (line 3)", "row 3 (line 4), field \"sector\"", "row 5 (line 6), field \"company_id\"", "3 bad rows"] {
        assert!(bad.stderr.contains(words), "expected {words:?} in {bad:?}");
    }
    let document = dry("bad.csv", &["--output", "json"]).expect(2).json();
    assert_eq!((&document["companies"], document["bad_rows"].as_array().map(Vec::len)), (&3.into(), Some(3)));
}

/// 6,000 rows, of which row 5,000 has a field too many: well beyond the rows that are checked before the job is opened.
fn bad_in_mid_file(fleet: &Fleet) -> PathBuf {
    let rows = (1..=6_000).map(|row| if row == 5_000 { format!("c{row},x,more\n") } else { format!("c{row},x\n") });
    fleet.file("mid.csv", format!("company_id,sector\n{}", rows.collect::<String>()))
}

/// Asserts that the job was ended by one cancelled and one done event, each with the reason.
fn assert_cancelled(fleet: &Fleet, job: &str, enqueued: u64, reason: &[&str]) {
    let record = fleet.finished(job);
    let events: Vec<_> = record.events.iter().filter(|(name, _)| name != "enqueued").collect();
    assert_eq!(events.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["opened", "cancelled"], "{job}");
    let (cancelled, done) = (&events[1].1, &record.done[0]["data"]);
    let status = fleet.status(job);
    for said in [&cancelled["reason"], &done["reason"], &status["reason"]] {
        assert!(reason.iter().all(|words| said.as_str().unwrap().contains(words)), "expected {reason:?} in {said}");
    }
    record.assert_rounds();
    assert_eq!((&done["state"], &status["state"]), (&"cancelled".into(), &"cancelled".into()));
    assert_eq!((&cancelled["total"], &done["cancelled"]), (&enqueued.into(), &enqueued.into()));
}

#[test]
fn a_fault_in_mid_file_cancels_the_job_and_keeps_the_reason() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = bad_in_mid_file(&fleet);
    let mut from_input = fleet.producer_command(&["enqueue", "-", "-m", "m", "--job", "input", "--output", "json"]);
    from_input.stdin(File::open(&file).unwrap());
    let mut running = [
        ("file", "mid.csv", fleet.start_enqueue(&file, "m", "file", &[])),
        ("wait", "mid.csv", fleet.start_enqueue(&file, "m", "wait", &["--wait"])),
        ("input", "standard input", fleet.start("producer", from_input)),
    ];
    for (job, source, producer) in &mut running {
        let aborted = producer.wait(Duration::from_secs(60)).expect(2);
        let reason = [source, "row 5000 (line 5001)", "expected 2 fields, found 3"];
        let said = ["error: ", &format!("job {job} is cancelled"), "4,999 companies were enqueued"];
        assert!(reason.iter().chain(&said).all(|words| aborted.stderr.contains(*words)), "{aborted:?}");
        assert_eq!(aborted.stdout, "", "{job}");
        assert_cancelled(&fleet, job, 4_999, &reason);
    }
}

#[test]
fn an_id_of_the_first_row_that_comes_again_in_the_last_of_many_cancels_the_job() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let rows: String = (1..40_000).map(|row| format!("c{row}\n")).collect();
    let file = fleet.file("far.csv", format!("company_id\n{rows}c1\n"));
    let aborted = fleet.enqueue(&file, "m", "far", &[]).expect(2);
    let reason = ["row 40000", "field \"company_id\"", "row 1 again", "--allow-duplicate-ids"];
    assert!(reason.iter().all(|words| aborted.error().contains(words)), "{aborted:?}");
    assert_cancelled(&fleet, "far", 40_000, &reason);
}

#[test]
fn a_job_name_is_given_once() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = fleet.file("c.csv", GOOD);
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    eventually("the job is sealed", || (fleet.status("j")["state"] == "running").then_some(()));
    let again = fleet.enqueue(&file, "m", "j", &[]).expect(2);
    assert!(["--job", "j", "running"].iter().all(|words| again.error().contains(words)), "{again:?}");
    let record = fleet.ledger("j");
    assert_eq!(record.events.len(), 2, "opened and sealed, each once: {record:?}");
}

/// A program, its invalid arguments, and what the error must name.
type Misuse<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn assert_refused(fleet: &Fleet, (program, arguments, expected): Misuse) {
    let refused = fleet.program(program, arguments).wait(Duration::from_secs(10)).expect(2);
    for words in expected {
        assert!(refused.stderr.contains(words), "{program} {arguments:?}: expected {words:?} in {}", refused.stderr);
    }
    assert_eq!(refused.stdout, "");
}

#[test]
fn no_setting_takes_zero_and_no_name_takes_what_a_routing_key_cannot() {
    let fleet = Fleet::fresh();
    let consumer = ["--model", "m", "--scorer", "command:cat"];
    let zeros = [("--prefetch", "0"), ("--threads", "0"), ("--batch", "0"), ("--particles", "0")];
    for (flag, zero) in zeros.into_iter().chain([("--score-timeout", "0s"), ("--grace", "0s"), ("--max-downtime", "0s")]) {
        assert_refused(&fleet, ("consumer", &[&consumer[..], &[flag, zero]].concat(), &[flag]));
    }
    let misuses: [Misuse; 8] = [
        ("producer", &["enqueue", "c.csv", "-m", "m", "--deadline", "9000years"], &["--deadline", "9000years"]),
        ("producer", &["enqueue", "c.csv", "--dry-run", "--continue", "j"], &["--dry-run", "--continue"]),
        ("producer", &["generate", "--companies", "0"], &["--companies"]),
        ("producer", &["enqueue", "c.csv", "-m", "m", "--max-record-bytes", "0"], &["--max-record-bytes"]),
        ("producer", &["results", "j", "--show", "0"], &["--show"]),
        ("producer", &["enqueue", "c.csv", "-m", "a.b"], &["--model", "letters, digits", "a.b"]),
        ("producer", &["enqueue", "c.csv", "-m", "m", "--job", "#"], &["--job", "letters, digits", "#"]),
        ("consumer", &["--model", "*", "--scorer", "command:cat"], &["--model", "letters, digits"]),
    ];
    misuses.into_iter().for_each(|misuse| assert_refused(&fleet, misuse));
}

#[test]
fn a_scorer_that_cannot_be_loaded_is_refused_before_any_work_is_taken() {
    let fleet = Fleet::fresh();
    let broken =
        "network n {\n}\nvariable a {\n  type discrete [ 2 ] { yes, no };\n}\nprobability ( a ) {\n  table 0.5, 0.6;\n}\n";
    let broken = format!("bayes:{}", path(&fleet.file("broken.bif", broken)));
    let misuses: [Misuse; 6] = [
        ("consumer", &["--model", "m", "--scorer", "magic:x"], &["--scorer", "magic:x", "bayes:PATH.bif"]),
        ("consumer", &["--model", "m", "--scorer", "bayes:"], &["--scorer"]),
        ("consumer", &["--model", "m", "--scorer", "command:'"], &["--scorer"]),
        ("consumer", &["--model", "m", "--scorer", "bayes:no-such.bif"], &["error: ", "no-such.bif"]),
        ("consumer", &["--model", "m", "--scorer", &broken], &["error: ", "broken.bif", "line 7"]),
        ("consumer", &["--model", "m", "--scorer", "command:no-such-program -x"], &["error: ", "no-such-program"]),
    ];
    misuses.into_iter().for_each(|misuse| assert_refused(&fleet, misuse));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
