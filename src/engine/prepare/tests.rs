use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::esxi::bundle::testvib::{TestVib, sha256};

/// What the server does with one request, in order; the last one repeats.
#[derive(Clone, Copy)]
enum Play {
    /// The whole file, or the rest when a range is asked for.
    Honest,
    /// The whole file with 200, whatever is asked.
    IgnoreRange,
    /// Announces everything, sends so many bytes, hangs up.
    CutAfter(usize),
    /// 206 of a file with another ETag.
    OtherEtag,
    /// A status and a text.
    Status(u16),
    /// Sends the client to `/file.vib`.
    Redirect,
}

struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

fn serve(body: Vec<u8>, plays: &[Play]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file.vib", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (seen, plays) = (requests.clone(), plays.to_vec());
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let play = plays[n.min(plays.len() - 1)];
            answer(stream.unwrap(), &body, play, &seen);
        }
    });
    Server { url, requests }
}

fn answer(mut stream: TcpStream, body: &[u8], play: Play, seen: &Mutex<Vec<String>>) {
    let mut text = String::new();
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let line = line.unwrap_or_default();
        if line.is_empty() {
            break;
        }
        text.push_str(&line.to_ascii_lowercase());
        text.push('\n');
    }
    let range = text.lines().find_map(|l| l.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    seen.lock().unwrap().push(text.clone());
    let head = |status: &str, len: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\nconnection: close\r\n{more}\r\n")
    };
    let etag = "etag: \"v1\"\r\n";
    let other = vec![b'?'; body.len()];
    let (head, data) = match (play, range) {
        (Play::Honest, _) if text.contains("if-none-match: \"v1\"") => (head("304 Not Modified", 0, etag), &body[..0]),
        (Play::Honest, Some(n)) => {
            let more = format!("{etag}content-range: bytes {n}-{}/{}\r\n", body.len() - 1, body.len());
            (head("206 Partial Content", body.len() - n, &more), &body[n..])
        }
        (Play::OtherEtag, Some(n)) => {
            let more = format!("etag: \"v2\"\r\ncontent-range: bytes {n}-{}/{}\r\n", body.len() - 1, body.len());
            (head("206 Partial Content", body.len() - n, &more), &other[n..])
        }
        (Play::CutAfter(n), None) => (head("200 OK", body.len(), etag), &body[..n]),
        (Play::CutAfter(n), Some(at)) => {
            let more = format!("{etag}content-range: bytes {at}-{}/{}\r\n", body.len() - 1, body.len());
            (head("206 Partial Content", body.len() - at, &more), &body[at..at + n])
        }
        (Play::Status(s), _) => (head(&format!("{s} No"), 12, "content-type: text/plain\r\n"), &b"ask Broadcom"[..]),
        (Play::Redirect, _) => (head("302 Found", 0, "location: /file.vib\r\n"), &body[..0]),
        _ => (head("200 OK", body.len(), etag), body),
    };
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(data);
}

