use std::path::Path;

use super::*;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn watcher(release: &str) -> Watcher {
    Watcher::new(WatchOptions {
        release: release.parse().unwrap(),
        report: Some("k1".into()),
        history: History::default(),
        slowness: 1.0,
        installed_before: false,
    })
}

fn screen(paper: [u8; 3], ink: [u8; 3], lines: usize) -> Screen {
    let pixel = |n: usize| if n / 64 < lines && n.is_multiple_of(3) { ink } else { paper };
    Screen { width: 64, height: 64, rgb: (0..64 * 64).flat_map(pixel).collect() }
}

fn phases(reports: &[Report]) -> Vec<Phase> {
    reports.iter().filter_map(|r| if let Report::Entered { phase, .. } = r { Some(*phase) } else { None }).collect()
}

const MIB: u64 = 1024 * 1024;

/// An install that goes well, told by serial port, disk and QEMU.
fn good(w: &mut Watcher) -> Vec<Report> {
    let mut out = Vec::new();
    let mut saw = |event: Event<'_>, at: u64| out.extend(w.saw(event, s(at)));
    saw(Event::Screen(&screen([0; 3], [200; 3], 5), None), 2);
    saw(Event::Serial(b"Loading /b.b00\r\nLoading /jumpstrt.gz\r\n"), 6);
    saw(Event::DiskBytes(200 * 1024), 10);
    saw(Event::Serial(b"2026-01-01T00:00:00.123Z cpu0:6553"), 40);
    saw(Event::Serial(b"6)VMKernel: starting\r\n"), 41);
    saw(Event::ScriptFetched, 60);
    saw(Event::DiskBytes(10 * MIB), 100);
    saw(Event::Ssh(true), 101);
    saw(Event::DiskBytes(80 * MIB), 120);
    saw(Event::Serial(b"cpu1:2097)weasel: _b=k1 vsish \"${_a}-${_b}: installed\"\r\n"), 125);
    saw(Event::DiskBytes(900 * MIB), 300);
    saw(Event::Serial(b"2026-01-01T00:05:00Z cpu0:65536)ESXPREP-k1: installed\r\n"), 400);
    saw(Event::Qmp("RESET"), 415);
    saw(Event::Ssh(false), 420);
    saw(Event::Serial(b"2026-01-01T00:06:00Z cpu0:65536)Boot\r\n"), 440);
    saw(Event::Qmp("RESET"), 500);
    saw(Event::Ssh(true), 560);
    out
}

#[test]
fn a_good_install_is_followed_phase_by_phase() {
    let mut w = watcher("8.0.3");
    let reports = good(&mut w);
    assert_eq!(
        phases(&reports),
        [
            Phase::LoadingModules,
            Phase::Installer,
            Phase::Copying,
            Phase::Installed,
            Phase::Rebooting,
            Phase::Booting,
            Phase::SshUp
        ]
    );
    let took: Vec<(Phase, u64)> = w.took().iter().map(|(p, t)| (*p, t.as_secs())).collect();
    assert_eq!(
        took,
        [
            (Phase::Firmware, 6),
            (Phase::LoadingModules, 35),
            (Phase::Installer, 79),
            (Phase::Copying, 280),
            (Phase::Installed, 15),
            (Phase::Rebooting, 25),
            (Phase::Booting, 120)
        ]
    );
    assert!(reports.contains(&Report::RebootedAgain { resets: 1 }));
    assert!(matches!(reports.last(), Some(Report::Done(_))));
    assert!(!reports.iter().any(|r| matches!(r, Report::Stalled(_) | Report::Failed(_) | Report::NoMarker)));
    assert!(w.is_over() && w.saw(Event::Exited(Some(0)), s(600)).is_empty());
}

#[test]
fn earlier_runs_say_what_is_usual() {
    let mut history = History::default();
    for seconds in [100, 300, 200] {
        history.add(&[(Phase::Copying, s(seconds))]);
    }
    assert_eq!(history.usual(Phase::Copying), Some(s(200)));
    assert_eq!(history.usual(Phase::Booting), None);
    (0..50).for_each(|_| history.add(&[(Phase::Copying, s(7))]));
    assert_eq!(history.usual(Phase::Copying), Some(s(7)), "old runs are forgotten");
    let text = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
    let odd: History = serde_json::from_str(r#"{"times":{"copying":[-1.0,1e300]}}"#).unwrap();
    assert_eq!(odd.usual(Phase::Copying), None);
    let mut w = watcher("8.0");
    w.options.history = history;
    w.saw(Event::DiskBytes(1), s(1));
    let reports = w.saw(Event::DiskBytes(100 * MIB), s(2));
    assert!(matches!(reports[0], Report::Entered { usual: Some(t), .. } if t == s(7)), "{reports:?}");
}

fn stall(reports: &[Report]) -> Option<&Stall> {
    reports.iter().find_map(|r| match r {
        Report::Stalled(stall) | Report::Failed(stall) => Some(stall),
        _ => None,
    })
}

fn first_cause(reports: &[Report]) -> &'static str {
    stall(reports).and_then(|s| s.causes.first()).map_or("-", |c| c.code)
}

