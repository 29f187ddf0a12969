//! Framing: how many commands share one far shell without one of them being able to break the others.
//!
//! Each script travels as one single-quoted word and is run by `eval` in a subshell, so unbalanced quotes, syntax
//! errors, `exit`, `exec` and here-documents stay inside. A line with a random nonce, the number and the exit code
//! ends it on standard output, one with nonce and number on standard error. Both begin with a line feed of their
//! own, so output that does not end in one is kept exactly. Pure: no I/O, no SSH; any transport can use it.
//!
//! Only what a background job prints after its command has ended cannot be told apart: it is counted to the next one.

use std::collections::VecDeque;
use std::mem;

/// The longest output kept of one command and stream, in bytes. The longest that is read of a host is the list of its
/// advanced settings, half a MiB.
pub const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// The most that is kept of one shell's commands until all of them have ended, in bytes: a host that answers every
/// command at length fills no memory either.
pub const MAX_PENDING: usize = 2 * MAX_OUTPUT;

/// Longer than any end marker: line feed, nonce, number, code, line feed.
const MARKER_MAX: usize = 96;

/// An output that is longer is not copied out of the buffer, in bytes.
const LARGE: usize = 64 * 1024;

/// Bytes of data in one `printf`: four times as many characters must fit into one argument.
const PRINTF_CHUNK: usize = 4096;

/// The code of a command of a chain that did not run: no shell has such an exit code.
pub const NOT_BEGUN: i32 = 256;

/// What cannot be framed or deframed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No shell takes a NUL byte in its text.
    #[error("the command text holds a NUL byte")]
    Nul,
    /// An end marker with another number than the next one.
    #[error("the end of command {expected} was due, but that of command {got} came")]
    OutOfStep {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// More output than [`MAX_OUTPUT`].
    #[error("it printed more than {} MiB, and no command may; let it print less", MAX_OUTPUT / 1024 / 1024)]
    TooMuch,
    /// More output than [`MAX_PENDING`].
    #[error(
        "it and the commands sent with it printed more than {} MiB, and no host may; let them print less",
        MAX_PENDING / 1024 / 1024
    )]
    TooMuchTogether,
    /// The end of a command that nobody has sent: whoever answers there makes it up.
    #[error("the end of a command came that was never sent")]
    NotSent,
}

/// Makes the text that is written to the far shell's standard input.
#[derive(Debug)]
pub struct Framer {
    nonce: String,
    next: u64,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// With a random nonce of 128 bits.
    pub fn new() -> Self {
        Self { nonce: format!("{:032x}", rand::random::<u128>()), next: 0 }
    }

