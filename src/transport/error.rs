//! What can go wrong between here and a host.

/// A failure of the connection, never of a command.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// Nothing answered.
    #[error("cannot reach {host} at {address}: {reason}")]
    Unreachable {
        /// Host name in the inventory.
        host: String,
        /// Address and port.
        address: String,
        /// What the system said, and what to try.
        reason: String,
    },
    /// The two sides share no algorithm.
    #[error("{host} and esxprep share no {what}: {detail}")]
    NoCommonAlgorithm {
        /// Host.
        host: String,
        /// Kind of algorithm.
        what: String,
        /// Both lists and the profile to try.
        detail: String,
    },
    /// The host key is not the recorded one, or not known.
    #[error("host key of {host}: {detail}")]
    HostKey {
        /// Host.
        host: String,
        /// Both fingerprints and what to do.
        detail: String,
    },
    /// No credential was accepted. Never retried: ESXi locks an account after 5 failures.
    #[error("{host} refused the login of {user}: {detail}")]
    Refused {
        /// Host.
        host: String,
        /// User.
        user: String,
        /// What was tried and what the server would take.
        detail: String,
    },
    /// A credential could not be used (key file missing, wrong passphrase, no agent).
    #[error("credential for {host}: {detail}")]
    Credential {
        /// Host.
        host: String,
        /// What and why.
        detail: String,
    },
    /// The connection ended in the middle of something.
    #[error("the connection to {host} was lost {during}")]
    Lost {
        /// Host.
        host: String,
        /// What was under way.
        during: String,
    },
    /// A command took longer than it may.
    #[error("on {host}, `{command}` did not end within {seconds} s")]
    TimedOut {
        /// Host.
        host: String,
        /// The command, or a placeholder for a secret one.
        command: String,
        /// The limit.
        seconds: u64,
    },
    /// A file could not be put in place.
    #[error("upload to {host}:{path} failed: {reason}")]
    Upload {
        /// Host.
        host: String,
        /// Path on the host.
        path: String,
        /// What came back.
        reason: String,
    },
    /// A replayed host was asked something that its fixture has no answer to.
    #[error("{problem}")]
    NotRecorded {
        /// Host.
        host: String,
        /// What was asked, what is nearest, what to do.
        problem: String,
    },
    /// The far side does not behave like a shell.
    #[error("{host} did not answer like a shell: {detail}")]
    Protocol {
        /// Host.
        host: String,
        /// What came.
        detail: String,
    },
}