#[test]
fn a_stall_is_told_once_per_limit_with_what_is_known() {
    let mut w = watcher("8.0");
    w.saw(Event::Serial(b"cpu0:1)one\r\n\x1b[31mcpu0:1)two\x1b[0m\r\nunfinished"), s(8));
    let saved = Path::new("/lab/h1/screen.png");
    w.saw(Event::Screen(&screen([0; 3], [200; 3], 9), Some(saved)), s(9));
    let quiet = history::limit(Phase::Installer).quiet.as_secs();
    assert!(w.saw(Event::Tick, s(8 + quiet)).is_empty());
    let reports = w.saw(Event::Tick, s(9 + quiet));
    let stall = stall(&reports).unwrap();
    assert_eq!((stall.phase, stall.quiet), (Phase::Installer, s(quiet)));
    assert_eq!(stall.last_lines, ["cpu0:1)one", "cpu0:1)two", "unfinished"]);
    assert_eq!(stall.screen.as_deref(), Some(saved));
    assert_eq!(first_cause(&reports), "installer-waits");
    let shown = stall.to_string();
    assert!(shown.contains("unfinished") && shown.contains("/lab/h1/screen.png") && shown.contains("do: "), "{shown}");
    assert!(w.saw(Event::Tick, s(10 + quiet)).is_empty(), "not again at once");
    assert!(!w.saw(Event::Tick, s(9 + 2 * quiet)).is_empty());
    // A sign of life starts anew; a blinking cursor is none.
    w.saw(Event::Serial(b"cpu0:1)three\r\n"), s(9 + 2 * quiet));
    assert!(w.saw(Event::Tick, s(8 + 3 * quiet)).is_empty());
    let mut blink = screen([0; 3], [200; 3], 9);
    blink.rgb[64 * 63 * 3] = 255;
    assert!(!w.saw(Event::Screen(&blink, None), s(9 + 3 * quiet)).is_empty());
}

#[test]
fn slow_machines_get_more_time() {
    let quiet = history::limit(Phase::Firmware).quiet;
    let mut emulated = watcher("8.0");
    emulated.options.slowness = 10.0;
    assert!(emulated.saw(Event::Tick, quiet.mul_f64(9.9)).is_empty());
    assert!(stall(&emulated.saw(Event::Tick, quiet.mul_f64(10.1))).is_some());
    // Measured: firmware and boot loader took four times what is usual.
    let usual = |p| history::limit(p).usual.as_secs();
    let mut slow = watcher("8.0");
    let loaded = 4 * usual(Phase::Firmware);
    slow.saw(Event::Serial(b"Loading /b.b00\r\n"), s(loaded));
    let started = loaded + 4 * usual(Phase::LoadingModules);
    // One sign of life between, so that nothing is stalled on the way.
    slow.saw(Event::Serial(b"Loading /k.b00\r\n"), s(loaded + 100));
    slow.saw(Event::Serial(b"cpu0:1)x\r\n"), s(started));
    let limit = 4 * history::limit(Phase::Installer).quiet.as_secs();
    assert!(slow.saw(Event::Tick, s(started + limit - 1)).is_empty());
    assert!(stall(&slow.saw(Event::Tick, s(started + limit))).is_some());
}

