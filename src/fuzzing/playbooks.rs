//! Targets for playbooks, templates, and every kind of step on outputs that nobody expected.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::size;
use crate::esxi::{HostFacts, Output, Outputs, Version};
use crate::playbook::{MOST_TEXT, Playbook, Problems, Scope};
use crate::steps::{Action, Artifacts, Seen, Step, kinds};

/// Nothing lies beside it, so that includes and files are missing.
const PATH: &str = "/nonexistent/site.yml";

pub(super) const PLAYBOOKS: &[&str] = &[
    "name: x\nhosts: [all, '!esx9']\nesxi: ['6.5', '8.0']\nvars: {a: 1, b: [x, y], c: {d: yes}}\nreboot: never\non_running_vms: shutdown\nsteps:\n  - name: \"{{ a }} of {{ item }}\"\n    setting: {key: \"{{ item }}\", value: 0755}\n    for_each: \"{{ b }}\"\n    when: host.version is version('>=', '6.7') and a > 0\n    tags: [t]\n    register: r\n    retries: 2\n    delay: 1s\n  - run: {command: \"echo {{ r.changed | default('') }}\", creates: /tmp/x}\n    timeout: 5m\n    expect: {command: date, contains: 20}\n",
    "x: &a {k: 1}\nsteps:\n  - &s\n    vswitch: {<<: *a, name: v, security: {promiscuous: on}}\n  - *s\n  - include: other.yml\n    vars: {z: !!str 1}\n  - run: |\n      cat <<E\n      it's {{ 1 + 1 }}\n      E\n  - run: >-\n      a\n      b\n...\n",
    "steps: [{firewall: {ruleset: sshServer, allowed: [192.0.2.0/24]}}, {account: {user: x, password: \"{{ p }}\", role: Admin}}, reboot: {}]\n",
];
pub(super) const TEMPLATES: &[&str] = &[
    "{{ a + 1 }}",
    "{% for x in b if x %}{{ loop.index }}:{{ x | upper | replace('a', 'b') }}{% else %}none{% endfor %}",
    "{{ host.version is version('<', '7.0') }} {{ c.d | default('x') ~ \"y\" }} {{ range(3) | join(',') }}",
    "{% if a > 1 and not b %}{{ {'k': [1, 2.5, none]} | tojson }}{% elif c is mapping %}{{ c.items() | list }}{% endif %}",
    "{% set s = 'x' * 10 %}{{ s[1:3] }}{{ s.split('x') }}{% raw %}{{ }}{% endraw %}${#name}{## c ##}",
    "{{ 'a' * 999999999999 }}{{ range(99999999999) }}{{ (1 / 0) ~ (1 // 0) ~ (-9223372036854775808 * -1) ~ 2 ** 9999 }}",
    "{{ c.d }} {{ range(65536) | join(',') }}",
];

