use std::io::Write as _;
use std::process::Command;
use std::thread;

use flate2::write::GzEncoder;

use super::*;

const TEXT: &str = "company_id,name\na,Acme\nb,Beta\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 0).unwrap()
}

/// Text that does not compress well, so that truncating it loses rows.
fn many_rows() -> String {
    let rows = (0..50_000_u64).map(|row| format!("{row},{:x}\n", row.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    format!("company_id,name\n{}", rows.collect::<String>())
}

#[test]
fn compression_is_known_by_its_first_bytes_whatever_the_name() {
    for bytes in [gzip(TEXT.as_bytes()), zstandard(TEXT.as_bytes())] {
        for name in ["a.csv.gz", "a.csv.zst", "a.csv", "A.CSV.GZ"] {
            assert_eq!(read(name, &bytes).ids(), ["a", "b"]);
        }
    }
    assert_eq!(read("a.csv.gz", TEXT).ids(), ["a", "b"]);
}

#[test]
fn compression_in_several_parts_is_read_through() {
    for pack in [gzip, zstandard] {
        let parts = [pack(b"\xef\xbb\xbfcompany_id\na"), pack(b"1\nb"), pack(b"2\n")].concat();
        assert_eq!(read("a.csv.gz", parts).ids(), ["a1", "b2"]);
    }
}

#[test]
fn compressed_data_cut_short_gives_one_error_after_the_whole_rows() {
    for (pack, method) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstandard, "zstd")] {
        let mut packed = pack(many_rows().as_bytes());
        packed.truncate(packed.len() / 2);
        let reading = read("a.csv.gz", packed);
        let rows = reading.companies.len();
        assert!((1..50_000).contains(&rows), "{rows} rows");
        assert_eq!(
            reading.errors,
            [format!(
                "a.csv.gz, row {}: expected {method} data to the end, found it cut short; the rows before are whole: \
                 get the whole file",
                rows + 1
            )]
        );
        assert!(reading.ended);
    }
}

#[test]
fn compressed_data_that_is_damaged_ends_the_file() {
    let mut packed = gzip(many_rows().as_bytes());
    let last = packed.len() - 1;
    packed[last] ^= 0xff;
    let reading = read("a.csv.gz", packed);
    assert_eq!(reading.companies.len(), 50_000);
    let [error] = reading.errors.try_into().unwrap();
    assert!(error.starts_with("a.csv.gz, row 50001: expected gzip data, found it damaged ("), "{error}");
    assert!(reading.ended);
}

#[test]
fn a_format_that_the_name_does_not_tell_must_be_given() {
    let error = refusal("companies.txt", TEXT);
    assert_eq!(
        error,
        "companies.txt: expected a name ending in .csv, .tsv, .jsonl, .ndjson or .parquet, then .gz or .zst if need be, \
         found another; say what it holds with --format"
    );
    let options = ReadOptions { format: Some(Format::Csv), ..ReadOptions::default() };
    assert_eq!(read_with("companies.txt", TEXT, &options).ids(), ["a", "b"]);
    assert_eq!(read_with("companies.jsonl", TEXT, &options).ids(), ["a", "b"]);
}

#[test]
fn a_path_that_can_not_be_read_gives_one_error() {
    let folder = TempDir::new().unwrap();
    let open = |name: &str| Companies::open(&folder.path().join(name), &ReadOptions::default()).err().unwrap();
    let missing = open("a.csv");
    assert!(missing.ends_file());
    assert!(
        missing
            .to_string()
            .ends_with("/a.csv: expected a file that can be read, found no such file; check the path and its permissions"),
        "{missing}"
    );
    fs::create_dir(folder.path().join("b.csv")).unwrap();
    assert!(open("b.csv").to_string().ends_with("/b.csv: expected a file, found a directory; name a file in it"));
}

