//! Whatever stands in an argument, a script or an input arrives byte for byte: through [`Command`], through the
//! framing, and through real shells of the two families that matter: busybox ash (ESXi's own) and dash.
//!
//! One shell process serves thousands of cases. Needs `busybox` and `dash` (`scripts/test` installs them); without
//! them these tests fail and say so.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use esxprep::esxi::Command;
use esxprep::esxi::command::quote;
use esxprep::transport::frame::{self, Decoder, Done, Framer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// The shells, and how to start one that reads its commands from standard input.
const SHELLS: [(&str, &[&str]); 2] = [("busybox", &["ash"]), ("dash", &[])];

/// Prints each argument and a NUL, by the shell's own `printf`.
const PRINT: &str = r"printf '%s\0'";
/// The same by another process, so that the arguments pass through `execve` too.
const PRINT_BY_CHILD: &str = r#"sh -c 'printf "%s\0" "$@"' child"#;

/// One shell process with the framing around it, as a host's shell has it.
struct Far {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    framer: Framer,
    decoder: Decoder,
    pieces: Receiver<(bool, Vec<u8>)>,
    /// Where its scripts may leave files.
    _folder: tempfile::TempDir,
}

impl Far {
    fn start(name: &'static str, arguments: &[&str], path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|dir| dir.join(name))
            .find(|file| file.is_file())
            .unwrap_or_else(|| panic!("`{name}` is not installed: scripts/test installs it; nothing was tested"));
        let mut child = std::process::Command::new(program)
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("`{name}` does not start: {error}"));
        let framer = Framer::new();
        let decoder = framer.decoder();
        let (sender, pieces) = mpsc::channel();
        let streams: [(bool, Box<dyn Read + Send>); 2] =
            [(true, Box::new(child.stdout.take().unwrap())), (false, Box::new(child.stderr.take().unwrap()))];
        for (is_out, mut stream) in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if sender.send((is_out, buffer[..count].to_vec())).is_err() {
                        return;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        Self { name, child, stdin, framer, decoder, pieces, _folder: folder }
    }

    /// Both shells, with the programs of the machine.
    fn all() -> Vec<Self> {
        SHELLS.iter().map(|(name, arguments)| Self::start(name, arguments, "/usr/bin:/bin")).collect()
    }

    /// Both shells, without any program but their own builtins.
    fn bare() -> Vec<Self> {
        SHELLS.iter().map(|(name, arguments)| Self::start(name, arguments, "/nonexistent")).collect()
    }

    /// Sends scripts in one go and waits for all of them.
    fn run(&mut self, scripts: &[(&str, Option<&[u8]>)]) -> Result<Vec<Done>, String> {
        let mut bytes = Vec::new();
        for (script, stdin) in scripts {
            bytes.extend(self.framer.encode(script, *stdin).map_err(|error| error.to_string())?.1);
        }
        let mut stdin = self.stdin.take().ok_or("the shell has ended before")?;
        let writer = std::thread::spawn(move || stdin.write_all(&bytes).map(|()| stdin));
        let mut done = Vec::new();
        while done.len() < scripts.len() {
            match self.pieces.recv_timeout(Duration::from_secs(60)) {
                Ok((true, piece)) => self.decoder.stdout(&piece).map_err(|error| error.to_string())?,
                Ok((false, piece)) => self.decoder.stderr(&piece).map_err(|error| error.to_string())?,
                Err(RecvTimeoutError::Timeout) => return Err(format!("{} said nothing for 60 s", self.name)),
                Err(RecvTimeoutError::Disconnected) => return Err(format!("{} has ended", self.name)),
            }
            done.extend(std::iter::from_fn(|| self.decoder.next_done()));
        }
        self.stdin = Some(writer.join().map_err(|_| "writer")?.map_err(|error| error.to_string())?);
        Ok(done)
    }

    /// The arguments that a command's program got.
    fn arguments(&mut self, command: &Command) -> Result<Vec<Vec<u8>>, String> {
        let done = self.run(&[(command.text(), command.stdin_bytes())])?.remove(0);
        if done.code != 0 || !done.stderr.is_empty() || done.stdout.last() != Some(&0) {
            return Err(format!("{}: {:?}", self.name, clipped(&done)));
        }
        Ok(done.stdout[..done.stdout.len() - 1].split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn clipped(done: &Done) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
    (done.code, text(&done.stdout), text(&done.stderr))
}

/// Runs a property with shells that live through all cases.
fn check<T: std::fmt::Debug>(
    cases: u32,
    mut shells: Vec<Far>,
    strategy: &impl Strategy<Value = T>,
    test: impl Fn(&mut Far, &T) -> Result<(), String>,
) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let shells = RefCell::new(&mut shells);
    TestRunner::new(config)
        .run(strategy, |value| {
            shells.borrow_mut().iter_mut().try_for_each(|far| test(far, &value)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Words that shells, `printf`, `test` or esxcli could take for something else.
const WORDS: &[&str] = &[
    "",
    "-",
    "--",
    "-n",
    "-e",
    "--help",
    "-rf",
    "=",
    "a=b",
    "!",
    "!!",
    "~",
    "~root",
    "*",
    "?",
    "[a-z]*",
    ".*",
    "{a,b}",
    "$HOME",
    "${x}",
    "$(id)",
    "`id`",
    "$'x'",
    "$\"x\"",
    "$$",
    "$?",
    "$#",
    "$@",
    "'",
    "''",
    "'\\''",
    "\"",
    "\\",
    "\\\\",
    "\\n",
    "\\0",
    "\\c",
    "%s",
    "%",
    "%%",
    "%d%n",
    ";",
    "&",
    "&&",
    "|",
    "||",
    "<",
    ">",
    ">>",
    "<<E",
    "(",
    ")",
    "{",
    "}",
    "#",
    "# x",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "\t",
    " ",
    "  ",
    "a b",
    " a",
    "a ",
    "\u{1}",
    "\u{7f}",
    "\u{1b}[0m",
    "\u{80}",
    "\u{81}",
    "\u{82}",
    "\u{83}",
    "\u{84}",
    "\u{85}",
    "\u{86}",
    "\u{87}",
    "\u{88}",
    "\u{89}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "é",
    "e\u{301}",
    "ß",
    "漢字",
    "🖧",
    "\u{10ffff}",
    "Management Network (1)",
    "vSwitch0",
    "do",
    "done",
    "fi",
    "esac",
    "then",
    "in",
    "alias",
    "eval",
    "exec",
    "exit",
    "return",
];

/// Any text that a command line can hold: all of Unicode but NUL, with many of the troublesome words.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(WORDS).prop_map(str::to_owned),
        2 => any::<char>().prop_filter("no NUL", |c| *c != '\0').prop_map(String::from),
        1 => "[\u{1}-\u{7f}]{0,6}",
        1 => "[a-zA-Z0-9_.:/@%+=,-]{1,8}",
    ];
    vec(word, 0..6).prop_map(|words| words.concat())
}

/// How a value goes into the command.
#[derive(Debug, Clone, Copy)]
enum Way {
    Arg,
    Long,
    Short,
}

fn ways() -> impl Strategy<Value = Vec<(Way, String)>> {
    vec((prop_oneof![2 => Just(Way::Arg), 1 => Just(Way::Long), 1 => Just(Way::Short)], text()), 1..25)
}

/// The command with these values, and what its program must get.
fn built(start: &'static str, values: &[(Way, String)]) -> (Command, Vec<Vec<u8>>) {
    let mut command = Command::new(start);
    let mut wanted = Vec::new();
    for (way, value) in values {
        command = match way {
            Way::Arg => {
                wanted.push(value.clone());
                command.arg(value)
            }
            Way::Long => {
                wanted.push(format!("--portgroup-name={value}"));
                command.opt("--portgroup-name", value)
            }
            Way::Short => {
                wanted.extend(["-p".to_owned(), value.clone()]);
                command.opt("-p", value)
            }
        };
    }
    (command, wanted.into_iter().map(String::into_bytes).collect())
}

fn same(got: &[Vec<u8>], wanted: &[Vec<u8>]) -> Result<(), String> {
    let at = got.iter().zip(wanted).position(|(g, w)| g != w);
    match at {
        Some(at) => Err(format!("argument {at}: {:?} became {:?}", wanted[at], got[at])),
        None if got.len() != wanted.len() => Err(format!("{} arguments became {}", wanted.len(), got.len())),
        None => Ok(()),
    }
}

#[test]
fn any_argument_arrives_byte_for_byte() {
    check(400, Far::all(), &ways(), |far, values| {
        let (command, wanted) = built(PRINT, values);
        same(&far.arguments(&command)?, &wanted)
    });
}

#[test]
fn any_argument_reaches_another_process_byte_for_byte() {
    check(60, Far::all(), &ways(), |far, values| {
        let (command, wanted) = built(PRINT_BY_CHILD, values);
        same(&far.arguments(&command)?, &wanted)
    });
}

/// A detached change and a nested `sh -c` quote text that is quoted already.
#[test]
fn quoting_holds_two_and_three_levels_deep() {
    check(60, Far::all(), &ways(), |far, values| {
        let (command, wanted) = built(PRINT, values);
        let once = Command::raw(format!("sh -c {}", quote(command.text())));
        same(&far.arguments(&once)?, &wanted)?;
        let twice = Command::raw(format!("eval {}", frame::quoted(once.text())));
        same(&far.arguments(&twice)?, &wanted)
    });
}

#[test]
fn every_single_character_below_u_0800_and_every_byte_of_utf_8_arrives() {
    // Every character of one or two bytes, and one for each first byte of three and four.
    let wide = (0xE1..=0xEF_u32).map(|first| (first & 0xF) << 12 | 0x83).chain((0..=4).map(|n| (n << 18) | 0x1_0083));
    let all: Vec<char> = (1..0x800).chain(wide).filter_map(char::from_u32).collect();
    for mut far in Far::all() {
        for chunk in all.chunks(300) {
            let values: Vec<(Way, String)> = chunk.iter().map(|c| (Way::Arg, String::from(*c))).collect();
            let (command, wanted) = built(PRINT, &values);
            same(&far.arguments(&command).unwrap(), &wanted).unwrap();
        }
        let together: String = all.iter().collect();
        let (command, wanted) = built(PRINT, &[(Way::Long, together)]);
        same(&far.arguments(&command).unwrap(), &wanted).unwrap();
    }
}

#[test]
fn very_long_arguments_arrive() {
    for mut far in Far::all() {
        for piece in ["x", "'", "\\", "é'\n", "$(a) "] {
            let long = piece.repeat(300_000 / piece.len());
            let (command, wanted) =
                built(PRINT, &[(Way::Arg, long.clone()), (Way::Long, long), (Way::Arg, "end".into())]);
            same(&far.arguments(&command).unwrap(), &wanted).unwrap();
        }
        // One argument of a program is at most 128 KiB on Linux.
        let (command, wanted) = built(PRINT_BY_CHILD, &[(Way::Arg, "it's ".repeat(25_000))]);
        same(&far.arguments(&command).unwrap(), &wanted).unwrap();
    }
}

/// Input of any bytes: text that could go as a here-document, and what cannot.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"EOF\n".to_vec()),
        Just(b"E\n".to_vec()),
        Just(b"\\\n".to_vec()),
        Just(b"$HOME `id` $(id)\n".to_vec()),
        Just(b"'\"\n".to_vec()),
        Just(b"\t<<E\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"E0123456789abcdef\n".to_vec()),
        Just(b"%s\\0\\c\n".to_vec()),
        vec(any::<u8>(), 0..40),
        "[ -~]{0,60}\n".prop_map(String::into_bytes),
        text().prop_map(String::into_bytes),
    ];
    vec(line, 0..12).prop_map(|lines| lines.concat())
}

#[test]
fn any_input_arrives_byte_for_byte() {
    check(250, Far::all(), &input(), |far, bytes| {
        let command = Command::new("cat").stdin(bytes.clone());
        let done = far.run(&[(command.text(), command.stdin_bytes()), ("echo next", None)])?;
        if done[0].stdout != *bytes || done[0].code != 0 || done[1].stdout != b"next\n" {
            return Err(format!("{}: {:?} then {:?}", far.name, clipped(&done[0]), clipped(&done[1])));
        }
        Ok(())
    });
}

#[test]
fn input_with_the_nonce_in_it_and_large_input_arrive() {
    for mut far in Far::all() {
        let nonce = far.framer.nonce().to_owned();
        let bytes: Vec<u8> = (0..=255).collect();
        for data in [
            format!("E{nonce}\n"),
            format!("before\nE{nonce}\nafter\n"),
            format!("E{nonce}"),
            format!("x{nonce}\n"),
            "line of text, with $dollars and `ticks`\n".repeat(8000),
            "\\\n".repeat(2000),
            "x".repeat(200_000) + "\n",
        ] {
            let done = far.run(&[("cat", Some(data.as_bytes())), ("echo next", None)]).unwrap();
            assert!(done[0].stdout == data.as_bytes(), "{}: {:?}", far.name, clipped(&done[0]));
            assert_eq!(done[1].stdout, b"next\n");
        }
        let long = bytes.repeat(400);
        let done = far.run(&[("cat", Some(&long))]).unwrap();
        assert!(done[0].stdout == long, "{}", far.name);
    }
}

/// Pieces of shell scripts that leave something open, end early, or close what they should not.
const PIECES: &[&str] = &[
    "echo a",
    "echo b >&2",
    "true",
    "false",
    "exit 3",
    "return 4",
    "exec 2>&-",
    "exec >&-",
    "exec <&-",
    "set -e",
    "set -u",
    "set -f",
    "trap 'echo bye' EXIT",
    "trap '' INT",
    "cd /",
    "x=1",
    "unset PATH",
    "IFS=x",
    "alias echo=false",
    "umask 0",
    "shift",
    "shift 9",
    "break",
    "continue",
    "read x",
    "eval 'echo c'",
    "eval '(' ",
    "'",
    "\"",
    "`",
    "$(",
    "${",
    "$((",
    ")",
    "))",
    "}",
    "{",
    "(",
    "if true",
    "then",
    "else",
    "fi",
    "case a in",
    "a)",
    ";;",
    "esac",
    "for i in 1 2",
    "do",
    "done",
    "f() {",
    "<<E",
    "<<'E'",
    "<<-E",
    "E",
    "cat <<E",
    "<<<x",
    "# comment",
    "#",
    "\\",
    "\\\\",
    "&&",
    "||",
    "|",
    ";",
    "!",
    "[ x",
    "[ x = x ]",
    "echo \"$1\"",
    ">file",
    "2>&1",
    "<nothing",
    "$x",
    "$'a'",
    "é",
    "\u{81}",
    "\r",
    "\t",
    "%s",
    "-",
];

/// A script of several lines, well-formed or not.
fn script() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => "[ -~]{0,10}".prop_filter("no other process", |t| !t.contains('/') && !t.contains("kill")),
        1 => any::<char>().prop_filter("no NUL", |c| *c != '\0').prop_map(String::from),
    ];
    vec((piece, prop::sample::select(&[" ", "\n", "", "; ", "\n\n"][..])), 0..14)
        .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, end)| [piece, end.to_owned()]).collect())
        .prop_filter("no background job", |script: &String| !may_start_a_job(script))
}

