//! One simulated host: power on, run, save, go down, come back. Everything that changes a host passes through here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::SimError;
use super::accounts::Tallies;
use super::disk::Disk;
use super::error::IoContext;
use super::fault::Kind;
use super::host::HostState;
use super::jail::{Running, Sizes, TMP_BYTES};
use super::keys::HostKeys;
use super::links::{Listeners, Open, reserve};
use super::moments::{Log, Moments};
use super::options::Options;
use super::shim;
use super::toolbox::Toolbox;

/// One host and all that the machine holds for it.
pub(crate) struct SimHost {
    pub(crate) index: usize,
    /// esx1, esx2, ...
    pub(crate) label: String,
    pub(crate) options: Arc<Options>,
    pub(crate) faults: Vec<Kind>,
    pub(crate) address: SocketAddr,
    pub(crate) password: String,
    root_hash: String,
    pub(crate) disk: Disk,
    toolbox: Arc<Toolbox>,
    pub(super) inner: Mutex<Inner>,
    /// Held while the host goes up or down.
    pub(super) power: tokio::sync::Mutex<()>,
    pub(super) listeners: tokio::sync::Mutex<Listeners>,
    rebooting: AtomicBool,
    boots: AtomicUsize,
    pub(super) fired: Mutex<Vec<usize>>,
    pub(super) moments: Moments,
    pub(super) logins: AtomicUsize,
    pub(super) log: Option<Arc<Log>>,
    /// Ends everything that belongs to this host, for good.
    pub(crate) end: CancellationToken,
}

/// What changes while the host lives.
pub(super) struct Inner {
    pub(super) state: HostState,
    pub(super) keys: HostKeys,
    pub(super) running: Option<Running>,
    pub(super) on: CancellationToken,
    pub(super) hostd_at: Option<Instant>,
    pub(super) tallies: Tallies,
    pub(super) connections: Vec<Open>,
    pub(super) next_connection: u64,
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default()
}

/// A fresh installation, as options and faults want it.
fn factory(options: &Options, faults: &[Kind], index: usize) -> Result<HostState, SimError> {
    let fail = |reason: String| SimError::Options(reason);
    let mut state = HostState::factory(&options.version, index).map_err(|error| fail(error.to_string()))?;
    if faults.iter().any(|f| matches!(f, Kind::Cloned)) {
        state.replace_nic_mac("vmnic0", &format!("52:54:00:c1:{index:02x}:01"));
    }
    for fault in faults {
        match fault {
            Kind::Tpm => state.set_tpm(),
            Kind::SecureBoot => state.set_secure_boot(),
            Kind::Managed => state.set_managed(),
            Kind::SlpBusy => state.set_slp_busy(),
            Kind::Iscsi => state.add_iscsi_adapter(),
            Kind::LockdownException(user) => state.add_lockdown_exception(user),
            _ => {}
        }
    }
    if let Some(first) = options.management_address {
        let address = Ipv4Addr::from(u32::from(first).saturating_add(u32::try_from(index).unwrap_or(u32::MAX)));
        if !address.is_loopback() {
            return Err(fail(format!("{address} is not in 127.0.0.0/8: a simulated host cannot be found there")));
        }
        state.set_management_address(address);
    }
    Ok(state)
}

/// What [`SimHost::install`] needs to know of a host.
pub(crate) struct Birth {
    pub(crate) index: usize,
    pub(crate) options: Arc<Options>,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) dir: PathBuf,
    pub(crate) end: CancellationToken,
}

