//! A simulated ESXi host behind a real SSH server: the other end of the demo and of the tests, and what `--sim` applies to.
//!
//! Nothing here is shared with the product's own idea of ESXi: no parser, no table, no transport. A host is a directory
//! tree with a real POSIX shell that has this tree as its root (`jail`), tools (`toolbox`), and small scripts in
//! place of ESXi's own programs (`shim`) that ask [`host`] for what the real ones would print. `disk` decides what
//! survives a boot, `machine` boots and reboots, `answers` and `links` serve while it is up, `sshd` and `session` are what a client sees.
//!
//! Needs Linux and either root or unprivileged user namespaces.

mod accounts;
mod answers;
mod below;
mod crypt;
mod disk;
mod error;
mod fault;
pub mod front;
pub mod guest;
pub mod host;
mod jail;
mod keys;
mod links;
mod machine;
mod moments;
mod options;
mod password;
pub mod sample;
mod session;
mod shim;
mod sshd;
mod toolbox;
mod turns;
mod wire;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub use below::Below;
pub use error::SimError;
pub use fault::{FAULTS, Fault};
pub use host::made_up_uuids;
pub use options::{HostInfo, Options, inventory_yaml};

use error::IoContext;
use machine::{Birth, SimHost, blocking};
use toolbox::Toolbox;

/// Simulated hosts, running until [`Sim::stop`] or drop.
pub struct Sim {
    hosts: Vec<Arc<SimHost>>,
    infos: Vec<HostInfo>,
    /// Keeps a second simulator away from the same state directory.
    _lock: std::fs::File,
    /// Removed last.
    _dir: Option<TempDir>,
}

impl Sim {
    /// Starts the hosts. They answer on SSH when this returns; hostd comes up a little later, as on a real host.
    ///
    /// # Errors
    /// A machine that allows no root directory of one's own, a port in use, an unreadable state directory.
    pub async fn start(options: Options) -> Result<Sim, SimError> {
        if options.hosts == 0 {
            return Err(SimError::Options("a simulator needs at least one host".into()));
        }
        let scratch = tempfile::Builder::new().prefix("esxprep-sim-").tempdir().map_err(|source| SimError::Io {
            action: "create a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let base = options.state.clone().unwrap_or_else(|| scratch.path().to_path_buf());
        let lock = lock(&base)?;
        // Programs with another root and working directory are given this path.
        let base = base.canonicalize().doing("find", &base)?;
        let sample = base.join("esx-ui-stand-in.vib");
        std::fs::write(&sample, sample::host_client().doing("make", &sample)?).doing("write", &sample)?;
        let tools = base.join("toolbox");
        let busybox = !options.without_busybox;
        let toolbox = blocking(move || {
            let _ = std::fs::remove_dir_all(&tools);
            Toolbox::build(&tools, host::programs(), busybox)
        })
        .await?;
        let toolbox = Arc::new(toolbox);
        let log = options.log.as_deref().map(moments::Log::create).transpose()?.map(Arc::new);
        let options = Arc::new(options);
        let mut sim = Sim { hosts: Vec::new(), infos: Vec::new(), _lock: lock, _dir: Some(scratch) };
        let mut tasks = Vec::new();
        for index in 0..options.hosts {
            let birth = Birth {
                index,
                options: Arc::clone(&options),
                toolbox: Arc::clone(&toolbox),
                log: log.clone(),
                dir: base.join(format!("host{}", index + 1)),
                end: CancellationToken::new(),
            };
            tasks.push(tokio::spawn(start_host(birth)));
        }
        let mut failure = None;
        for task in tasks {
            match task.await {
                Ok(Ok(host)) => sim.hosts.push(host),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(error) => failure = failure.or(Some(SimError::Options(error.to_string()))),
            }
        }
        if let Some(error) = failure {
            sim.stop().await;
            return Err(error);
        }
        sim.infos = sim.hosts.iter().map(|host| info(host, &sample)).collect();
        Ok(sim)
    }

    /// Where the hosts are and how to log in.
    pub fn hosts(&self) -> &[HostInfo] {
        &self.infos
    }

    /// The directory on the real machine that is a host's root (`index` from 0): for tests that look behind the scenes.
    pub fn root_of(&self, index: usize) -> Option<std::path::PathBuf> {
        self.hosts.get(index).map(|host| host.disk.root())
    }

    /// Ends every process of the hosts and removes what is temporary. Hosts kept in a state directory are shut down
    /// cleanly: their configuration is saved.
    pub async fn stop(self) {
        for host in &self.hosts {
            if host.options.state.is_some() {
                let saving = Arc::clone(host);
                let _ = tokio::task::spawn_blocking(move || saving.save()).await;
            }
            host.shut_down().await;
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.shut_down_now();
        }
    }
}

fn lock(base: &Path) -> Result<std::fs::File, SimError> {
    std::fs::create_dir_all(base).doing("create", base)?;
    let path = base.join("lock");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path).doing("open", &path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        SimError::Options(format!(
            "another simulator uses {}: stop it, or give another state directory",
            base.display()
        ))
    })?;
    Ok(file)
}

async fn start_host(birth: Birth) -> Result<Arc<SimHost>, SimError> {
    let host = blocking(move || SimHost::install(birth)).await?;
    if let Err(error) = host.boot().await {
        host.shut_down().await;
        return Err(error);
    }
    Ok(host)
}

fn info(host: &SimHost, sample: &Path) -> HostInfo {
    let (version, host_key) = host.with_state(|state, keys| {
        let ecdsa = state.sshd_profile().host_keys.iter().any(|name| name.starts_with("ecdsa"));
        (state.version().to_string(), keys.public_line(ecdsa))
    });
    HostInfo {
        name: host.label.clone(),
        address: host.address.ip().to_string(),
        port: host.address.port(),
        user: "root".into(),
        password: host.password.clone(),
        host_key,
        version,
        host_client_vib: sample.to_path_buf(),
    }
}
