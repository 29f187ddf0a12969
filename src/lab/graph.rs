//! `lab graph`: the topology as SVG. Pure: text out of a plan.

use std::fmt::Write;

use crate::lab::plan::{GuestAddress, Host, Nic, Plan};
use crate::lab::spec::{Guest, NetworkKind, Size};

/// Width of a NIC's box.
const NIC: usize = 176;
/// Space between boxes.
const GAP: usize = 24;
/// Height of a line of text.
const LINE: usize = 16;

/// Text for XML. Names are checked when the lab is read; this holds whatever they are.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

/// A network's colour by its kind; each stands out on white and is told apart by its word as well.
fn colour(kind: NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Nat => "#6b7280",
        NetworkKind::Bridge => "#1d6fb8",
        NetworkKind::Ovs => "#7a3fb5",
        NetworkKind::Hub => "#1f8a5b",
    }
}

struct Svg(String);

impl Svg {
    fn rect(&mut self, x: usize, y: usize, w: usize, h: usize, style: &str) {
        let _ = writeln!(self.0, r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" {style}/>"#);
    }

    fn text(&mut self, x: usize, y: usize, class: &str, text: &str) {
        let _ = writeln!(self.0, r#"<text x="{x}" y="{y}" class="{class}">{}</text>"#, escaped(text));
    }

    fn line(&mut self, x: usize, from: usize, to: usize, colour: &str) {
        let _ = writeln!(
            self.0,
            r##"<path d="M{x} {from}V{to}" stroke="#ffffff" stroke-width="8"/><line x1="{x}" y1="{from}" x2="{x}" y2="{to}" stroke="{colour}" stroke-width="2"/><circle cx="{x}" cy="{to}" r="4" fill="{colour}"/>"##
        );
    }
}

/// What is written in a NIC's box.
fn nic_lines(nic: &Nic) -> Vec<String> {
    let mut lines = vec![format!("{} · {}", nic.id, nic.model.name()), nic.mac.clone()];
    lines.push(match &nic.address {
        GuestAddress::Static { address, .. } => address.to_string(),
        GuestAddress::Dhcp => "DHCP".into(),
        GuestAddress::None => "no address".into(),
    });
    lines.extend(nic.forwards.iter().map(|f| format!("127.0.0.1:{} → {}", f.host_port, f.guest_port)));
    lines
}

/// What is written of a host itself.
fn host_lines(host: &Host) -> Vec<String> {
    let what = match host.guest {
        Guest::Esxi => format!("ESXi {}", host.esxi),
        Guest::Standin => format!("stand-in, as ESXi {}", host.esxi),
    };
    let mut lines = vec![what];
    if let Some(machine) = host.last().map(|s| &s.machine) {
        let memory = Size(machine.memory << 20);
        let s = if machine.cpus == 1 { "" } else { "s" };
        lines.push(format!("{} CPU{s} · {memory} · {}", machine.cpus, machine.chipset.name()));
        for slot in &machine.disks {
            lines.push(format!("{} {} · {}", slot.disk.id, Size(slot.disk.size), slot.bus.name()));
        }
    }
    lines
}

/// The topology: hosts above with their NICs, networks below as bars, a line from each NIC to its network.
pub fn svg(plan: &Plan) -> String {
    let mut hosts: Vec<&Host> = plan.hosts.iter().collect();
    hosts.sort_by_key(|h| h.number);
    let head = 2 + hosts.iter().map(|h| host_lines(h).len()).max().unwrap_or(0);
    let nic_rows = hosts.iter().flat_map(|h| &h.nics).map(|n| nic_lines(n).len()).max().unwrap_or(0);
    let (top, nic_top) = (56, 56 + head * LINE + 4);
    let nic_height = nic_rows * LINE + 10;
    let bottom = nic_top + nic_height + 10;
    let bar = |i: usize| bottom + 44 + i * 52;
    let height = bar(plan.networks.len()) + 8;
    let widths: Vec<usize> = hosts.iter().map(|h| h.nics.len().max(1) * (NIC + 8) + 8).collect();
    let width = (widths.iter().map(|w| w + GAP).sum::<usize>() + GAP).max(420);

    let mut out = Svg(String::new());
    let _ = writeln!(
        out.0,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<style>text{{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1f2937}}.t{{font-weight:bold;font-size:15px}}.b{{fill:#ffffff;font-weight:bold}}</style>
<rect width="{width}" height="{height}" fill="#ffffff"/>"##
    );
    out.text(GAP, 32, "t", &format!("lab {}", plan.lab));
    for (i, network) in plan.networks.iter().enumerate() {
        let fill = colour(network.kind);
        out.rect(GAP, bar(i), width - 2 * GAP, 28, &format!(r#"fill="{fill}""#));
        let mut text = format!("{} · {}", network.name, network.kind.name());
        let more = network.address.map(|a| format!("this machine {a}")).or(network.subnet.map(|s| s.to_string()));
        for part in [more, network.bridge.clone(), network.mtu.map(|m| format!("MTU {m}"))].into_iter().flatten() {
            text.push_str(&format!(" · {part}"));
        }
        out.text(GAP + 12, bar(i) + 18, "b", &text);
    }
    let mut x = GAP;
    for (host, width) in hosts.iter().zip(widths) {
        out.rect(x, top, width, bottom - top, r##"fill="#f3f4f6" stroke="#9ca3af""##);
        out.text(x + 12, top + 22, "t", &host.name);
        for (i, line) in host_lines(host).iter().enumerate() {
            out.text(x + 12, top + 22 + (i + 1) * LINE, "h", line);
        }
        for (n, nic) in host.nics.iter().enumerate() {
            let nic_x = x + 8 + n * (NIC + 8);
            let network = plan.networks.iter().position(|p| p.name == nic.network);
            let fill = network.and_then(|i| plan.networks.get(i)).map_or("#9ca3af", |p| colour(p.kind));
            if let Some(i) = network {
                // Its own place along the bar, so that lines of one host are told apart.
                out.line(nic_x + NIC / 2, nic_top + nic_height, bar(i), fill);
            }
            let style = format!(r##"fill="#ffffff" stroke="{fill}" stroke-width="1.5""##);
            out.rect(nic_x, nic_top, NIC, nic_height, &style);
            for (i, line) in nic_lines(nic).iter().enumerate() {
                out.text(nic_x + 10, nic_top + (i + 1) * LINE, "n", line);
            }
        }
        x += width + GAP;
    }
    out.0.push_str("</svg>\n");
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::plan;
    use crate::lab::plan::tests::{able, lab};

    #[test]
    fn everything_is_drawn_and_the_text_is_xml() {
        let text = std::fs::read_to_string("labs/standin.yml").unwrap().replace("apply:", "#");
        let plan = plan(&lab(&text), &able("10.0.2")).unwrap();
        let svg = svg(&plan);
        let mut reader = quick_xml::Reader::from_str(&svg);
        let mut lines = 0;
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Empty(e) if e.name().as_ref() == "line" => lines += 1,
                _ => {}
            }
        }
        assert_eq!(lines, 4, "a line for every NIC");
        for host in &plan.hosts {
            assert!(svg.contains(&format!(">{}<", host.name)));
            for nic in &host.nics {
                assert!(svg.contains(&nic.mac));
                nic.forwards.iter().for_each(|f| assert!(svg.contains(&f.host_port.to_string())));
            }
        }
        assert!(svg.contains("10.9.0.12/24") && svg.contains("lan · hub"), "{svg}");
    }

    #[test]
    fn nothing_in_a_name_ends_a_tag() {
        assert_eq!(escaped("<a&\"'>\u{7}"), "&lt;a&amp;&quot;&#39;&gt;?");
    }
}
