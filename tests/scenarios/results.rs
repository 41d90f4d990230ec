//! Fetching a job's results: all of them, once each, the same in every format, or none.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type};
use arrow_array::{Array, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rollcall_tests::{Fleet, SCORER, eventually};
use serde_json::{Value, json};

/// The columns of one company, as text, for comparison between formats.
type Row = BTreeMap<String, String>;

const TEXTS: [&str; 6] = ["company_id", "model", "outcome", "scored_at", "cause", "message"];

/// Forty companies, every tenth of which the scorer refuses; the names contain all that CSV must quote.
fn forty() -> String {
    let what = |company: u32| if company.is_multiple_of(10) { "refuse" } else { "score" };
    let rows = (0..40).map(|company| format!("c{company},\"a \"\"b\"\", c\n{company}\",{}\n", what(company)));
    format!("company_id,name,do\n{}", rows.collect::<String>())
}

/// Runs a job of these companies to its end.
fn finished_job(fleet: &Fleet) {
    let _consumer = fleet.consumer("echo", SCORER, &["--threads", "1", "--batch", "7"]);
    fleet.enqueue(&fleet.file("forty.csv", forty()), "echo", "j", &["--wait"]).expect(1);
}

fn fetch(fleet: &Fleet, name: &str) {
    let fetched = fleet.producer(&["results", "j", "--to", name, "--output", "json"]).expect(0).json();
    let expected = json!({ "job": "j", "state": "failed", "rows": 40, "file": name, "manifest": "x.manifest.json" });
    assert_eq!(fetched, expected);
}

fn jsonl_rows(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| row_of(&serde_json::from_str(line).unwrap())).collect()
}

fn row_of(result: &Value) -> Row {
    let mut row = Row::new();
    for key in TEXTS {
        let value = if result[key].is_null() { &result["error"][key] } else { &result[key] };
        row.insert(key.to_owned(), value.as_str().unwrap_or_default().to_owned());
    }
    for key in ["index", "attempt", "duration_ms"] {
        row.insert(key.to_owned(), result[key].as_f64().unwrap().to_string());
    }
    row.insert("prediction".to_owned(), parsed(&result["prediction"].to_string()));
    row
}

/// JSON text in a canonical form; an empty text is `null`.
fn parsed(prediction: &str) -> String {
    if prediction.is_empty() { "null".to_owned() } else { serde_json::from_str::<Value>(prediction).unwrap().to_string() }
}

/// Read by Python, which shares no code with the writer.
fn csv_rows(fleet: &Fleet, path: &Path) -> Vec<Row> {
    let mut python = fleet.command("/usr/bin/python3");
    let read = "import csv, json, sys; print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8')))))";
    python.args(["-c", read]).arg(path);
    let rows = fleet.start("python", python).wait(Duration::from_secs(30)).expect(0).json();
    let rows = rows.as_array().unwrap().iter().map(|row| {
        let cell = |(key, value): (&String, &Value)| (key.clone(), cell(key, value.as_str().unwrap()));
        row.as_object().unwrap().iter().map(cell).collect()
    });
    rows.collect()
}

fn cell(key: &str, text: &str) -> String {
    match key {
        "index" | "attempt" | "duration_ms" => text.parse::<f64>().unwrap().to_string(),
        "prediction" => parsed(text),
        _ => text.to_owned(),
    }
}

fn parquet_rows(path: &Path) -> Vec<Row> {
    let batches = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    batches.flat_map(|batch| batch_rows(&batch.unwrap())).collect()
}

