//! A company reaches its scorer unchanged, whatever the format of its file.

use std::fs::File;
use std::io::{PipeReader, Write, pipe};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use rollcall_tests::{Fleet, JobRecord, Process, SCORER};
use serde_json::{Value, json};

/// Quotes, commas, letters beyond ASCII, something that looks like a number, and an empty field.
const COMPANIES: [[&str; 3]; 3] =
    [["acme", "Acme, \"the\" first", "007"], ["日本", "Ünï & Söhne", ""], ["bolt", "Bolt\nand Nut", "two\n\nlines"]];

const COLUMNS: [&str; 3] = ["company_id", "name", "note"];

fn csv(line_end: &str) -> Vec<u8> {
    let quoted = |field: &str| format!("\"{}\"", field.replace('"', "\"\""));
    let line = |fields: &[&str; 3]| fields.map(quoted).join(",") + line_end;
    let lines = COMPANIES.iter().map(line).collect::<String>();
    (COLUMNS.join(",") + line_end + &lines).into_bytes()
}

fn jsonl() -> Vec<u8> {
    let lines = (0..COMPANIES.len()).map(|company| format!("{}\n", record(company)));
    lines.collect::<String>().into_bytes()
}

fn parquet() -> Vec<u8> {
    let column = |column: usize| Arc::new(StringArray::from_iter_values(COMPANIES.map(|fields| fields[column]))) as ArrayRef;
    let columns = (0..COLUMNS.len()).map(|position| (COLUMNS[position], column(position)));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 0).unwrap()
}

/// A company's record as its scorer must get it.
fn record(company: usize) -> Value {
    let [id, name, note] = COMPANIES[company];
    json!({ "company_id": id, "name": name, "note": note })
}

/// Asserts that each company succeeded, under its index and id, and that its scorer got its record.
fn assert_scored(record_of_job: &JobRecord, how: &str) {
    record_of_job.assert_counted_once(3);
    for body in record_of_job.bodies() {
        let company = usize::try_from(body["index"].as_u64().unwrap()).unwrap();
        assert_eq!(body["company_id"], COMPANIES[company][0], "{how}");
        assert_eq!(body["prediction"], record(company), "{how}");
    }
}

#[test]
fn every_format_and_compression_gives_the_same_companies() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("echo", SCORER, &["--threads", "1"]));
    let marked = [b"\xef\xbb\xbf".to_vec(), csv("\r\n")].concat();
    let files: [(&str, Vec<u8>, &[&str]); 13] = [
        ("plain.csv", csv("\n"), &[]),
        ("gzip.csv.gz", gzip(&csv("\n")), &[]),
        ("zstd.csv.zst", zstd(&csv("\n")), &[]),
        ("from-a-spreadsheet.csv", marked.clone(), &[]),
        ("spreadsheet.CSV.GZ", gzip(&marked), &[]),
        ("plain.jsonl", jsonl(), &[]),
        ("other.ndjson", jsonl(), &[]),
        ("gzip.jsonl.gz", gzip(&jsonl()), &[]),
        ("zstd.jsonl.zst", zstd(&jsonl()), &[]),
        ("plain.parquet", parquet(), &[]),
        ("gzip.parquet.gz", gzip(&parquet()), &[]),
        ("told.txt", jsonl(), &["--format", "jsonl"]),
        ("gzip-without-saying-so.csv", gzip(&csv("\n")), &[]),
    ];
    let start = |(number, (name, bytes, flags)): (usize, (&'static str, Vec<u8>, &[&str]))| {
        let flags = [flags, &["--wait"]].concat();
        (number, name, fleet.start_enqueue(&fleet.file(name, bytes), "echo", &format!("j{number}"), &flags))
    };
    let running: Vec<(usize, &str, Process)> = files.into_iter().enumerate().map(start).collect();
    for (number, name, mut producer) in running {
        producer.wait(Duration::from_secs(60)).expect(0);
        assert_scored(&fleet.finished(&format!("j{number}")), name);
    }
}

/// A pipe that contains `bytes`, which must fit into its buffer.
fn pipe_of(bytes: &[u8]) -> PipeReader {
    let (out, mut into) = pipe().unwrap();
    into.write_all(bytes).unwrap();
    out
}

#[test]
fn standard_input_is_csv_or_what_it_is_said_to_be() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("echo", SCORER, &["--threads", "1"]));
    let inputs: [(&str, Vec<u8>, &[&str]); 4] = [
        ("csv", csv("\n"), &[]),
        ("gzip", gzip(&csv("\r\n")), &["--format", "csv"]),
        ("jsonl", jsonl(), &["--format", "jsonl"]),
        ("parquet", parquet(), &["--format", "parquet"]),
    ];
    for (job, bytes, flags) in inputs {
        let arguments = [&["enqueue", "-", "-m", "echo", "--wait", "--job", job], flags].concat();
        let mut piped = fleet.producer_command(&arguments);
        piped.stdin(pipe_of(&bytes));
        fleet.start("producer", piped).wait(Duration::from_secs(60)).expect(0);
        assert_scored(&fleet.finished(job), job);
    }
    let mut redirected = fleet.producer_command(&["enqueue", "-", "-m", "echo", "--wait", "--job", "f", "--format", "parquet"]);
    redirected.stdin(File::open(fleet.file("p", parquet())).unwrap());
    fleet.start("producer", redirected).wait(Duration::from_secs(60)).expect(0);
    assert_scored(&fleet.finished("f"), "a redirected file");
}

