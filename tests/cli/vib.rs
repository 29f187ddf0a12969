//! Kind `vib`: every source, every way that a host or a file can refuse, and nothing left on the host.

#[path = "../common/vib.rs"]
pub mod make;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

pub use make::TestVib;
use make::{bundle, bundle_of, sha256};

use super::common::{Home, SimHosts, reachable};
use super::kinds::{RELEASES, converges, host, refused, run};

/// A community VIB on a host that takes it.
const COMMUNITY: &str = "acceptance: {level: CommunitySupported}";

fn put(home: &Home, name: &str, bytes: &[u8]) {
    std::fs::write(home.path(name), bytes).unwrap();
}

/// Files that runs of ours left on the host.
fn staged(home: &Home, sim: &SimHosts) -> String {
    sim.on_host(home, "find /tmp /vmfs/volumes/*/ 2>/dev/null | grep -i esxprep | grep -v HostClient; true")
        .trim()
        .to_owned()
}

fn installed(home: &Home, sim: &SimHosts, name: &str) -> String {
    let line = sim.on_host(home, &format!("esxcli software vib list | grep '^{name} '; true"));
    line.split_whitespace().nth(1).unwrap_or("absent").to_owned()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

fn big(name: &str, megabytes: usize) -> TestVib {
    let mut vib = TestVib::new(name, "1.0-1");
    vib.files = vec![(format!("opt/{name}/data"), noise(megabytes << 20))];
    vib
}

#[test]
fn files_and_bundles_on_every_release() {
    for release in RELEASES.into_iter().filter(reachable) {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        put(&home, "tool.vib", &TestVib::new("lab-tool", "1.0-1").bytes());
        put(&home, "tool2.vib", &TestVib::new("lab-tool", "1.2-1").bytes());
        put(&home, "bundle.zip", &bundle(&[TestVib::new("lab-a", "2.0-1"), TestVib::new("lab-b", "3.0-1")]));
        let cases = [
            ("vib: {from: tool.vib}", "lab-tool"),
            ("vib: {from: bundle.zip}", "lab-a, lab-b"),
            ("vib: {name: esx-base}", ""),
        ];
        converges(&home, &sim, release, &[(COMMUNITY, "CommunitySupported")]);
        converges(&home, &sim, release, &cases);
        assert_eq!(installed(&home, &sim, "lab-b"), "3.0-1", "{release}");
        // An update; then removal.
        converges(&home, &sim, release, &[("vib: {name: lab-tool, version: \"1.2\", from: tool2.vib}", "1.2-1")]);
        // The older file is no reason to go back.
        let older =
            run(&home, &sim, &["apply"], &["vib: {name: lab-tool, at_least: \"1.0\", from: tool.vib}"]).exits(0);
        assert_eq!(older.of("host_finished")[0]["ok"], 1, "{release}: {}", older.all());
        converges(
            &home,
            &sim,
            release,
            &[("vib: {name: lab-tool, state: absent}", "1.2-1"), ("vib: {name: lab-a, state: absent}", "lab-a")],
        );
        assert_eq!(installed(&home, &sim, "lab-tool"), "absent", "{release}");
        assert_eq!(staged(&home, &sim), "", "{release}");
    }
}

#[test]
fn versions_and_downgrades() {
    let home = Home::new();
    let sim = host(&home, "6.7", &[]);
    put(&home, "new.vib", &TestVib::new("lab-tool", "2.0-1").bytes());
    put(&home, "old.vib", &TestVib::new("lab-tool", "1.9-1").bytes());
    run(&home, &sim, &["apply"], &[COMMUNITY, "vib: {from: new.vib}"]).exits(0);
    for step in [
        "vib: {name: lab-tool, version: \"1.9\", from: old.vib}",
        "vib: {name: lab-tool, version: 1.9-1, from: old.vib, live: false}",
    ] {
        let error = refused(&home, &sim, &[step]);
        assert!(error.contains("downgrade") && error.contains("allow_downgrade"), "{error}");
    }
    let error = refused(&home, &sim, &["vib: {name: lab-tool, at_least: \"3.0\", from: new.vib}"]);
    assert!(error.contains("2.0-1") && error.contains("3.0"), "{error}");
    let error = refused(&home, &sim, &["vib: {name: lab-tool, at_least: \"3.0\"}"]);
    assert!(error.contains("no `from`"), "{error}");
    let error = refused(&home, &sim, &["vib: {name: other, from: new.vib}"]);
    assert!(error.contains("it holds: lab-tool"), "{error}");
    assert_eq!(installed(&home, &sim, "lab-tool"), "2.0-1");
    let steps = [("vib: {name: lab-tool, version: \"1.9\", from: old.vib, allow_downgrade: true}", "1.9-1")];
    converges(&home, &sim, "6.7", &steps);
    assert_eq!(installed(&home, &sim, "lab-tool"), "1.9-1");
}

#[test]
fn a_level_that_the_host_would_refuse_is_told_before_any_upload() {
    for release in RELEASES.into_iter().filter(reachable) {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        put(&home, "tool.vib", &big("lab-tool", 1).bytes());
        let ran = run(&home, &sim, &["apply"], &["vib: {from: tool.vib}"]).exits(1);
        let error = ran.of("step")[0]["error"].as_str().unwrap().to_owned();
        for word in ["CommunitySupported", "PartnerSupported", "nothing was uploaded", "acceptance"] {
            assert!(error.contains(word), "{release}: {error}");
        }
        assert!(!ran.stdout.contains("uploading"), "{release}: {}", ran.all());
        let step = "vib: {from: tool.vib, acceptance: CommunitySupported}";
        converges(&home, &sim, release, &[(step, "acceptance level CommunitySupported")]);
        assert_eq!(sim.on_host(&home, "esxcli software acceptance get").trim(), "CommunitySupported", "{release}");
    }
}

#[test]
fn a_claim_without_a_signature_is_explained() {
    let home = Home::new();
    let sim = host(&home, "7.0", &[]);
    let mut claim = TestVib::new("lab-claim", "1.0-1").level("partner");
    claim.signature.clear();
    put(&home, "claim.vib", &claim.bytes());
    let check = run(&home, &sim, &["apply", "--check"], &["vib: {from: claim.vib}"]).exits(3);
    assert!(check.stdout.contains("only a claim"), "{}", check.all());
    let error = refused(&home, &sim, &["vib: {from: claim.vib}"]);
    for word in ["InstallationError", "signer", "no_sig_check"] {
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(staged(&home, &sim), "");
    converges(&home, &sim, "7.0", &[("vib: {from: claim.vib, no_sig_check: true}", "lab-claim")]);
}

/// Serves `bytes` on loopback; collects the request lines with their Range, and breaks the first answer off half-way.
pub fn serve(bytes: Vec<u8>, broken: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tool.vib", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    std::thread::spawn(move || {
        let mut break_next = broken;
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = String::new();
            let mut range = None;
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                if line.is_empty() {
                    break;
                }
                if let Some(from) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    range = from.trim_end_matches('-').parse::<usize>().ok();
                }
                if request.is_empty() {
                    request = line;
                }
            }
            let from = range.unwrap_or(0).min(bytes.len());
            log.lock().unwrap().push(format!("{request} from {from}"));
            let status = if from > 0 {
                format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len())
            } else {
                "200 OK".to_owned()
            };
            let body = &bytes[from..];
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"one\"\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let body = if break_next { &body[..body.len() / 2] } else { body };
            break_next = false;
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    (url, seen)
}