#[test]
fn a_pipe_is_read_like_a_file() {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in
        [("a.csv", TEXT.as_bytes().to_vec()), ("b.csv", gzip(TEXT.as_bytes())), ("a.parquet", parquet::two_companies())]
    {
        let path = folder.path().join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let writer = thread::spawn({
            let path = path.clone();
            move || fs::write(path, bytes).unwrap()
        });
        let companies = Companies::open(&path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        let ids: Vec<_> = companies.map(|company| company.unwrap().company_id).collect();
        assert_eq!(ids, ["a", "b"], "{name}");
        writer.join().unwrap();
    }
}

#[test]
fn parquet_may_be_compressed_as_a_whole() {
    for pack in [gzip, zstandard] {
        assert_eq!(read("a.parquet.gz", pack(&parquet::two_companies())).ids(), ["a", "b"]);
    }
}

#[test]
fn zeros_behind_gzip_are_padding() {
    let padded = [gzip(many_rows().as_bytes()), vec![0; 100_000]].concat();
    let reading = read("a.csv.gz", padded);
    assert_eq!((reading.companies.len(), reading.errors), (50_000, Vec::new()));
}

#[test]
fn other_bytes_behind_the_data_are_named_after_the_last_row() {
    for (pack, method) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstandard, "zstd")] {
        for trailing in [&b"\r\n"[..], b"\0\0\r"] {
            let reading = read("a.csv.gz", [&pack(TEXT.as_bytes()), trailing].concat());
            assert_eq!(reading.ids(), ["a", "b"]);
            assert_eq!(
                reading.errors,
                [format!(
                    "a.csv.gz, row 3: expected nothing behind the {method} data, found a byte 0x0d; the rows before are whole: cut off \
                     what stands behind the data, or pack the file anew"
                )]
            );
        }
    }
}

#[test]
fn zstd_may_begin_with_a_frame_to_be_skipped_as_pzstd_writes_it() {
    let skippable = &b"\x5f\x2a\x4d\x18\x04\0\0\0abcd"[..];
    let packed = [skippable, &zstandard(b"company_id\na\n"), skippable, &zstandard(b"b\n"), skippable].concat();
    assert_eq!(read("a.csv.zst", packed).ids(), ["a", "b"]);
}

#[test]
fn a_zstd_window_beyond_the_limit_is_named() {
    let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
    packed.window_log(28).unwrap();
    packed.write_all(TEXT.as_bytes()).unwrap();
    let refused = refusal("a.csv.zst", packed.finish().unwrap());
    assert!(
        refused.contains("with a window of at most 128 MiB, found a larger one; pack the file anew without --long"),
        "{refused}"
    );
}

#[test]
fn what_is_packed_twice_or_is_no_text_is_named() {
    let cases: [(Vec<u8>, &str); 11] = [
        (gzip(&gzip(TEXT.as_bytes())), "expected data packed once, found gzip inside gzip; unpack the file once"),
        (zstandard(&gzip(TEXT.as_bytes())), "found gzip inside zstd"),
        (b"\xff\xfea\0,\0".to_vec(), "expected text, found UTF-16 text; save the file as UTF-8"),
        (b"i\0d\0,\0a\0\n\0".to_vec(), "found UTF-16 text without a mark"),
        (b"%PDF-1.7\n1".to_vec(), "found a PDF document"),
        (b"\xff\xd8\xff\xe0rest".to_vec(), "found a picture"),
        (b"[\n {\"id\": 1}]".to_vec(), "found a JSON list; write one object a line"),
        (gzip(b"PK\x03\x04rest"), "found a ZIP archive, as a workbook of Excel is one"),
        (b"BZh91AY&SYrest".to_vec(), "found bzip2 data"),
        (parquet::two_companies(), "found Parquet; say so with --format parquet"),
        (b"BZh,name\n1,2\n".to_vec(), ""),
    ];
    for (bytes, found) in cases {
        match found {
            "" => assert_eq!(read("a.csv", bytes).companies.len(), 1, "a header that only looks like bzip2"),
            found => {
                let refused = refusal("a.csv", bytes);
                assert!(refused.contains(found), "{refused}");
            }
        }
    }
}

#[test]
fn an_upload_is_read_as_a_file_of_its_name_and_not_taken_for_whole_before_its_size() {
    let table = many_rows();
    let upload = |name: &str, bytes: Vec<u8>, size: Option<usize>| {
        let size = size.map(|size| size as u64);
        Companies::from_reader(name, Box::new(std::io::Cursor::new(bytes)), size, u64::MAX, &ReadOptions::default())
    };
    let packed = gzip(table.as_bytes());
    for (name, size) in [("a.csv", Some(packed.len())), ("a.csv.gz", None)] {
        let companies = upload(name, packed.clone(), size).ok().unwrap();
        assert_eq!(companies.map(Result::unwrap).count(), 50_000);
    }
    let companies = upload("a.csv", table.clone().into_bytes(), Some(table.len() + 1)).ok().unwrap();
    let error = companies.last().unwrap().unwrap_err();
    assert!(error.ends_file() && error.to_string().starts_with("a.csv, row 50001: expected "), "{error}");
    assert!(upload("a", table.into_bytes(), None).err().unwrap().to_string().contains("--format"));
}
