//! The other programs of the host: vmware, uname, chkconfig, init scripts, esxcfg-*, vmkfstools, df, reboot ...

use super::cmd::storage::boot_device;
use super::cmd::{self};
use super::factory::builds;
use super::state::{HostState, Release};
use super::{Answer, Call, Effect, vimcmd};

pub(super) fn args<'a>(call: &'a Call<'_>) -> Vec<&'a str> {
    call.argv.iter().skip(1).map(String::as_str).collect()
}

/// `vmware -v`, `-l`, `-vl` (recorded: `VMware ESXi 7.0 Update 3` has two numbers, `6.5.0 Update 1` three).
pub(super) fn vmware(state: &mut HostState, call: &Call<'_>) -> Answer {
    let letters: String = args(call).iter().filter_map(|a| a.strip_prefix('-')).collect();
    let (short, label) = state.label();
    let mut out = String::new();
    if letters.contains('v') || letters.contains("version") {
        out.push_str(&format!("VMware ESXi {} build-{}\n", state.full, state.build));
    }
    if letters.contains('l') {
        out.push_str(&format!("VMware ESXi {short} {label}\n"));
    }
    if out.is_empty() {
        return Answer::coded(
            "Usage: vmware <options>\n  -v, --version   Print the version\n  -l, --license   Print the version and update level\n",
            1,
        );
    }
    Answer::out(out)
}

/// Recorded on 8.0.2; the form is the same before, the build time is the image's.
pub(super) fn uname(state: &mut HostState, call: &Call<'_>) -> Answer {
    let letters: String = args(call).iter().filter_map(|a| a.strip_prefix('-')).collect();
    let release = format!("#1 SMP Release build-{} {}", state.build, builds::of(state.release).built);
    let all = letters.contains('a');
    let mut words = Vec::new();
    if all || letters.is_empty() || letters.contains('s') {
        words.push("VMkernel".to_owned());
    }
    if all || letters.contains('n') {
        words.push(state.fqdn());
    }
    if all || letters.contains('r') {
        words.push(state.full.clone());
    }
    if all || letters.contains('v') {
        words.push(release);
    }
    if all || letters.contains('m') {
        words.push("x86_64".into());
    }
    if all {
        words.push("x86_64 x86_64 ESXi".into());
    }
    Answer::out(words.join(" ") + "\n")
}

pub(super) fn hostname(state: &mut HostState, call: &Call<'_>) -> Answer {
    match args(call).first() {
        Some(&"-s") => Answer::out(format!("{}\n", state.host)),
        Some(&"-d") => Answer::out(format!("{}\n", state.domain)),
        _ => Answer::out(format!("{}\n", state.fqdn())),
    }
}

/// `chkconfig --list`, `chkconfig NAME [on|off]`. Not recorded: name padded to 24, then the word.
pub(super) fn chkconfig(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words = args(call);
    let (list, names): (Vec<&str>, Vec<&str>) = words.iter().copied().partition(|w| w.starts_with('-'));
    let row = |s: &super::state::Service| format!("{:<24}{}\n", s.script, if s.policy == "off" { "off" } else { "on" });
    if list.iter().any(|l| *l == "--list" || *l == "-l") {
        return match names.first() {
            None => Answer::out(state.services.iter().map(row).collect::<String>()),
            Some(name) => match state.service(name) {
                Some(s) => Answer::out(row(s)),
                None => Answer::err(format!("Service {name} not found\n"), 1),
            },
        };
    }
    let Some(name) = names.first() else { return Answer::err("usage: chkconfig [--list [name]] | name [on|off]\n", 1) };
    match (state.service_mut(name), names.get(1)) {
        (None, _) => Answer::err(format!("Service {name} not found\n"), 1),
        (Some(s), Some(&"on")) => {
            s.policy = "on".into();
            Answer::default()
        }
        (Some(s), Some(&"off")) => {
            s.policy = "off".into();
            Answer::default()
        }
        (Some(s), _) => Answer::coded(row(s), i32::from(s.policy == "off")),
    }
}

