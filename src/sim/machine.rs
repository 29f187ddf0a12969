//! One simulated host: power on, run, save, go down, come back. Everything that changes a host passes through here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::accounts::{Tallies, Verdict, password_matches};
use super::disk::Disk;
use super::fault::Kind;
use super::host::{self, Answer, Call, Effect, HostState};
use super::jail::{Running, TMP_BYTES};
use super::keys::HostKeys;
use super::options::Options;
use super::shim::{self, Request};
use super::toolbox::Toolbox;
use super::{SimError, sshd};

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
    inner: Mutex<Inner>,
    /// Held while the host goes up or down.
    power: tokio::sync::Mutex<()>,
    listeners: tokio::sync::Mutex<Listeners>,
    rebooting: AtomicBool,
    boots: AtomicUsize,
    fired: Mutex<Vec<usize>>,
    /// Ends everything that belongs to this host, for good.
    pub(crate) end: CancellationToken,
}

struct Inner {
    state: HostState,
    keys: HostKeys,
    running: Option<Running>,
    on: CancellationToken,
    hostd_at: Option<Instant>,
    tallies: Tallies,
    connections: Vec<(u64, String, CancellationToken)>,
    next_connection: u64,
}

/// Sockets by address: listening, or bound but not listening so that nobody else takes the port meanwhile.
#[derive(Default)]
struct Listeners {
    open: HashMap<SocketAddr, (CancellationToken, JoinHandle<()>)>,
    reserved: HashMap<SocketAddr, TcpSocket>,
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default()
}

/// Takes a port without listening on it.
fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn factory(version: &str, index: usize) -> Result<HostState, SimError> {
    HostState::factory(version, index).map_err(|error| SimError::Options(error.to_string()))
}

/// What [`SimHost::install`] needs to know of a host.
pub(crate) struct Birth {
    pub(crate) index: usize,
    pub(crate) options: Arc<Options>,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) dir: PathBuf,
    pub(crate) end: CancellationToken,
}

impl SimHost {
    /// Finds the host on its disk or installs it. It is off afterwards, but its port is taken. Blocking.
    pub(crate) fn install(birth: Birth) -> Result<Arc<SimHost>, SimError> {
        let Birth { index, options, toolbox, dir, end } = birth;
        let label = format!("esx{}", index + 1);
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
                let fresh = factory(&options.version, index)?;
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
        let wanted = SocketAddr::new(options.listen.ip(), port);
        let fail = |source| SimError::Listen { address: wanted.to_string(), source };
        let socket = reserve(wanted).map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        let faults = options.faults.iter().filter(|f| f.is_for(&label, index)).map(|f| f.kind.clone()).collect();
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
            listeners: tokio::sync::Mutex::new(Listeners {
                open: HashMap::new(),
                reserved: HashMap::from([(address, socket)]),
            }),
            rebooting: AtomicBool::new(false),
            boots: AtomicUsize::new(0),
            fired: Mutex::new(Vec::new()),
            end,
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, wanted: impl Fn(&Kind) -> bool) -> bool {
        self.faults.iter().any(wanted)
    }

    /// Whether a fault that happens once has its turn now.
    fn once(&self, fault: usize) -> bool {
        let mut fired = self.fired.lock().unwrap_or_else(PoisonError::into_inner);
        if fired.contains(&fault) {
            return false;
        }
        fired.push(fault);
        true
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
        let mut hostd = if self.boots.load(Ordering::SeqCst) == 0 { 0 } else { self.options.hostd_ms };
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
        tokio::spawn(shim::serve(Arc::clone(self), self.disk.root(), on));
        self.boots.fetch_add(1, Ordering::SeqCst);
        self.follow_addresses().await;
        Ok(())
    }

