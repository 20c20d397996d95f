//! Slow, silent, too many, too late: what the edge does with each.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use reqwest::Method;

use crate::harness::Answer;
use crate::harness::SID;
use crate::harness::Server;

const QUICK: [&str; 6] =
    ["--head-timeout-ms", "300", "--body-timeout-ms", "300", "--keep-alive-seconds", "1"];

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// One good request on a connection, answer read.
fn one_good_request(server: &Server, stream: &mut TcpStream) {
    write!(stream, "GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"{\"status\":\"live\"}") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "closed early");
        answer.extend_from_slice(&buffer[..read]);
    }
}

/// How long until the server closes, and what it said.
fn until_closed(mut stream: TcpStream) -> (Duration, String) {
    let started = Instant::now();
    let mut said = Vec::new();
    // A reset is a close, too.
    let _ = stream.read_to_end(&mut said);
    (started.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

/// An answer to a PUT of a handoff, held to the contract.
fn checked(said: &str) -> Answer {
    Answer::from_wire(&Method::PUT, &format!("/v1/handoff_state?id={SID}"), said)
}

fn put_head(server: &Server, length: usize) -> String {
    format!(
        "PUT /v1/handoff_state?id={SID} HTTP/1.1\r\nHost: {}\r\nx-api-key: {}\r\nContent-Length: {length}\r\n\r\n",
        server.address, server.admin
    )
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let server = Server::with(&QUICK);
    let (took, _) = until_closed(connect(&server));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_second_head_that_never_ends_is_closed() {
    let server = Server::with(&QUICK);
    let mut stream = connect(&server);
    one_good_request(&server, &mut stream);
    stream.write_all(b"G").unwrap();
    let (took, _) = until_closed(stream);
    assert!(took < Duration::from_millis(2000), "{took:?}");
}

#[test]
fn a_second_head_that_drips_is_closed() {
    let server = Server::with(&QUICK);
    let mut stream = connect(&server);
    one_good_request(&server, &mut stream);
    let started = Instant::now();
    let mut open = true;
    while open && started.elapsed() < Duration::from_secs(5) {
        open = stream.write_all(b"G").is_ok();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!open, "still open after {:?}", started.elapsed());
}

#[test]
fn an_idle_connection_is_kept_for_a_while_and_then_closed() {
    let server = Server::with(&QUICK);
    let mut stream = connect(&server);
    one_good_request(&server, &mut stream);
    std::thread::sleep(Duration::from_millis(600));
    one_good_request(&server, &mut stream);
    let (took, _) = until_closed(stream);
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_closed() {
    let server = Server::with(&QUICK);
    let mut stream = connect(&server);
    stream.write_all(put_head(&server, 100).as_bytes()).unwrap();
    stream.write_all(b"{\"data\":").unwrap();
    let (took, said) = until_closed(stream);
    checked(&said).refused(408, "BODY_TOO_SLOW");
    assert!(took < Duration::from_secs(4), "{took:?}");
    server.admin().read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
}

#[test]
fn a_body_that_nobody_waits_for_does_not_hold_its_connection() {
    let server = Server::with(&QUICK);
    let mut stream = connect(&server);
    let head = put_head(&server, 100).replace(&server.admin, "wrong");
    stream.write_all(head.as_bytes()).unwrap();
    let (took, said) = until_closed(stream);
    checked(&said).refused(401, "INVALID_KEY");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_thousand_silent_second_heads_do_not_keep_others_out() {
    let server = Server::with(&["--head-timeout-ms", "2000"]);
    let held: Vec<_> = (0..1100)
        .map(|_| {
            let mut stream = connect(&server);
            one_good_request(&server, &mut stream);
            stream.write_all(b"G").unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(3000));
    let mut stream = connect(&server);
    one_good_request(&server, &mut stream);
    for mut stream in held {
        let mut byte = [0];
        assert!(!matches!(stream.read(&mut byte), Ok(1..)), "still open");
    }
}

#[tokio::test]
async fn more_requests_than_are_taken_are_refused_at_once_and_probes_are_not() {
    let server = Server::with(&["--max-in-flight", "1", "--body-timeout-ms", "3000"]);
    let mut slow = connect(&server);
    slow.write_all(put_head(&server, 100).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    let refused = server.admin().read(SID).await;
    refused.refused(503, "OVERLOADED");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    server.nobody().get("/livez").await.ok(200);
    server.nobody().get("/readyz").await.ok(200);
    drop(slow);
    std::thread::sleep(Duration::from_millis(200));
    server.admin().read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn a_server_that_stops_says_so_serves_on_and_finishes_what_it_began() {
    let mut server = Server::with(&["--drain-seconds", "1"]);
    server.nobody().get("/readyz").await.ok(200);
    server.ask_to_stop(false);
    std::thread::sleep(Duration::from_millis(200));
    server.nobody().get("/readyz").await.refused(503, "NOT_READY");
    server.nobody().get("/livez").await.ok(200);
    // Whoever keeps a connection is told to go elsewhere before it ends.
    let written = server.admin().write(SID, "{}").await;
    written.ok(201);
    assert_eq!(written.header("connection"), "close");
    let mut late = connect(&server);
    let body = b"{\"data\":{\"late\":1}}";
    late.write_all(put_head(&server, body.len()).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    late.write_all(body).unwrap();
    let (_, said) = until_closed(late);
    checked(&said).ok(200);
    server.join();
    assert!(TcpStream::connect(server.address).is_err());
    let again = Server::on(&server.folder(), server.clock.clone(), &[]);
    assert_eq!(again.admin().read(SID).await.ok(200)["data"]["late"], 1);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_a_stop() {
    let mut server = Server::with(&["--drain-seconds", "0"]);
    let mut idle: Vec<_> = (0..20).map(|_| connect(&server)).collect();
    idle.iter_mut().for_each(|stream| one_good_request(&server, stream));
    let started = Instant::now();
    server.ask_to_stop(false);
    server.join();
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answers_is_closed() {
    let server = Server::start();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(250_000));
    server.admin().write(SID, &large).await.ok(201);
    let mut stream = connect(&server);
    let get = format!(
        "GET /v1/handoff_state?id={SID} HTTP/1.1\r\nHost: {}\r\nx-api-key: {}\r\n\r\n",
        server.address, server.admin
    );
    const ANSWERS: usize = 200;
    // More than the socket buffers of both sides hold.
    stream.write_all(get.repeat(ANSWERS).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(12));
    let metrics = server.nobody().get("/metrics").await;
    let closed = "baton_connections_closed_total{phase=\"write\"} 1";
    assert!(metrics.text().contains(closed), "{}", metrics.text());
    let (_, said) = until_closed(stream);
    assert!(said.len() < ANSWERS * 250_000, "all {} bytes came", said.len());
}

#[test]
fn large_bodies_one_after_the_other_on_one_connection_are_no_reason_to_close() {
    let server = Server::with(&QUICK);
    let mut stream = connect(&server);
    let body = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(200_000));
    let put = put_head(&server, body.len()) + &body;
    for _ in 0..8 {
        stream.write_all(put.as_bytes()).unwrap();
        let mut answer = String::new();
        let mut buffer = [0; 65536];
        while !answer.contains("\"fits\"") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "closed early: {answer}");
            answer.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[tokio::test]
async fn a_chunked_body_is_bounded_too() {
    let server = Server::start();
    let mut stream = connect(&server);
    let head = put_head(&server, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    for _ in 0..65 {
        // The server may close before it has seen them all.
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let (took, said) = until_closed(stream);
    checked(&said).refused(413, "BODY_TOO_LARGE");
    assert!(took < Duration::from_secs(4), "{took:?}");
    server.admin().read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn whoever_may_not_write_is_refused_before_a_body_is_waited_for() {
    let server = Server::start();
    let wanted = serde_json::json!({ "scopes": ["handoff:read"] });
    let made = server.admin().post("/v1/keys", &wanted).await.ok(201);
    let mut stream = connect(&server);
    let head = put_head(&server, 100).replace(&server.admin, made["key"].as_str().unwrap());
    stream.write_all(head.as_bytes()).unwrap();
    let (took, said) = until_closed(stream);
    checked(&said).refused(403, "MISSING_SCOPE");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn hundreds_of_requests_in_one_piece_are_not_all_answered() {
    let server = Server::start();
    let mut stream = connect(&server);
    let get = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    stream.write_all(get.repeat(20).as_bytes()).unwrap();
    let mut answers = String::new();
    let mut buffer = [0; 65536];
    while answers.matches("live\"").count() < 20 {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "twenty are nothing unusual");
        answers.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    // The server may close before it has seen them all.
    let _ = stream.write_all(get.repeat(2000).as_bytes());
    let (took, said) = until_closed(stream);
    let answered = said.matches("live\"").count();
    assert!(answered < 100, "{answered}");
    let behind = said.matches("OVERLOADED").count();
    assert!(answered + behind < 1000, "{answered} and {behind}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_request_that_comes_while_answers_are_stuck_is_answered_once_they_are_taken() {
    let server = Server::start();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(250_000));
    server.admin().write(SID, &large).await.ok(201);
    let mut stream = connect(&server);
    let get = format!(
        "GET /v1/handoff_state?id={SID} HTTP/1.1\r\nHost: {}\r\nx-api-key: {}\r\n\r\n",
        server.address, server.admin
    );
    // More than the socket buffers of both sides hold, and no more than a browser might.
    stream.write_all(get.repeat(30).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    stream.write_all(get.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let started = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    let (mut answers, mut end) = (0, Vec::new());
    while answers < 31 {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "closed after {answers} answers");
        // An answer ends where its data does; the end may fall between two reads.
        end.extend_from_slice(&buffer[..read]);
        answers += end.windows(4).filter(|window| window == b"x\"}}").count();
        end.drain(..end.len().saturating_sub(3));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