#[test]
fn a_url_is_fetched_once_resumed_and_checked() {
    let home = Home::new();
    let sim = host(&home, "8.0", &[]);
    let bytes = big("lab-tool", 1).bytes();
    let (url, seen) = serve(bytes.clone(), true);
    let step =
        format!("vib: {{name: lab-tool, from: \"{url}\", sha256: {}, acceptance: CommunitySupported}}", sha256(&bytes));
    run(&home, &sim, &["apply"], &[&step]).exits(0);
    let requests = seen.lock().unwrap().clone();
    let resumed = |r: &&String| r.starts_with("GET ") && !r.ends_with(" from 0");
    assert_eq!(requests.iter().filter(resumed).count(), 1, "{requests:?}");
    // What is in the cache with that digest is not asked for again, even where it must be installed anew.
    let other = host(&home, "8.0", &[]);
    run(&home, &other, &["apply"], &[&step]).exits(0);
    assert_eq!(installed(&home, &other, "lab-tool"), "1.0-1");
    assert_eq!(seen.lock().unwrap().len(), requests.len());
    // Another file than the one meant.
    let (url, _) = serve(TestVib::new("lab-tool", "1.0-1").bytes(), false);
    let step = format!("vib: {{name: lab-tool, from: \"{url}\", sha256: {}}}", sha256(&bytes));
    let ran = run(&home, &sim, &["apply"], &[&step]).exits(2);
    assert!(
        ran.stdout.contains("No host was touched")
            && ran.stdout.contains("SHA-256")
            && ran.stdout.contains(&sha256(&bytes)),
        "{}",
        ran.all()
    );
    assert!(!ran.stdout.contains("uploading"), "{}", ran.all());
}