/// Steps beside the documented examples: other shapes, and what needs no file of this machine.
const MORE: &str = "
- vib: {name: esx-ui, state: absent}
- vib: {name: net-e1000e}
- vmknic: {name: vmk0, mac: hardware}
- vmknic: {name: vmk1, portgroup: vMotion, mtu: 9000, netstack: vmotion, ipv4: {address: 10.0.9.11/24}}
- vmknic: {name: vmk9, state: absent}
- vswitch: {name: vSwitch0, uplinks: [vmnic0, vmnic1], mtu: 9000, cdp: both}
- portgroup: {name: VM Network, state: absent}
- nic: {name: vmnic0, speed: 1000, duplex: full}
- nic: {name: vmnic1, link: up}
- module: {name: vmw_ahci, enabled: false}
- module: {name: ixgben, parameters: {RSS: '0,1'}}
- firewall: {enabled: true, default_action: drop}
- service: {name: ssh, running: true, at_boot: true}
- account: {name: alice, state: absent}
- authorized_key: {key: \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBfK0dUmS1oMDsZQJyXz8N2gr3QSDN2zLoGSqpLHRfVX\"}
- file: {path: /etc/motd, content: x}
- dns: {servers: [], search: []}
- hostname: {fqdn: esx1.lab.example}
- setting: {values: {Security.AccountLockFailures: 5, Net.FollowHardwareMac: 1, VMkernel.Boot.execInstalledOnly: true, Config.HostAgent.plugins.solo.enableMob: false}}
- assert: {command: esxcli network nic list, field: MTU, where: {Name: vmnic0}, value: 1500}
- assert: {command: esxcli network firewall get, field: Enabled, value: true}
- assert: {command: vmware -v, matches: 'ESXi (\\d+)'}
- maintenance: {enabled: false}
";

/// Variables for what is bound.
fn vars() -> IndexMap<String, Value> {
    let vars = json!({"a": 1, "b": ["Net.FollowHardwareMac", "vmk1"], "c": {"d": "x"}, "vmotion_ip": "10.0.9.11/24"});
    vars.as_object().cloned().unwrap_or_default().into_iter().collect()
}

fn facts(major: u16, minor: u16) -> HostFacts {
    HostFacts::example(Version::new(major, minor))
}

fn shown(problems: &Problems) -> usize {
    let (plain, drawn) = (problems.plain(), problems.drawn(false, 80));
    assert!(!plain.trim().is_empty() && !drawn.trim().is_empty());
    plain.len()
}

/// Loads a playbook and binds its steps to a host.
fn bound(text: &str) -> Result<Vec<Box<dyn Step>>, Problems> {
    let vars = vars();
    let names: BTreeSet<String> = vars.keys().cloned().collect();
    let book = Playbook::from_text(Path::new(PATH), text, &names)?;
    let mut all = vars;
    all.extend(book.vars.clone());
    let facts = facts(6, 7);
    let registered = book.steps.iter().filter_map(|step| step.register.clone());
    let registered = registered.map(|name| (name, json!({"changed": true, "stdout": "x"}))).collect();
    let scope = Scope { vars: &all, facts: &facts, inventory_name: "esx1", registered: &registered };
    let mut steps = Vec::new();
    for step in &book.steps {
        assert!(step.span().line() >= 1);
        for bound in book.bind(step, &scope)? {
            steps.extend(bound.what.ok());
            steps.extend(bound.expect);
        }
    }
    Ok(steps)
}

/// A playbook: loaded, bound, and asked what it would read.
pub(super) fn playbook(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    match bound(&text) {
        Ok(steps) => steps.iter().map(|step| step.summary().len() + step.reads(&facts(6, 7)).len()).sum(),
        Err(problems) => shown(&problems),
    }
}

/// A template in a name, in a value and in a condition. A short one may mean a long text, so the text is held to the
/// bound of the product, and only what is said of a wrong one to the length of the input.
pub(super) fn template(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let quoted = Value::from(text.as_ref());
    let book = format!("steps:\n  - name: {quoted}\n    run: {{command: {quoted}, read_only: true}}\n");
    let condition = format!("steps:\n  - run: {{command: date, read_only: true}}\n    when: {quoted}\n");
    [book, condition]
        .iter()
        .map(|text| match bound(text) {
            Ok(steps) => {
                // The debug form writes a control character as five to eight.
                let made = size(&steps);
                assert!(made / 8 <= MOST_TEXT, "{made} bytes of one template");
                made.min(bytes.len())
            }
            Err(problems) => shown(&problems),
        })
        .sum()
}

/// Every kind of step, bound once.
static STEPS: LazyLock<Vec<Box<dyn Step>>> = LazyLock::new(|| {
    let examples: String = kinds().iter().map(|kind| kind.example.trim_end().to_owned() + "\n").collect();
    let items = examples + MORE.trim_start();
    match bound(&format!("steps:\n{items}")) {
        Ok(steps) => steps,
        Err(problems) => panic!("the fixed playbook is wrong:\n{}", problems.plain()),
    }
});

/// Every kind of step sees these bytes as the output of everything that it reads.
pub(super) fn steps(bytes: &[u8]) -> usize {
    let outputs: Vec<Output> = bytes
        .split(|byte| *byte == 0)
        .map(|part| {
            let code = i32::from(part.first() == Some(&b'!'));
            Output { stdout: String::from_utf8_lossy(part).into(), stderr: String::new(), code, seconds: 0.0 }
        })
        .collect();
    let artifacts = Artifacts::default();
    let mut all = 0;
    for host in [facts(6, 5), facts(8, 0)] {
        for step in STEPS.iter() {
            let mut seen = Outputs::default();
            for (command, output) in step.reads(&host).iter().zip(outputs.iter().cycle()) {
                seen.insert(command, output.clone());
            }
            let seen = Seen { host: &host, outputs: &seen, artifacts: &artifacts };
            let Ok(changes) = step.compare(&seen) else { continue };
            let mut ran = Vec::new();
            for change in &changes {
                assert!(!change.summary.trim().is_empty(), "{step:?}");
                all += change.summary.len() + change.before.len();
                for action in &change.actions {
                    if let Action::Run(command) = action {
                        let judged = step.judge(command, &outputs[0]);
                        all += judged.map_or_else(|error| error.to_string().len(), |verdict| size(&verdict));
                        ran.push((command.clone(), outputs[0].clone()));
                    }
                }
            }
            all += step.register(&seen, &ran).to_string().len();
        }
    }
    all
}