/// `/etc/init.d/NAME start|stop|restart|status`. Recorded: SSH (6.7), hostd and vpxa (5.x), snmpd (6.x); the
/// words of the others follow them. The exit code of `status` for a stopped service (3) is not verified.
pub(super) fn init_script(state: &mut HostState, call: &Call<'_>) -> Answer {
    let script = call.argv.first().and_then(|p| p.rsplit('/').next()).unwrap_or("").to_owned();
    let word = args(call).first().copied().unwrap_or("").to_owned();
    let Some(running) = state.service(&script).map(|s| s.running) else {
        return Answer::err(format!("sh: {}: not found\n", call.argv[0]), 127);
    };
    let login = match script.as_str() {
        "SSH" => Some("SSH login"),
        "ESXShell" => Some("ESX shell login"),
        _ => None,
    };
    let pid = 2_097_000 + u64::from(script.len() as u32) * 131;
    let stopped = match login {
        Some(what) => format!("{what} disabled\n"),
        None if !running => format!("{script} is not running\n"),
        None if matches!(script.as_str(), "hostd" | "vpxa") => {
            format!("watchdog-{script}: Terminating watchdog process with PID {pid}\n{script} stopped.\n")
        }
        None => format!("Stopping {script}\n"),
    };
    let started = match login {
        Some(what) => format!("{what} enabled\n"),
        None if script == "hostd" => "hostd started.\n".to_owned(),
        None if script == "vpxa" => "vpxa is running\n".to_owned(),
        None => format!("Starting {script}\n"),
    };
    match word.as_str() {
        // The words are recorded on 6.5, the exit code was not.
        "start" if script == "sfcbd-watchdog" && !state.guard.wbem => Answer::coded(
            format!(
                "sfcbd-init: Getting Exclusive access, please wait...\nsfcbd-init: Exclusive access granted.\n\
                 sfcbd-init: Request to start sfcbd-watchdog, pid {pid}\n\
                 sfcbd-config[{}]: No third party cim providers installed\n\
                 sfcbd-init: sfcbd not started, administratively disabled.\n",
                pid + 10
            ),
            1,
        ),
        "stop" if script == "slpd" && running && state.guard.slp_busy => {
            Answer::coded("slpd: refused to stop, the service is in use\n", 1)
        }
        "start" => {
            let answer = vimcmd::switch(state, &script, true);
            let text = if running && login.is_none() { format!("{script} is already running\n") } else { started };
            finish(text, answer.effects, &script, !running)
        }
        "stop" => {
            let answer = vimcmd::switch(state, &script, false);
            finish(stopped, answer.effects, &script, running)
        }
        "restart" => {
            let answer = vimcmd::switch(state, &script, true);
            // The recorded text of hostd ends with its stop: the start says nothing more on 5.0.
            let text = if script == "hostd" { stopped + "hostd started.\n" } else { stopped + &started };
            finish(text, answer.effects, &script, true)
        }
        // Recorded on 6.5.
        "status" if script == "sfcbd-watchdog" => {
            let word = if running { "is running" } else { "is not running" };
            Answer::coded(format!("sfcbd {word}\n"), if running { 0 } else { 3 })
        }
        "status" => match (login, running) {
            (Some(what), true) => Answer::out(format!("{what} enabled\n")),
            (Some(what), false) => Answer::coded(format!("{what} disabled\n"), 3),
            (None, true) => Answer::out(format!("{script} is running{}\n", if script == "hostd" { "." } else { "" })),
            (None, false) => {
                Answer::coded(format!("{script} is not running{}\n", if script == "hostd" { "." } else { "" }), 3)
            }
        },
        _ => Answer::coded(format!("Usage: {script} {{start|stop|status|restart}}\n"), 1),
    }
}