    /// The nonce: 32 hexadecimal digits.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// A decoder for what comes back.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(&self.nonce)
    }

    /// The text for one command and its number, counted from 0. `stdin` is given byte for byte; without it the
    /// command reads from `/dev/null`.
    pub fn encode(&mut self, script: &str, stdin: Option<&[u8]>) -> Result<(u64, Vec<u8>), FrameError> {
        if script.contains('\0') {
            return Err(FrameError::Nul);
        }
        let number = self.next;
        self.next += 1;
        let nonce = &self.nonce;
        // The blank keeps a script that begins with a dash from being taken for an option of `eval`.
        let body = format!("( eval ' {}'\n)", escaped(script));
        let mut text = Vec::with_capacity(body.len() + 256);
        match stdin {
            None | Some([]) => text.extend_from_slice(format!("{body} </dev/null\n").as_bytes()),
            // Text goes as a here-document: no length limit, nothing but the shell itself is needed.
            Some(data) if fits_here_document(data, nonce) => {
                // In braces: a shell whose input ends within a here-document takes what came of it for the whole, and a
                // connection that is lost half-way must not have a command run with half of its input.
                text.extend_from_slice(format!("{{ {body} <<'E{nonce}'\n").as_bytes());
                text.extend_from_slice(data);
                text.extend_from_slice(format!("E{nonce}\n}}\n").as_bytes());
            }
            Some(data) => {
                text.extend_from_slice(b"{\n");
                for chunk in data.chunks(PRINTF_CHUNK) {
                    text.extend_from_slice(b"printf '");
                    octal(chunk, &mut text);
                    text.extend_from_slice(b"'\n");
                }
                text.extend_from_slice(format!("}} </dev/null 2>/dev/null | {body}\n").as_bytes());
            }
        }
        text.extend_from_slice(marker(nonce, number, "$?").as_bytes());
        Ok((number, text))
    }

    /// The text for one command of a chain and its number: it runs only if each of those before it, since the one that
    /// is `first`, ended with code 0 and printed nothing; else its code is [`NOT_BEGUN`]. Its input is `/dev/null`, and
    /// what it prints comes without line feeds at the end, but for one.
    pub fn encode_in_turn(&mut self, script: &str, first: bool) -> Result<(u64, Vec<u8>), FrameError> {
        if script.contains('\0') {
            return Err(FrameError::Nul);
        }
        let number = self.next;
        self.next += 1;
        let (nonce, body) = (&self.nonce, escaped(script));
        let begin = if first { "esxprep_go=1\n" } else { "" };
        // Both streams are held back until the command has ended, standard error in the outer variable. The nonce behind
        // it says that there was something on standard output, too. What only line feeds were printed is nothing.
        let text = format!(
            "{begin}if [ \"$esxprep_go\" = 1 ]; then\n\
             {{ esxprep_err=$( {{ esxprep_out=$( ( eval ' {body}'\n) </dev/null 2>&4 ); esxprep_code=$?\n\
             [ -z \"$esxprep_out\" ] || {{ printf '%s\\n' \"$esxprep_out\" >&3; printf '%s' {nonce} >&4; }}\n\
             exit $esxprep_code; }} 4>&1 ); esxprep_code=$?; }} 3>&1\n\
             case $esxprep_code$esxprep_err in 0) ;; *) esxprep_go=0\n\
             esxprep_err=$(printf '%s' \"${{esxprep_err%{nonce}}}\")\n\
             [ -z \"$esxprep_err\" ] || printf '%s\\n' \"$esxprep_err\" >&2;; esac\n\
             else esxprep_code={NOT_BEGUN}; fi\n{}",
            marker(nonce, number, "$esxprep_code")
        );
        Ok((number, text.into_bytes()))
    }
}

/// What ends a command on both streams. A shell whose output nobody reads any more must not go on with what is still in
/// its input.
fn marker(nonce: &str, number: u64, code: &str) -> String {
    format!("echo \"\n{nonce} {number} {code}\" && echo \"\n{nonce} {number}\" >&2 || exit 141\n")
}

/// The inside of a single-quoted word.
fn escaped(text: &str) -> String {
    text.replace('\'', "'\\''")
}

/// One single-quoted word, whatever is in it (but NUL).
pub fn quoted(text: &str) -> String {
    format!("'{}'", escaped(text))
}

/// ASCII only: bash loses a byte above 127 that follows the first letter of the delimiter at the start of a line.
fn fits_here_document(data: &[u8], nonce: &str) -> bool {
    data.is_ascii()
        && data.ends_with(b"\n")
        && !data.contains(&0)
        && !data.windows(nonce.len()).any(|window| window == nonce.as_bytes())
}

/// A format for `printf` that prints exactly these bytes: three octal digits for all but letters and digits.
fn octal(data: &[u8], out: &mut Vec<u8>) {
    for &byte in data {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(byte),
            b'%' => out.extend_from_slice(b"%%"),
            _ => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
}

/// One finished command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its number.
    pub number: u64,
    /// Its exit code.
    pub code: i32,
    /// Standard output, exactly.
    pub stdout: Vec<u8>,
    /// Standard error, exactly.
    pub stderr: Vec<u8>,
}

/// Takes the far shell's two streams in pieces of any size and gives finished commands.
#[derive(Debug)]
pub struct Decoder {
    stdout: Stream,
    stderr: Stream,
    finished: u64,
    /// Bytes that came since no command was under way.
    came: usize,
}

impl Decoder {
    fn new(nonce: &str) -> Self {
        Self { stdout: Stream::new(nonce, true), stderr: Stream::new(nonce, false), finished: 0, came: 0 }
    }

    /// More of standard output.
    pub fn stdout(&mut self, data: &[u8]) -> Result<(), FrameError> {
        self.count(data)?;
        self.stdout.push(data)
    }

    /// More of standard error.
    pub fn stderr(&mut self, data: &[u8]) -> Result<(), FrameError> {
        self.count(data)?;
        self.stderr.push(data)
    }

    fn count(&mut self, data: &[u8]) -> Result<(), FrameError> {
        self.came = self.came.saturating_add(data.len());
        if self.came > MAX_PENDING { Err(FrameError::TooMuchTogether) } else { Ok(()) }
    }

