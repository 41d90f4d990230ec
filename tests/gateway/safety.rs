//! The gateway keeps out who may not come in, and bears what must not harm it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rollcall_tests::{Fleet, Gateway, SCORER, answer, eventually, request, within};

const ANN: &str = "ann-0123456789abcdef0123456789";
const BOB: &str = "bob-0123456789abcdef0123456789";

fn guarded(fleet: &Fleet) -> Gateway {
    fleet.file("tokens", format!("operator ann {ANN}\nviewer bob {BOB}\n"));
    Gateway::with(fleet, "[access]\ntokens = \"tokens\"\n")
}

fn with_token(gateway: &Gateway, token: &str, method: &str, path: &str) -> u16 {
    request(gateway.address, method, path, &[&format!("Authorization: Bearer {token}")], b"").status
}

#[test]
fn it_listens_beyond_loopback_only_with_tokens_or_a_trusted_proxy() {
    let fleet = Fleet::fresh();
    let refused = fleet.producer(&["serve", "--listen", "0.0.0.0:0"]).expect(2);
    assert!(refused.stderr.contains("loopback address"), "{}", refused.stderr);
    fleet.file("tokens", format!("operator ann {ANN}\n"));
    let config = fleet.file("open.toml", "[access]\ntokens = \"tokens\"\n");
    fleet.producer(&["serve", "--listen", "0.0.0.0:0", "--check", "--config", config.to_str().unwrap()]).expect(0);
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_line_and_the_key_that_was_meant() {
    let fleet = Fleet::fresh();
    for (config, words) in [
        ("[inbox]\npth = \"x\"\n", "line 2: expected a known key, found \"pth\"; did you mean \"path\"?"),
        ("[inbox]\n", "path"),
        ("[[schedule]]\nname = \"n\"\ncron = \"99 * * * *\"\nfile = \"f\"\nmodel = \"m\"\n", "line 3"),
        ("[[schedule]]\nname = \"n\"\ncron = \"0 6 * * *\"\ntime_zone = \"Mars\"\nfile = \"f\"\nmodel = \"m\"\n", "line 4"),
        ("[http]\nmax_upload = \"lots\"\n", "number of bytes"),
        ("[access]\ntokens = \"missing\"\n", "cannot read"),
        ("[inbox]\npath = \"x\"\noptions = { results_to = \"s3://b/{jb}.csv\" }\n", "{jb}"),
        ("[[webhook]]\nname = \"w\"\nurl = \"ftp://x\"\n", "https://"),
        ("x = 1\n", "known"),
    ] {
        let path = fleet.file("wrong.toml", config);
        let refused = fleet.producer(&["serve", "--check", "--config", path.to_str().unwrap()]).expect(2);
        assert!(refused.stderr.contains(words), "{config}: {}", refused.stderr);
    }
}

#[test]
fn who_has_no_token_sees_nothing_and_a_viewer_changes_nothing() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = guarded(&fleet);
    for path in ["/v1/jobs", "/v1/jobs/j", "/v1/openapi.json", "/v1/refusals", "/v1/none", "/"] {
        let refused = gateway.get(path);
        assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true), "{path}");
    }
    assert_eq!(with_token(&gateway, "wrong-0123456789abcdef012345678", "GET", "/v1/jobs"), 401);
    assert_eq!(with_token(&gateway, &ANN[..ANN.len() - 1], "GET", "/v1/jobs"), 401);
    assert_eq!([with_token(&gateway, ANN, "GET", "/v1/jobs"), with_token(&gateway, BOB, "GET", "/v1/jobs")], [200, 200]);
    for path in ["/v1/jobs?model=m", "/v1/jobs/j/cancel", "/v1/jobs/j/pause", "/v1/jobs/j/resume", "/v1/jobs/j/redrive"] {
        assert_eq!(with_token(&gateway, BOB, "POST", path), 403, "{path}");
        assert_ne!(with_token(&gateway, ANN, "POST", path), 403, "{path}");
    }
    let log = gateway.process.stderr();
    assert!(!log.contains(ANN) && !log.contains(BOB), "{log}");
}

