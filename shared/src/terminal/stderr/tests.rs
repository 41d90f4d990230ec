use std::sync::Arc;

use serde_json::Value;

use super::*;

/// What an outlet has written. While it is locked, the outlet cannot write.
type Read = Arc<Mutex<Vec<u8>>>;

fn outlet() -> (&'static Outlet<impl Fn(&[u8]) + Send + Sync>, Read) {
    let read = Read::default();
    let sink = {
        let read = Arc::clone(&read);
        move |bytes: &[u8]| read.lock().unwrap().extend(bytes)
    };
    (Box::leak(Box::new(Outlet::new(sink))), read)
}

fn text(read: &Read) -> String {
    String::from_utf8(read.lock().unwrap().clone()).unwrap()
}

/// A line of a tenth of the queue's bytes.
fn long_line(number: usize) -> Vec<u8> {
    format!("{number}{}\n", "x".repeat(queue::MOST_BYTES / 10)).into_bytes()
}

/// Writes lines 0 to 19 while the reader does not read, and line 20 once it reads again; returns the beginnings of the lines that were written.
fn lines_of_a_stall(json_notices: bool) -> Vec<String> {
    let (outlet, read) = outlet();
    outlet.json_notices.store(json_notices, Ordering::Relaxed);
    let unread = read.lock().unwrap();
    let began = Instant::now();
    (0..20).for_each(|number| outlet.write(long_line(number)));
    assert!(began.elapsed() < STALLED_AFTER * 10, "each line waited: {:?}", began.elapsed());
    drop(unread);
    outlet.flush();
    outlet.write(long_line(20));
    outlet.flush();
    text(&read).lines().map(|line| line.trim_end_matches('x').to_owned()).collect()
}

#[test]
fn where_lines_are_lost_a_line_in_their_place_says_how_many() {
    let lines = lines_of_a_stall(false);
    let place = lines.iter().position(|line| line.contains("WARN")).unwrap();
    let lost = 20 - place;
    assert!(lines[place].ends_with(&format!("logged faster than written event=\"log_lines_lost\" lines={lost}")), "{lines:?}");
    let before: Vec<String> = (0..place).map(|number| number.to_string()).collect();
    assert_eq!((&lines[..place], &lines[place + 1..]), (&before[..], &["20".to_owned()][..]));
}

#[test]
fn among_lines_of_json_it_is_json() {
    let lines = lines_of_a_stall(true);
    let place = lines.iter().position(|line| line.starts_with('{')).unwrap();
    let notice: Value = serde_json::from_str(&lines[place]).unwrap();
    assert_eq!((&notice["event"], &notice["level"]), (&"log_lines_lost".into(), &"WARN".into()));
    assert_eq!(notice["lines"], 20 - place);
    assert!(notice["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{notice}");
}

#[test]
fn what_is_logged_faster_than_it_is_written_waits_and_all_of_it_comes_out() {
    const LINES: usize = 40_000;
    let (outlet, read) = outlet();
    let log =
        |thread: usize| move || (0..LINES).for_each(|line| outlet.write(format!("{thread} {line} of a log line\n").into_bytes()));
    thread::scope(|scope| (0..4).for_each(|thread| drop(scope.spawn(log(thread)))));
    outlet.flush();
    let text = text(&read);
    for thread in 0..4 {
        let own = text.lines().filter(|line| line.starts_with(&thread.to_string()));
        let expected = (0..LINES).map(|line| format!("{thread} {line} of a log line"));
        assert!(own.eq(expected), "lines of thread {thread} are missing, or in another order");
    }
}

#[test]
fn of_the_frames_of_a_progress_bar_few_wait_and_nobody_waits_for_them() {
    let (outlet, read) = outlet();
    let unread = read.lock().unwrap();
    outlet.write(b"taken\n".to_vec());
    (0..1_000).for_each(|_| outlet.draw(b"frame ".to_vec()));
    assert!(outlet.lock().frames <= MOST_FRAMES);
    drop(unread);
    outlet.flush();
    assert!(text(&read).matches("frame").count() <= 2 * MOST_FRAMES);
    outlet.draw(b"last".to_vec());
    outlet.flush();
    assert!(text(&read).ends_with("last"));
}

#[test]
fn a_process_that_ends_does_not_wait_for_a_reader_for_long() {
    let (outlet, read) = outlet();
    let unread = read.lock().unwrap();
    outlet.write(b"unread\n".to_vec());
    let began = Instant::now();
    outlet.flush();
    assert!((PATIENCE..PATIENCE * 20).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(outlet.is_stalled());
    drop(unread);
}