/// Whether a script may start a background job: what such a job prints late is counted to the next command, as the
/// framing says. Every `&` that is neither half of `&&` nor part of `>&` may start one, and so may any that comes
/// after a backslash, which can take the first half of a `&&` away.
fn may_start_a_job(script: &str) -> bool {
    script.replace("2>&1", " ").split("&&").any(|part| part.contains('&') || part.ends_with('\\'))
        && script.contains('&')
}

#[test]
fn scripts_with_background_jobs_are_known() {
    for script in ["a &", "a & b", "\\&& b", "a &&& b", "a\n&", "2>&1 &", "a && b &", "\\\\&&"] {
        assert!(may_start_a_job(script), "{script:?}");
    }
    for script in ["", "a", "a && b", "a 2>&1", "a 2>&1 && b", "\\", "a\\"] {
        assert!(!may_start_a_job(script), "{script:?}");
    }
}

#[test]
fn no_script_reaches_out_of_its_frame() {
    check(400, Far::bare(), &script(), |far, script| {
        let probe = Command::new(PRINT).arg("it's here").opt("--x", "$y");
        let done =
            far.run(&[(script, None), (probe.text(), None), (script, Some(b"input\n")), (probe.text(), None)])?;
        for (n, done) in done.iter().enumerate() {
            if n % 2 == 1 && (done.stdout != b"it's here\0--x=$y\0" || done.code != 0 || !done.stderr.is_empty()) {
                return Err(format!("{}: what came after it: {:?}", far.name, clipped(done)));
            }
        }
        Ok(())
    });
}