#[test]
fn a_token_that_is_taken_out_of_the_file_is_worth_nothing_from_then_on() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = guarded(&fleet);
    assert_eq!(with_token(&gateway, BOB, "GET", "/v1/jobs"), 200);
    fleet.file("tokens", format!("operator ann {ANN}\n"));
    eventually("the token is gone", || (with_token(&gateway, BOB, "GET", "/v1/jobs") == 401).then_some(()));
    fleet.file("tokens", "nonsense\n");
    eventually("the file is read", || {
        assert_eq!(with_token(&gateway, ANN, "GET", "/v1/jobs"), 200, "those from before hold");
        gateway.process.stderr().contains("tokens_unreadable").then_some(())
    });
}

#[test]
fn another_page_in_the_browser_cannot_make_the_gateway_do_anything() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let post = |headers: &[&str]| request(gateway.address, "POST", "/v1/jobs?model=m", headers, b"company_id\n1\n").status;
    let own = format!("Origin: http://{}", gateway.address);
    assert_eq!([post(&[]), post(&[&own]), post(&["Sec-Fetch-Site: same-origin"])], [202, 202, 202]);
    for headers in [
        &["Origin: https://evil.example"][..],
        &["Origin: null"],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site", &own],
    ] {
        assert_eq!(post(headers), 403, "{headers:?}");
    }
    let rebound = request(gateway.address, "GET", "/v1/jobs", &["Host: evil.example"], b"");
    assert_eq!(rebound.expect(421).json()["code"], "unknown_host");
    let headers = gateway.get("/v1/jobs").head.to_ascii_lowercase();
    for needed in ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff", "frame-ancestors 'none'"] {
        assert!(headers.contains(needed), "{needed}: {headers}");
    }
}

#[test]
fn what_a_trusted_proxy_says_of_its_users_is_believed_from_its_address_only() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = |networks: &str| {
        Gateway::with(&fleet, &format!("[access.trusted_proxy]\naddresses = [{networks:?}]\noperators = [\"ann\"]\n"))
    };
    let (here, elsewhere) = (gateway("127.0.0.0/8"), gateway("192.0.2.1/32"));
    let ask = |gateway: &Gateway, user: &str, method: &str| {
        request(gateway.address, method, "/v1/jobs?model=m", &[&format!("X-Forwarded-User: {user}")], b"company_id\n1\n").status
    };
    assert_eq!([ask(&here, "ann", "POST"), ask(&here, "bob", "POST")], [202, 403]);
    assert_eq!(request(here.address, "GET", "/v1/jobs?model=m", &["X-Forwarded-User: bob"], b"").status, 200);
    assert_eq!([ask(&elsewhere, "ann", "POST"), ask(&here, "", "POST")], [401, 401]);
    let own_and_proxys = ["X-Forwarded-User: ann", "X-Forwarded-User: bob"];
    assert_eq!(request(here.address, "GET", "/v1/jobs", &own_and_proxys, b"").status, 401, "one is the client's own");
}

