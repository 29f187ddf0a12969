//! Where hosts come from: an inventory, a list, or hosts simulated for this run.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::inventory::Inventory;
use crate::sim::{Fault, HostInfo, Options, Sim};
use crate::transport::target::Library;

/// Which hosts, and how to log in.
#[derive(Debug, Clone, Args)]
pub struct HostArgs {
    /// Inventory file, or a list such as `root@esx1,esx2:2222`.
    #[arg(short, long, value_name = "INVENTORY", env = "ESXPREP_INVENTORY", conflicts_with = "sim")]
    pub inventory: Option<String>,
    /// Simulate N hosts for this run instead.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    pub sim: Option<u16>,
    /// ESXi release line of the simulated hosts [default: the playbook's first, else 8.0].
    #[arg(long, value_name = "V", requires = "sim")]
    pub sim_version: Option<String>,
    /// Keep the simulated hosts in this folder, and start from what it holds.
    #[arg(long, value_name = "DIR", requires = "sim")]
    pub sim_state: Option<PathBuf>,
    /// Break something on the simulated hosts, `NAME[=VALUE][@HOST]` (see `esxprep sim --help`).
    #[arg(long, value_name = "SPEC", requires = "sim")]
    pub sim_fault: Vec<Fault>,
    /// Milliseconds added to every esxcli call of the simulated hosts.
    #[arg(long, value_name = "MS", requires = "sim", default_value_t = 0)]
    pub sim_esxcli_ms: u64,
    /// Only these hosts or groups: names or globs, comma-separated; `!x` leaves x out. `@failed` are the hosts that the
    /// last run (or `@failed:RUN`) left undone, `@FILE` those of a file, one a line.
    #[arg(long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Runs whose hosts are in the limit.
    #[arg(skip)]
    runs: Vec<super::limit::Undone>,
    /// Accept and remember the key of a host that is not known yet. A changed key is always refused.
    #[arg(long)]
    pub accept_new: bool,
    /// Speak SSH with this library, whatever the inventory says [default: russh].
    #[arg(long, value_name = "LIBRARY")]
    pub transport: Option<Library>,
    /// Ask for one password for all hosts, before any is touched.
    #[arg(short = 'k', long)]
    pub ask_pass: bool,
}

impl HostArgs {
    /// Options for the simulated hosts of this run, if there are any.
    pub fn sim_options(&self, playbook_line: Option<&str>) -> Option<Options> {
        let hosts = self.sim?;
        Some(Options {
            hosts: usize::from(hosts),
            version: self.sim_version.clone().or(playbook_line.map(str::to_owned)).unwrap_or_else(|| "8.0".into()),
            state: self.sim_state.clone(),
            esxcli_ms: self.sim_esxcli_ms,
            faults: self.sim_fault.clone(),
            ..Options::default()
        })
    }

    /// Spells out what `@` in `--limit` stands for.
    pub fn spell_limit(&mut self) -> Result<(), Failure> {
        if let Some(limit) = &self.limit {
            let spelled = super::limit::spell_out(limit)?;
            (self.limit, self.runs) = (Some(spelled.patterns), spelled.runs);
        }
        Ok(())
    }

    /// The inventory that was asked for. Simulated hosts are not in it: they start later.
    /// Secrets are read for the hosts that `names` (none: all) and `--limit` leave.
    pub fn inventory(&self, names: &[String]) -> Result<Inventory, Failure> {
        let mut inventory = match &self.inventory {
            Some(spec) => Inventory::load_for(spec, names, self.limit.as_deref()).map_err(Failure::Problems)?,
            None if self.sim.is_some() => Inventory::default(),
            None => {
                return Err(Failure::Text(
                    "no hosts: give an inventory (-i hosts.yml, or -i root@esx1,esx2), or simulate some (--sim 2)"
                        .into(),
                ));
            }
        };
        if self.inventory.is_some() {
            super::limit::known(&self.runs, &inventory)?;
        }
        self.adjust(&mut inventory)?;
        Ok(inventory)
    }

    /// The inventory of simulated hosts that run now.
    pub fn simulated(&self, hosts: &[HostInfo]) -> Result<Inventory, Failure> {
        let unwritable =
            |e: std::io::Error| Failure::Text(format!("cannot write the inventory of the simulated hosts: {e}"));
        // A temporary file is its owner's alone.
        let mut file = tempfile::Builder::new().suffix(".yml").tempfile().map_err(unwritable)?;
        file.write_all(crate::sim::inventory_yaml(hosts).as_bytes()).map_err(unwritable)?;
        let path = file.path().to_string_lossy();
        let mut inventory = Inventory::load(&path).map_err(Failure::Problems)?;
        super::limit::known(&self.runs, &inventory)?;
        self.adjust(&mut inventory)?;
        Ok(inventory)
    }

    fn adjust(&self, inventory: &mut Inventory) -> Result<(), Failure> {
        self.transport.unwrap_or_default().check().map_err(Failure::Text)?;
        for host in &mut inventory.hosts {
            host.target.library = self.transport.unwrap_or(host.target.library);
            host.target.library.check().map_err(|why| Failure::Text(format!("{}: {why}", host.name)))?;
        }
        let password = if self.ask_pass && !inventory.hosts.is_empty() {
            let term = console::Term::stderr();
            if !term.is_term() {
                return Err(Failure::Text(
                    "--ask-pass needs a terminal; put the password into the inventory as {env: NAME} or {file: PATH}"
                        .into(),
                ));
            }
            eprint!("Password: ");
            let typed = term.read_secure_line().map_err(|e| Failure::Text(format!("cannot read the password: {e}")))?;
            Some(secrecy::SecretString::from(typed))
        } else {
            None
        };
        for warning in &inventory.warnings {
            tell!("warning: {warning}");
        }
        for host in &mut inventory.hosts {
            host.target.host_key.accept_new |= self.accept_new;
            if let Some(password) = &password {
                host.target.credentials = vec![crate::transport::target::Credential::Password(password.clone())];
            }
        }
        Ok(())
    }
}

/// Simulated hosts that end with the run.
pub struct Simulated(pub Option<Sim>);

impl Simulated {
    /// Starts them, if any were asked for.
    pub async fn start(options: Option<Options>) -> Result<Self, Failure> {
        match options {
            None => Ok(Self(None)),
            Some(options) => Sim::start(options).await.map(|s| Self(Some(s))).map_err(|e| Failure::Text(e.to_string())),
        }
    }

    /// Ends them.
    pub async fn stop(self) {
        if let Some(sim) = self.0 {
            sim.stop().await;
        }
    }
}

/// Why nothing was begun.
pub enum Failure {
    /// One line.
    Text(String),
    /// There is nothing to do, which is no failure.
    NothingToDo(String),
    /// Problems in files.
    Problems(crate::playbook::Problems),
}

impl Failure {
    /// Prints it and returns the exit code.
    pub fn show(&self) -> std::process::ExitCode {
        match self {
            Self::Text(text) => super::fail(text),
            Self::NothingToDo(text) => {
                super::tell(text);
                std::process::ExitCode::SUCCESS
            }
            Self::Problems(problems) => {
                let term = console::Term::stderr();
                let width = usize::from(term.size().1).clamp(60, 140);
                super::tell(&problems.drawn(console::colors_enabled_stderr(), width));
                std::process::ExitCode::from(super::EXIT_USAGE)
            }
        }
    }
}
