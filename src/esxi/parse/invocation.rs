//! A command line taken apart, as a person typed it: wrappers in front (`time`, `ssh host`), quotes, redirections,
//! and the filters of a pipe.

use super::family::Invocation;

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Pipe,
    /// `;`, `&&`, `&` or a line break: another command.
    Next,
    /// `||`: a command for the case that this one fails.
    Or,
    /// `>`, `<`, `>>`, `2>&1` and so on; the word behind it is a file when the flag says so.
    Redirect(bool),
}

/// Takes a command line apart. Of several commands one after the other the last one counts.
pub fn invocation(command: &str) -> Invocation {
    invocations(command).pop().unwrap_or_default()
}

/// All commands of a command line that run one after the other (`a; b`, `a && b`).
pub fn invocations(command: &str) -> Vec<Invocation> {
    let mut commands: Vec<Vec<Vec<String>>> = vec![vec![Vec::new()]];
    let (mut skip, mut other) = (false, false);
    for token in tokens(command) {
        other = matches!(token, Token::Or) || other && token != Token::Next;
        if other {
            continue;
        }
        let Some(pipe) = commands.last_mut() else { break };
        match token {
            Token::Word(_) if skip => skip = false,
            Token::Word(word) => {
                if let Some(part) = pipe.last_mut() {
                    part.push(word);
                }
            }
            Token::Pipe => pipe.push(Vec::new()),
            Token::Redirect(file) => skip = file,
            Token::Next | Token::Or => commands.push(vec![Vec::new()]),
        }
    }
    commands.into_iter().filter(|c| c.iter().any(|p| !p.is_empty())).flat_map(taken_apart).collect()
}

/// The commands of one pipe: several where its first word is a whole command line.
fn taken_apart(mut parts: Vec<Vec<String>>) -> Vec<Invocation> {
    parts.retain(|p| !p.is_empty());
    if parts.is_empty() {
        return Vec::new();
    }
    let first = unwrapped(parts.remove(0));
    // `ssh host "esxcli ... | grep x"`: one word that is a whole command line.
    if let [whole] = first.as_slice()
        && whole.contains(char::is_whitespace)
    {
        let mut inner = invocations(whole);
        if let Some(last) = inner.last_mut() {
            last.filters.extend(parts);
        }
        return inner;
    }
    let mut words = first.into_iter();
    let program = words.next().unwrap_or_default();
    let program = match program.rsplit_once('/') {
        Some((folder, name)) if !folder.ends_with("init.d") => name.to_owned(),
        _ => program,
    };
    vec![Invocation { program, args: words.collect(), filters: parts }]
}

/// Words without what stands in front of a command: variables, `time`, `sudo`, `ssh host`, prompts.
fn unwrapped(words: Vec<String>) -> Vec<String> {
    let variable = |w: &str| {
        w.split_once('=').is_some_and(|(n, _)| {
            !n.is_empty()
                && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !n.starts_with(char::is_numeric)
        })
    };
    let mut rest = words.as_slice();
    loop {
        match rest {
            [w, tail @ ..]
                if !tail.is_empty()
                    && (variable(w) || matches!(w.as_str(), "time" | "sudo" | "exec" | "$" | "#" | "~")) =>
            {
                rest = tail;
            }
            [w, tail @ ..] if w == "ssh" && tail.iter().any(|t| is_command(t)) => {
                let at = tail.iter().position(|t| is_command(t)).unwrap_or(0);
                rest = &tail[at..];
            }
            [w, tail @ ..] if w.starts_with('[') && w.ends_with(']') && w.contains('@') && !tail.is_empty() => {
                rest = tail
            }
            _ => return rest.to_vec(),
        }
    }
}

fn is_command(word: &str) -> bool {
    let first = word.split_whitespace().next().unwrap_or("");
    let name = first.rsplit('/').next().unwrap_or("");
    ["esxcli", "localcli", "vim-cmd", "vmware", "vmkping", "chkconfig"].contains(&name) || name.starts_with("esxcfg-")
}

/// Options of the client itself that take the next word as their value.
const TAKES_WORD: [&str; 30] = [
    "--server",
    "-s",
    "--username",
    "-u",
    "--password",
    "-p",
    "--vihost",
    "-h",
    "--portnumber",
    "--protocol",
    "--thumbprint",
    "-d",
    "--config",
    "--credstore",
    "-c",
    "--cacertsfile",
    "--sessionfile",
    "--savesessionfile",
    "--encoding",
    "--formatter",
    "--format-param",
    "--screen-width",
    "--batch",
    "--batch-param",
    "--context",
    "--url",
    "--passthroughauthpackage",
    "--log-file",
    "--psc",
    "-f",
];

