//! Parquet is read from a server in parts, and only the parts that are wanted.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::server::{Reply, Server};
use crate::blocking::on_a_thread;
use crate::companies::{BadInput, Companies, Company, ReadOptions};
use crate::location::Location;

const ROWS: usize = 20_000;

/// A file of two row groups, with columns of which one is large.
fn table() -> Vec<u8> {
    let column = |text: &dyn Fn(usize) -> String| Arc::new(StringArray::from_iter_values((0..ROWS).map(text))) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("company_id", column(&|row| format!("c{row}"))),
        ("large", column(&|row| format!("{:0>200}", row * 7_919))),
        ("sector", column(&|row| format!("sector {}", row % 7))),
    ]);
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(ROWS / 2)).set_dictionary_enabled(false).build();
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

async fn companies(file: Location, columns: &[&str]) -> Result<Vec<Company>, BadInput> {
    let columns = columns.iter().copied().map(str::to_owned).collect();
    let options = ReadOptions { columns, ..ReadOptions::default() };
    on_a_thread(move || Companies::open(file, &options)?.collect()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_by_few_requests_for_the_columns_alone_and_as_from_a_file() {
    let table = table();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    std::fs::write(&path, &table).unwrap();
    for columns in [&[][..], &["sector"]] {
        let served = table.clone();
        let server = Server::start(move |request| {
            let reply = Reply::part(&served, request).with("ETag", "\"e\"").with("Accept-Ranges", "bytes");
            // Each connection breaks off once.
            if request.number % 2 == 1 { reply.cut_after(1_000) } else { reply }
        });
        let read = companies(server.url("x.parquet"), columns).await.unwrap();
        assert!(read == companies((&path).into(), columns).await.unwrap(), "its companies differ");
        let requests = server.requests();
        assert!(requests.len() < 20, "{requests:?}");
        if !columns.is_empty() {
            let asked: usize =
                requests[1..].iter().filter_map(|request| request.range).map(|(first, last)| last.unwrap() - first).sum();
            assert!(asked < table.len() / 2, "asked for {asked} of {} bytes", table.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changes_while_it_is_read_is_refused_as_changed_and_not_as_damaged() {
    let table = table();
    for changed_from in [1, 2] {
        let served = table.clone();
        let server = Server::start(move |request| {
            let etag = if request.number < changed_from { "\"e-1\"" } else { "\"e-2\"" };
            Reply::part(&served, request).with("ETag", etag).with("Accept-Ranges", "bytes")
        });
        let error = companies(server.url("x.parquet"), &[]).await.unwrap_err();
        assert!(error.to_string().contains("found it changed to etag:e-2") && error.is_of_the_environment(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_server_without_parts_a_table_is_copied_first() {
    let table = table();
    let server = Server::start(move |_| Reply::part(&table, &super::Request::default()).with("ETag", "\"e\""));
    assert_eq!(companies(server.url("x.parquet"), &[]).await.unwrap().len(), ROWS);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_group_of_many_columns_is_read_by_one_request_that_goes_on_where_it_breaks_off() {
    let column = |number: usize| {
        (format!("c{number}"), Arc::new(StringArray::from_iter_values((0..4_000).map(|row| format!("{row:0>520}")))) as ArrayRef)
    };
    let batch = RecordBatch::try_from_iter((0..17).map(column)).unwrap();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_data_page_row_count_limit(500).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let table = writer.into_inner().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    std::fs::write(&path, &table).unwrap();
    let server = Server::start(move |request| {
        let reply = Reply::part(&table, request).with("ETag", "\"e\"").with("Accept-Ranges", "bytes");
        if request.number == 2 { reply.cut_after(20_000_000) } else { reply }
    });
    assert!(
        companies(server.url("x.parquet"), &[]).await.unwrap() == companies((&path).into(), &[]).await.unwrap(),
        "its companies differ"
    );
    let parts: Vec<_> = server.requests().into_iter().filter_map(|request| request.range).collect();
    assert_eq!((parts.len(), parts[1].0, parts[2].0), (3, 4, 20_000_004), "{parts:?}");
}
