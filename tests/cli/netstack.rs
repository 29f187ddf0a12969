//! A vmknic in a TCP/IP stack of its own, with that stack's gateway.

use crate::common::{Home, SimHosts, arg, reachable};

const PLAYBOOK: &str = "\
steps:
  - portgroup: {name: Move, vswitch: vSwitch0, vlan: 9}
  - vmknic:
      name: vmk1
      portgroup: Move
      netstack: vmotion
      ipv4: {address: 10.0.9.11/24, gateway: 10.0.9.1}
";

#[test]
fn a_gateway_belongs_to_its_stack_and_converges() {
    for version in ["6.0", "8.0"].into_iter().filter(reachable) {
        let home = Home::new();
        let sim = SimHosts::start(&home, version, 1, &["--boot-ms", "300", "--hostd-ms", "200"]);
        let playbook = home.write("site.yml", PLAYBOOK);
        let args = [arg(&playbook), "-i", sim.inventory(), "--output", "json"];
        let ran = home.run(&[&["apply"], &args[..]].concat()).exits(0);
        assert_eq!(ran.of("run_finished")[0]["changed"], 2, "{}", ran.all());
        home.run(&[&["verify"], &args[..]].concat()).exits(0);
        let own = sim.on_host(&home, "esxcli network ip route ipv4 list -N vmotion | grep ^default");
        assert!(own.contains("10.0.9.1") && own.contains("vmk1"), "{own}");
        let others = sim.on_host(&home, "esxcli network ip route ipv4 list | grep ^default");
        assert!(others.contains("192.0.2.1") && others.contains("vmk0"), "{others}");
        sim.stop();
    }
}