fn batch_rows(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |name: &str, row: usize| {
        let column: &StringArray = column(name).as_string();
        if column.is_null(row) { String::new() } else { column.value(row).to_owned() }
    };
    let number = |name: &str, row: usize| column(name).as_primitive::<UInt32Type>().value(row).to_string();
    let row = |row: usize| {
        let mut cells: Row = TEXTS.iter().map(|name| ((*name).to_owned(), text(name, row))).collect();
        cells.extend(["index", "attempt"].map(|name| (name.to_owned(), number(name, row))));
        let duration = column("duration_ms").as_primitive::<Float64Type>().value(row).to_string();
        cells.insert("duration_ms".to_owned(), duration);
        cells.insert("prediction".to_owned(), parsed(&text("prediction", row)));
        cells
    };
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn a_finished_jobs_results_are_one_row_a_company_and_the_same_in_every_format() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    finished_job(&fleet);
    ["x.jsonl", "x.csv", "x.parquet"].iter().for_each(|name| fetch(&fleet, name));
    let rows = jsonl_rows(&fleet.path("x.jsonl"));
    let mut indices: Vec<u32> = rows.iter().map(|row| row["index"].parse().unwrap()).collect();
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..40), "each index once");
    for row in &rows {
        let refused = row["index"].ends_with('0');
        assert_eq!(row["company_id"], format!("c{}", row["index"]));
        assert_eq!((row["outcome"] == "failed", row["cause"] == "no_data"), (refused, refused), "{row:?}");
        assert_eq!(row["prediction"].contains(&format!("a \\\"b\\\", c\\n{}", row["index"])), !refused, "{row:?}");
    }
    assert_eq!(csv_rows(&fleet, &fleet.path("x.csv")), rows, "CSV and JSON Lines differ");
    assert_eq!(parquet_rows(&fleet.path("x.parquet")), rows, "Parquet and JSON Lines differ");
}

#[test]
fn a_manifest_beside_the_results_says_what_they_are_and_of_what_bytes() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    finished_job(&fleet);
    fetch(&fleet, "x.csv");
    let manifest = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(fleet.path(name)).unwrap()).unwrap() };
    let (found, contents) = (manifest("x.manifest.json"), std::fs::read(fleet.path("x.csv")).unwrap());
    let hash = std::process::Command::new("sha256sum").arg(fleet.path("x.csv")).output().unwrap().stdout;
    let hash = String::from_utf8(hash).unwrap();
    let part = json!({
        "file": "x.csv", "format": "csv", "compression": null, "bytes": contents.len(), "rows": 40,
        "sha256": hash.split_whitespace().next(),
    });
    assert_eq!(found["parts"], json!([part]));
    assert_eq!(found["counts"], json!({ "total": 40, "succeeded": 36, "failed": 4, "cancelled": 0, "rows": 40 }));
    let status = fleet.status("j");
    for key in ["job", "model", "state", "source", "content_hash", "opened_at", "done_at"] {
        assert_eq!(found[key], status[key], "{key}");
    }
    assert_eq!([&found["partial"], &found["round"], &found["type"]], [&json!(false), &json!(0), &json!("rollcall.results.v1")]);
    assert!(found["written_at"].as_str() > found["done_at"].as_str() && found["rollcall_version"].is_string(), "{found}");
    // Of what has no name later there is none.
    fleet.producer(&["results", "j", "--to", "-"]).expect(0);
    fleet.producer(&["results", "j", "--to", "/dev/null", "--format", "csv"]).expect(0);
    let names = std::fs::read_dir(fleet.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.contains("manifest")).collect::<Vec<_>>(), ["x.manifest.json"]);
}

#[test]
fn without_a_file_a_few_results_are_shown() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    finished_job(&fleet);
    let shown = fleet.producer(&["results", "j"]).expect(0).stdout;
    assert_eq!(shown.lines().filter(|line| line.contains(", by echo in ")).count(), 3, "{shown}");
    assert!(shown.contains("no_data: nothing is known of it"), "{shown}");
    let document = fleet.producer(&["results", "j", "--show", "5", "--output", "json"]).expect(0).json();
    assert_eq!(document.as_array().map(Vec::len), Some(5));
    assert!(document[1]["prediction"].is_object(), "{document}");
}

