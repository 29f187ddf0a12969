//! Hosts that answer from a fixture. No network at all: not a packet, not a name looked up. Time passes as it was
//! recorded, on tokio's clock, which a replayed run pauses so that it costs nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::asked::{self, Asked, Doing};
use super::progress::Milestones;
use super::{Chained, Connector, Cost, Payload, Reply, Request, Shell, Target, TransportError};
use crate::fixture::secrets::SecretBook;
use crate::fixture::{Answer, Ask, Fixture, HostFixture, Machine, Outcome, Unknown};

/// Makes sessions with recorded hosts. A host's state outlives its sessions, as a real host's does.
#[derive(Debug, Clone)]
pub struct ReplayConnector {
    hosts: Arc<HashMap<String, Arc<Mutex<Far>>>>,
}

/// Something that a replayed host was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// What.
    pub ask: Ask,
    /// Whether it may alter the host.
    pub changes: bool,
}

/// One recorded host.
#[derive(Debug)]
struct Far {
    machine: Machine,
    asked: Asked,
    sent: Vec<Sent>,
    unknown: Vec<Unknown>,
    /// The secrets of this run, in place of those that were taken out of the recording.
    secrets: Arc<SecretBook>,
}

impl Far {
    fn refuse(&mut self, unknown: Unknown) -> TransportError {
        let error = TransportError::NotRecorded { host: unknown.host.clone(), problem: unknown.to_string() };
        if !self.unknown.contains(&unknown) {
            self.unknown.push(unknown);
        }
        error
    }

    fn ask(&mut self, ask: Ask, changes: bool) -> Result<Answer, TransportError> {
        let answer = self.machine.ask(&self.as_recorded(&ask)).map(|answer| self.filled(answer));
        self.sent.push(Sent { ask, changes });
        answer.map_err(|unknown| self.refuse(unknown))
    }

    fn peek(&self, ask: &Ask) -> Result<Answer, Unknown> {
        self.machine.peek(&self.as_recorded(ask)).map(|answer| self.filled(answer))
    }

    /// What is asked, as the recording has it: secrets were taken out of its commands.
    fn as_recorded(&self, ask: &Ask) -> Ask {
        let host = self.machine.host();
        self.secrets.recorded_ask(host, ask).unwrap_or_else(|| ask.clone())
    }

    fn filled(&self, mut answer: Answer) -> Answer {
        let host = self.machine.host();
        match &mut answer.outcome {
            Outcome::Ended { stdout, stderr, .. } => {
                *stdout = self.secrets.fill_bytes(host, stdout);
                *stderr = self.secrets.fill_bytes(host, stderr);
            }
            Outcome::Lost(text) | Outcome::Failed(_, text) => *text = self.secrets.fill(host, text),
            Outcome::TimedOut => {}
        }
        answer
    }
}

fn locked(far: &Mutex<Far>) -> MutexGuard<'_, Far> {
    far.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(seconds: f64) {
    if let Ok(time) = Duration::try_from_secs_f64(seconds)
        && !time.is_zero()
    {
        tokio::time::sleep(time).await;
    }
}

impl ReplayConnector {
    /// All hosts of a fixture, as they begin.
    pub fn new(fixture: &Fixture) -> Self {
        let far = |host: &HostFixture| Far {
            machine: Machine::new(host.clone()),
            asked: Asked::default(),
            sent: Vec::new(),
            unknown: Vec::new(),
            secrets: Arc::default(),
        };
        let hosts = fixture.hosts.iter().map(|host| (host.name.clone(), Arc::new(Mutex::new(far(host)))));
        Self { hosts: Arc::new(hosts.collect()) }
    }

    /// The same with a run's secrets, which stand in again for those that were taken out of the recording.
    pub fn with_secrets(self, book: Arc<SecretBook>) -> Self {
        self.hosts.values().for_each(|far| locked(far).secrets = book.clone());
        self
    }

    /// What a host was asked so far, in order.
    pub fn sent(&self, host: &str) -> Vec<Sent> {
        self.hosts.get(host).map_or_else(Vec::new, |far| locked(far).sent.clone())
    }