    fn power_on(&self) -> Result<(HostState, Running), SimError> {
        let saved = match self.disk.load(&self.label)? {
            Some(saved) => saved,
            None => factory(&self.options.version, self.index)?,
        };
        let mut state = HostState::boot(&saved, unix_now());
        if self.has(|f| matches!(f, Kind::LostBootDisk)) {
            state.set_boot_disk_lost();
        }
        self.disk.rebuild(&state, &self.toolbox, &self.root_hash, self.options.sftp)?;
        let tmp = self.faults.iter().find_map(|f| if let Kind::TmpSize(n) = f { Some(*n) } else { None });
        let running = Running::start(&self.disk.root(), tmp.unwrap_or(TMP_BYTES), self.options.plain_chroot)?;
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
            if let Err(error) = self.disk.write_state(&saved) {
                tracing::error!(%error, host = self.label, "the simulated host lost what was on its boot disk");
            }
        }
    }

    /// Off for good; the port is free afterwards.
    pub(crate) async fn shut_down(self: &Arc<Self>) {
        self.end.cancel();
        self.power_off().await;
        self.listeners.lock().await.reserved.clear();
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

    fn save_locked(&self, state: &HostState) {
        if state.boot_disk_visible()
            && let Err(error) = self.disk.save(state)
        {
            tracing::error!(%error, host = self.label, "the simulated host could not save its state");
        }
    }

    /// Down and up again after `after`. Does nothing while a reboot is under way.
    pub(crate) fn reboot(self: &Arc<Self>, after: Duration, save: bool) {
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
            if host.has(|f| matches!(f, Kind::NeverReturns)) {
                return;
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

    /// Answers one program of the host.
    pub(crate) async fn serve_request(self: &Arc<Self>, request: Request) {
        let line = request.line();
        let mut cut = Cut::No;
        for (number, fault) in self.faults.iter().enumerate() {
            match fault {
                Kind::Hang(regex) if regex.is_match(&line) => return self.end.cancelled().await,
                Kind::Fail(regex, message) if regex.is_match(&line) => {
                    return request.reply(format!("{message}\n").as_bytes(), b"", 1);
                }
                Kind::DropAfter(regex) if regex.is_match(&line) && self.once(number) => cut = Cut::Connection,
                Kind::PowerCut(regex) if regex.is_match(&line) && self.once(number) => cut = Cut::Power,
                _ => {}
            }
        }
        if self.options.esxcli_ms > 0 && request.argv[0].ends_with("/esxcli") {
            tokio::time::sleep(Duration::from_millis(self.options.esxcli_ms)).await;
        }
        let host = Arc::clone(self);
        let Ok((answer, request)) = tokio::task::spawn_blocking(move || (host.answer(&request), request)).await else {
            return;
        };
        for effect in &answer.effects {
            match effect {
                Effect::Reboot { after_ms, save } => self.reboot(Duration::from_millis(*after_ms), *save),
                Effect::AddressesChanged | Effect::SshStopped | Effect::SshStarted => self.follow_addresses().await,
                Effect::Save | Effect::HostdRestart | Effect::KeysChanged => {}
            }
        }
        match cut {
            Cut::No => request.reply(&answer.stdout, &answer.stderr, answer.code),
            Cut::Connection => {
                self.cut_all();
                request.reply(&answer.stdout, &answer.stderr, answer.code);
            }
            Cut::Power => {
                // No answer: the power goes before it is out.
                self.reboot(Duration::ZERO, false);
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut inner = self.inner();
        let root = inner.running.as_ref().map_or_else(|| self.disk.root(), Running::view);
        let call = Call {
            argv: &request.argv,
            stdin: &request.stdin,
            root: &root,
            now: unix_now(),
            ssh_connection: &request.ssh_connection,
            tty: request.tty,
            hostd_up: inner.hostd_at.is_some_and(|at| Instant::now() >= at),
        };
        let answer = host::answer(&mut inner.state, &call);
        for effect in &answer.effects {
            match effect {
                Effect::Save => self.save_locked(&inner.state),
                Effect::HostdRestart if inner.hostd_at.is_some() => {
                    inner.hostd_at = Some(Instant::now() + Duration::from_millis(self.options.hostd_ms));
                }
                _ => {}
            }
        }
        answer
    }

    /// Brings listeners and connections in line with sshd and the vmknics: a connection whose address is gone is cut.
    async fn follow_addresses(self: &Arc<Self>) {
        let (running, on, addresses) = {
            let inner = self.inner();
            let running = inner.state.ssh_running() && inner.running.is_some();
            (running, inner.on.clone(), inner.state.management_addresses())
        };
        let mut wanted = Vec::new();
        if running && !addresses.is_empty() {
            wanted.push(self.address);
            if self.options.listen_on_vmknics {
                let loopback = addresses.iter().filter_map(|a| a.parse::<IpAddr>().ok()).filter(IpAddr::is_loopback);
                wanted.extend(loopback.map(|ip| SocketAddr::new(ip, self.address.port())));
            }
        }
        self.cut_connections(|address| !addresses.iter().any(|known| known == address));
        self.close_listeners(|address| !wanted.contains(address)).await;
        let mut listeners = self.listeners.lock().await;
        for address in wanted {
            if listeners.open.contains_key(&address) {
                continue;
            }
            let socket = match listeners.reserved.remove(&address) {
                Some(socket) => Ok(socket),
                None => reserve(address),
            };
            match socket.and_then(|socket| socket.listen(128)) {
                Ok(listener) => {
                    let token = on.child_token();
                    let task = tokio::spawn(sshd::accept(Arc::clone(self), listener, token.clone(), on.clone()));
                    listeners.open.insert(address, (token, task));
                }
                Err(error) => {
                    tracing::error!(%error, host = self.label, "the simulated host cannot listen on {address}")
                }
            }
        }
    }

    async fn close_listeners(&self, unwanted: impl Fn(&SocketAddr) -> bool) {
        let mut listeners = self.listeners.lock().await;
        let gone: Vec<SocketAddr> = listeners.open.keys().filter(|a| unwanted(a)).copied().collect();
        for address in gone {
            if let Some((token, task)) = listeners.open.remove(&address) {
                token.cancel();
                let _ = task.await;
            }
            if address == self.address
                && let Ok(socket) = reserve(address)
            {
                listeners.reserved.insert(address, socket);
            }
        }
    }

    fn cut_connections(&self, lost: impl Fn(&str) -> bool) {
        self.inner().connections.retain(|(_, address, token)| {
            let keep = !lost(address);
            if !keep {
                token.cancel();
            }
            keep
        });
    }

    /// Cuts every connection, with no goodbye.
    pub(crate) fn cut_all(&self) {
        self.cut_connections(|_| true);
    }

    /// Notes a connection. Its server address is the vmknic it would have come in over.
    pub(crate) fn connected(&self, local: IpAddr, on: &CancellationToken) -> (u64, String, CancellationToken) {
        let mut inner = self.inner();
        let addresses = inner.state.management_addresses();
        let local = local.to_string();
        let address = match addresses.first() {
            Some(first) if !addresses.contains(&local) => first.clone(),
            _ => local,
        };
        let token = on.child_token();
        inner.next_connection += 1;
        let number = inner.next_connection;
        inner.connections.push((number, address.clone(), token.clone()));
        (number, address, token)
    }

    pub(crate) fn disconnected(&self, number: u64) {
        self.inner().connections.retain(|(known, ..)| *known != number);
    }

    /// Judges a password for `user`.
    pub(crate) async fn check_password(self: &Arc<Self>, user: &str, password: &str) -> bool {
        let (root, name, word) = (self.disk.root(), user.to_string(), password.to_string());
        let right = tokio::task::spawn_blocking(move || password_matches(&root, &name, &word)).await.unwrap_or(false);
        let right = right && !self.has(|f| matches!(f, Kind::RejectPassword));
        let mut inner = self.inner();
        let (limit, mut seconds) = inner.state.lockout();
        for fault in &self.faults {
            if let Kind::LockSeconds(n) = fault {
                seconds = *n;
            }
        }
        let verdict = inner.tallies.judge(user, right, limit, Duration::from_secs(seconds), Instant::now());
        drop(inner);
        if let Verdict::Locked(failures) = verdict {
            self.log(&format!(
                "Remote access for ESXi local user account '{user}' has been locked for {seconds} seconds after \
                 {failures} failed login attempts."
            ));
        }
        verdict == Verdict::Right
    }

    /// One line in the host's own log of events.
    fn log(&self, text: &str) {
        use std::io::Write;
        let path = self.disk.root().join("var/log/vobd.log");
        let stamp = humantime::format_rfc3339_millis(SystemTime::now());
        if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(path) {
            let _ = writeln!(file, "{stamp}: [UserLevelCorrelator] {text}");
        }
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

/// What a fault does when a command has run.
#[derive(Clone, Copy)]
enum Cut {
    No,
    Connection,
    Power,
}

impl SimHost {
    /// Faults for an SSH exec request that is not one of ESXi's programs (those are met when they call in).
    pub(crate) fn exec_fault(&self, command: &str) -> Option<ExecFault> {
        let mut words = command.split(|c: char| c.is_whitespace() || ";&|()`\"'/".contains(c));
        let ours = |word: &str| host::programs().iter().any(|program| program.rsplit('/').next() == Some(word));
        if matches!(command.trim(), "sh" | "/bin/sh") || words.any(ours) {
            return None;
        }
        self.faults.iter().enumerate().find_map(|(number, fault)| match fault {
            Kind::Hang(regex) if regex.is_match(command) => Some(ExecFault::Hang),
            Kind::Fail(regex, message) if regex.is_match(command) => Some(ExecFault::Fail(message.clone())),
            Kind::DropAfter(regex) if regex.is_match(command) && self.once(number) => Some(ExecFault::Drop),
            Kind::PowerCut(regex) if regex.is_match(command) && self.once(number) => Some(ExecFault::PowerCut),
            _ => None,
        })
    }
}

/// What happens to an exec request.
#[derive(Debug, Clone)]
pub(crate) enum ExecFault {
    Hang,
    Fail(String),
    Drop,
    PowerCut,
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