#[test]
fn an_unfinished_job_gives_its_results_only_where_a_part_is_asked_for() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("echo", SCORER, &["--threads", "1", "--batch", "1"]);
    let file = fleet.file("c.csv", "company_id,do\na,\nb,refuse\nc,\nd,hang\ne,\n");
    fleet.enqueue(&file, "echo", "j", &[]).expect(0);
    let counted = |status: Value| (status["succeeded"] == 2 && status["failed"] == 1).then_some(());
    eventually("three companies are counted", || counted(fleet.status("j")));
    for name in ["x.jsonl", "x.csv", "x.parquet"] {
        let refused = fleet.producer(&["results", "j", "--to", name]).expect(1);
        assert!(["--partial", "running", "3 results"].iter().all(|words| refused.error().contains(words)), "{refused:?}");
        assert!(!fleet.path(name).exists(), "{name} is there");
    }
    fleet.producer(&["results", "j"]).expect(1);
    fleet.producer(&["results", "j", "--to", "x.jsonl", "--partial"]).expect(0);
    let manifest: Value = serde_json::from_slice(&std::fs::read(fleet.path("x.manifest.json")).unwrap()).unwrap();
    assert_eq!(
        (&manifest["partial"], &manifest["counts"]["rows"], &manifest["state"]),
        (&json!(true), &json!(3), &json!("running"))
    );
    let ids: Vec<String> =
        jsonl_rows(&fleet.path("x.jsonl")).into_iter().map(|mut row| row.remove("company_id").unwrap()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
}

/// Publishes a result as another service might.
fn somebody_elses_result(fleet: &Fleet, index: u32, round: u32, body: &str) {
    let headers = json!({ "job": "j", "index": index, "outcome": "succeeded", "attempt": 1, "round": round });
    fleet.publish_from_python("results", "m.j.succeeded", "rollcall.result.v1", &headers, body);
}

#[test]
fn somebody_elses_results_neither_hide_the_others_nor_take_their_place() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = fleet.file("c.csv", "company_id,do\na,\nb,\nc,\n");
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    eventually("the job is sealed", || (fleet.status("j")["state"] == "running").then_some(()));
    somebody_elses_result(&fleet, 7, 0, "of a company that the job does not have");
    somebody_elses_result(&fleet, 0, 5, r#"{"job":"j"}"#);
    eventually("the one is counted", || (fleet.status("j")["succeeded"] == 1).then_some(()));
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.producer(&["watch", "j"]).expect(0);
    for name in ["x.jsonl", "x.csv", "x.parquet"] {
        fleet.producer(&["results", "j", "--to", name]).expect(0);
    }
    let rows = jsonl_rows(&fleet.path("x.jsonl"));
    let shown: Vec<[&str; 3]> = rows.iter().map(|row| ["index", "company_id", "cause"].map(|key| row[key].as_str())).collect();
    assert_eq!(shown, [["0", "", "unreadable_result"], ["1", "b", ""], ["2", "c", ""]]);
    assert_eq!((csv_rows(&fleet, &fleet.path("x.csv")), parquet_rows(&fleet.path("x.parquet"))), (rows.clone(), rows));
    let shown = fleet.producer(&["results", "j", "--output", "json"]).expect(0).json();
    assert_eq!(shown.as_array().map(Vec::len), Some(3), "{shown}");
}

#[test]
fn what_cannot_be_fetched_is_refused_by_name_and_leaves_no_file() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    finished_job(&fleet);
    let misuses: [(&[&str], i32, &[&str]); 4] = [
        (&["results", "j", "--to", "x.txt"], 2, &["x.txt", ".jsonl", ".csv", ".parquet"]),
        (&["results", "j", "--to", "x"], 2, &["found x"]),
        (&["results", "other", "--to", "x.csv"], 2, &["\"other\"", "producer status"]),
        (&["results", "j", "--to", "no/such/x.csv"], 1, &["no/such/x.csv", "check the path"]),
    ];
    let before = std::fs::read_dir(fleet.path("")).unwrap().filter(|file| is_data(file.as_ref().unwrap())).count();
    for (arguments, code, expected) in misuses {
        let refused = fleet.producer(arguments).expect(code);
        assert!(expected.iter().all(|words| refused.error().contains(words)), "expected {expected:?} in {refused:?}");
    }
    let after = std::fs::read_dir(fleet.path("")).unwrap().filter(|file| is_data(file.as_ref().unwrap())).count();
    assert_eq!(before, after, "a file is left behind");
}

/// Whether a file is neither the standard output nor the standard error of a process of this test.
fn is_data(file: &std::fs::DirEntry) -> bool {
    let name = file.file_name();
    !Path::new(&name).extension().is_some_and(|extension| extension == "out" || extension == "err")
}
