//! Random hosts for the round trips, and how to ask them.

use esxprep::esxi::Output;
use esxprep::sim::host::{Call, HostState, answer};
use serde_json::{Value, json};

/// The releases that can be simulated.
pub const RELEASES: [&str; 5] = ["6.0", "6.5", "6.7", "7.0", "8.0"];

/// Random numbers, the same for a release and a case in every run.
pub struct Dice(u64);

impl Dice {
    /// For a release and a case.
    pub fn new(release: &str, case: u64) -> Self {
        Self(release.bytes().fold(case + 1, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Names as people give them, and as they should not.
const NAMES: &[&str] = &[
    "VM Network 2",
    "vMotion",
    "DMZ (10)",
    "Lab  two blanks",
    "a",
    "-x",
    "--vlan",
    "--",
    "-- --",
    "it's",
    "\"q\"",
    "a:b",
    "a: b",
    ":",
    "Name:",
    "Name: x",
    "Portset: y",
    "Tags",
    "a,b",
    "a, b",
    "$HOME",
    "`x`",
    "\\n",
    "\\",
    "<unset>",
    "null",
    "true",
    "0",
    "4095",
    "Äpfel",
    "漢字",
    "🖧 lab",
    "e\u{301}",
    "x\u{200b}y",
    "a\tb",
    "=",
    "%s",
    "*",
    "[x]",
    " [x]",
    "Error: x",
    "Display Name: x",
    "VLAN ID",
    "vSwitch0 ",
    "Usage: esxcli",
    "(a) {",
    "}",
    "#",
    "N/A 1",
    "All",
    "n",
    "\u{202e}x",
    "a very long name that is wider than its column ever was before",
];

/// Texts for values of settings.
const TEXTS: &[&str] = &[
    "",
    "x",
    " x",
    "x ",
    "a b",
    "a: b",
    "Path: /x",
    "Int Value: 7",
    "/vmfs/volumes/a b/c",
    "ldap://x:389,y",
    "\t",
    "'",
    "`$(x)`",
    "{}",
    "<b>&amp;</b>",
    "é漢🖧",
    "#",
    "*",
    "\\",
    "C:\\new",
    "\"",
    "\"q\"",
    "a\" b",
    "%n",
    "--",
    "=",
    "key = value",
    "\u{1b}[0m",
];

/// A simulated host: its state, and the same as JSON to compare with.
pub struct Host {
    /// The state.
    pub state: HostState,
    /// The state as it was made.
    pub value: Value,
    root: tempfile::TempDir,
}

impl Host {
    /// A random state that a host of the release could be in.
    pub fn random(release: &str, dice: &mut Dice) -> Self {
        let factory = HostState::boot(&HostState::factory(release, dice.below(200)).unwrap(), 1_700_000_000);
        let mut value = serde_json::to_value(&factory).unwrap();
        network(dice, &mut value);
        system(dice, &mut value);
        let mut state: HostState = serde_json::from_value(value.clone()).unwrap();
        options(dice, &mut state);
        for (key, new) in serde_json::to_value(&state).unwrap().as_object().unwrap() {
            value[key] = new.clone();
        }
        Self { state, value, root: tempfile::tempdir().unwrap() }
    }

    /// What a program prints, and its exit code.
    pub fn prints(&mut self, words: &[&str]) -> (String, i32) {
        let before = self.state.clone();
        let said = self.run(words);
        assert!(self.state == before, "{words:?} changed the host");
        said
    }

    fn run(&mut self, words: &[&str]) -> (String, i32) {
        call(&mut self.state, self.root.path(), words)
    }

    /// What a program prints that succeeds.
    pub fn says(&mut self, words: &[&str]) -> String {
        let (text, code) = self.prints(words);
        assert_eq!(code, 0, "{words:?}: {text}");
        // No name and no value makes an answer look like a failure.
        let failure = esxprep::esxi::failure::failure(&Output::ok(text.as_str()));
        assert!(failure.is_none(), "{words:?}: {failure:?}\n{text}");
        text
    }
}

fn call(state: &mut HostState, root: &std::path::Path, words: &[&str]) -> (String, i32) {
    let argv: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    let call = Call {
        argv: &argv,
        stdin: b"",
        root,
        tmp_bytes: 256 << 20,
        now: 1_700_000_600,
        ssh_connection: "192.0.2.1 50000 192.0.2.10 22",
        tty: false,
        hostd_up: true,
    };
    let said = answer(state, &call);
    (String::from_utf8([said.stdout, said.stderr].concat()).unwrap(), said.code)
}

/// Different names that a table can show: no blanks at the ends.
fn names(dice: &mut Dice, count: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    while all.len() < count {
        let mut name = dice.pick(NAMES).trim().to_owned();
        if dice.below(3) == 0 {
            name = format!("{name} {}", dice.pick(NAMES).trim());
        }
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn mac(dice: &mut Dice) -> String {
    let b = dice.next().to_le_bytes();
    format!("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0] & 0xfe | 2, b[1], b[2], b[3], b[4], b[5])
}

fn address(dice: &mut Dice) -> String {
    std::net::Ipv4Addr::from(dice.next() as u32 | 0x0100_0001).to_string()
}

fn network(dice: &mut Dice, value: &mut Value) {
    let nic = value["nics"][0].clone();
    let nics: Vec<Value> = (0..1 + dice.below(6))
        .map(|n| {
            let mut nic = nic.clone();
            nic["name"] = json!(format!("vmnic{n}"));
            nic["mac"] = json!(mac(dice));
            nic["up"] = json!(dice.coin());
            nic["link"] = json!(dice.coin());
            nic["speed"] = json!(dice.pick(&[10, 100, 1000, 10000, 100_000]));
            nic["duplex"] = json!(dice.pick(&["Full", "Half"]));
            nic["mtu"] = json!(1280 + dice.below(7911));
            nic["description"] = json!(names(dice, 1)[0]);
            nic
        })
        .collect();
    let mut free: Vec<Value> = nics.iter().map(|n| n["name"].clone()).collect();
    value["nics"] = json!(nics);
    let net = &mut value["net"];
    let (switch, group, vmk) = (net["vswitches"][0].clone(), net["portgroups"][0].clone(), net["vmks"][0].clone());
    let count = 1 + dice.below(4);
    let switches: Vec<Value> = names(dice, count)
        .into_iter()
        .map(|name| {
            let mut switch = switch.clone();
            switch["name"] = json!(name);
            switch["mtu"] = json!(1280 + dice.below(7911));
            switch["cdp"] = json!(dice.pick(&["down", "listen", "advertise", "both"]));
            let taken = dice.below(free.len() + 1);
            switch["uplinks"] = json!(free.drain(..taken).collect::<Vec<_>>());
            switch["security"] = json!({"promiscuous": dice.coin(), "mac_change": dice.coin(), "forged": dice.coin()});
            switch
        })
        .collect();
    let count = 1 + dice.below(8);
    let groups: Vec<Value> = names(dice, count)
        .into_iter()
        .map(|name| {
            let mut group = group.clone();
            group["name"] = json!(name);
            group["vswitch"] = dice.pick(&switches)["name"].clone();
            group["vlan"] = json!(dice.pick(&[0, 1, 10, 999, 4094, 4095]));
            group["vm_clients"] = json!(dice.below(300));
            for part in ["promiscuous", "mac_change", "forged"] {
                group[part] = dice.pick(&[Value::Null, Value::Bool(true), Value::Bool(false)]).clone();
            }
            group
        })
        .collect();
    let mut stacks = vec!["defaultTcpipStack".to_owned(), "vmotion".into()];
    stacks.extend(names(dice, 2).into_iter().take(dice.below(3)));
    let vmks: Vec<Value> = (0..1 + dice.below(6))
        .map(|n| {
            let mut vmk = vmk.clone();
            vmk["name"] = json!(format!("vmk{n}"));
            vmk["portgroup"] = dice.pick(&groups)["name"].clone();
            vmk["mac"] = json!(mac(dice));
            vmk["enabled"] = json!(dice.coin());
            vmk["mtu"] = json!(1280 + dice.below(7911));
            vmk["netstack"] = json!(dice.pick(&stacks));
            let kind = *dice.pick(&["STATIC", "DHCP", "NONE"]);
            vmk["kind"] = json!(kind);
            let none = kind == "NONE";
            vmk["address"] = json!(if none { "0.0.0.0".into() } else { address(dice) });
            vmk["netmask"] =
                json!(if none { "0.0.0.0" } else { dice.pick(&["255.255.255.0", "255.0.0.0", "255.255.255.252"]) });
            vmk["gateway"] = json!(if none || dice.coin() { "0.0.0.0".into() } else { address(dice) });
            vmk["dhcp_dns"] = json!(dice.coin());
            let tags = ["Management", "VMotion", "faultToleranceLogging", "VSAN", "vSphereProvisioning"];
            vmk["tags"] = json!(tags.iter().filter(|_| dice.coin()).collect::<Vec<_>>());
            vmk
        })
        .collect();
    let routes: Vec<Value> = (0..dice.below(5))
        .map(|n| {
            json!({
                "netstack": dice.pick(&stacks), "network": format!("10.{n}.0.0"), "netmask": "255.255.0.0",
                "gateway": address(dice), "interface": dice.pick(&vmks)["name"], "source": dice.pick(&["MANUAL", "DHCP"]),
            })
        })
        .collect();
    net["dns"] = json!((0..dice.below(4)).map(|_| address(dice)).collect::<Vec<_>>());
    net["search"] = json!((0..dice.below(4)).map(|n| format!("lab{n}.example")).collect::<Vec<_>>());
    net["vswitches"] = json!(switches);
    net["portgroups"] = json!(groups);
    net["netstacks"] = json!(stacks);
    net["vmks"] = json!(vmks);
    net["routes"] = json!(routes);
}

fn system(dice: &mut Dice, value: &mut Value) {
    value["boot_time"] = json!(1_000_000_000 + dice.next() % 2_000_000_000);
    value["boot_bus"] = json!("ide");
    value["maintenance"] = json!(dice.coin());
    value["domain"] = json!(dice.pick(&["", "lab.example", "x"]));
    value["acceptance"] =
        json!(dice.pick(&["VMwareCertified", "VMwareAccepted", "PartnerSupported", "CommunitySupported"]));
    for module in value["modules"].as_array_mut().unwrap() {
        module["enabled"] = json!(dice.coin());
        module["loaded"] = json!(dice.coin());
    }
    for service in value["services"].as_array_mut().unwrap() {
        service["policy"] = json!(dice.pick(&["on", "off", "automatic"]));
        service["running"] = json!(dice.coin());
    }
    let firewall = &mut value["firewall"];
    firewall["enabled"] = json!(dice.coin());
    firewall["pass"] = json!(dice.coin());
    for ruleset in firewall["rulesets"].as_array_mut().unwrap() {
        ruleset["enabled"] = json!(dice.coin());
        ruleset["all"] = json!(dice.coin());
        let one = |dice: &mut Dice| match dice.below(3) {
            0 => address(dice),
            1 => format!("{}/{}", address(dice), dice.below(33)),
            _ => format!("2001:db8::{:x}/64", dice.below(65536)),
        };
        ruleset["ips"] = json!((0..dice.below(5)).map(|_| one(dice)).collect::<Vec<_>>());
    }
    let count = dice.below(4);
    for (n, name) in names(dice, count).into_iter().enumerate() {
        let account = json!({"id": format!("user-{n}_x"), "description": name, "shell": dice.coin()});
        value["accounts"].as_array_mut().unwrap().push(account);
    }
    let vib = value["image"]["vibs"][0].clone();
    for n in 0..dice.below(5) {
        let mut vib = vib.clone();
        vib["name"] = json!(format!("net-{n}"));
        vib["version"] = json!(format!("{}.{}-{}vmw.{}", dice.below(99), dice.below(99), dice.below(9), dice.next()));
        vib["level"] = json!(dice.pick(&["VMwareCertified", "PartnerSupported", "CommunitySupported"]));
        value["image"]["vibs"].as_array_mut().unwrap().push(vib);
    }
    let store = value["stores"][0].clone();
    let count = dice.below(4);
    for (n, name) in names(dice, count).into_iter().enumerate() {
        let mut store = store.clone();
        store["name"] = json!(if dice.below(4) == 0 { String::new() } else { name });
        store["uuid"] = json!(format!("5bc7459f-967eeb48-b3f7-20677cd9a1{n:02x}"));
        store["size"] = json!(dice.next() >> 16);
        store["free"] = json!(dice.next() >> 20);
        value["stores"].as_array_mut().unwrap().push(store);
    }
    let count = dice.below(5);
    let vms = names(dice, count).into_iter().enumerate().map(|(n, name)| {
        json!({"id": n + 1, "name": name, "world": 2_100_000 + n, "power": dice.pick(&["on", "off", "suspended"])})
    });
    value["vms"] = vms.collect();
}

/// Options are set by the host's own programs: which there are depends on the release.
fn options(dice: &mut Dice, state: &mut HostState) {
    let root = tempfile::tempdir().unwrap();
    let mut run = |words: &[&str]| call(state, root.path(), words);
    let all = run(&[
        "esxcli",
        "--formatter=csv",
        "--format-param=fields=Path,Type,Min Value,Max Value",
        "system",
        "settings",
        "advanced",
        "list",
    ])
    .0;
    let rows: Vec<Vec<&str>> = all.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for _ in 0..12 {
        let row = dice.pick(&rows).clone();
        if row[0] == "/Misc/HostName" {
            continue;
        }
        let (option, value) = if row[1] == "integer" {
            let (min, max): (i128, i128) = (row[2].parse().unwrap(), row[3].parse().unwrap());
            ("int", (min + i128::from(dice.next()) % (max - min + 1)).to_string())
        } else {
            ("string", (*dice.pick(TEXTS)).to_owned())
        };
        let (said, code) = run(&[
            "esxcli",
            "system",
            "settings",
            "advanced",
            "set",
            "-o",
            row[0],
            &format!("--{option}-value={value}"),
        ]);
        assert_eq!(code, 0, "{row:?} {value:?}: {said}");
    }
    let all =
        run(&["esxcli", "--formatter=csv", "--format-param=fields=Name,Type", "system", "settings", "kernel", "list"])
            .0;
    let rows: Vec<Vec<&str>> = all.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for _ in 0..8 {
        let row = dice.pick(&rows).clone();
        let value = match row[1] {
            "Bool" => (*dice.pick(&["true", "FALSE", "TRUE", "false"])).to_owned(),
            "String" => dice.pick(TEXTS).trim().to_owned(),
            _ => dice.below(9999).to_string(),
        };
        run(&["esxcli", "system", "settings", "kernel", "set", "-s", row[0], &format!("--value={value}")]);
    }
    for key in
        ["Annotations.WelcomeMessage", "Config.Etc.issue", "Security.PasswordQualityControl", "Syslog.global.logHost"]
    {
        let value = *dice.pick(TEXTS);
        // hostd prints what it has between quotes; how it escapes was never recorded.
        if !value.contains('\\') {
            run(&["vim-cmd", "hostsvc/advopt/update", key, "string", value]);
        }
    }
}

/// The value of a label in a machine form, as text shows it: blanks at its ends cannot be seen there.
pub fn shown<'a>(rec: &'a Value, label: &str) -> String {
    let property = |label: &str| label.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    // A label may have a slash of its own (`Emulated DIX/DIF Enabled`), or one between two nested labels.
    let nested = |rec| label.split('/').fold(rec, |rec: &'a Value, part| &rec[property(part)]);
    let value = rec.get(property(label)).unwrap_or_else(|| nested(rec));
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Array(items) => {
            items.iter().map(|v| v.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", ").trim().to_owned()
        }
        // The records that stand below the label.
        Value::Object(_) | Value::Null => String::new(),
        other => other.to_string(),
    }
}
