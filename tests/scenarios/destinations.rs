//! Where results and synthetic companies are written to: files with their modes, links, pipes, devices, standard output.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use rollcall_tests::{Fleet, Process, SCORER, eventually};

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a job `j` of `companies` to its end; returns the aggregator.
fn finished_job(fleet: &Fleet, companies: u32) -> impl Drop + use<> {
    let aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("echo", SCORER, &["--threads", "1"]);
    let rows: String = (0..companies).map(|company| format!("c{company}\n")).collect();
    fleet.enqueue(&fleet.file("companies.csv", format!("company_id\n{rows}")), "echo", "j", &["--wait"]).expect(0);
    aggregator
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn fifo(fleet: &Fleet, name: &str) {
    assert!(Command::new("mkfifo").arg(fleet.path(name)).status().unwrap().success());
}

/// The producer with `arguments`, started by a shell that first runs `before`.
fn by_a_shell(fleet: &Fleet, before: &str, arguments: &[&str]) -> Process {
    let producer = fleet.producer_command(arguments);
    let mut shell = fleet.command("sh");
    shell.args(["-c", &format!("{before}; exec \"$@\""), "sh"]).arg(producer.get_program()).args(producer.get_args());
    shell.current_dir(fleet.path(""));
    fleet.start("producer", shell)
}

/// Starts the producer with its standard output in the named pipe `name`, and opens that pipe.
fn piped(fleet: &Fleet, name: &str, arguments: &[&str]) -> (Process, File) {
    fifo(fleet, name);
    let producer = by_a_shell(fleet, &format!("exec >{name}"), arguments);
    (producer, File::open(fleet.path(name)).unwrap())
}

/// Waits until a process has installed a handler for SIGINT.
fn wait_until_it_handles_ctrl_c(process: &Process) {
    let interrupt = 1 << (2 - 1);
    eventually("it handles Ctrl-C", || {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        (u64::from_str_radix(caught, 16).unwrap() & interrupt != 0).then_some(())
    });
}

#[test]
fn a_file_has_the_umask_or_the_mode_that_it_had_and_a_link_stays() {
    let fleet = Fleet::fresh();
    let _job = finished_job(&fleet, 3);
    for (command, name) in [(&["results", "j"][..], "results.csv"), (&["generate", "--companies", "3"], "companies.csv")] {
        let write = |umask: &str, name: &str| {
            by_a_shell(&fleet, &format!("umask {umask}"), &[command, &["--to", name]].concat()).wait(DEADLINE).expect(0)
        };
        // The job's own file has this name.
        if fleet.path(name).exists() {
            fs::remove_file(fleet.path(name)).unwrap();
        }
        write("077", name);
        assert_eq!(mode(&fleet.path(name)), 0o600);
        fs::set_permissions(fleet.path(name), Permissions::from_mode(0o640)).unwrap();
        write("022", name);
        assert_eq!(mode(&fleet.path(name)), 0o640);
        for (link, to) in [("link.csv", name), ("dangling.csv", "new.csv")] {
            symlink(to, fleet.path(link)).unwrap();
            write("027", link);
            assert_eq!(fs::read_link(fleet.path(link)).unwrap(), Path::new(to));
            assert_eq!(fs::read_to_string(fleet.path(to)).unwrap().lines().count(), 4, "{link}");
            fs::remove_file(fleet.path(link)).unwrap();
        }
        assert_eq!((mode(&fleet.path(name)), mode(&fleet.path("new.csv"))), (0o640, 0o640));
        fs::remove_file(fleet.path("new.csv")).unwrap();
        let refused =
            fleet.producer(&[command, &["--to", "."], if name == "results.csv" { &["--format", "csv"] } else { &[] }].concat());
        assert!(refused.expect(2).error().contains("found the folder ."));
    }
}

#[test]
fn a_pipe_and_a_device_are_written_into() {
    let fleet = Fleet::fresh();
    let _job = finished_job(&fleet, 3);
    fifo(&fleet, "pipe.csv");
    for arguments in [&["results", "j", "--to", "pipe.csv"][..], &["generate", "--companies", "3", "--to", "pipe.csv"]] {
        let path = fleet.path("pipe.csv");
        let reader = thread::spawn(move || fs::read_to_string(path).unwrap());
        fleet.producer(arguments).expect(0);
        assert_eq!(reader.join().unwrap().lines().count(), 4, "{arguments:?}");
        assert!(fs::metadata(fleet.path("pipe.csv")).unwrap().file_type().is_fifo());
    }
    let written = fleet.producer(&["results", "j", "--to", "/dev/null", "--format", "parquet", "--output", "json"]).expect(0);
    assert_eq!(written.json()["rows"], 3);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a_pipe_that_nobody_reads_is_waited_for_and_ctrl_c_is_heard_all_the_same() {
    let fleet = Fleet::fresh();
    let _job = finished_job(&fleet, 3);
    fifo(&fleet, "pipe.csv");
    for arguments in [&["results", "j", "--to", "pipe.csv"][..], &["generate", "--companies", "3", "--to", "pipe.csv"]] {
        let mut waiting = fleet.start_producer(arguments);
        wait_until_it_handles_ctrl_c(&waiting);
        waiting.interrupt();
        let ended = waiting.wait(DEADLINE).expect(130);
        assert!(ended.stderr.contains("interrupted; no file was written"), "{ended:?}");
    }
    // Far more than a pipe's buffer holds.
    let (mut full, mut reader) = piped(&fleet, "full", &["generate", "--companies", "1000000"]);
    reader.read_exact(&mut [0; 1]).unwrap();
    full.interrupt();
    full.wait(DEADLINE).expect(130);
}

#[test]
fn standard_output_carries_the_rows_and_nothing_else() {
    let fleet = Fleet::fresh();
    let _job = finished_job(&fleet, 3);
    let cases: [(&[&str], &str); 4] = [
        (&["--to", "-"], "index,company_id"),
        (&["--to", "-", "--format", "jsonl"], "{"),
        (&["--to", "/dev/stdout", "--format", "csv"], "index,company_id"),
        (&["--to", "-", "--output", "json"], "index,company_id"),
    ];
    for (arguments, begins) in cases {
        let written = fleet.producer(&[&["results", "j"], arguments].concat()).expect(0);
        assert!(written.stdout.starts_with(begins), "{written:?}");
        let is_csv = begins != "{";
        assert_eq!(written.stdout.lines().count(), 3 + usize::from(is_csv), "{written:?}");
        assert!(
            written.stderr.contains(if arguments.contains(&"json") { "\"rows\":3" } else { "3 results of job j" }),
            "{written:?}"
        );
    }
    assert!(fleet.producer(&["results", "j", "--format", "csv"]).expect(2).stderr.contains("--to"));
    for (to, words) in [("x", "--format"), ("x.txt", ".csv, .tsv, .jsonl")] {
        assert!(fleet.producer(&["results", "j", "--to", to]).expect(2).error().contains(words), "{to}");
    }
    for to in ["x.parquet", "x.jsonl", "x.tsv"] {
        assert!(fleet.producer(&["generate", "--companies", "1", "--to", to]).expect(2).error().contains(to));
    }
}

#[test]
fn a_reader_that_has_left_is_no_failure() {
    let fleet = Fleet::fresh();
    let _job = finished_job(&fleet, 3_000);
    for format in ["csv", "jsonl", "parquet"] {
        let (mut producer, reader) = piped(&fleet, format, &["results", "j", "--to", "-", "--format", format]);
        drop(reader);
        let ended = producer.wait(DEADLINE).expect(0);
        assert_eq!(ended.stderr, "", "{format}");
    }
    fifo(&fleet, "pipe.jsonl");
    let mut producer = fleet.start_producer(&["results", "j", "--to", "pipe.jsonl"]);
    File::open(fleet.path("pipe.jsonl")).unwrap().read_exact(&mut [0; 1]).unwrap();
    let ended = producer.wait(DEADLINE).expect(0);
    assert_eq!((ended.stdout, ended.stderr), (String::new(), String::new()));
}

#[test]
fn what_a_name_tells_of_compression_and_delimiter_is_written_and_read_again() {
    let fleet = Fleet::fresh();
    let _job = finished_job(&fleet, 3);
    let unpacked = |name: &str| {
        let bytes = fs::read(fleet.path(name)).unwrap();
        let mut text = String::new();
        if name.to_lowercase().ends_with(".gz") {
            GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(zstd::decode_all(&*bytes).unwrap()).unwrap();
        }
        text
    };
    for (name, begins) in [
        ("r.CSV.gz", "index,company_id,"),
        ("r.tsv.zst", "index\tcompany_id\t"),
        ("r.NDJSON.GZ", "{"),
        ("r.jsonl.zst", "{"),
        ("r.parquet.gz", ""),
    ] {
        fleet.producer(&["results", "j", "--to", name]).expect(0);
        if !begins.is_empty() {
            assert!(unpacked(name).starts_with(begins), "{name}");
        }
        // Files of results can be enqueued as companies.
        if !name.contains("tsv") {
            let read = fleet.producer(&["enqueue", name, "--model", "m", "--dry-run"]).expect(0);
            assert!(read.stdout.contains(": 3 companies"), "{read:?}");
        }
    }
    fleet.producer(&["generate", "--companies", "5", "--to", "g.csv.gz"]).expect(0);
    assert_eq!(unpacked("g.csv.gz").lines().count(), 6);
}