fn body() -> Vec<u8> {
    let files = vec![(
        "opt/big".to_owned(),
        (0..200_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect(),
    )];
    TestVib { files, ..TestVib::new("big", "1-1") }.bytes()
}

async fn get(server: &Server, sha: Option<&str>, cache: &Path) -> (Result<Artifact, PrepareError>, Vec<Progress>) {
    let input = Input::Url { url: server.url.clone(), sha256: sha.map(str::to_owned) };
    let mut seen = Vec::new();
    let all = prepare(std::slice::from_ref(&input), Path::new("/"), cache, &mut |p| seen.push(p)).await;
    (all.map(|a| a.get(&input).unwrap().clone()), seen)
}

fn ranges(server: &Server) -> Vec<bool> {
    server.requests.lock().unwrap().iter().map(|r| r.contains("range: bytes=")).collect()
}

#[tokio::test]
async fn a_whole_download_is_inspected_and_cached() {
    let (cache, bytes) = (tempfile::tempdir().unwrap(), body());
    let server = serve(bytes.clone(), &[Play::Honest]);
    let (artifact, progress) = get(&server, None, cache.path()).await;
    let artifact = artifact.unwrap();
    assert_eq!((artifact.sha256.as_str(), artifact.size), (sha256(&bytes).as_str(), bytes.len() as u64));
    assert_eq!(artifact.software.unwrap().vibs[0].name, "big");
    assert!(
        progress.iter().any(|p| matches!(p, Progress::Download { length: Some(l), .. } if *l == bytes.len() as u64))
    );
    assert!(artifact.path.ends_with("file.vib"));
    // Again: asked whether it changed, not sent again.
    get(&server, None, cache.path()).await.0.unwrap();
    assert!(server.requests.lock().unwrap()[1].contains("if-none-match"));
    // With a digest nothing is asked at all the second time.
    let sha = sha256(&bytes);
    get(&server, Some(&sha), cache.path()).await.0.unwrap();
    get(&server, Some(&sha), cache.path()).await.0.unwrap();
    assert_eq!(server.requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_cut_connection_is_resumed_where_it_broke() {
    let (cache, bytes) = (tempfile::tempdir().unwrap(), body());
    let server = serve(bytes.clone(), &[Play::CutAfter(100_000), Play::CutAfter(50_000), Play::Honest]);
    let sha = sha256(&bytes);
    let artifact = get(&server, Some(&sha), cache.path()).await.0.unwrap();
    assert_eq!(artifact.sha256, sha);
    assert_eq!(ranges(&server), [false, true, true]);
    assert!(server.requests.lock().unwrap()[2].contains("range: bytes=150000-"));
}

#[tokio::test]
async fn a_partial_file_survives_to_the_next_run() {
    let (cache, bytes) = (tempfile::tempdir().unwrap(), body());
    let port = {
        let server = serve(
            bytes.clone(),
            &[Play::CutAfter(1000), Play::CutAfter(1000), Play::CutAfter(1000), Play::CutAfter(1000), Play::Honest],
        );
        let e = get(&server, None, cache.path()).await.0.unwrap_err();
        assert!(matches!(e, PrepareError::Download { kept: 4000, tries: 4, .. }), "{e}");
        server
    };
    let artifact = get(&port, None, cache.path()).await.0.unwrap();
    assert_eq!(artifact.sha256, sha256(&bytes));
    assert_eq!(ranges(&port), [false, true, true, true, true]);
}

#[tokio::test]
async fn a_server_that_ignores_or_fakes_the_range_is_not_appended() {
    for play in [Play::IgnoreRange, Play::OtherEtag] {
        let (cache, bytes) = (tempfile::tempdir().unwrap(), body());
        let server = serve(bytes.clone(), &[Play::CutAfter(70_000), play, Play::IgnoreRange]);
        let artifact = get(&server, None, cache.path()).await.0.unwrap();
        assert_eq!(artifact.sha256, sha256(&bytes));
        assert!(ranges(&server)[1]);
    }
}

#[tokio::test]
async fn a_wrong_digest_is_deleted_and_said() {
    let (cache, bytes) = (tempfile::tempdir().unwrap(), body());
    let server = serve(bytes, &[Play::Honest]);
    let e = get(&server, Some(&"00".repeat(32)), cache.path()).await.0.unwrap_err();
    assert!(matches!(e, PrepareError::WrongHash { .. }), "{e}");
    let left: Vec<_> = walk(cache.path()).into_iter().filter(|n| n.contains("file.vib")).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn walk(dir: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for e in std::fs::read_dir(dir).unwrap().flatten() {
        if e.path().is_dir() { out.extend(walk(&e.path())) } else { out.push(e.path().display().to_string()) }
    }
    out
}

#[tokio::test]
async fn statuses_are_explained() {
    for (status, part) in [(404, "nothing is there"), (403, "wants a login")] {
        let cache = tempfile::tempdir().unwrap();
        let server = serve(vec![1], &[Play::Status(status)]);
        let e = get(&server, None, cache.path()).await.0.unwrap_err().to_string();
        assert!(e.contains(part) && e.contains("ask Broadcom") && e.contains(&server.url), "{e}");
        assert_eq!(server.requests.lock().unwrap().len(), 1);
    }
    let cache = tempfile::tempdir().unwrap();
    let server = serve(body(), &[Play::Status(503), Play::Redirect, Play::Honest]);
    get(&server, None, cache.path()).await.0.unwrap();
}

#[tokio::test]
async fn a_web_page_instead_of_the_file_is_told() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(b"<!DOCTYPE html><html>please log in</html>".to_vec(), &[Play::Honest]);
    let artifact = get(&server, None, cache.path()).await.0.unwrap();
    assert!(artifact.software.is_none());
    assert!(artifact.not_software.unwrap().contains("web page"));
}

#[tokio::test]
async fn local_files_are_found_beside_the_playbook() {
    let base = tempfile::tempdir().unwrap();
    std::fs::write(base.path().join("motd"), "hello\n").unwrap();
    let unsigned = TestVib { signature: Vec::new(), ..TestVib::new("x", "1-1").level("partner") };
    std::fs::write(base.path().join("x.vib"), unsigned.bytes()).unwrap();
    let inputs = [Input::File("motd".into()), Input::File("x.vib".into()), Input::File("motd".into())];
    let mut notes = Vec::new();
    let all = prepare(&inputs, base.path(), Path::new("/nonexistent"), &mut |p| notes.push(p)).await.unwrap();
    let motd = all.get(&inputs[0]).unwrap();
    assert_eq!((motd.text.as_deref(), motd.size), (Some("hello\n"), 6));
    assert_eq!(motd.sha256, sha256(b"hello\n"));
    assert!(motd.software.is_none() && motd.not_software.is_none());
    assert!(all.get(&inputs[1]).unwrap().software.is_some());
    assert!(notes.iter().any(|n| matches!(n, Progress::Note(t) if t.contains("only") || t.contains("worth nothing"))));
    assert_eq!(inspect_file(&base.path().join("x.vib")).unwrap().vibs[0].name, "x");
    let missing = prepare(&[Input::File("no.vib".into())], base.path(), Path::new("/x"), &mut |_| {}).await;
    assert!(missing.unwrap_err().to_string().contains("beside the playbook"));
}

#[tokio::test]
async fn two_runs_at_once_do_not_trample() {
    let (cache, bytes) = (tempfile::tempdir().unwrap(), body());
    let server = serve(bytes.clone(), &[Play::Honest]);
    let sha = sha256(&bytes);
    let (a, b) = tokio::join!(get(&server, Some(&sha), cache.path()), get(&server, Some(&sha), cache.path()));
    assert_eq!(a.0.unwrap().sha256, b.0.unwrap().sha256);
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_in_an_address_is_not_shown() {
    let server = serve(vec![1], &[Play::Status(404)]);
    let input = Input::Url {
        url: format!("{}?token=sesame", server.url.replace("http://", "http://me:sesame@")),
        sha256: None,
    };
    let cache = tempfile::tempdir().unwrap();
    let e = prepare(&[input], Path::new("/"), cache.path(), &mut |_| {}).await.unwrap_err();
    assert!(!format!("{e} {e:?}").contains("sesame") && e.to_string().contains("file.vib?..."), "{e}");
    // Nothing listens there: reqwest's own error must not repeat the address either.
    assert_eq!(fetch::shown_url("https://a@b/c/d.zip#x"), "https://b/c/d.zip?...");
    assert_eq!(fetch::shown_url("http://b"), "http://b");
}

#[tokio::test]
async fn an_unpinned_copy_serves_while_the_server_is_down() {
    let (cache, bytes) = (tempfile::tempdir().unwrap(), body());
    let server = serve(bytes.clone(), &[Play::Honest, Play::Status(503)]);
    get(&server, None, cache.path()).await.0.unwrap();
    let (artifact, progress) = get(&server, None, cache.path()).await;
    assert_eq!(artifact.unwrap().sha256, sha256(&bytes));
    assert!(progress.iter().any(|p| matches!(p, Progress::Note(t) if t.contains("unchecked"))), "{progress:?}");
}
