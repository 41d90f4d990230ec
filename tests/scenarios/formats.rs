//! The same companies, however their file holds them, are the same companies to a scorer.

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

/// Quotes, commas, letters beyond ASCII, something that looks like a number, and nothing at all.
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

/// A company as its scorer must see it.
fn record(company: usize) -> Value {
    let [id, name, note] = COMPANIES[company];
    json!({ "company_id": id, "name": name, "note": note })
}

/// Asserts that each company succeeded, under its index and id, and was scored by the record that it is.
fn assert_scored(record_of_job: &JobRecord, how: &str) {
    record_of_job.assert_counted_once(3);
    for body in &record_of_job.bodies {
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

/// A pipe out of which `bytes` come; they are few enough to fit in it.
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
        let id_of = |index: u64| &record.bodies.iter().find(|body| body["index"] == index).unwrap()["company_id"];
        assert_eq!([id_of(0), id_of(1)], ids, "{job}");
    }
}
