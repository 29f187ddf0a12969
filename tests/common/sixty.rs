//! A playbook of sixty steps that a freshly installed host matches already.

use std::fmt::Write as _;

/// Its text: 42 settings, 6 port groups, 6 vSwitches, 6 modules.
pub fn sixty_steps() -> String {
    let mut text = String::from("name: Sixty\nsteps:\n");
    for _ in 0..7 {
        for (key, value) in [
            ("Net.FollowHardwareMac", 0),
            ("UserVars.SuppressShellWarning", 0),
            ("UserVars.ESXiShellTimeOut", 0),
            ("UserVars.ESXiShellInteractiveTimeOut", 0),
            ("UserVars.DcuiTimeOut", 600),
            ("Mem.ShareForceSalting", 2),
        ] {
            let _ = writeln!(text, "  - setting: {{key: {key}, value: {value}}}");
        }
    }
    for _ in 0..6 {
        text.push_str("  - portgroup: {name: VM Network, vswitch: vSwitch0, vlan: 0}\n");
        text.push_str("  - vswitch: {name: vSwitch0, mtu: 1500}\n");
        text.push_str("  - module: {name: vmkusb, enabled: true}\n");
    }
    text
}