/// `services.sh restart`: the management agents go and come back, SSH stays. Its many lines (recorded on 5.x) depend on
/// what is installed; here it is one a service.
pub(super) fn services(state: &mut HostState, call: &Call<'_>) -> Answer {
    match args(call).first() {
        Some(&"restart") => {
            let names = state.services.iter().filter(|s| s.running && !matches!(s.script.as_str(), "SSH" | "DCUI"));
            let text: String = names.map(|s| format!("{} restarted\n", s.script)).collect();
            Answer::out(text).with(Effect::HostdRestart)
        }
        _ => Answer::coded("Usage: services.sh {start|stop|restart}\n", 1),
    }
}

fn finish(text: String, effects: Vec<Effect>, script: &str, changed: bool) -> Answer {
    let mut answer = Answer { effects, ..Answer::out(text) };
    if script == "hostd" && changed {
        answer.effects.push(Effect::HostdRestart);
    }
    answer
}

/// Saves when there is a boot bank. The words before it (a list of differences) depend on the files and are left
/// to the core; a host without its boot disk says that it cannot (its real words are not recorded).
pub(super) fn auto_backup(state: &mut HostState, _: &Call<'_>) -> Answer {
    if !state.boot_disk_visible() {
        return Answer::coded("Bootbank cannot be found at path '/bootbank'\n", 1);
    }
    Answer::out("Saving current state in /bootbank\nClock updated.\n").with(Effect::Save)
}

/// Writes a new certificate and key under the root.
pub(super) fn generate_certificates(state: &mut HostState, call: &Call<'_>) -> Answer {
    state.certificates += 1;
    for (path, content, _) in state.factory_files().into_iter().filter(|f| f.0.starts_with("/etc/vmware/ssl/")) {
        let real = call.path(&path);
        let _ = real.parent().map(std::fs::create_dir_all);
        if let Err(e) = std::fs::write(&real, content) {
            return Answer::err(format!("generate-certificates: {path}: {e}\n"), 1);
        }
    }
    Answer::default()
}

/// `reboot` saves and needs no maintenance mode; `reboot -f` saves nothing.
pub(super) fn reboot(_: &mut HostState, call: &Call<'_>) -> Answer {
    let words = args(call);
    let force = words.iter().any(|w| w.starts_with('-') && !w.starts_with("--") && w.contains('f'));
    let delay =
        words.iter().position(|w| *w == "-d").and_then(|i| words.get(i + 1)).and_then(|d| d.parse::<u64>().ok());
    Answer::default().with(Effect::Reboot { after_ms: if force { 0 } else { delay.unwrap_or(1) * 1000 }, save: !force })
}

/// `poweroff` and `halt` of busybox: as `reboot`, and the host stays off.
pub(super) fn poweroff(state: &mut HostState, call: &Call<'_>) -> Answer {
    let mut answer = reboot(state, call);
    for effect in &mut answer.effects {
        if let Effect::Reboot { after_ms, save } = *effect {
            *effect = Effect::PowerOff { after_ms, save };
        }
    }
    answer
}

pub(super) fn vmkping(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words = args(call);
    let value = |letter: &str| words.iter().position(|w| *w == letter).and_then(|i| words.get(i + 1)).copied();
    let Some(target) = words.last().filter(|w| cmd::is_ipv4(w)) else {
        return Answer::err("vmkping: no host given\n", 1);
    };
    let size = value("-s").and_then(|s| s.parse::<i64>().ok()).unwrap_or(56);
    let count = value("-c").and_then(|s| s.parse::<usize>().ok()).unwrap_or(3);
    let vmk = match value("-I") {
        Some(name) => state.net.vmks.iter().find(|v| v.name == name),
        None => state.net.vmks.first(),
    };
    let Some(vmk) = vmk else {
        return Answer::err(format!("Unknown interface '{}': Invalid argument\n", value("-I").unwrap_or("")), 1);
    };
    let mut out = format!("PING {target} ({target}): {size} data bytes\n");
    if words.contains(&"-d") && size > vmk.mtu - 28 {
        out.push_str(&"sendto() failed (Message too long)\n".repeat(count));
        out.push_str(&format!(
            "\n--- {target} ping statistics ---\n{count} packets transmitted, 0 packets received, 100% packet loss\n"
        ));
        return Answer::coded(out, 1);
    }
    for n in 0..count {
        out.push_str(&format!("{} bytes from {target}: icmp_seq={n} ttl=64 time=0.337 ms\n", size + 8));
    }
    out.push_str(&format!("\n--- {target} ping statistics ---\n{count} packets transmitted, {count} packets received, 0% packet loss\nround-trip min/avg/max = 0.337/0.337/0.337 ms\n"));
    Answer::out(out)
}

