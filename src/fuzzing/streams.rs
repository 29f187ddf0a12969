//! Targets for the framed shell's streams, the journal, the first round trip, and what a simulated host is asked.

use std::sync::LazyLock;

use super::{fields, said, size, text};
use crate::engine::detached::DetachedScript;
use crate::engine::events::Event;
use crate::engine::identify::Identify;
use crate::engine::journal::{StateDir, redact_argv};
use crate::esxi::{Output, Outputs};
use crate::sim::host::{Call, HostState, answer};
use crate::transport::frame::{Decoder, Done, FrameError, Framer};

/// A `\x01` stands for a line feed, the nonce and a blank.
pub(super) const FRAMES: &[&str] = &[
    "out\n\x010 0\nmore\x011 255\n\0err\x010\n\x011\n",
    "\x010 127\n\x012 0\n\0\x010\n",
    "a\x010 99999999999\n\x0118446744073709551616 0\n\0\x010\nb",
];
pub(super) const JOURNALS: &[&str] = &[
    "{\"run\":\"20261122-184501-7f3a\",\"started\":\"2026-11-22T18:45:01Z\",\"mode\":\"apply\",\"hosts\":[\"esx1\"],\"argv\":[\"esxprep\",\"apply\",\"-e\",\"p=secret\"],\"resumes\":null,\"exit_code\":0}\0{\"event\":\"run_started\",\"time\":\"2026-11-22T18:45:01.250Z\",\"run\":\"r\",\"playbook\":\"p.yml\",\"hosts\":[\"esx1\"],\"mode\":\"apply\"}\n{\"event\":\"note\",\"time\":\"t\",\"run\":\"r\",\"host\":null,\"text\":\"x\\u0085\"}\n{\"event\":\"host_failed\",\"time\":\"t\",\"run\":\"r\",\"host\":\"esx1\",\"error\":\"gone\",\"unreachable\":true}\n{\"event\":\"run_finished\",\"time\":\"t\",\"run\":\"r\",\"hosts\":1,\"ok\":1,\"changed\":0,\"failed\":0,\"unreachable\":0,\"seconds\":1.5}\n",
    "{\"run\":\"20261122-184501-7f3a\",\"started\":\"\",\"resumes\":\"last\"}\0\n\n{}\nnull\n",
];
pub(super) const FACTS: &[&str] = &[
    "VMware ESXi 6.5.0 build-5969303\nVMware ESXi 6.5.0 Update 1\n\0VMkernel esx7.lab 6.5.0 #1 SMP Release build-5969303 x86_64 ESXi\n\0\0lrwxrwxrwx 1 root root 49 Nov 22 08:00 /bootbank -> /vmfs/volumes/f3512b78-bf3b7cad-7894-c76c8646a5b6\n\0vfat-0.04 file system spanning 1 partitions.\nPartitions spanned (on \"disks\"):\n\tnaa.600605b0:5\n\0(vim.host.Summary) {\n   runtime = (vim.host.RuntimeInfo) {\n      inMaintenanceMode = false,\n      bootTime = \"2026-11-22T08:00:00Z\",\n   }\n}\n\0vm1\n   Display Name: vm1\n\x0010.0.0.5 50000 10.0.0.11 22\n\0/tmp/.esxprep-x\n",
    "failed\n--\nUnable to add\n",
];
pub(super) const CALLS: &[&str] = &[
    "esxcli\0network\0ip\0interface\0ipv4\0set\0-i\0vmk0\0-t\0static\0-I\x00192.0.2.9\0-N\x00255.255.255.0",
    "esxcli\0--formatter=csv\0--format-param=fields=Name,MTU\0network\0nic\0list",
    "esxcli\0--formatter=csv\0--format-param",
    "esxcli\0network\0vswitch\0standard\0portgroup\0set\0--portgroup-name=VM Network\0--vlan-id=4095",
    "esxcli\0system\0settings\0advanced\0set\0-o\0/Net/FollowHardwareMac\0-i\x001",
    "esxcli\0system\0module\0parameters\0set\0-m\0ixgben\0-p\0RSS=0,1",
    "esxcli\0network\0firewall\0ruleset\0allowedip\0add\0-r\0sshServer\0-i\x0010.0.0.0/8",
    "vim-cmd\0hostsvc/advopt/update\0Config.HostAgent.level\0string\0x\"y",
    "esxcfg-vswitch\0-l",
    "esxcfg-advcfg\0-s\x001\0/Net/FollowHardwareMac",
    "vmkfstools\0-P\0/bootbank",
    "/etc/init.d/ntpd\0status",
    "chkconfig\0--list",
];

/// A decoder's whole life: what finished, how it ended, what was left.
type Life = (Vec<Done>, Option<FrameError>, Vec<u8>, Vec<u8>);

fn lived(framer: &Framer, stdout: &[&[u8]], stderr: &[&[u8]]) -> Option<Life> {
    let mut decoder: Decoder = framer.decoder();
    let mut done = Vec::new();
    let mut error = None;
    // Standard error goes first: it must wait, however long it takes for the other.
    for piece in stderr {
        error = error.or(decoder.stderr(piece).err());
    }
    for piece in stdout {
        if error.is_none() {
            error = decoder.stdout(piece).err();
        }
        done.extend(std::iter::from_fn(|| decoder.next_done()));
    }
    let (out, err) = decoder.pending();
    Some((done, error, out.to_vec(), err.to_vec()))
}