impl SimHost {
    /// Finds the host on its disk or installs it. It is off afterwards, but its port is taken. Blocking.
    pub(crate) fn install(birth: Birth) -> Result<Arc<SimHost>, SimError> {
        let Birth { index, options, toolbox, log, dir, end } = birth;
        let label = format!("esx{}", index + 1);
        let faults: Vec<Kind> =
            options.faults.iter().filter(|f| f.is_for(&label, index)).map(|f| f.kind.clone()).collect();
        let disk = Disk::open(dir)?;
        let keys = HostKeys::load_or_make(&disk.beside("keys"), &label)?;
        let (password, is_new) = super::password::of_host(&disk, options.password.as_deref())?;
        let root_hash = super::password::hash(&password);
        let saved = match disk.load(&label)? {
            Some(saved) => {
                if is_new {
                    disk.set_root_hash(&root_hash)?;
                }
                saved
            }
            None => {
                let fresh = factory(&options, &faults, index)?;
                disk.rebuild(&fresh, &toolbox, &root_hash, options.sftp)?;
                disk.save(&fresh)?;
                fresh
            }
        };
        let port = match options.listen.port() {
            0 => 0,
            first => u16::try_from(usize::from(first) + index).map_err(|_| {
                SimError::Options(format!(
                    "no port {} for host {label}: ports end at 65535",
                    usize::from(first) + index
                ))
            })?,
        };
        let listen = match options.management_address.and_then(|_| saved.management_addresses().first()?.parse().ok()) {
            Some(management) => management,
            None => options.listen.ip(),
        };
        let wanted = SocketAddr::new(listen, port);
        let fail = |source| SimError::Listen { address: wanted.to_string(), source };
        let socket = reserve(wanted).map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        let inner = Inner {
            state: saved,
            keys,
            running: None,
            on: CancellationToken::new(),
            hostd_at: None,
            tallies: Tallies::default(),
            connections: Vec::new(),
            next_connection: 0,
        };
        Ok(Arc::new(SimHost {
            index,
            label,
            options,
            faults,
            address,
            password,
            root_hash,
            disk,
            toolbox,
            inner: Mutex::new(inner),
            power: tokio::sync::Mutex::new(()),
            listeners: tokio::sync::Mutex::new(Listeners::holding(address, socket)),
            rebooting: AtomicBool::new(false),
            boots: AtomicUsize::new(0),
            fired: Mutex::new(Vec::new()),
            moments: Moments::default(),
            logins: AtomicUsize::new(0),
            log,
            end,
        }))
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, wanted: impl Fn(&Kind) -> bool) -> bool {
        self.faults.iter().any(wanted)
    }

    /// Seconds since 1970 on the host's own clock.
    pub(super) fn now(&self) -> u64 {
        let back = self.faults.iter().find_map(|f| if let Kind::ClockBack(s) = f { Some(*s) } else { None });
        let back = back.filter(|_| self.rebooted()).unwrap_or(0);
        unix_now().saturating_sub(back)
    }

    /// Whether this is not the first boot any more since the simulator started.
    pub(super) fn rebooted(&self) -> bool {
        self.rebooting.load(Ordering::SeqCst) || self.boots.load(Ordering::SeqCst) > 1
    }

    /// Powers the host on: volatile files anew, saved configuration, first process, then SSH, later hostd.
    pub(crate) async fn boot(self: &Arc<Self>) -> Result<(), SimError> {
        let _power = self.power.lock().await;
        if self.end.is_cancelled() {
            return Ok(());
        }
        let host = Arc::clone(self);
        let (state, running) = blocking(move || host.power_on()).await?;
        // A host that is there when the simulator starts has been up for a while.
        let early = self.boots.load(Ordering::SeqCst) == 0 && self.options.below.is_none();
        let mut hostd = if early { 0 } else { self.options.hostd_ms };
        for fault in &self.faults {
            if let Kind::SlowHostd(ms) = fault {
                hostd = *ms;
            }
        }
        let on = self.end.child_token();
        {
            let mut inner = self.inner();
            inner.state = state;
            inner.running = Some(running);
            inner.on = on.clone();
            inner.connections.clear();
            inner.tallies = Tallies::default();
            inner.hostd_at =
                (!self.has(|f| matches!(f, Kind::HostdDown))).then(|| Instant::now() + Duration::from_millis(hostd));
        }
        if let Some(late) = self.late() {
            self.see_disks_after(late, on.clone());
        }
        tokio::spawn(shim::serve(Arc::clone(self), self.disk.root(), on));
        self.boots.fetch_add(1, Ordering::SeqCst);
        self.follow_addresses().await;
        Ok(())
    }