/// 5.x and 6.x print a bus of three digits (recorded on 6.5: `00000:000:02.0`).
pub(super) fn lspci(state: &mut HostState, call: &Call<'_>) -> Answer {
    let short = args(call).contains(&"-n");
    let parts = args(call).contains(&"-p");
    let mut out = String::new();
    for n in &state.nics {
        let old = state.release < Release::V67;
        let address = if old { n.pci.replacen("0000:00:", "00000:000:", 1) } else { n.pci.clone() };
        let (vendor, device) = &n.pci_id;
        out.push_str(&match (short, parts) {
            (true, _) => format!("{} Class 0200: {vendor}:{device} [{}]\n", n.pci, n.name),
            (_, true) => {
                format!("{} {vendor}:{device} 1af4:1100 255/   /     A V {:<12} {}\n", n.pci, n.driver, n.name)
            }
            _ => format!("{address} Network controller: {} [{}]\n", n.description, n.name),
        });
    }
    Answer::out(out)
}

/// `vmkfstools -P PATH`: a boot bank in the recorded form of the release (5.x words are not used by these lines).
pub(super) fn vmkfstools(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words = args(call);
    let Some(path) = words.iter().position(|w| *w == "-P" || *w == "-Ph").and_then(|i| words.get(i + 1)) else {
        return Answer::coded(
            "No valid command specified\n\n OPTIONS FOR FILE SYSTEMS:\n\nvmkfstools -P --queryfs vmfsPath\n",
            1,
        );
    };
    // A lost boot disk: /bootbank leads to /tmp, which is no volume. The real words are not recorded.
    let lost = || {
        Answer::err(
            format!(
                "Could not open {path}\nError: vmkfstools failed: vmkernel is not loaded or call not implemented.\n"
            ),
            255,
        )
    };
    if !state.boot_disk_visible() {
        return lost();
    }
    let (one, two) = state.bootbank_uuids();
    let store = match path.trim_end_matches('/') {
        "/bootbank" => state.mounted().find(|d| d.uuid == one),
        "/altbootbank" => state.mounted().find(|d| d.uuid == two),
        other => other
            .strip_prefix("/vmfs/volumes/")
            .and_then(|n| state.mounted().find(|d| d.uuid == n || (!d.name.is_empty() && d.name == n))),
    };
    let Some(d) = store else { return lost() };
    let block = if d.kind != "vfat" {
        1_048_576
    } else if d.size > 1 << 30 {
        65_536
    } else {
        4096
    };
    let new = state.release >= Release::V70;
    let first = match d.kind.as_str() {
        "vfat" => "vfat-0.04 (Raw Major Version: 0) file system spanning 1 partitions.".to_owned(),
        "VMFS-5" => "VMFS-5.61 (Raw Major Version: 14) file system spanning 1 partitions.".to_owned(),
        "VMFS-6" => "VMFS-6.82 (Raw Major Version: 24) file system spanning 1 partitions.".to_owned(),
        other => format!("{other}-1.00 (Raw Major Version: 1) file system spanning 1 partitions."),
    };
    let mode = if d.kind == "vfat" { "private" } else { "public" };
    let mut out = format!("{first}\nFile system label (if any): {}\nMode: {mode}\n", d.name);
    out.push_str(&format!(
        "Capacity {} ({} file blocks * {block}), {} ({} blocks) avail, max supported file size 0\n",
        d.size,
        d.size / block,
        d.free,
        d.free / block
    ));
    if new {
        out.push_str("Disk Block Size: 512/0/0\n");
    }
    out.push_str(&format!(
        "UUID: {}\nPartitions spanned (on \"disks\"):\n\t{}:{}\nIs Native Snapshot Capable: NO\n",
        d.uuid,
        boot_device(state),
        d.partition
    ));
    Answer::out(out)
}

fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G"] {
        if value < 1024.0 {
            return format!("{value:.1}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1}T")
}

/// Bytes in the files below a directory.
/// Bytes in the files below a folder of the real machine.
pub(super) fn tree_size(path: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|e| match e.metadata() {
            Ok(m) if m.is_dir() => tree_size(&e.path()),
            Ok(m) if m.is_file() => m.len(),
            _ => 0,
        })
        .sum()
}

fn volume_rows(state: &HostState, call: &Call<'_>) -> Vec<(String, u64, u64, String)> {
    if !state.boot_disk_visible() {
        return Vec::new();
    }
    state
        .mounted()
        .map(|d| {
            let mount = format!("/vmfs/volumes/{}", if d.name.is_empty() { &d.uuid } else { &d.name });
            let used = (d.size - d.free) + tree_size(&call.root.join("vmfs/volumes").join(&d.uuid));
            (d.kind.clone(), d.size, used.min(d.size), mount)
        })
        .collect()
}

/// The volumes: `df` in bytes or `df -h`.
pub(super) fn df(state: &mut HostState, call: &Call<'_>) -> Answer {
    let h = args(call).iter().any(|a| a.contains('h'));
    let mut out = String::from(if h {
        "Filesystem   Size   Used Available Use% Mounted on\n"
    } else {
        "Filesystem        Bytes         Used    Available Use% Mounted on\n"
    });
    for (kind, size, used, mount) in volume_rows(state, call) {
        let percent = used * 100 / size.max(1);
        out.push_str(&if h {
            format!(
                "{kind:<10} {:>6} {:>6} {:>9} {percent:>3}% {mount}\n",
                human(size),
                human(used),
                human(size - used)
            )
        } else {
            format!("{kind:<10} {size:>12} {used:>12} {:>12} {percent:>3}% {mount}\n", size - used)
        });
    }
    Answer::out(out)
}

/// RAM disks with their documented sizes; what is used comes from the files that are really there.
pub(super) fn vdf(state: &mut HostState, call: &Call<'_>) -> Answer {
    let mut out = String::from("Tardisk                  Space      Used\n");
    let bytes =
        |n: u64| if args(call).contains(&"-h") { format!("{}M", n / 1_048_576) } else { (n / 1024).to_string() };
    for vib in state.image.vibs.iter().take(6) {
        let name = format!("{}.v00", vib.payloads.first().map_or("", String::as_str));
        let size = 1_048_576 * (1 + vib.name.len() as u64);
        out.push_str(&format!("{name:<20} {:>9} {:>9}\n", bytes(size), bytes(size)));
    }
    out.push_str("-----\nRamdisk                   Size      Used Available Use% Mounted on\n");
    for (name, total, mount) in [
        ("root", 32_u64 << 20, "/"),
        ("etc", 28 << 20, "/etc"),
        ("opt", 32 << 20, "/opt"),
        ("var", 48 << 20, "/var"),
        ("tmp", call.tmp_bytes, "/tmp"),
        ("hostdstats", 303 << 20, "/var/lib/vmware/hostd/stats"),
    ] {
        let used = if name == "root" { 3 << 20 } else { tree_size(&call.path(mount)).min(total) };
        out.push_str(&format!(
            "{name:<20} {:>9} {:>9} {:>9} {:>3}% {}\n",
            bytes(total),
            bytes(used),
            bytes(total - used),
            used * 100 / total,
            if name == "root" { "--" } else { mount }
        ));
    }
    Answer::out(out)
}
