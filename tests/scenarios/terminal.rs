//! What people see at a terminal: no control sequences from data, colours if they are wanted, and no process that a terminal
//! can block.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::Duration;

use rollcall_tests::{Ended, Fleet, Process, SCORER, eventually, free_address, get, metrics, value};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// A title sequence, a cleared screen, a colour by an 8-bit control character, a right-to-left override, and a second line.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}evil\u{1b}[2J\u{7f}\u{9b}31m\u{202e}txt\nfree 1 failed: none";
const SHOWN: &str = r"\u{1b}]0;owned\u{7}evil\u{1b}[2J\u{7f}\u{9b}31m\u{202e}txt\nfree 1 failed: none";

fn acts_on_a_terminal(c: char) -> bool {
    c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
}

/// Asserts that `text` has no control characters, and no line that begins with the hostile text.
fn assert_harmless(text: &str) {
    assert!(!text.contains(|c| acts_on_a_terminal(c) && c != '\n'), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("free ")), "{text:?}");
}

/// A job whose company ids, errors and columns are hostile texts.
fn hostile_job(fleet: &Fleet) -> [Process; 2] {
    let aggregator = fleet.aggregator(&[]);
    let consumer = fleet.consumer("echo", SCORER, &["--threads", "1"]);
    let record = json!({ "company_id": HOSTILE, "note": HOSTILE, "do": "quote" });
    let other = json!({ "company_id": format!("{HOSTILE}2"), HOSTILE: HOSTILE });
    let file = fleet.file("hostile.jsonl", format!("{record}\n{other}\n"));
    fleet.enqueue(&file, "echo", "j", &["--wait"]).expect(1);
    [aggregator, consumer]
}

#[test]
fn what_records_and_scorers_say_is_shown_and_not_obeyed() {
    let fleet = Fleet::fresh();
    let processes = hostile_job(&fleet);
    // A cause has these characters replaced already, since failures are counted by it.
    for (arguments, shown) in [
        (&["results", "j", "--show", "9"][..], 4),
        (&["failures", "j"], 2),
        (&["status", "j"], 0),
        (&["status"], 0),
        (&["watch", "j"], 0),
    ] {
        let ended = fleet.producer(arguments);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_harmless(&said);
        assert!(said.matches(r"\u{1b}]0;owned\u{7}evil").count() >= shown, "{arguments:?}: {said}");
    }
    for process in &processes {
        assert_harmless(&process.stderr());
    }
    processes[1].wait_until_it_says(r"\u{1b}]0;owned");
}

#[test]
fn json_for_scripts_has_the_same_values_and_no_control_characters() {
    let fleet = Fleet::fresh();
    let _processes = hostile_job(&fleet);
    for (arguments, place) in [(&["results", "j"][..], "/0/error/message"), (&["failures", "j"], "/0/examples/0/message")] {
        let ended = fleet.producer(&[arguments, &["--output", "json"]].concat()).expect(0);
        assert!(!ended.stdout.contains(|c| acts_on_a_terminal(c) && c != '\n'), "{:?}", ended.stdout);
        let document = ended.json();
        let said = [document.pointer(place), document.pointer(&place.replacen('0', "1", 1))];
        assert!(said.into_iter().flatten().any(|said| said == HOSTILE), "{document}");
    }
    // A file keeps the original values.
    fleet.producer(&["results", "j", "--to", "r.jsonl"]).expect(0);
    let rows = std::fs::read_to_string(fleet.path("r.jsonl")).unwrap();
    let ids = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap()["company_id"].clone());
    assert!(ids.into_iter().any(|id| id == HOSTILE), "{rows}");
}

#[test]
fn errors_and_columns_are_escaped() {
    let fleet = Fleet::fresh();
    fleet.file("c.csv", format!("company_id,\"{}\"\na,b\n", HOSTILE.split('\n').next().unwrap()));
    let dry = fleet.producer(&["enqueue", "c.csv", "-m", "m", "--dry-run"]).expect(0);
    assert_harmless(&dry.stdout);
    let missing = fleet.producer(&["enqueue", "no\u{1b}[2J\nsuch.csv", "-m", "m"]).expect(2);
    assert!(missing.error().contains(r"no\u{1b}[2J\nsuch.csv"), "{missing:?}");
    let consumer = ["--model", "m", "--scorer", "bayes:no\u{1b}[2J\nsuch.bif"];
    let refused = fleet.program("consumer", &consumer).wait(DEADLINE).expect(2);
    assert!(refused.error().contains(r"no\u{1b}[2J\nsuch.bif"), "{refused:?}");
}