/// The decoder gives the same however the streams are cut, and the framer takes any text.
pub(super) fn frame(bytes: &[u8]) -> usize {
    let mut framer = Framer::new();
    let marker = format!("\n{} ", framer.nonce());
    let mut streams = bytes.splitn(2, |byte| *byte == 0).map(|stream| {
        let mut out = Vec::new();
        for byte in stream {
            if *byte == 1 { out.extend_from_slice(marker.as_bytes()) } else { out.push(*byte) }
        }
        out
    });
    let (out, err) = (streams.next().unwrap_or_default(), streams.next().unwrap_or_default());
    let whole = lived(&framer, &[&out], &[&err]);
    for length in [1, 7, 97] {
        let pieces = lived(&framer, &out.chunks(length).collect::<Vec<_>>(), &err.chunks(length).collect::<Vec<_>>());
        match (&whole, &pieces) {
            (Some((done, None, out, err)), Some((got, None, left, over))) => {
                assert!(
                    (done, out, err) == (got, left, over),
                    "pieces of {length} gave {pieces:?}, the whole {whole:?}"
                );
            }
            // What was finished before the fault may already have been given.
            (Some((done, Some(fault), ..)), Some((got, Some(again), ..))) => {
                assert!(
                    fault == again && got.starts_with(done),
                    "pieces of {length} gave {pieces:?}, the whole {whole:?}"
                );
            }
            _ => panic!("pieces of {length} gave {pieces:?}, the whole {whole:?}"),
        }
    }
    let script = text(bytes);
    for stdin in [None, Some(bytes)] {
        match framer.encode(&script, stdin) {
            Ok((_, text)) => {
                assert!(text.ends_with(b"|| exit 141\n") && text.len() <= 5 * bytes.len() + 4 * script.len() + 1024)
            }
            Err(error) => assert!(error == FrameError::Nul && script.contains('\0')),
        }
    }
    whole.map_or(0, |(done, ..)| done.iter().map(|done| done.stdout.len() + done.stderr.len()).sum())
}

/// A run's folder: `meta.json`, a NUL, `events.jsonl`.
pub(super) fn journal(bytes: &[u8]) -> usize {
    let (meta, events) =
        bytes.iter().position(|byte| *byte == 0).map_or((bytes, &bytes[..0]), |at| (&bytes[..at], &bytes[at + 1..]));
    let mut all = 0;
    for line in events.split(|byte| *byte == b'\n') {
        let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
        let Ok(printed) = event.to_line() else { continue };
        assert!(!printed.contains(['\n', '\r', '\u{7f}', '\u{85}']), "{printed:?}");
        let again = serde_json::from_str::<Event>(&printed);
        assert!(again.as_ref().is_ok_and(|again| again == &event), "{event:?} became {again:?}");
        all += printed.len();
    }
    let Ok(folder) = tempfile::tempdir() else { return all };
    let run = "20261122-184501-7f3a";
    let dir = folder.path().join("runs").join(run);
    let written = std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(dir.join("meta.json"), meta))
        .and_then(|()| std::fs::write(dir.join("events.jsonl"), events));
    if written.is_err() {
        return all;
    }
    let state = StateDir::at(folder.path());
    let listed = state.list().map(|runs| runs.len());
    let recorded = state.load("last");
    if let Ok(recorded) = &recorded {
        assert!(listed.is_ok_and(|count| count == 1));
        assert!(recorded.events.len() + recorded.unreadable <= events.split(|byte| *byte == b'\n').count());
        all += size(&recorded.done());
        let argv = redact_argv(&recorded.meta.argv);
        assert_eq!(argv.len(), recorded.meta.argv.len());
        assert_eq!(redact_argv(&argv), argv);
    }
    all + said(&recorded.map(|recorded| recorded.events.len()))
}

/// The outputs of the first round trip, parted by NUL, and the answer of a detached change.
pub(super) fn identify(bytes: &[u8]) -> usize {
    let identify = Identify::default();
    let parts: [_; 9] = fields(bytes);
    let mut seen = Outputs::default();
    for (command, part) in identify.commands().iter().zip(&parts) {
        seen.insert(command, Output::ok(part.as_ref()));
    }
    let facts = identify.facts(&seen);
    if let Ok(facts) = &facts {
        assert!(facts.describe().contains("Boot Time"));
        assert!(!facts.persistent || facts.bootbank.starts_with("/vmfs/volumes/"));
        assert!(facts.leftovers.iter().all(|path| path.starts_with('/')));
    }
    let down = identify.hostd_down(&seen);
    said(&facts) + usize::from(down) + size(&DetachedScript::progress(&text(bytes)))
}

static HOSTS: LazyLock<Vec<HostState>> =
    LazyLock::new(|| ["6.0", "6.7", "8.0"].iter().filter_map(|version| HostState::factory(version, 0).ok()).collect());

/// The words of a command, parted by NUL, for simulated hosts of three releases that have no disk.
pub(super) fn simulator(bytes: &[u8]) -> usize {
    let words: Vec<String> = bytes.split(|byte| *byte == 0).map(|word| text(word).into_owned()).collect();
    let mut all = 0;
    for host in HOSTS.iter() {
        let mut state = HostState::boot(host, 1_700_000_000);
        let call = Call {
            argv: &words,
            stdin: b"",
            root: std::path::Path::new("/nonexistent"),
            tmp_bytes: 256 << 20,
            now: 1_700_000_600,
            ssh_connection: "192.0.2.1 50000 192.0.2.10 22",
            tty: false,
            hostd_up: true,
        };
        let said = answer(&mut state, &call);
        assert!((0..=255).contains(&said.code));
        // The state that it left can be kept and read again.
        let kept = serde_json::to_value(&state).and_then(serde_json::from_value::<HostState>);
        assert!(kept.is_ok_and(|kept| kept == state));
        all += said.stdout.len() + said.stderr.len();
    }
    all
}