#[test]
fn a_client_that_sends_too_many_requests_is_told_to_wait() {
    let fleet = Fleet::fresh();
    let gateway = Gateway::with(&fleet, "[http]\nrequests_per_second = 2\n");
    let statuses: Vec<u16> = (0..20).map(|_| gateway.get("/v1/openapi.json").status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    let refused = eventually("it is refused", || Some(gateway.get("/v1/openapi.json")).filter(|answer| answer.status == 429));
    assert!(refused.header("retry-after").is_some());
}

/// What the process of the gateway takes of memory, in kB.
fn memory(gateway: &Gateway) -> u64 {
    gateway.process.peak_kb().unwrap()
}

/// Sends `bytes` of what `part` says as an upload, as fast as it is taken; returns the answer.
fn send(gateway: &Gateway, part: &[u8], bytes: u64, query: &str) -> rollcall_tests::Answer {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    write!(
        stream,
        "PUT /v1/jobs?{query} HTTP/1.1\r\nHost: {}\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n",
        gateway.address
    )
    .unwrap();
    let mut sent = 0;
    while sent < bytes && stream.write_all(part).is_ok() {
        sent += part.len() as u64;
    }
    answer(&mut stream)
}

#[test]
fn garbage_of_two_gigabytes_and_bombs_are_one_clear_error_each_in_flat_memory() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::with(&fleet, "[http]\nmax_unpacked = \"200MB\"\n");
    gateway.upload("model=m&job=first", "company_id\n1\n").expect(202);
    let before = memory(&gateway);
    let noise: Vec<u8> = (0..1_u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let garbage = send(&gateway, &noise, 2 << 30, "model=m&job=garbage");
    assert_eq!(garbage.json()["code"], "bad_input", "{}", garbage.text());
    let one_line = send(&gateway, &vec![b'x'; 1 << 20], 2 << 30, "model=m&job=line");
    assert_eq!(one_line.json()["code"], "bad_input", "{}", one_line.text());
    for (name, packed) in [
        ("zeros.gz", bomb("head -c 1G /dev/zero")),
        ("rows.gz", bomb("yes $(printf %01000d 7),x | head -c 1G")),
        ("rows.zst", zstd_bomb()),
    ] {
        let refused = gateway.upload(&format!("model=m&file_name=x.csv&job={}", name.replace('.', "-")), packed);
        assert_eq!((refused.status, &refused.json()["code"]), (422, &"bad_input".into()), "{name}: {}", refused.text());
    }
    let wide = format!("{}\n", (0..400_000).map(|column| format!("c{column},")).collect::<String>());
    assert_eq!(gateway.upload("model=m&job=wide", wide).status, 422);
    let grown = memory(&gateway) - before;
    assert!(grown < 150_000, "it has grown by {grown} kB");
    gateway.upload("model=m&job=last", "company_id\n1\n").expect(202);
}

fn bomb(what: &str) -> Vec<u8> {
    let packed = Command::new("sh").args(["-c", &format!("{what} | gzip")]).output().unwrap();
    assert!((1_000..10_000_000).contains(&packed.stdout.len()), "{}", packed.stdout.len());
    packed.stdout
}

fn zstd_bomb() -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(b"name,note\n").unwrap();
    let rows = format!("{},x\n", "a".repeat(1_000)).repeat(1_000);
    for _ in 0..1_000 {
        encoder.write_all(rows.as_bytes()).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn headers_without_an_end_and_slow_clients_are_dropped_with_a_word() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::with(&fleet, "[http]\nidle = \"1s\"\nconnections = 20\n");
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    write!(stream, "GET /v1/jobs HTTP/1.1\r\nHost: x\r\n").unwrap();
    let bomb = format!("X-A: {}\r\n", "a".repeat(1_000));
    for _ in 0..1_000 {
        if stream.write_all(bomb.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(answer(&mut stream).status, 431);
    let slow: Vec<TcpStream> = (0..20)
        .map(|number| {
            let mut stream = TcpStream::connect(gateway.address).unwrap();
            let head = match number % 3 {
                0 => "GET /v1/jobs HTTP/1.1\r\nX: ",
                1 => "PUT /v1/jobs?model=m HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nco",
                _ => "POST /v1/jobs/j/redrive HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
            };
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    within(Duration::from_secs(20), "others come in again", || {
        let mut stream = TcpStream::connect(gateway.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        write!(stream, "GET /v1/openapi.json HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", gateway.address).ok()?;
        let mut first = [0; 12];
        stream.read_exact(&mut first).ok()?;
        (&first == b"HTTP/1.1 200").then_some(())
    });
    let told: Vec<u16> = slow.into_iter().map(|mut stream| answer(&mut stream).status).collect();
    assert_eq!(told.iter().filter(|status| **status == 408).count(), 13, "who has begun a body is told: {told:?}");
}

#[test]
fn an_upload_over_the_limit_is_refused_and_its_job_is_cancelled() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::with(&fleet, "[http]\nmax_upload = \"1MB\"\n");
    let rows: String = (0..200_000).map(|row| format!("{row}\n")).collect();
    let refused = gateway.upload("model=m&job=j", format!("company_id\n{rows}")).expect(413).json();
    assert_eq!((&refused["code"], &refused["job"]), (&"upload_too_large".into(), &"j".into()));
    assert!(gateway.wait_until("j", "cancelled")["reason"].as_str().unwrap().contains("at most 1000000 bytes"));
}

fn certificate(fleet: &Fleet, name: &str) -> (PathBuf, PathBuf) {
    let (key, certificate) = (fleet.path("key.pem"), fleet.path("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj"])
        .arg(format!("/CN={name}"))
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (key, certificate)
}

/// The name of the certificate that the gateway shows, by another TLS than its own.
fn shown_name(address: SocketAddr) -> String {
    let script = "import ssl,sys,socket; c=ssl.create_default_context(); c.check_hostname=False; c.verify_mode=ssl.CERT_NONE; \
        s=c.wrap_socket(socket.create_connection((sys.argv[1],int(sys.argv[2])))); s.send(b'GET /v1/openapi.json HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n'); \
        print(s.recv(15).decode()); sys.stdout.buffer.write(s.getpeercert(True))";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script, &address.ip().to_string(), &address.port().to_string()])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The answer to a client that trusts this certificate alone, and checks the address.
fn trusting(certificate: &Path, address: SocketAddr) -> String {
    let script = "import ssl,sys,urllib.request as r; c=ssl.create_default_context(cafile=sys.argv[1]); \
        print(r.build_opener(r.ProxyHandler({}),r.HTTPSHandler(context=c)).open(sys.argv[2]).read().decode())";
    let url = format!("https://{address}/v1/openapi.json");
    let output = Command::new("/usr/bin/python3").args(["-c", script]).arg(certificate).arg(url).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn tls_shows_the_certificate_of_its_files_and_a_new_one_once_they_change() {
    let fleet = Fleet::fresh();
    certificate(&fleet, "first-name");
    let gateway = Gateway::with(&fleet, "[http.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    let shown = shown_name(gateway.address);
    assert!(shown.contains("HTTP/1.1 200 OK") && shown.contains("first-name"), "{shown}");
    let asked = trusting(&fleet.path("cert.pem"), gateway.address);
    assert!(asked.contains("\"openapi\""), "a client that checks the certificate comes in: {asked}");
    certificate(&fleet, "second-name");
    within(Duration::from_secs(30), "the new one is shown", || shown_name(gateway.address).contains("second-name").then_some(()));
}

#[test]
fn clients_that_hang_up_before_their_answer_leave_no_channel_open() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let few_channels = fleet.clone().at(&format!("{}?channel_max=60", fleet.url()));
    let gateway = Gateway::with(&few_channels, "[http]\nrequests_per_second = 100000\n");
    for path in ["/v1/jobs", "/v1/refusals", "/v1/jobs/j/events"] {
        for hangs_up_after in (0..400).map(|number| Duration::from_micros(number % 40 * 100)) {
            let mut client = TcpStream::connect(gateway.address).unwrap();
            write!(client, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address).unwrap();
            std::thread::sleep(hangs_up_after);
        }
    }
    gateway.get("/v1/jobs").expect(200);
    gateway.get("/v1/refusals").expect(200);
    assert!(!gateway.process.stderr().contains("maximum number of channels"), "{}", gateway.process.stderr());
}

#[test]
fn what_records_and_scorers_say_is_escaped() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &["--max-attempts", "1"]));
    let gateway = Gateway::plain(&fleet);
    let hostile = "<script>alert(1)</script>\u{1b}[2J";
    let file = format!("company_id,do,note\n{hostile},quote,{hostile}\n");
    gateway.upload("model=m&job=j&file_name=%3Cscript%3E.csv", file).expect(202);
    gateway.wait_until("j", "failed");
    let failures = gateway.get("/v1/jobs/j/failures").expect(200);
    assert_eq!(failures.header("content-type"), Some("application/json"));
    assert_eq!(failures.json()["causes"][0]["examples"][0]["company_id"], hostile);
    for path in ["/", "/jobs/j", "/jobs/j/failures"] {
        let page = request(gateway.address, "GET", path, &["Accept: text/html"], b"").expect(200).text();
        assert!(!page.contains("<script>alert") && !page.contains('\u{1b}'), "{path}");
    }
}

#[test]
fn a_name_of_an_upload_that_looks_like_a_url_is_not_fetched() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let name = format!("http%3A%2F%2F{}%2Fx.csv%23", elsewhere.local_addr().unwrap());
    gateway.upload(&format!("model=m&job=j&file_name={name}"), "company_id\n1\n").expect(202);
    assert_eq!(gateway.job("j")["source"], "x.csv# by local");
    gateway.post("/v1/jobs/j/cancel", "").expect(200);
    gateway.post("/v1/jobs/j/redrive", r#"{"missing":true}"#).expect(409);
    assert!(elsewhere.accept().is_err(), "nobody has asked");
}