#[test]
fn a_row_without_an_id_gets_its_index_and_another_column_can_hold_the_ids() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("echo", SCORER, &["--threads", "1"]));
    let files: [(&str, &str, &[&str], [&str; 2]); 4] = [
        ("none", "name\nAcme\nBolt\n", &[], ["0", "1"]),
        ("empty", "company_id,name\n,Acme\nb,Bolt\n", &[], ["0", "b"]),
        ("other", "company_id,ticker\n1,ACME\n2,BOLT\n", &["--id-column", "ticker"], ["ACME", "BOLT"]),
        ("spaces", "company_id\n\" a \"\na\n", &[], [" a ", "a"]),
    ];
    for (job, csv, flags, ids) in files {
        let file = fleet.file(&format!("{job}.csv"), csv);
        fleet.enqueue(&file, "echo", job, &[flags, &["--wait"]].concat()).expect(0);
        let record = fleet.finished(job);
        let id_of = |index: u64| record.bodies().find(|body| body["index"] == index).unwrap()["company_id"].clone();
        assert_eq!([id_of(0), id_of(1)], ids, "{job}");
    }
}

/// A network whose states are the codes `0` and `1`, and `True` and `False`.
const CODES: &str = "network codes { }
    variable grade { type discrete [ 2 ] { 0, 1 }; }
    variable late { type discrete [ 2 ] { True, False }; }
    variable risk { type discrete [ 2 ] { low, high }; }
    probability ( grade ) { table 0.3, 0.7; }
    probability ( late ) { table 0.5, 0.5; }
    probability ( risk | grade, late ) { (0, True) 1, 0; (0, False) 1, 0; (1, True) 0, 1; (1, False) 1, 0; }";

#[test]
fn the_numbers_and_booleans_of_pandas_are_the_states_of_a_model() {
    let fleet = Fleet::fresh();
    let model = format!("bayes:{}", fleet.file("codes.bif", CODES).display());
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("codes", &model, &["--threads", "1"]));
    let files = [
        ("csv", "company_id;grade;late\n7.0;1.0;true\n8.0;0.0;TRUE\n;;\n"),
        ("jsonl", "{\"company_id\":7.0,\"grade\":1.0,\"late\":true}\n{\"company_id\":8e0,\"grade\":-0.0,\"late\":true}\n"),
    ];
    for (name, contents) in files {
        fleet.enqueue(&fleet.file(&format!("c.{name}"), contents), "codes", name, &["--wait"]).expect(0);
        let mut found: Vec<(Value, Value)> = fleet
            .finished(name)
            .bodies()
            .map(|body| (body["company_id"].clone(), body["prediction"]["risk"][0].clone()))
            .collect();
        found.sort_by_key(|(id, _)| id.to_string());
        assert_eq!(found, [(json!("7"), json!("high")), (json!("8"), json!("low"))], "{name}");
    }
}

#[test]
fn a_job_no_field_of_which_names_a_variable_fails_unless_that_is_allowed() {
    let fleet = Fleet::fresh();
    let model = format!("bayes:{}", fleet.file("codes.bif", CODES).display());
    let (_aggregator, consumer) = (fleet.aggregator(&[]), fleet.consumer("codes", &model, &["--threads", "1"]));
    let file = fleet.file("c.csv", "company_id,Grade\na,1\nb,0\n");
    fleet.enqueue(&file, "codes", "wrong", &["--wait", "--retry-delays", "200ms"]).expect(1);
    for body in fleet.finished("wrong").bodies() {
        assert_eq!(body["error"]["cause"], "no_features");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("('grade', 'late', 'risk'), found 'Grade', 'company_id'; rename the columns"), "{message}");
    }
    assert_eq!(consumer.times_event("no_features"), 1);
    drop(consumer);
    let _lenient = fleet.consumer("codes", &model, &["--threads", "1", "--allow-no-evidence"]);
    fleet.enqueue(&file, "codes", "allowed", &["--wait"]).expect(0);
}

#[test]
fn a_company_without_features_is_scored_wherever_in_its_file_the_others_have_some() {
    let fleet = Fleet::fresh();
    let model = format!("bayes:{}", fleet.file("codes.bif", CODES).display());
    let (_aggregator, _consumer) =
        (fleet.aggregator(&[]), fleet.consumer("codes", &model, &["--threads", "1", "--batch", "1", "--prefetch", "1"]));
    let file = fleet.file("c.jsonl", "{\"name\":\"first\"}\n{\"grade\":1}\n{\"name\":\"last\"}\n");
    fleet.enqueue(&file, "codes", "mixed", &["--wait", "--retry-delays", "200ms"]).expect(0);
    assert_eq!(fleet.finished("mixed").bodies().filter(|body| body["attempt"] == 2).count(), 1);
}

#[test]
fn what_a_file_is_taken_for_is_said_before_and_after_it_is_enqueued() {
    let fleet = Fleet::fresh();
    let file = fleet.file("c.csv", "sep=;\r\ncompany_id;share\r\n70.0;1,5\r\n;\r\nb;2\r\n;\r\n");
    let dry = fleet.producer(&["enqueue", file.to_str().unwrap(), "-m", "m", "--dry-run"]).expect(0);
    let name = file.display();
    assert_eq!(
        dry.stdout,
        format!(
            "{name}: 2 companies\n{name}: CSV with a semicolon between fields, ids in column company_id, 2 columns: company_id, share\n\
             {name}: rows without any value, which are skipped: 2\n\
             {name}: ids written with .0, which are taken for whole numbers (70.0 for 70): 1\n"
        )
    );
    let enqueued = fleet.enqueue(&file, "m", "j", &["--output", "json"]).expect(0);
    assert_eq!(enqueued.json(), json!({ "job": "j", "model": "m", "total": 2, "blank_rows": 2 }));
    for words in ["c.csv is CSV with a semicolon between fields", "which are skipped: 2", "(70.0 for 70): 1"] {
        assert!(enqueued.stderr.contains(words), "{words:?} in {}", enqueued.stderr);
    }
}
