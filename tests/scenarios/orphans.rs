//! No scorer outlives its consumer, even if the scorer hangs and the consumer is killed.

use std::fs;
use std::time::Duration;

use rollcall_tests::{Fleet, eventually, within};

use super::command_scorer::{companies, lives, noted, pids};

/// Longer than the kernel takes to kill a process on a busy machine; much shorter than such a scorer runs by itself.
const SOON: Duration = Duration::from_secs(10);

/// A scorer that only SIGKILL ends.
const TOUGH: &str = "stubborn lasting";

fn wait_until_none_lives(fleet: &Fleet) {
    within(SOON, "no scorer is left", || pids(fleet).iter().all(|pid| !lives(pid)).then_some(()));
}

#[test]
fn scorers_that_hang_end_with_a_consumer_that_is_killed() {
    let fleet = Fleet::fresh();
    let all: Vec<(usize, &str)> = (0..4).map(|index| (index, "hang")).collect();
    fleet.enqueue(&companies(&fleet, 4, &all), "m", "j", &[]).expect(0);
    let mut consumer = fleet.consumer("m", &noted(&fleet, TOUGH), &["--batch", "1", "--threads", "2"]);
    eventually("both scorers hang", || (consumer.stderr().matches("scorer is hanging").count() == 2).then_some(()));
    consumer.kill_9();
    wait_until_none_lives(&fleet);
}

#[test]
fn a_scorer_that_was_started_anew_ends_with_a_consumer_that_is_killed() {
    let fleet = Fleet::fresh();
    fleet.enqueue(&companies(&fleet, 2, &[(0, "crash"), (1, "hang")]), "m", "j", &[]).expect(0);
    let mut consumer = fleet.consumer("m", &noted(&fleet, TOUGH), &["--batch", "1", "--threads", "1"]);
    consumer.wait_until_it_says("scorer is hanging");
    assert!(pids(&fleet).len() > 1, "no scorer was started anew");
    consumer.kill_9();
    wait_until_none_lives(&fleet);
}

#[test]
fn a_consumer_killed_while_it_starts_leaves_no_scorer_behind() {
    let fleet = Fleet::fresh();
    let scorer = noted(&fleet, TOUGH);
    for round in 0..10 {
        let arguments = ["--model", "m", "--scorer", &scorer, "--threads", "8"];
        let mut consumer = fleet.program("consumer", &arguments);
        // In later rounds, more scorers have been started, and some have got further.
        eventually("a scorer is being started", || (started(&fleet).len() > round % 5 + 1).then_some(()));
        consumer.kill_9();
        within(SOON, "nothing of it is left", || started(&fleet).is_empty().then_some(()));
    }
}

/// The processes that have this fleet's file of process ids as an argument: the consumer, its scorers, and those being
/// started.
fn started(fleet: &Fleet) -> Vec<u32> {
    let file = fleet.path("pids").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&file)
    };
    processes.filter(is_ours).collect()
}

#[test]
fn what_a_scorer_has_started_ends_with_its_consumer_however_that_ends() {
    let fleet = Fleet::fresh();
    // One child stays in its scorer's process group, and one leaves it. Both keep the scorer's standard output open.
    let script = "import subprocess, sys\n\
                  marker = sys.argv[1] + '-started'\n\
                  subprocess.Popen(['sh', '-c', 'sleep 1000; :', marker])\n\
                  subprocess.Popen(['setsid', 'sh', '-c', 'sleep 1000; :', marker])\n\
                  sys.stdin.read()\n";
    let script = fleet.file("starter.py", script);
    let scorer = format!("command:/usr/bin/python3 {} {}", script.display(), fleet.path("pids").display());
    for is_killed in [true, false] {
        let mut consumer = fleet.consumer("m", &scorer, &["--threads", "2"]);
        let all = 2 * 3 + 1;
        eventually("the scorers have started theirs", || (started(&fleet).len() == all).then_some(()));
        if is_killed {
            consumer.kill_9();
        } else {
            consumer.terminate();
            consumer.wait(SOON).expect(0);
        }
        within(SOON, "nothing of them is left", || started(&fleet).is_empty().then_some(()));
    }
}

#[test]
fn a_program_that_cannot_be_run_is_an_error_at_the_start() {
    let fleet = Fleet::fresh();
    let not_executable = fleet.file("scorer.txt", "");
    for program in ["no-such-program", "/no/such/program", not_executable.to_str().unwrap()] {
        let arguments = ["--model", "m", "--scorer", &format!("command:{program} -x")];
        let ended = fleet.program("consumer", &arguments).wait(SOON).expect(2);
        assert!(ended.error().starts_with(&format!("error: cannot start the scorer \"{program} -x\": ")), "{}", ended.error());
    }
}
