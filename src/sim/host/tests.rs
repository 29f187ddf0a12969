//! What the programs print, against recorded outputs, and the traps a playbook must not fall into.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::state::{Datastore, Nic, Release, Vm};
use super::{Answer, Call, Effect, HostState, answer};

mod hardening;
mod recorded;
mod traps;

/// A host with a root directory of its own.
struct Host {
    state: HostState,
    root: tempfile::TempDir,
    now: u64,
    hostd_up: bool,
}

impl Host {
    fn new(version: &str) -> Self {
        let state = HostState::factory(version, 0).unwrap();
        let root = tempfile::tempdir().unwrap();
        for (path, content, _) in state.factory_files() {
            let real = root.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(real.parent().unwrap()).unwrap();
            std::fs::write(real, content).unwrap();
        }
        std::fs::create_dir_all(root.path().join("tmp")).unwrap();
        Self { state: HostState::boot(&state, 1_700_000_000), root, now: 1_700_000_600, hostd_up: true }
    }

    fn answer(&mut self, words: &[&str]) -> Answer {
        let argv: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let call = Call {
            argv: &argv,
            stdin: b"",
            root: self.root.path(),
            tmp_bytes: 256 << 20,
            now: self.now,
            ssh_connection: "192.0.2.1 50000 192.0.2.10 22",
            tty: false,
            hostd_up: self.hostd_up,
        };
        answer(&mut self.state, &call)
    }

    /// Runs a command line without quoting and gives its output and exit code.
    fn run(&mut self, line: &str) -> (String, i32) {
        let words: Vec<&str> = line.split(' ').collect();
        let a = self.answer(&words);
        assert!(a.stderr.is_empty() || a.stdout.is_empty());
        (String::from_utf8([a.stdout, a.stderr].concat()).unwrap(), a.code)
    }

    /// Runs what has to succeed and to say nothing.
    fn quiet(&mut self, line: &str) {
        assert_eq!(self.run(line), (String::new(), 0), "{line}");
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.root.path().join(path.trim_start_matches('/')), bytes).unwrap();
    }

    fn reboot(&mut self) {
        self.state = HostState::boot(&self.state, self.now + 300);
    }
}

/// The output in a recorded file: what follows the `# ` lines and one empty line.
fn output(file: &str) -> String {
    let body: String = file.split_inclusive('\n').skip_while(|l| l.starts_with("# ")).collect();
    body.strip_prefix('\n').map_or(body.clone(), str::to_owned)
}

/// Without blanks at the ends of lines: for sources that lost them.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn nic(name: &str, pci: &str, driver: &str, link: bool, speed: i64, mac: &str, description: &str) -> Nic {
    Nic {
        name: name.into(),
        pci: pci.into(),
        driver: driver.into(),
        mac: mac.into(),
        virtual_mac: "00:50:56:52:c3:e5".into(),
        up: true,
        link,
        speed,
        duplex: "Full".into(),
        auto: true,
        mtu: 1500,
        description: description.into(),
        pci_id: ("8086".into(), "1533".into()),
    }
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, data) in members {
        writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, "100644", data.len()).unwrap();
        out.extend_from_slice(data);
        if data.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// What a made-up VIB is like.
struct Made<'a> {
    name: &'a str,
    version: &'a str,
    vendor: &'a str,
    level: &'a str,
    signature: &'a [u8],
    live: bool,
    relations: &'a str,
}

const MADE: Made<'static> = Made {
    name: "iperf",
    version: "2.0.5-1",
    vendor: "DAST",
    level: "partner",
    signature: b"signed",
    live: true,
    relations: "",
};

fn vib(made: &Made<'_>) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(made.name.as_bytes()).unwrap();
    let payload = packed.finish().unwrap();
    let hex = |b: &[u8]| Sha256::digest(b).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let live = made.live;
    let xml = format!(
        "<vib version=\"5.0\"><type>bootbank</type><name>{}</name><version>{}</version><vendor>{}</vendor><summary>A &amp; B</summary>\
         <description>d</description><release-date>2020-01-02T03:04:05.0+00:00</release-date><relationships>{}</relationships>\
         <software-tags/><system-requires><maintenance-mode>false</maintenance-mode></system-requires><file-list><file>opt/x</file></file-list>\
         <acceptance-level>{}</acceptance-level><live-install-allowed>{live}</live-install-allowed><live-remove-allowed>{live}</live-remove-allowed>\
         <payloads><payload name=\"payload1\" type=\"tgz\" size=\"{}\"><checksum checksum-type=\"sha-256\">{}</checksum>\
         <checksum checksum-type=\"sha-256\" verify-process=\"gunzip\">{}</checksum></payload></payloads></vib>",
        made.name,
        made.version,
        made.vendor,
        made.relations,
        made.level,
        payload.len(),
        hex(&payload),
        hex(made.name.as_bytes()),
    );
    ar(&[("descriptor.xml", xml.as_bytes()), ("sig.pkcs7", made.signature), ("payload1", &payload)])
}

fn bundle(vibs: &[Vec<u8>]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("index.xml", options).unwrap();
    zip.write_all(b"<vendorList/>").unwrap();
    for (n, vib) in vibs.iter().enumerate() {
        zip.start_file(format!("vib20/x/{n}.vib"), options).unwrap();
        zip.write_all(vib).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn store(name: &str, uuid: &str, kind: &str, size: u64, free: u64) -> Datastore {
    Datastore { name: name.into(), uuid: uuid.into(), kind: kind.into(), size, free, partition: 6 }
}

fn vm(id: u32, name: &str, world: i64) -> Vm {
    Vm { id, name: name.into(), world, power: "on".into() }
}

#[test]
fn every_version_has_a_host() {
    for (version, full) in [("6.0", "6.0.0"), ("6.5.0", "6.5.0"), ("6.7", "6.7.0"), ("7.0", "7.0.3"), ("8.0", "8.0.3")]
    {
        let mut h = Host::new(version);
        assert_eq!(h.state.version(), full);
        assert!(h.state.boot_disk_visible() && h.state.ssh_running() && h.state.ssh_enabled_at_boot());
        assert_eq!(h.state.net.vmks[0].mac, h.state.nics[0].mac);
        assert!(h.state.image.vibs.len() >= 30, "{}", h.state.image.vibs.len());
        let again: HostState = serde_json::from_str(&serde_json::to_string(&h.state).unwrap()).unwrap();
        assert_eq!(again, h.state);
        // Every command without a required option and without an effect answers in every form.
        for line in h.run("esxcli esxcli command list").0.lines().skip(2).map(str::to_owned).collect::<Vec<_>>() {
            let mut words = line.split_whitespace();
            let (space, name) = (words.next().unwrap(), words.next().unwrap());
            if !matches!(name, "list" | "get") {
                continue;
            }
            let path = format!("{} {name}", space.replace('.', " "));
            for form in ["text", "xml", "csv", "keyvalue"] {
                let (text, code) = h.run(&format!("esxcli --formatter={form} {path}"));
                assert!(code == 0 || text.starts_with("Error: Missing"), "{path}: {text}");
            }
        }
    }
    assert!(HostState::factory("9.9", 0).is_err());
    let (a, b) = (HostState::factory("8.0", 0).unwrap(), HostState::factory("8.0", 1).unwrap());
    assert_ne!((a.uuid, a.nics[0].mac.clone()), (b.uuid, b.nics[0].mac.clone()));
    assert_ne!(a.stores[0].uuid, b.stores[0].uuid);
    assert_ne!(a.bootbanks, b.bootbanks);
}