    /// What a host was asked and its fixture has no answer to, each once.
    pub fn unknown(&self, host: &str) -> Vec<Unknown> {
        self.hosts.get(host).map_or_else(Vec::new, |far| locked(far).unknown.clone())
    }

    fn far(&self, target: &Target) -> Result<&Arc<Mutex<Far>>, TransportError> {
        self.hosts.get(&target.name).ok_or_else(|| {
            let mut known: Vec<&str> = self.hosts.keys().map(String::as_str).collect();
            known.sort_unstable();
            let problem = format!("the fixture has no host {} (it has: {})", target.name, known.join(", "));
            TransportError::NotRecorded { host: target.name.clone(), problem }
        })
    }
}

#[async_trait]
impl Connector for ReplayConnector {
    async fn connect(&self, target: &Target) -> Result<Box<dyn Shell>, TransportError> {
        let far = self.far(target)?;
        let answer = locked(far).ask(asked::connect(target), false)?;
        pass(answer.seconds).await;
        match asked::error(&answer.outcome, target, Doing::Login) {
            Some(error) => Err(error),
            None => Ok(Box::new(ReplayShell { far: far.clone(), target: target.clone(), cost: Cost::default() })),
        }
    }

    async fn listening(&self, target: &Target, within: Duration) -> bool {
        let Ok(far) = self.far(target) else { return false };
        let Ok(answer) = locked(far).ask(asked::listening(target), false) else { return false };
        pass(answer.seconds.min(within.as_secs_f64())).await;
        matches!(answer.outcome, Outcome::Ended { code: 0, .. })
    }

    async fn addresses(&self, target: &Target) -> Option<Vec<IpAddr>> {
        let answer = locked(self.far(target).ok()?).ask(asked::resolve(target), false).ok()?;
        match answer.outcome {
            Outcome::Ended { stdout, code: 0, .. } => {
                let text = String::from_utf8_lossy(&stdout).into_owned();
                Some(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
            }
            _ => None,
        }
    }
}

/// A session with a recorded host.
struct ReplayShell {
    far: Arc<Mutex<Far>>,
    target: Target,
    cost: Cost,
}

/// How a batch goes.
enum Course {
    /// Every request has its answer.
    Answered(Vec<Answer>),
    /// This request ends it.
    Fails(usize, Answer),
}

impl ReplayShell {
    /// Whether each of these requests ends with an answer.
    fn answers(&self, requests: &[Request]) -> bool {
        let mut far = locked(&self.far);
        requests.iter().all(|request| {
            let ask = far.asked.command(request);
            matches!(far.peek(&ask), Ok(Answer { outcome: Outcome::Ended { .. }, .. }))
        })
    }

    /// What becomes of these requests. A batch that ended early was recorded at the request that ended it; what the
    /// others answered is not known, and they were asked again later.
    fn course(&self, requests: &[Request]) -> Result<Course, TransportError> {
        let mut far = locked(&self.far);
        let asks: Vec<Ask> = requests.iter().map(|request| far.asked.command(request)).collect();
        let next: Vec<Result<Answer, Unknown>> = asks.iter().map(|ask| far.peek(ask)).collect();
        if let Some(at) = next.iter().position(|n| matches!(n, Ok(a) if !matches!(a.outcome, Outcome::Ended { .. }))) {
            let answer = far.ask(asks[at].clone(), requests[at].changes)?;
            return Ok(Course::Fails(at, answer));
        }
        let mut first = None;
        for unknown in next.into_iter().filter_map(Result::err) {
            let error = far.refuse(unknown);
            first.get_or_insert(error);
        }
        if let Some(error) = first {
            return Err(error);
        }
        let answers = asks.into_iter().zip(requests).map(|(ask, request)| far.ask(ask, request.changes));
        answers.collect::<Result<_, _>>().map(Course::Answered)
    }
}

#[async_trait]
impl Shell for ReplayShell {
    async fn batch(
        &mut self,
        requests: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Reply>, TransportError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.cost.commands += requests.len() as u64;
        self.cost.round_trips += 1;
        match self.course(requests)? {
            Course::Fails(at, answer) => {
                (0..at).for_each(done);
                let limit = requests[at].timeout.as_secs_f64();
                pass(if answer.outcome == Outcome::TimedOut { limit } else { answer.seconds }).await;
                let doing = Doing::Command(&requests[at]);
                Err(asked::error(&answer.outcome, &self.target, doing).unwrap_or_else(|| TransportError::Protocol {
                    host: self.target.name.clone(),
                    detail: "a command was left without an answer".to_owned(),
                }))
            }
            Course::Answered(answers) => {
                let mut replies = Vec::with_capacity(answers.len());
                // Live, reads are spread over channels.
                let channels = Target::channels_for(self.target.channels, requests.len());
                for (index, answer) in answers.into_iter().enumerate() {
                    pass(answer.seconds / channels as f64).await;
                    if let Outcome::Ended { stdout, stderr, code } = answer.outcome {
                        replies.push(Reply { stdout, stderr, code, seconds: answer.seconds });
                    }
                    done(index);
                }
                Ok(replies)
            }
        }
    }

