//! One host's session as the engine uses it: commands in, outputs out, costs added up over reconnections.

use std::sync::Arc;
use std::time::Duration;

use crate::esxi::{Command, Output};
use crate::transport::{Chained, Connector, Cost, Payload, Reply, Request, Shell, Target, TransportError};

/// A session that can be opened again after a reboot or a lost connection.
pub struct Session {
    connector: Arc<dyn Connector>,
    target: Target,
    shell: Option<Box<dyn Shell>>,
    spent: Cost,
    command_timeout: Duration,
    /// The limit that the present step sets for each of its commands.
    step_timeout: Option<Duration>,
}

/// How changes that were made in turn went.
pub struct InTurn {
    /// The outputs of the changes that began.
    pub made: Vec<Output>,
    /// Those of the reads behind them; nothing when they have to be read again.
    pub read: Vec<Output>,
    /// That of what was done last, if it was.
    pub last: Option<Output>,
    /// What broke the changes off, if anything did.
    pub broken: Option<TransportError>,
}

impl Session {
    /// Connects and logs in.
    pub async fn open(
        connector: Arc<dyn Connector>,
        target: Target,
        command_timeout: Duration,
    ) -> Result<Self, TransportError> {
        let shell = connector.connect(&target).await?;
        Ok(Self { connector, target, shell: Some(shell), spent: Cost::default(), command_timeout, step_timeout: None })
    }

    /// The target that the session is with.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// From now on each command may take so long, whatever its own limit; `None`: its own, or the run's.
    pub fn limit_commands(&mut self, limit: Option<Duration>) {
        self.step_timeout = limit;
    }

    /// What all of this host's sessions have cost.
    pub fn cost(&self) -> Cost {
        let now = self.shell.as_ref().map(|s| s.cost()).unwrap_or_default();
        Cost { commands: self.spent.commands + now.commands, round_trips: self.spent.round_trips + now.round_trips }
    }

    /// Ends the present connection, if there is one.
    pub async fn close(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            let cost = shell.cost();
            shell.close().await;
            self.spent.commands += cost.commands;
            self.spent.round_trips += cost.round_trips;
        }
    }

    /// Logs in again, at another address if one is given.
    pub async fn reopen(&mut self, address: Option<&str>) -> Result<(), TransportError> {
        self.close().await;
        if let Some(address) = address.filter(|a| *a != self.target.address) {
            // Elsewhere it is the same host only with the same key.
            let known = std::mem::replace(&mut self.target.address, address.to_owned());
            self.target.host_key_alias.get_or_insert(known);
        }
        self.shell = Some(self.connector.connect(&self.target).await?);
        Ok(())
    }

    /// The addresses that the session's own name has for this machine; `None`: it is not known here.
    pub async fn addresses(&self) -> Option<Vec<std::net::IpAddr>> {
        self.connector.addresses(&self.target).await
    }

    /// Whether something speaks SSH at this address (the session's own when `None`), without logging in.
    pub async fn listening(&self, address: Option<&str>, within: Duration) -> bool {
        match address {
            Some(address) => {
                let mut target = self.target.clone();
                target.address = address.to_owned();
                self.connector.listening(&target, within).await
            }
            None => self.connector.listening(&self.target, within).await,
        }
    }

    /// Runs commands that change nothing and do not depend on each other, in one round trip.
    pub async fn read(
        &mut self,
        commands: &[Command],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Output>, TransportError> {
        self.send(commands, false, done).await
    }

    async fn send(
        &mut self,
        commands: &[Command],
        changes: bool,
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Output>, TransportError> {
        let requests = self.requests(commands, changes);
        let lost = self.lost();
        let shell = self.shell.as_mut().ok_or(lost)?;
        let replies = shell.batch(&requests, done).await?;
        Ok(replies.into_iter().map(output).collect())
    }

    /// Makes changes one after the other, as long as each ends with code 0 and says nothing, and then, however that
    /// went, reads, and whatever is to be done `last`: all in one round trip where the host is quick.
    pub async fn change_in_turn(
        &mut self,
        changes: &[Command],
        reads: &[Command],
        last: Option<&Command>,
        done: &mut (dyn FnMut(usize) + Send),
    ) -> InTurn {
        let (chain, mut behind) = (self.requests(changes, true), self.requests(reads, false));
        behind.extend(last.iter().flat_map(|last| self.requests(std::slice::from_ref(last), true)));
        let lost = self.lost();
        let chained = match self.shell.as_mut() {
            Some(shell) => shell.in_turn(&chain, &behind, done).await,
            None => Chained { broken: Some(lost), ..Chained::default() },
        };
        let mut read: Vec<Output> = chained.behind.into_iter().map(output).collect();
        let last = if last.is_some() { read.pop() } else { None };
        InTurn { made: chained.replies.into_iter().map(output).collect(), read, last, broken: chained.broken }
    }

    /// Runs one command that changes nothing.
    pub async fn run(&mut self, command: &Command) -> Result<Output, TransportError> {
        self.one(command, false).await
    }

    /// Runs one command that may alter the host.
    pub async fn change(&mut self, command: &Command) -> Result<Output, TransportError> {
        self.one(command, true).await
    }

    async fn one(&mut self, command: &Command, changes: bool) -> Result<Output, TransportError> {
        let mut outputs = self.send(std::slice::from_ref(command), changes, &mut |_| {}).await?;
        outputs.pop().ok_or_else(|| TransportError::Protocol {
            host: self.target.name.clone(),
            detail: format!("no answer to `{command}`"),
        })
    }

    /// Puts a file in place.
    pub async fn upload(
        &mut self,
        payload: &Payload,
        path: &str,
        mode: u32,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), TransportError> {
        let lost = self.lost();
        self.shell.as_mut().ok_or(lost)?.upload(payload, path, mode, progress).await
    }

    fn lost(&self) -> TransportError {
        TransportError::Lost { host: self.target.name.clone(), during: "before a command could be sent".into() }
    }

    /// The commands as the transport takes them, on their way.
    fn requests(&self, commands: &[Command], changes: bool) -> Vec<Request> {
        for command in commands {
            tracing::debug!(host = self.target.name, %command, "sending");
        }
        commands.iter().map(|command| self.request(command, changes)).collect()
    }

    fn request(&self, command: &Command, changes: bool) -> Request {
        Request {
            script: command.text().to_owned(),
            stdin: command.stdin_bytes().map(<[u8]>::to_vec),
            timeout: self.step_timeout.or(command.time_limit()).unwrap_or(self.command_timeout),
            secret: command.is_secret(),
            changes,
        }
    }
}

fn output(reply: Reply) -> Output {
    Output {
        stdout: String::from_utf8_lossy(&reply.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&reply.stderr).into_owned(),
        code: reply.code,
        seconds: reply.seconds,
    }
}
