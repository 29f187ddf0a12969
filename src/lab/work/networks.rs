//! The networks of a plan, as things to be made in order.

use std::sync::Arc;

use super::session::{Session, WorkError, blocking};
use crate::lab::net;
use crate::lab::plan::{Backend, Network};
use crate::lab::spec::{Datapath, NetworkKind};
use crate::lab::thing::Thing;

/// Makes all networks of the lab. What needs root says so before anything is made.
///
/// # Errors
/// Not root, a name that is taken, a program that failed.
pub async fn make(session: &Arc<Session>) -> Result<Option<String>, WorkError> {
    let mut things = Vec::new();
    for network in &session.plan.networks {
        match network.kind {
            NetworkKind::Nat => {}
            NetworkKind::Hub => things.extend(hub(session, network)?),
            NetworkKind::Bridge | NetworkKind::Ovs => things.extend(net::layout(&request(session, network))?),
        }
    }
    let root = net::needs_root(&things);
    if !root.is_empty() && !rustix::process::geteuid().is_root() {
        return Err(WorkError::said(format!(
            "these need root: {}. Run it with sudo, or use networks of type `nat` and `hub`, which need none",
            root.join(", ")
        )));
    }
    let made = things.len();
    let making = session.clone();
    blocking(move || {
        things.into_iter().try_for_each(|thing| {
            let journalled = Thing::Net { thing: thing.clone() };
            // An address that the machine has had all along is not ours to take away again.
            if let net::Thing::Address(address) = &thing
                && address.already_there()?
                && !making.stands(&journalled)
            {
                return Ok(());
            }
            making.make(journalled, || thing.make())
        })
    })
    .await?;
    let kinds: Vec<String> = session.plan.networks.iter().map(|n| format!("{} ({})", n.name, n.kind.name())).collect();
    let made = if made == 1 { "1 thing".to_owned() } else { format!("{made} things") };
    Ok(Some(format!("{}; {made} in place", kinds.join(", "))))
}

/// The switch of a `hub` network: a process of its own. None for a network without NICs.
fn hub(session: &Session, network: &Network) -> Result<Option<net::Thing>, WorkError> {
    let mut config: Option<net::hub::Config> = None;
    for port in &network.ports {
        let Backend::Dgram { local, .. } = &port.backend else { continue };
        let (Some(dir), Some(name)) = (local.parent(), local.file_stem().and_then(|n| n.to_str())) else { continue };
        let config = config.get_or_insert_with(|| net::hub::Config::new(&session.plan.lab, dir));
        let mut made = net::hub::PortConfig::new(name);
        made.vlan = net::hub::VlanMode::of(port.vlan.or(network.vlan), &port.trunks);
        config.ports.push(made);
    }
    let Some(config) = config else { return Ok(None) };
    let program = std::env::current_exe()
        .map_err(|e| WorkError::said(format!("cannot find esxprep's own program, which is the switch: {e}")))?;
    let args = vec![super::HUB.to_owned()];
    Ok(Some(net::Thing::Hub(net::HubProcess { program, args, config })))
}

fn request(session: &Session, network: &Network) -> net::Request {
    let place = net::Place::host(&session.plan.lab);
    let bridge = network.bridge.clone().unwrap_or_default();
    let backend = match network.kind {
        NetworkKind::Ovs => net::Backend::Ovs {
            datapath: match network.datapath {
                Some(Datapath::Userspace) => net::Datapath::Userspace,
                _ => net::Datapath::Kernel,
            },
            private_dir: session.place.runtime().join("ovs"),
            system_answers: net::system_ovs_answers(),
        },
        _ => net::Backend::Bridge,
    };
    let taps = network.ports.iter().filter_map(|port| match &port.backend {
        Backend::Tap { ifname, .. } => Some(net::Attachment {
            tap: ifname.clone(),
            vlan: net::Vlan { tag: port.vlan, trunks: port.trunks.clone() },
        }),
        _ => None,
    });
    net::Request {
        netns_exists: false,
        backend,
        bridge,
        // A bridge of that name that is somebody else's is refused when it is made.
        bridge_exists: false,
        addresses: network.address.map(ipnet::IpNet::V4).into_iter().collect(),
        mtu: network.mtu.map(u32::from),
        user: None,
        nics: taps.collect(),
        place,
    }
}