    async fn in_turn(
        &mut self,
        requests: &[Request],
        behind: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Chained {
        let before = self.cost.round_trips;
        let mut chained = Chained::default();
        for (index, request) in requests.iter().enumerate() {
            match self.batch(std::slice::from_ref(request), &mut |_| done(index)).await {
                Ok(mut replies) => chained.replies.append(&mut replies),
                Err(error) => chained.broken = Some(error),
            }
            if !chained.replies.get(index).is_some_and(Reply::is_quiet) {
                break;
            }
        }
        // Whoever needs what has no answer here asks for it again, and hears why.
        if chained.broken.is_none() && self.answers(behind) {
            chained.behind = self.batch(behind, &mut |_| {}).await.unwrap_or_default();
        }
        self.cost.round_trips = (before + 1).min(self.cost.round_trips);
        chained
    }

    async fn upload(
        &mut self,
        payload: &Payload,
        path: &str,
        _mode: u32,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), TransportError> {
        let answer = locked(&self.far).ask(Ask::Upload(path.to_owned()), true)?;
        self.cost.commands += 1;
        self.cost.round_trips += 2;
        // The file itself need not be on this machine: its recorded size is enough.
        let size = answer.size.unwrap_or_else(|| match payload {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::File(file) => std::fs::metadata(file).map_or(0, |meta| meta.len()),
        });
        pass(answer.seconds).await;
        Milestones::default().whole(size, progress);
        match asked::error(&answer.outcome, &self.target, Doing::Upload(path)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn cost(&self) -> Cost {
        self.cost
    }

    async fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = "esxprep fixture 1\nhost esx1\n  address: 192.0.2.1:22\n\
        $ a\n: 2 s; times 2\n| one\n: 4 s\n| two\n: in changed\n| three\n\
        $ b\n: exit 3\n! oops\n$ change\n: -> changed\n$ slow\n: timed out\n$ cut\n: lost as it went\n\
        @upload /tmp/x\n: size 600000; 3 s\n@upload /tmp/full\n: refused no space; size 262144\n";

    fn request(script: &str) -> Request {
        let timeout = Duration::from_secs(9);
        Request { script: script.into(), stdin: None, timeout, secret: false, changes: script == "change" }
    }

    async fn shell() -> (ReplayConnector, Box<dyn Shell>) {
        let connector = ReplayConnector::new(&Fixture::parse(FIXTURE).unwrap());
        let shell = connector.connect(&Target::new("esx1", "192.0.2.1")).await.unwrap();
        (connector, shell)
    }

    async fn ask(shell: &mut Box<dyn Shell>, scripts: &[&str]) -> Result<Vec<Reply>, String> {
        let requests: Vec<Request> = scripts.iter().map(|s| request(s)).collect();
        shell.batch(&requests, &mut |_| {}).await.map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn answers_costs_and_times_are_those_of_a_live_session() {
        let (connector, mut shell) = shell().await;
        let start = tokio::time::Instant::now();
        let mut done = Vec::new();
        let requests = [request("a"), request("b")];
        let replies = shell.batch(&requests, &mut |index| done.push(index)).await.unwrap();
        assert_eq!((replies[0].stdout.as_slice(), replies[0].seconds), (b"one\n".as_slice(), 2.0));
        assert_eq!((replies[1].stderr.as_slice(), replies[1].code), (b"oops\n".as_slice(), 3));
        assert_eq!(done, [0, 1]);
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert!(shell.batch(&[], &mut |_| {}).await.unwrap().is_empty());
        assert_eq!(shell.cost(), Cost { commands: 2, round_trips: 1 });
        // Another session with the same host goes on where this one was.
        let mut again = connector.connect(&Target::new("esx1", "192.0.2.1")).await.unwrap();
        let mut said = Vec::new();
        for scripts in [["a"], ["a"], ["change"], ["a"]] {
            said.push(ask(&mut again, &scripts).await.unwrap().remove(0).stdout);
        }
        assert_eq!(said, [b"one\n".to_vec(), b"two\n".to_vec(), b"".to_vec(), b"three\n".to_vec()]);
        assert_eq!(again.cost(), Cost { commands: 4, round_trips: 4 });
        let changes: Vec<bool> = connector.sent("esx1").iter().map(|sent| sent.changes).collect();
        assert_eq!(changes, [false, false, false, false, false, false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_end_a_batch_where_they_were_recorded() {
        let (_, mut shell) = shell().await;
        let start = tokio::time::Instant::now();
        let error = ask(&mut shell, &["a", "slow", "b"]).await.unwrap_err();
        assert_eq!(error, "on esx1, `slow` did not end within 9 s");
        assert_eq!(start.elapsed(), Duration::from_secs(9));
        assert_eq!(ask(&mut shell, &["cut"]).await.unwrap_err(), "the connection to esx1 was lost as it went");
        // What the others of that batch answered is not known, so it was not used up.
        assert_eq!(ask(&mut shell, &["a"]).await.unwrap()[0].stdout, b"one\n");
        assert_eq!(shell.cost(), Cost { commands: 5, round_trips: 3 });
    }

    #[tokio::test(start_paused = true)]
    async fn everything_unknown_of_a_batch_is_told_at_once_and_nothing_is_used_up() {
        let (connector, mut shell) = shell().await;
        let error = ask(&mut shell, &["a", "x y", "z"]).await.unwrap_err();
        assert!(error.contains("the fixture of esx1 has no answer to `x y`"), "{error}");
        let unknown: Vec<String> = connector.unknown("esx1").into_iter().map(|u| u.what).collect();
        assert_eq!(unknown, ["`x y`", "`z`"]);
        assert_eq!(connector.sent("esx1").len(), 1, "the login");
        let other = connector.connect(&Target::new("esx2", "192.0.2.2")).await.err().unwrap().to_string();
        assert_eq!(other, "the fixture has no host esx2 (it has: esx1)");
    }

    #[tokio::test(start_paused = true)]
    async fn uploads_need_no_file() {
        let (connector, mut shell) = shell().await;
        let gone = Payload::File("/no/such/file".into());
        let mut steps = Vec::new();
        shell.upload(&gone, "/tmp/x", 0o644, &mut |n| steps.push(n)).await.unwrap();
        assert_eq!(steps, [262_144, 524_288, 600_000]);
        let error = shell.upload(&gone, "/tmp/full", 0o644, &mut |n| steps.push(n)).await.unwrap_err().to_string();
        assert_eq!(error, "upload to esx1:/tmp/full failed: no space");
        assert_eq!(steps.len(), 4);
        assert_eq!(shell.cost(), Cost { commands: 2, round_trips: 4 });
        let elsewhere = Target::new("esx1", "192.0.2.9");
        assert!(!connector.listening(&elsewhere, Duration::from_secs(1)).await);
        assert_eq!(connector.addresses(&elsewhere).await, None);
    }
}