    /// How long after SSH disks or datastores are there, if they are late.
    fn late(&self) -> Option<Duration> {
        self.faults.iter().find_map(|f| match f {
            Kind::LateBootbank(ms) | Kind::LateDatastores(ms) => Some(Duration::from_millis(*ms)),
            _ => None,
        })
    }

    fn see_disks_after(self: &Arc<Self>, wait: Duration, on: CancellationToken) {
        let host = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = on.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let mut inner = host.inner();
            inner.state.set_boot_disk_lost(false);
            inner.state.set_datastores_late(false);
            if let Err(error) = host.disk.volumes_again(&inner.state) {
                tracing::error!(%error, host = host.label, "the simulated host does not see its disks");
            }
        });
    }

    fn power_on(&self) -> Result<(HostState, Running), SimError> {
        let mut saved = match self.disk.load(&self.label)? {
            Some(saved) => saved,
            None => factory(&self.options, &self.faults, self.index)?,
        };
        if let Some(below) = &self.options.below {
            below.attach(&mut saved);
        }
        let mut state = HostState::boot(&saved, self.now());
        if self.boots.load(Ordering::SeqCst) == 0 {
            for fault in &self.faults {
                if let Kind::Vm(name) = fault {
                    state.add_vm(name, true);
                }
            }
        }
        if self.has(|f| matches!(f, Kind::LostBootDisk)) {
            state.set_boot_disk_lost(true);
        }
        if self.late().is_some() {
            state.set_boot_disk_lost(self.has(|f| matches!(f, Kind::LateBootbank(_))));
            state.set_datastores_late(true);
        }
        self.disk.rebuild(&state, &self.toolbox, &self.root_hash, self.options.sftp)?;
        let root = self.disk.root();
        state.read_files(&root).doing("read back the saved files of", &root)?;
        if self.rebooted() && self.has(|f| matches!(f, Kind::OtherHost)) {
            state.become_another();
        }
        let tmp = self.faults.iter().find_map(|f| if let Kind::TmpSize(n) = f { Some(*n) } else { None });
        let small = self.faults.iter().find_map(|f| if let Kind::StoreSize(n) = f { Some(*n) } else { None });
        let store = small.and_then(|bytes| Some((state.datastores().first()?.1.clone(), bytes)));
        let sizes = Sizes { tmp: tmp.unwrap_or(TMP_BYTES), store };
        let running = Running::start(&self.disk.root(), sizes, self.options.plain_chroot)?;
        if let Some(below) = &self.options.below {
            below.follow(&mut state);
        }
        Ok((state, running))
    }

    /// Power gone: connections and processes end, nothing is saved.
    async fn power_off(self: &Arc<Self>) {
        let _power = self.power.lock().await;
        let running = {
            let mut inner = self.inner();
            inner.on.cancel();
            inner.hostd_at = None;
            inner.running.take()
        };
        self.close_listeners(|_| true).await;
        let host = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || {
            let was_on = running.is_some();
            drop(running);
            if was_on {
                host.carry();
            }
        })
        .await;
    }

    /// What needs no save: an image written to a boot bank, the hardware. It is noted beside the saved configuration.
    fn carry(&self) {
        let inner = self.inner();
        if let Ok(Some(mut saved)) = self.disk.load(&self.label) {
            inner.state.carry_disk(&mut saved);
            if self.late().is_some() {
                saved.set_boot_disk_lost(false);
            }
            if let Err(error) = self.disk.write_state(&saved) {
                tracing::error!(%error, host = self.label, "the simulated host lost what was on its boot disk");
            }
            // What lies in the datastores is there without any save.
            if let Some(below) = self.options.below.as_ref().filter(|_| inner.state.boot_disk_visible()) {
                below.saved();
            }
        }
    }

    /// Off for good; the port is free afterwards.
    pub(crate) async fn shut_down(self: &Arc<Self>) {
        self.end.cancel();
        self.power_off().await;
        self.listeners.lock().await.let_go();
    }

    /// The same without waiting, for a simulator that is dropped.
    pub(crate) fn shut_down_now(&self) {
        self.end.cancel();
        let running = self.inner().running.take();
        drop(running);
    }

    /// Writes the configuration to the boot bank, if the host can see it.
    pub(crate) fn save(&self) {
        let inner = self.inner();
        self.save_locked(&inner.state);
    }

    pub(super) fn save_locked(&self, state: &HostState) {
        if !state.boot_disk_visible() {
            return;
        }
        if let Err(error) = self.disk.save(state) {
            tracing::error!(%error, host = self.label, "the simulated host could not save its state");
        } else if let Some(below) = &self.options.below {
            below.saved();
        }
    }

    /// Down and up again after `after`. Does nothing while a reboot is under way.
    pub(crate) fn reboot(self: &Arc<Self>, after: Duration, save: bool) {
        self.go_down(after, save, true);
    }

    /// Down and, where there is a machine below that can be off, off.
    pub(crate) fn power_down(self: &Arc<Self>, after: Duration, save: bool) {
        self.go_down(after, save, false);
    }

    fn go_down(self: &Arc<Self>, after: Duration, save: bool, restart: bool) {
        if self.has(|f| matches!(f, Kind::NoReboot)) || self.rebooting.swap(true, Ordering::SeqCst) {
            return;
        }
        let host = Arc::clone(self);
        let end = self.end.clone();
        let work = async move {
            tokio::time::sleep(after).await;
            if save {
                let saving = Arc::clone(&host);
                let _ = tokio::task::spawn_blocking(move || saving.save()).await;
            }
            host.power_off().await;
            if host.has(|f| matches!(f, Kind::NeverReturns)) || !host.can_boot() {
                return;
            }
            if let Some(below) = &host.options.below {
                return below.go_down(restart);
            }
            tokio::time::sleep(Duration::from_millis(host.options.boot_ms)).await;
            if host.has(|f| matches!(f, Kind::ChangeHostKey)) {
                let (dir, label) = (host.disk.beside("keys"), host.label.clone());
                match blocking(move || HostKeys::remake(&dir, &label)).await {
                    Ok(keys) => host.inner().keys = keys,
                    Err(error) => tracing::error!(%error, "the simulated host keeps its keys"),
                }
            }
            if let Err(error) = host.boot().await {
                tracing::error!(%error, host = host.label, "the simulated host did not come back");
            }
            host.rebooting.store(false, Ordering::SeqCst);
        };
        tokio::spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Whether the saved configuration is one that the next boot accepts: it may insist on a Secure Boot that is off.
    fn can_boot(&self) -> bool {
        let can = self.disk.load(&self.label).ok().flatten().is_none_or(|saved| saved.can_boot());
        if !can {
            tracing::error!(host = self.label, "the simulated host's sealed configuration does not let it boot");
        }
        can
    }

    /// Runs `read` on the host's present state and keys.
    pub(crate) fn with_state<T>(&self, read: impl FnOnce(&HostState, &HostKeys) -> T) -> T {
        let inner = self.inner();
        read(&inner.state, &inner.keys)
    }

    /// A command inside the host, or why there is none.
    pub(crate) fn command(&self, argv: &[&str]) -> Result<std::process::Command, String> {
        match &self.inner().running {
            Some(running) => running.command(argv),
            None => Err("the host is down".into()),
        }
    }
}

/// Runs blocking work of the simulator; a panic in it counts as an error of the options.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SimError> + Send + 'static,
) -> Result<T, SimError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SimError::Options(format!("the simulator was stopped while it worked: {error}"))),
    }
}
