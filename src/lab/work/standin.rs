//! The stand-in's kernel, initramfs and installer ISO, put into a plan.

use std::path::PathBuf;

use super::session::{WorkError, Working, blocking};
use crate::lab::events::{Happening, LabEvent, LabKind};
use crate::lab::plan::{DirectKernel, Plan};
use crate::lab::spec::Guest;
use crate::lab::standin::{self, Options};

/// Where the parts will be said to lie before they are made: a plan without them can still be shown.
pub fn placeholder() -> DirectKernel {
    let made = |name: &str| PathBuf::from(format!("/made/by/up/{name}"));
    DirectKernel { kernel: made("vmlinux"), initrd: made("initramfs"), append: standin::APPEND.join(" ") }
}

/// Makes the stand-in's parts, if any host needs them, and puts them into the plan.
///
/// # Errors
/// No kernel, or a program that is missing.
pub async fn fill(plan: &mut Plan, working: &Working) -> Result<(), WorkError> {
    for host in &mut plan.hosts {
        if host.guest != Guest::Standin {
            continue;
        }
        let release: String = host.esxi.split('.').take(2).collect::<Vec<_>>().join(".");
        let events = working.events.clone();
        let made = blocking(move || {
            let mut say = |text: &str| {
                let kind = LabKind::LabNote { host: None, text: format!("stand-in: {text}") };
                let time = crate::engine::events::now_rfc3339();
                let _ = events.send(Happening::Lab(LabEvent { time, run: String::new(), kind }));
            };
            standin::prepare(&Options { release, ..Options::default() }, &mut say).map_err(WorkError::said)
        })
        .await?;
        for stage in &mut host.stages {
            if let Some(kernel) = &mut stage.machine.kernel {
                kernel.kernel.clone_from(&made.kernel);
                kernel.initrd.clone_from(&made.initrd);
            }
        }
        if let Some(install) = &mut host.install {
            install.iso.get_or_insert(made.iso);
        }
    }
    Ok(())
}