#[test]
fn a_file_that_the_host_reads_itself() {
    let home = Home::new();
    let sim = host(&home, "6.5", &[]);
    put(&home, "tool.vib", &TestVib::new("lab-tool", "1.0-1").bytes());
    let path = "/vmfs/volumes/datastore1/tool.vib";
    let steps = [
        (COMMUNITY, "CommunitySupported"),
        (&*format!("file: {{path: {path}, from: tool.vib}}"), "tool.vib"),
        (&*format!("vib: {{name: lab-tool, from: {path}, on_host: true}}"), "lab-tool"),
    ];
    converges(&home, &sim, "6.5", &steps);
    assert_eq!(sim.on_host(&home, &format!("test -e {path} && echo there")).trim(), "there");
    let error = refused(&home, &sim, &["vib: {name: nothing, from: /tmp/no.vib, on_host: true}"]);
    assert!(error.contains("/tmp/no.vib"), "{error}");
}

#[test]
fn a_reboot_that_a_vib_asks_for_happens_once_or_waits() {
    for release in ["6.5", "8.0"] {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        let mut driver = TestVib::new("lab-driver", "1.0-1");
        driver.live = false;
        put(&home, "driver.vib", &driver.bytes());
        let steps = [COMMUNITY, "vib: {from: driver.vib}"];
        let first = run(&home, &sim, &["apply", "--no-reboot"], &steps).exits(0);
        assert!(first.stdout.contains("reboot"), "{}", first.all());
        assert_eq!(installed(&home, &sim, "lab-driver"), "absent", "{release}");
        // The pending image is seen: what waits is a change, but nothing is installed again.
        let check = run(&home, &sim, &["apply", "--check"], &steps).exits(3);
        assert!(check.stdout.contains("waits for the reboot"), "{release}: {}", check.all());
        let second = run(&home, &sim, &["apply"], &steps).exits(0);
        assert!(!second.stdout.contains("uploading"), "{release}: {}", second.all());
        assert_eq!(second.of("host_finished")[0]["reboots"], 1, "{release}: {}", second.all());
        assert_eq!(installed(&home, &sim, "lab-driver"), "1.0-1", "{release}");
        run(&home, &sim, &["verify"], &steps).exits(0);
        converges(&home, &sim, release, &[("vib: {name: lab-driver, state: absent}", "lab-driver")]);
    }
}