    /// The next finished command: both of its markers have been seen.
    pub fn next_done(&mut self) -> Option<Done> {
        if self.stdout.ready.is_empty() || self.stderr.ready.is_empty() {
            return None;
        }
        let (number, code, stdout) = self.stdout.ready.pop_front()?;
        let (_, _, stderr) = self.stderr.ready.pop_front()?;
        self.finished += 1;
        Some(Done { number, code, stdout, stderr })
    }

    /// How many commands have been given by [`next_done`](Self::next_done).
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Fails when more commands have ended on either stream than were `sent`.
    pub fn check(&self, sent: u64) -> Result<(), FrameError> {
        if self.stdout.next > sent || self.stderr.next > sent { Err(FrameError::NotSent) } else { Ok(()) }
    }

    /// Forgets what came since the last marker. Only while no command is under way: then it is the late output of
    /// a background job.
    pub fn discard(&mut self) {
        self.stdout.clear();
        self.stderr.clear();
        self.came = 0;
    }

    /// What has come since the last marker, standard output then standard error: for diagnostics.
    pub fn pending(&self) -> (&[u8], &[u8]) {
        (&self.stdout.buffer, &self.stderr.buffer)
    }
}

#[derive(Debug)]
struct Stream {
    /// How each marker of this stream begins.
    begin: Vec<u8>,
    /// Whether an exit code belongs to it.
    coded: bool,
    buffer: Vec<u8>,
    searched: usize,
    next: u64,
    ready: VecDeque<(u64, i32, Vec<u8>)>,
}

/// An end marker in a buffer.
struct Marker {
    start: usize,
    end: usize,
    number: u64,
    code: i32,
}

impl Stream {
    fn new(nonce: &str, coded: bool) -> Self {
        let begin = format!("\n{nonce} ").into_bytes();
        Self { begin, coded, buffer: Vec::new(), searched: 0, next: 0, ready: VecDeque::new() }
    }

    fn clear(&mut self) {
        self.buffer = Vec::new();
        self.searched = 0;
    }

    fn push(&mut self, data: &[u8]) -> Result<(), FrameError> {
        self.buffer.extend_from_slice(data);
        let mut from = 0;
        while let Some(Marker { start, end, number, code }) = self.find(from.max(self.searched)) {
            self.searched = 0;
            if number != self.next {
                return Err(FrameError::OutOfStep { expected: self.next, got: number });
            }
            self.next += 1;
            let output = if start - from > LARGE {
                // Not copied: its memory is worth keeping.
                let rest = self.buffer.split_off(end);
                let mut output = mem::replace(&mut self.buffer, rest);
                output.truncate(start);
                output.drain(..mem::take(&mut from));
                output
            } else {
                // No larger than it has to be: many of them may be kept.
                let output = self.buffer[from..start].to_vec();
                from = end;
                output
            };
            self.ready.push_back((number, code, output));
        }
        self.buffer.drain(..from);
        self.searched = self.buffer.len().saturating_sub(MARKER_MAX);
        if self.buffer.len() > MAX_OUTPUT { Err(FrameError::TooMuch) } else { Ok(()) }
    }

    fn find(&self, mut from: usize) -> Option<Marker> {
        loop {
            let start = from + self.buffer.get(from..)?.iter().position(|byte| *byte == b'\n')?;
            if let Some((length, number, code)) = self.marker(&self.buffer[start..]) {
                return Some(Marker { start, end: start + length, number, code });
            }
            from = start + 1;
        }
    }

    /// The marker that a text begins with: its length, number and code.
    fn marker(&self, text: &[u8]) -> Option<(usize, u64, i32)> {
        let rest = text.strip_prefix(self.begin.as_slice())?;
        let (number, mut rest) = digits(rest, 20)?;
        let mut code = 0;
        if self.coded {
            let (digits, after) = digits(rest.strip_prefix(b" ")?, 10)?;
            // No shell gives such a number; it must not pass for a success.
            code = digits.parse().unwrap_or(i32::MAX);
            rest = after;
        }
        let rest = rest.strip_prefix(b"\n")?;
        Some((text.len() - rest.len(), number.parse().unwrap_or(u64::MAX), code))
    }
}

/// The digits that a text begins with, one to `most`, and what follows.
fn digits(text: &[u8], most: usize) -> Option<(&str, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(count).filter(|_| (1..=most).contains(&count))?;
    Some((std::str::from_utf8(digits).ok()?, rest))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