/// An esxcli command line: what the client itself is told, the words of namespaces and command, and its options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Esxcli {
    /// The value of `--formatter`.
    pub formatter: Option<String>,
    /// The values of `--format-param`.
    pub params: Vec<String>,
    /// Namespaces and the command, for example `["network", "nic", "list"]`.
    pub path: Vec<String>,
    /// Everything behind them.
    pub options: Vec<String>,
    /// A usage text was asked for.
    pub help: bool,
}

impl Esxcli {
    /// Reads the arguments of esxcli or localcli.
    pub fn new(args: &[String]) -> Self {
        let mut out = Self { help: args.iter().any(|a| a == "--help" || a == "-?"), ..Self::default() };
        let mut i = 0;
        while let Some(word) = args.get(i).filter(|w| w.starts_with('-')) {
            if let Some(name) = word.strip_prefix("--formatter=") {
                out.formatter = Some(name.to_owned());
            } else if word == "--formatter" {
                out.formatter = args.get(i + 1).cloned();
            }
            if let Some(param) = word.strip_prefix("--format-param=") {
                out.params.push(param.to_owned());
            } else if word == "--format-param" {
                out.params.extend(args.get(i + 1).cloned());
            }
            i += if TAKES_WORD.contains(&word.as_str()) { 2 } else { 1 };
        }
        let rest = args.get(i..).unwrap_or_default();
        let end = rest.iter().position(|w| w.starts_with('-')).unwrap_or(rest.len());
        out.path = rest[..end].to_vec();
        out.options = rest[end..].to_vec();
        out
    }

    /// The path as one text.
    pub fn name(&self) -> String {
        self.path.join(" ")
    }

    /// The command, for example `list`.
    pub fn verb(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

fn tokens(command: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars().peekable();
    fn close(word: &mut Option<String>, out: &mut Vec<Token>) {
        if let Some(done) = word.take() {
            out.push(Token::Word(done));
        }
    }
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    match (c, chars.peek()) {
                        ('\\', Some('"' | '\\' | '$' | '`')) => word.extend(chars.next()),
                        _ => word.push(c),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            '|' => {
                close(&mut word, &mut out);
                if chars.next_if_eq(&'|').is_some() {
                    out.push(Token::Or);
                } else {
                    chars.next_if_eq(&'&');
                    out.push(Token::Pipe);
                }
            }
            ';' | '\n' => {
                close(&mut word, &mut out);
                out.push(Token::Next);
            }
            '&' => {
                close(&mut word, &mut out);
                if chars.next_if_eq(&'>').is_some() {
                    out.push(Token::Redirect(true));
                } else {
                    chars.next_if_eq(&'&');
                    out.push(Token::Next);
                }
            }
            '>' | '<' => {
                // A lone digit in front is the number of the stream.
                if !word.as_deref().is_some_and(|w| w.len() == 1 && w.chars().all(|c| c.is_ascii_digit())) {
                    close(&mut word, &mut out);
                }
                word = None;
                while chars.next_if(|c| matches!(c, '>' | '<')).is_some() {}
                let joined = chars.next_if_eq(&'&').is_some();
                if joined {
                    while chars.next_if(|c| c.is_ascii_digit() || *c == '-').is_some() {}
                }
                out.push(Token::Redirect(!joined));
            }
            c if c.is_whitespace() => close(&mut word, &mut out),
            c => word.get_or_insert_default().push(c),
        }
    }
    close(&mut word, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn pipes_quotes_and_redirections() {
        let got =
            invocation("time esxcli software vib list 2>/dev/null | grep -E 'a|b' | awk '{print $1; x}' > /tmp/x");
        assert_eq!(got.program, "esxcli");
        assert_eq!(got.args, words(&["software", "vib", "list"]));
        assert_eq!(got.filters, [words(&["grep", "-E", "a|b"]), words(&["awk", "{print $1; x}"])]);
        assert_eq!(invocation("/sbin/esxcfg-nics -l 2>&1").args, ["-l"]);
        assert_eq!(invocation("/etc/init.d/SSH status").program, "/etc/init.d/SSH");
        assert_eq!(
            invocation("ssh -p 22 root@h \"esxcli vm process list | head -3\"").filters,
            [words(&["head", "-3"])]
        );
        assert_eq!(invocation("cd /tmp; esxcli system version get").args[0], "system");
        assert_eq!(invocation("esxcli vm process list | grep x || true").filters.len(), 1);
        assert_eq!(invocation(""), Invocation::default());
    }

    #[test]
    fn options_of_the_client_stand_in_front() {
        let args = words(&["--server=h", "-u", "root", "--formatter", "csv", "network", "nic", "get", "-n", "vmnic0"]);
        let esxcli = Esxcli::new(&args);
        assert_eq!(esxcli.name(), "network nic get");
        assert_eq!(esxcli.formatter.as_deref(), Some("csv"));
        assert_eq!(esxcli.options, ["-n", "vmnic0"]);
        assert!(Esxcli::new(&words(&["network", "--help"])).help);
    }
}