/// Runs the producer on a terminal made by `script`, with these variables; returns what the terminal received.
fn on_a_terminal(fleet: &Fleet, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let producer = fleet.producer_command(arguments);
    let words = [producer.get_program()].into_iter().chain(producer.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = fleet.command("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]).current_dir(fleet.path(""));
    clear_colour_variables(&mut script).envs(variables.iter().copied());
    fleet.start("script", script).wait(DEADLINE).expect(0).stdout
}

fn clear_colour_variables(command: &mut Command) -> &mut Command {
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI", "TERM"] {
        command.env_remove(variable);
    }
    command
}

/// Enqueues a job without an aggregator, which logs one warning.
fn enqueue_with_a_warning(job: &str) -> [&str; 6] {
    ["enqueue", "c.csv", "-m", "m", "--job", job]
}

#[test]
fn logs_have_colours_where_the_terminal_and_the_environment_want_them() {
    let fleet = Fleet::fresh();
    fleet.file("c.csv", "company_id\na\n");
    let colour = ("TERM", "xterm");
    for (job, variables, coloured) in [
        ("a", &[colour][..], true),
        ("b", &[("TERM", "dumb")], false),
        ("c", &[colour, ("NO_COLOR", "1")], false),
        ("d", &[colour, ("NO_COLOR", "")], true),
        ("e", &[colour, ("CLICOLOR", "0")], false),
        ("f", &[colour, ("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false),
    ] {
        let said = on_a_terminal(&fleet, variables, &enqueue_with_a_warning(job));
        assert!(said.contains("job_name_unverified"), "{said}");
        assert_eq!(said.contains("\u{1b}["), coloured, "{variables:?}: {said:?}");
    }
    for (job, variable, coloured) in [("g", "CLICOLOR_FORCE", true), ("h", "CLICOLOR", false)] {
        let mut piped = fleet.producer_command(&enqueue_with_a_warning(job));
        clear_colour_variables(&mut piped).env(variable, "1");
        let said = fleet.start("producer", piped).wait(DEADLINE).expect(0).stderr;
        assert!(said.contains("job_name_unverified"), "{said}");
        assert_eq!(said.contains("\u{1b}["), coloured, "{variable}: {said:?}");
    }
}

#[test]
fn rows_on_a_terminal_are_escaped_and_what_is_no_text_is_refused() {
    let fleet = Fleet::fresh();
    let _processes = hostile_job(&fleet);
    for format in ["csv", "jsonl"] {
        let said = on_a_terminal(&fleet, &[], &["results", "j", "--to", "-", "--format", format]);
        let escaped = if format == "csv" { SHOWN.to_owned() } else { json!(HOSTILE).to_string().replace('\u{7f}', "\\u007f") };
        let begins: String = escaped.trim_matches('"').chars().take(20).collect();
        assert!(said.contains(&begins) && !said.contains('\u{1b}') && !said.contains('\u{202e}'), "{said:?}");
    }
    let producer = fleet.producer_command(&["results", "j", "--to", "-", "--format", "parquet"]);
    let mut script = fleet.command("script");
    let words: Vec<_> =
        [producer.get_program()].into_iter().chain(producer.get_args()).map(|word| word.to_str().unwrap()).collect();
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    let refused = fleet.start("script", script).wait(DEADLINE).expect(2);
    assert!(refused.stdout.contains("found a terminal"), "{refused:?}");
}

/// Starts a program whose standard error is a pipe without a reader.
fn with_closed_stderr(fleet: &Fleet, name: &str, command: &Command) -> Process {
    let pipe = fleet.path(&format!("{name}.pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut shell = fleet.command("sh");
    shell.args(["-c", "exec 2>\"$0\"; read -r _ <\"$0.left\"; exec \"$@\""]).arg(&pipe);
    shell.arg(command.get_program()).args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    let left = pipe.with_extension("pipe.left");
    assert!(Command::new("mkfifo").arg(&left).status().unwrap().success());
    let process = fleet.start(name, shell);
    drop(File::open(&pipe).unwrap());
    std::fs::write(&left, "\n").unwrap();
    process
}

fn expect(mut process: Process, code: i32) -> Ended {
    process.wait(DEADLINE).expect(code)
}

#[test]
fn a_closed_standard_error_changes_nothing() {
    let fleet = Fleet::fresh();
    let mut aggregator = with_closed_stderr(&fleet, "aggregator", &fleet.program_command("aggregator", &["--log", "trace"]));
    let scoring = free_address();
    let metrics_addr = scoring.to_string();
    let consumer = ["--model", "echo", "--scorer", SCORER, "--threads", "2", "--log", "debug", "--metrics-addr", &metrics_addr];
    let mut consumer = with_closed_stderr(&fleet, "consumer", &fleet.program_command("consumer", &consumer));
    fleet.file("c.csv", "company_id,do\na,\nb,crash\nc,quote\n");
    let enqueue = fleet.producer_command(&["enqueue", "c.csv", "-m", "echo", "--job", "j", "--max-attempts", "1"]);
    expect(with_closed_stderr(&fleet, "enqueue", &enqueue), 0);
    eventually("the job is over", || (fleet.status("j")["state"] == "failed").then_some(()));
    assert_eq!(fleet.status("j")["succeeded"], 1);
    assert_eq!(get(scoring, "/readyz").map(|(status, _)| status), Some(200));
    let metrics = metrics(scoring);
    assert_eq!(value(&metrics, "rollcall_workers"), Some(2.0));
    assert!(!metrics.contains("rollcall_workers_replaced_total{"), "a scoring thread was lost: {metrics}");
    let watch = fleet.producer_command(&["watch", "j"]);
    let watched = expect(with_closed_stderr(&fleet, "watch", &watch), 1);
    assert!(watched.stdout.contains("job j failed"), "{watched:?}");
    for process in [&mut consumer, &mut aggregator] {
        process.terminate();
        process.wait(DEADLINE).expect(0);
    }
    for (program, arguments) in [("producer", &["status", "--amqp-url", "none"][..]), ("aggregator", &["--amqp-url", "none"])] {
        let command = fleet.program_command(program, arguments);
        expect(with_closed_stderr(&fleet, &format!("{program}-refused"), &command), 2);
    }
}

/// Starts a program whose standard error is a full pipe that is open but not read, as of a terminal after Ctrl-S.
fn with_stalled_stderr(fleet: &Fleet, name: &str, command: &Command) -> (Process, File) {
    const NON_BLOCKING: i32 = 0o4000;
    let pipe = fleet.path(&format!("{name}.pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut reader = File::options().read(true).write(true).custom_flags(NON_BLOCKING).open(&pipe).unwrap();
    while reader.write(b"x").is_ok() {}
    let mut shell = fleet.command("sh");
    shell.args(["-c", "exec 2>\"$0\"; exec \"$@\""]).arg(&pipe);
    shell.arg(command.get_program()).args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    (fleet.start(name, shell), reader)
}

#[test]
fn a_standard_error_that_nobody_reads_holds_no_aggregator_and_no_consumer_up() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.program_command("aggregator", &["--log", "debug"]);
    let (mut aggregator, _unread) = with_stalled_stderr(&fleet, "aggregator", &aggregator);
    let consumer =
        fleet.program_command("consumer", &["--model", "echo", "--scorer", SCORER, "--threads", "1", "--log", "debug"]);
    let (mut consumer, _also_unread) = with_stalled_stderr(&fleet, "consumer", &consumer);
    let file = fleet.file("c.csv", "company_id,do\na,\nb,crash\nc,\n");
    fleet.enqueue(&file, "echo", "j", &["--max-attempts", "1", "--wait"]).expect(1);
    assert_eq!(fleet.status("j")["succeeded"], 2);
    for process in [&mut consumer, &mut aggregator] {
        process.terminate();
        process.wait(DEADLINE).expect(0);
    }
}

#[test]
fn a_standard_error_that_nobody_reads_holds_no_command_up_and_no_error_back() {
    let fleet = Fleet::fresh();
    fleet.file("c.csv", "company_id\na\n");
    let nobody = free_address();
    let unreachable = format!("amqp://{nobody}");
    let scorer = ["--model", "m", "--scorer", "command:cat"];
    let commands: [(&str, &[&str], i32); 7] = [
        ("producer", &["enqueue", "c.csv", "-m", "m"], 0),
        ("producer", &["enqueue", "no-such.csv", "-m", "m"], 2),
        ("producer", &["enqueue", "c.csv", "-m", "m", "--no-such-flag"], 2),
        ("producer", &["status", "--amqp-url", &unreachable, "--max-downtime", "1s"], 3),
        ("consumer", &[&scorer[..], &["--amqp-url", "none"]].concat(), 2),
        ("consumer", &[&scorer[..], &["--amqp-url", &unreachable, "--max-downtime", "1s"]].concat(), 3),
        ("aggregator", &["--amqp-url", &unreachable, "--max-downtime", "1s"], 3),
    ];
    let started: Vec<_> = (0..)
        .zip(commands)
        .map(|(number, (program, arguments, code))| {
            let command = match program {
                "producer" => fleet.producer_command(arguments),
                program => fleet.program_command(program, arguments),
            };
            (with_stalled_stderr(&fleet, &format!("{program}-{number}"), &command), arguments, code)
        })
        .collect();
    for ((mut process, _unread), arguments, code) in started {
        let ended = process.wait(DEADLINE);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_terminal_that_stands_still_holds_no_job_up_that_is_enqueued_and_shown_on_it() {
    const CTRL_S: &[u8] = b"\x13";
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("echo", SCORER, &["--threads", "1"]));
    let rows: String = (0..3_000).map(|row| format!("c{row}\n")).collect();
    fleet.file("c.csv", format!("company_id\n{rows}"));
    let producer = fleet.producer_command(&["enqueue", "c.csv", "-m", "echo", "--job", "j", "--wait"]);
    let words = [producer.get_program()].into_iter().chain(producer.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    // Standard output is not the terminal, since writing there may block by design.
    let command = format!("{} >outcome", words.join(" "));
    let mut script = fleet.command("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).current_dir(fleet.path("")).env("TERM", "xterm");
    let (keys, mut keyboard) = std::io::pipe().unwrap();
    keyboard.write_all(CTRL_S).unwrap();
    script.stdin(keys);
    fleet.start("script", script).wait(DEADLINE).expect(0);
    assert!(std::fs::read_to_string(fleet.path("outcome")).unwrap().contains("job j succeeded"));
    drop(keyboard);
}