#[test]
fn too_big_for_the_ram_disk_goes_over_a_datastore_and_is_cleaned_up() {
    let home = Home::new();
    let sim = host(&home, "8.0", &["--fault", "tmp-size=1M"]);
    put(&home, "big.vib", &big("lab-big", 3).bytes());
    let ran = run(&home, &sim, &["apply"], &[COMMUNITY, "vib: {from: big.vib}"]).exits(0);
    assert!(ran.stdout.contains("uploading /vmfs/volumes/"), "{}", ran.all());
    assert_eq!(installed(&home, &sim, "lab-big"), "1.0-1");
    assert_eq!(staged(&home, &sim), "");
    // Nor is there room on the datastore: that is said before anything is sent.
    sim.on_host(&home, "dd if=/dev/zero of=/vmfs/volumes/datastore1/full bs=1 count=0 seek=9000000000000");
    put(&home, "more.vib", &big("lab-more", 3).bytes());
    let ran = run(&home, &sim, &["apply"], &["vib: {from: more.vib}"]).exits(1);
    let error = ran.of("step")[0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("no place on the host") && error.contains("datastore1"), "{error}");
    assert!(!ran.stdout.contains("uploading"), "{}", ran.all());
}

#[test]
fn an_installation_that_fails_leaves_no_file_behind() {
    for (more, message) in [
        (vec!["--fault", "fail=software vib install:[InstallationError] boom"], "boom"),
        (vec!["--fault", "tmp-size=1M", "--fault", "fail=software vib install:No space left on device"], "vdf -h"),
    ] {
        let home = Home::new();
        let sim = host(&home, "7.0", &more);
        put(&home, "big.vib", &big("lab-big", 2).bytes());
        let error = refused(&home, &sim, &[COMMUNITY, "vib: {from: big.vib}"]);
        assert!(error.contains(message), "{error}");
        assert_eq!(staged(&home, &sim), "");
        assert_eq!(installed(&home, &sim, "lab-big"), "absent");
    }
}

#[test]
fn a_file_that_is_damaged_or_no_software_is_refused_here() {
    let home = Home::new();
    let sim = host(&home, "8.0", &[]);
    let vib = TestVib::new("lab-tool", "1.0-1");
    let mut damaged = vib.bytes();
    let middle = damaged.len() - 40;
    damaged[middle] ^= 0x55;
    put(&home, "damaged.vib", &damaged);
    put(&home, "damaged.zip", &bundle_of(std::slice::from_ref(&vib), std::slice::from_ref(&damaged)));
    put(&home, "cut.vib", &vib.bytes()[..200]);
    put(&home, "page.vib", b"<html>Please log in</html>");
    for file in ["damaged.vib", "damaged.zip", "cut.vib", "page.vib"] {
        let ran =
            run(&home, &sim, &["apply"], &[&format!("vib: {{from: {file}, acceptance: CommunitySupported}}")]).exits(1);
        let error = ran.of("step")[0]["error"].as_str().unwrap().to_owned();
        assert!(error.contains(file) && error.contains("cannot be installed"), "{error}");
        assert!(!ran.stdout.contains("uploading"), "{}", ran.all());
    }
    put(&home, "tool.vib", &vib.bytes());
    let error = refused(&home, &sim, &[&format!("vib: {{from: tool.vib, sha256: {}}}", "0".repeat(64))]);
    assert!(error.contains("SHA-256") && error.contains(&sha256(&vib.bytes())), "{error}");
    assert_eq!(sim.on_host(&home, "esxcli software acceptance get").trim(), "PartnerSupported");
}

#[test]
fn check_does_not_fail_a_step_that_builds_on_a_change_not_made() {
    let home = Home::new();
    let sim = host(&home, "8.0", &[]);
    put(&home, "tool.vib", &TestVib::new("lab-tool", "1.0-1").bytes());
    let vib = "vib: {name: lab-tool, from: tool.vib}";
    // The host's acceptance level refuses it ...
    run(&home, &sim, &["apply", "--check"], &[vib]).exits(1);
    // ... and a step before it would change that.
    let ran = run(&home, &sim, &["apply", "--check"], &[COMMUNITY, vib]).exits(3);
    let steps = ran.of("step");
    assert_eq!(steps[1]["status"], "skipped", "{}", ran.all());
    assert!(steps[1]["note"].as_str().unwrap().contains("cannot be told before"), "{}", ran.all());
    run(&home, &sim, &["apply"], &[COMMUNITY, vib]).exits(0);
}
