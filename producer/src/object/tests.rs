//! Objects are read whole, once, and never as a mixture of two, whatever their server does.

mod parquet;
mod server;

use std::fmt::Write as _;
use std::io::Read;

use server::{Framing, Reply, Request, Server};

use super::{ObjectError, content_hash};
use crate::blocking::on_a_thread;
use crate::location::Location;
use crate::source::{Source, SourceError};

const ETAG: &str = "\"e-1\"";

/// A text of this many lines, each another.
fn text(lines: usize) -> Vec<u8> {
    let mut text = String::new();
    (0..lines).for_each(|line| writeln!(text, "line {line} of the file").unwrap());
    text.into_bytes()
}

/// Reads the text at a URL to its end.
async fn read(url: &Location) -> Result<Vec<u8>, SourceError> {
    let url = url.clone();
    let read = on_a_thread(move || {
        let mut read = Vec::new();
        Source::open(&url)?.text()?.read_to_end(&mut read)?;
        Ok(read)
    });
    read.await.unwrap()
}

async fn error(url: &Location) -> ObjectError {
    match read(url).await {
        Err(SourceError::Object(error)) => {
            assert!(!error.to_string().contains("secret"), "{error}");
            *error
        }
        other => panic!("expected an error of the object, found {:?}", other.map(|read| read.len())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_connection_breaks_off_reading_goes_on_at_that_byte_of_the_same_object() {
    const CUT: usize = 40_000;
    let body = text(6_000);
    let served = body.clone();
    let server = Server::start(move |request| Reply::part(&served, request).with("ETag", ETAG).cut_after(CUT));
    assert!(read(&server.url("x.txt")).await.unwrap() == body, "its bytes differ");
    let requests = server.requests();
    assert_eq!(requests[0], Request::default(), "the first asks for all of it");
    let parts = requests[1..].iter().map(|request| (request.range.unwrap().0, request.if_match.as_deref()));
    assert!(parts.eq((1..=body.len() / CUT).map(|part| (part * CUT, Some(ETAG)))), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_changed_is_refused_also_by_a_server_that_does_not_look_for_it() {
    let body = text(6_000);
    for obeys_conditions in [true, false] {
        let served = body.clone();
        let server = Server::start(move |request| match request.number {
            0 => Reply::part(&served, request).with("ETag", ETAG).cut_after(1_000),
            _ if obeys_conditions => Reply::status(412),
            _ => Reply::part(&served, request).with("ETag", "\"e-2\""),
        });
        let error = error(&server.url("x.txt")).await;
        assert!(matches!(&error, ObjectError::Changed { expected, .. } if expected == "etag:e-1 size:130890"), "{error}");
        assert!(error.is_of_the_environment());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_etag_or_a_time_is_compared_where_there_is_nothing_better() {
    const TIME: &str = "Mon, 30 Nov 2026 20:00:00 GMT";
    let body = text(6_000);
    for (name, value) in [("ETag", "W/\"e\""), ("Last-Modified", TIME)] {
        let served = body.clone();
        let server = Server::start(move |request| match request.number {
            0 => Reply::part(&served, request).with(name, value).cut_after(1_000),
            1 => Reply::part(&served, request).with(name, value).cut_after(1_000),
            _ => Reply::part(&served, request).with(name, "other"),
        });
        let error = error(&server.url("x.txt")).await;
        assert!(matches!(error, ObjectError::Changed { .. }), "{error}");
        let requests = server.requests();
        let is_time = name == "Last-Modified";
        assert_eq!(requests[1].if_unmodified_since.as_deref(), is_time.then_some(TIME));
        assert_eq!((requests[1].if_match.as_deref(), requests[2].range), (None, Some((2_000, Some(body.len() - 1)))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_parts_or_without_names_for_its_contents_is_read_but_not_read_on() {
    let body = text(6_000);
    for (has_etag, reason) in [(true, "gives no parts"), (false, "neither ETag nor Last-Modified")] {
        for cut in [None, Some(70_000)] {
            let served = body.clone();
            let server = Server::start(move |_| {
                let reply = Reply { cut_after: cut, ..Reply::part(&served, &Request::default()) };
                if has_etag { reply.with("ETag", ETAG) } else { reply }
            });
            let url = server.url("x.txt");
            if cut.is_none() {
                assert!(read(&url).await.unwrap() == body);
                continue;
            }
            let error = error(&url).await;
            let said = error.to_string();
            assert!(matches!(error, ObjectError::CannotResume { position: 70_000, .. }) && said.contains(reason), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_unknown_length_is_read_to_its_end_and_one_without_an_end_is_refused() {
    let body = text(6_000);
    let served = body.clone();
    let server = Server::start(move |request| {
        let reply = Reply::part(&served, request).with("ETag", ETAG).framed(Framing::Chunked);
        if request.number == 0 { reply.cut_after(50_000) } else { reply }
    });
    assert!(read(&server.url("x.txt")).await.unwrap() == body);
    assert_eq!(server.requests()[1].range, Some((50_000, None)));
    let server = Server::start(move |request| Reply::part(&body, request).framed(Framing::None));
    let error = error(&server.url("x.txt")).await;
    assert!(error.to_string().contains("neither how long the file is nor where it ends"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_asked_again_and_what_no_waiting_mends_is_told_at_once() {
    let body = text(10);
    let served = body.clone();
    let server = Server::start(move |request| match request.number {
        0 => Reply::status(503),
        1 => Reply::status(429),
        _ => Reply::part(&served, request),
    });
    assert_eq!(read(&server.url("x.txt")).await.unwrap(), body);
    for (status, attempts, is_of_the_environment) in
        [(404, 1, false), (403, 1, false), (401, 1, false), (400, 1, false), (500, 3, true)]
    {
        let server = Server::start(move |_| Reply::status(status));
        let error = error(&server.url("x.txt")).await;
        assert_eq!((server.requests().len(), error.is_of_the_environment()), (attempts, is_of_the_environment), "{error}");
        assert!(status == 404 || error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_recognises_its_object_and_takes_no_other() {
    let server = Server::start(move |request| Reply::part(b"company_id\na\n", request).with("ETag", "\"e-2\""));
    let url = server.url("x.csv");
    let Location::Url(object) = &url else { panic!("{url}") };
    let found = content_hash(object).await.unwrap();
    assert_eq!(found.as_deref(), Some("etag:e-2 size:13"));
    assert!(read(&url.clone().pinned(found)).await.is_ok());
    let error = error(&url.pinned(Some("etag:e-1 size:13".to_owned()))).await;
    assert!(matches!(&error, ObjectError::Changed { found, .. } if found == "etag:e-2 size:13"), "{error}");
    let anonymous = Server::start(move |request| Reply::part(b"a", request)).url("x.csv");
    let Location::Url(anonymous) = anonymous else { panic!("{anonymous}") };
    assert_eq!(content_hash(&anonymous).await, Ok(None));
}