#[test]
fn scripts_of_several_lines_run_as_they_would_from_a_file() {
    let cases: &[(&str, &str, i32)] = &[
        ("echo a\necho b", "a\nb\n", 0),
        ("echo a\n\n\necho b\n", "a\nb\n", 0),
        ("cat <<E\n$((1+1)) it's \"two\"\nE\n", "2 it's \"two\"\n", 0),
        ("cat <<'E'\n$x `y` \\\n\\\\\nE\necho after\n", "$x `y` \\\n\\\\\nafter\n", 0),
        ("cat <<-E\n\tindented\n\tE\n", "indented\n", 0),
        ("cat <<A; cat <<B\none\nA\ntwo\nB\n", "one\ntwo\n", 0),
        // The end of the script ends a here-document that has no end, as the end of a file does.
        ("cat <<E\nopen end", "open end", 0),
        ("cat <<E\nE", "", 0),
        ("echo 'a\nb'", "a\nb\n", 0),
        ("echo a \\\n  b", "a b\n", 0),
        ("echo a # it's a comment", "a\n", 0),
        ("echo a\n# it's the last line", "a\n", 0),
        ("-n 2>/dev/null; echo \"$?\"", "127\n", 0),
        ("f() {\n  echo \"$1\"\n}\nf \"it's\"", "it's\n", 0),
        ("if false; then\n echo no\nelse\n exit 7\nfi\necho never", "", 7),
        ("printf 'no line end'", "no line end", 0),
        ("while read x; do echo \"<$x>\"; done", "", 0),
        ("", "", 0),
        ("\n", "", 0),
        ("#", "", 0),
    ];
    for mut far in Far::all() {
        for (script, wanted, code) in cases {
            let done = far.run(&[(script, None), ("echo next", None)]).unwrap();
            let got = String::from_utf8_lossy(&done[0].stdout);
            // How a here-document without an end is finished is the shell's own affair; nothing else may be.
            let got = if script.contains("open end") { got.trim_end() } else { &got };
            assert_eq!((got, done[0].code), (*wanted, *code), "{}: {script:?} {:?}", far.name, clipped(&done[0]));
            assert_eq!(done[1].stdout, b"next\n", "{}: after {script:?}", far.name);
        }
        for code in 0..=255 {
            let done = far.run(&[(&format!("true\nexit {code}\n"), None)]).unwrap();
            assert_eq!(done[0].code, code, "{}", far.name);
        }
    }
}