#[test]
fn causes_are_found_by_text_look_and_place() {
    let said = |release: &str, text: &str| {
        let mut w = watcher(release);
        let mut reports = w.saw(Event::Serial(format!("cpu0:1){text}\r\n").as_bytes()), s(1));
        reports.extend(w.saw(Event::Tick, s(5000)));
        first_cause(&reports)
    };
    assert_eq!(said("8.0.3", "Cannot find kickstart file on cd-rom with path -- /KS.CFG"), "ks-on-cd");
    assert_eq!(said("7.0", "No Network Adapters were detected"), "no-nic");
    assert_eq!(said("6.7", "No Network Adapters were detected"), "no-nic-old");
    assert_eq!(said("8.0", "disk device does not support OSDATA"), "osdata");
    assert_eq!(said("8.0", "fatal CPU mismatch on feature"), "cpu-mismatch");
    assert_eq!(said("8.0", "CPU_SUPPORT ERROR: The CPU"), "old-cpu");
    assert_eq!(said("8.0", "all is well"), "installer-waits");

    let place = |release: &str, text: &str| {
        let mut w = watcher(release);
        w.saw(Event::DiskBytes(1), s(1));
        w.saw(Event::DiskBytes(100 * MIB), s(2));
        w.saw(Event::Serial(text.as_bytes()), s(3));
        first_cause(&w.saw(Event::Tick, s(5000)))
    };
    assert_eq!(place("7.0", ""), "slow-disk");
    assert_eq!(place("7.0", "ESXPREP-k1: installed\n"), "eject");

    let mut w = watcher("8.0");
    let blank = screen([0; 3], [0; 3], 0);
    w.saw(Event::Screen(&blank, None), s(1));
    assert_eq!(first_cause(&w.saw(Event::Screen(&blank, None), s(200))), "blank-firmware");

    let mut w = watcher("8.0");
    good(&mut w);
    let mut w = Watcher::new(WatchOptions { installed_before: true, ..w.options });
    w.saw(Event::Serial(b"cpu0:1)x\r\n"), s(1));
    assert_eq!(w.phase(), Phase::Booting);
    let reports = w.saw(Event::Tick, s(5000));
    let codes: Vec<&str> = stall(&reports).unwrap().causes.iter().map(|c| c.code).collect();
    assert_eq!(codes, ["firstboot-hangs", "no-ssh"]);
}

#[test]
fn ends_that_are_failures() {
    let purple = screen([0xaa, 0, 0xaa], [255; 3], 30);
    let mut w = watcher("7.0");
    let reports = w.saw(Event::Screen(&purple, Some(Path::new("p.png"))), s(9));
    assert!(matches!(&reports[..], [Report::Failed(stall)] if stall.screen.is_some()), "{reports:?}");
    assert_eq!(first_cause(&reports), "purple");

    let mut w = watcher("7.0");
    let reports = w.saw(Event::Exited(None), s(9));
    assert!(stall(&reports).unwrap().what.contains("signal"));
    assert_eq!(first_cause(&reports), "exited");

    let mut w = watcher("7.0");
    assert_eq!(first_cause(&w.saw(Event::Qmp("SHUTDOWN"), s(9))), "off");
    let mut w = watcher("7.0");
    assert_eq!(first_cause(&w.saw(Event::Qmp("GUEST_PANICKED"), s(9))), "purple");

    // The firmware may reset once; a machine that does nothing else is in a loop.
    let mut w = watcher("7.0");
    for n in 1..LOOP {
        assert!(w.saw(Event::Qmp("RESET"), s(u64::from(n))).is_empty());
    }
    assert_eq!(first_cause(&w.saw(Event::Qmp("RESET"), s(9))), "loop");

    // A reset after copying without the script's word is told, but the host may still come up.
    let mut w = watcher("7.0");
    w.saw(Event::DiskBytes(1), s(1));
    w.saw(Event::DiskBytes(100 * MIB), s(2));
    let reports = w.saw(Event::Qmp("RESET"), s(3));
    assert!(reports.contains(&Report::NoMarker) && phases(&reports) == [Phase::Rebooting]);
    assert!(w.saw(Event::Ssh(true), s(60)).iter().any(|r| matches!(r, Report::Done(_))));
}

#[test]
fn every_cause_can_be_reached_and_has_its_own_name() {
    let mut names: Vec<&str> = CAUSES.iter().map(|c| c.code).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CAUSES.len());
    for cause in CAUSES {
        assert!(!cause.why.is_empty() && !cause.fix.is_empty() && !cause.evidence.source.is_empty());
        if let When::Console(pieces) = cause.when {
            assert!(pieces.iter().all(|p| *p == p.to_ascii_lowercase()), "{}", cause.code);
        }
    }
    for (limit, phase) in LIMITS.iter().zip(Phase::ALL) {
        assert_eq!(limit.phase, phase);
        assert!(limit.usual <= limit.most && limit.quiet <= limit.most);
    }
}

#[test]
fn logs_are_bounded_and_any_bytes_are_taken() {
    let mut w = watcher("8.0");
    let before = w.saw(Event::Serial(&vec![0xfe; 3_000_000]), s(1));
    assert!(before.is_empty(), "{before:?}");
    assert!(w.console().last(10_000).len() <= 201);
    let mut seed = 1u32;
    let noise: Vec<u8> = (0..50_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    assert!(crate::lab::install::fuzzing::console(&noise) > 1000);
}
