use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream as Stream};

use super::*;

const KS: &[u8] = b"accepteula\nrootpw --iscrypted $6$x\n";

fn ask(server: &KsServer, request: &str) -> String {
    let addr = server.addr();
    let request = request.to_owned();
    let mut stream = Stream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut out = String::new();
    stream.read_to_string(&mut out).unwrap();
    out
}

fn path(server: &KsServer) -> String {
    let url = server.url_for_guest();
    url.split_once(&format!(":{}", server.addr().port())).unwrap().1.to_owned()
}

fn get(server: &KsServer) -> String {
    ask(server, &format!("GET {} HTTP/1.1\r\nHost: 10.0.2.2\r\nUser-Agent: test/1\r\n\r\n", path(server)))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_the_script_as_often_as_agreed() {
    let server = KsServer::start(KS, Fetches::Times(2)).await.unwrap();
    assert!(server.addr().ip().is_loopback());
    assert!(server.url_for_guest().starts_with("http://10.0.2.2:"));
    let answer = get(&server);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(&format!("Content-Length: {}", KS.len())),
        "{head}"
    );
    assert_eq!(body.as_bytes(), KS);
    // Asking for the head alone does not count.
    let head = ask(&server, &format!("HEAD {} HTTP/1.0\r\n\r\n", path(&server)));
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get(&server).contains("accepteula"));
    server.wait_sent(2).await;
    assert_eq!(server.sent(), 2);
    // The port closes after the last one.
    tokio::time::timeout(Duration::from_secs(60), async {
        while Stream::connect(server.addr()).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let log: Vec<(Answer, String)> = server.log().into_iter().map(|f| (f.answer, f.agent)).collect();
    let test = || "test/1".to_owned();
    // Looking whether the port is closed may itself have been a connection without a request.
    let (log, looks) = log.split_at(3);
    assert_eq!(log, [(Answer::Sent, test()), (Answer::HeadOnly, String::new()), (Answer::Sent, test())]);
    assert!(looks.iter().all(|(answer, _)| *answer == Answer::Bad), "{looks:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_cost_nothing_and_get_nothing() {
    let server = KsServer::start(KS, Fetches::UntilStopped).await.unwrap();
    let right = path(&server);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "404"),
        (format!("GET /{}/ks.cfg HTTP/1.1\r\n\r\n", "0".repeat(32)), "404"),
        (format!("GET {right}x HTTP/1.1\r\n\r\n"), "404"),
        (format!("GET /..{right} HTTP/1.1\r\n\r\n"), "404"),
        (format!("POST {right} HTTP/1.1\r\nContent-Length: 9\r\n\r\n"), "405"),
        (format!("GET {right}\r\n\r\n"), "400"),
        (format!("GET  {right} HTTP/1.1\r\n\r\n"), "400"),
        ("\r\n\r\n".to_owned(), "400"),
        (format!("GET {right} HTTP/1.1\r\nX: {}", "y".repeat(MAX_HEAD)), "400"),
        (format!("GET http://10.0.2.2{right} HTTP/1.1\r\n\r\n"), "200"),
        (format!("GET {right} HTTP/1.0\n\n"), "200"),
    ] {
        let answer = ask(&server, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.60} -> {answer:.60}");
        assert_eq!(answer.contains("accepteula"), status == "200");
    }
    // Binary rubbish, a peer that leaves at once, and one that never says anything.
    let mut rubbish = Stream::connect(server.addr()).unwrap();
    rubbish.write_all(&[0xff; 100]).unwrap();
    rubbish.write_all(b"\r\n\r\n").unwrap();
    let mut out = Vec::new();
    rubbish.read_to_end(&mut out).unwrap();
    assert!(out.starts_with(b"HTTP/1.1 400"));
    drop(rubbish);
    drop(Stream::connect(server.addr()).unwrap());
    let silent: Vec<Stream> = (0..MAX_CONNECTIONS - 1).map(|_| Stream::connect(server.addr()).unwrap()).collect();
    assert!(get(&server).contains("accepteula"), "served beside the silent ones");
    drop(silent);
    let sent = server.log().iter().filter(|f| f.answer == Answer::Sent).count();
    assert_eq!(sent as u32, server.sent());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_breaks_is_not_counted() {
    // More than the socket buffers hold, so that the server notices.
    let big = vec![b'x'; 32 * 1024 * 1024];
    let server = KsServer::start(big, Fetches::Times(1)).await.unwrap();
    let mut stream = Stream::connect(server.addr()).unwrap();
    stream.write_all(format!("GET {} HTTP/1.1\r\n\r\n", path(&server)).as_bytes()).unwrap();
    let mut some = [0; 100];
    stream.read_exact(&mut some).unwrap();
    // While one is under way, there is none left for another.
    assert!(get(&server).starts_with("HTTP/1.1 410"));
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    tokio::time::timeout(Duration::from_secs(60), async {
        while !server.log().iter().any(|f| f.answer == Answer::Broken) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(server.sent(), 0);
    assert!(get(&server).starts_with("HTTP/1.1 200"));
    server.wait_sent(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_differ_and_a_taken_port_is_an_error() {
    let a = KsServer::start(KS, Fetches::UntilStopped).await.unwrap();
    let b = KsServer::start(KS, Fetches::UntilStopped).await.unwrap();
    assert_ne!(path(&a), path(&b));
    assert!(ask(&a, &format!("GET {} HTTP/1.1\r\n\r\n", path(&b))).starts_with("HTTP/1.1 404"));
    let error = KsServer::start_on(a.addr(), KS, Fetches::UntilStopped).await.unwrap_err();
    assert!(error.to_string().contains(&a.addr().to_string()), "{error}");
    let addr = a.addr();
    a.stop().await;
    drop(b);
    assert!(Stream::connect(addr).is_err(), "stopped");
}

#[test]
fn mutated_heads_never_panic() {
    let good = b"GET /abc/ks.cfg HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n";
    assert!(matches!(parse_request(good), Ok(Some(Request { method: Method::Get, .. }))));
    assert_eq!(parse_request(&good[..20]), Ok(None));
    assert_eq!(parse_request(&[b'a'; MAX_HEAD + 1]), Err(BadRequest::TooLong));
    let mut size = 0;
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            size += crate::lab::install::fuzzing::http_head(&bytes);
        }
    }
    assert!(size > 100_000);
}
