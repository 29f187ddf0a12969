//! Options of a command, and how esxcli reads them. Rules and words are those of the esxcli client's own code
//! and of recorded errors.

use std::collections::BTreeMap;

use super::super::state::Release;

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Str,
    Int,
    Bool,
    /// No value at all.
    Flag,
    /// May be given several times.
    List,
    /// Asked for on the terminal when it has no value.
    Secret,
}

/// One option of a command, made from a line like `n nic-name s! The NIC`: the short letter (or `-`), the long
/// name, the kind (`s`tring, `i`nteger, `b`oolean, `f`lag, `l`ist, secret `p`assword; `!` = required; `7+` or
/// `-6` behind it: only from, or only before 7.0), the help.
#[derive(Debug, Clone)]
pub(super) struct Opt {
    pub short: Option<char>,
    pub long: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub help: &'static str,
}

impl Opt {
    fn aliases(&self) -> String {
        match self.short {
            Some(c) => format!("-{c}|--{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// The options of a release, sorted by name as the usage text and the errors have them.
pub(super) fn options(lines: &'static [&'static str], release: Release) -> Vec<Opt> {
    let mut all: Vec<Opt> = lines
        .iter()
        .filter_map(|line| {
            let mut words = line.splitn(4, ' ');
            let short = words.next()?.chars().next().filter(|c| *c != '-');
            let long = words.next()?;
            let mut kind = words.next()?.chars();
            let help = words.next().unwrap_or("");
            let letter = kind.next()?;
            let rest: String = kind.collect();
            let bound = rest.trim_start_matches('!');
            let fits = match bound {
                "8+" => release >= Release::V80,
                "7+" => release >= Release::V70,
                "67+" => release >= Release::V67,
                _ => true,
            };
            let kind = match letter {
                'i' => Kind::Int,
                'b' => Kind::Bool,
                'f' => Kind::Flag,
                'l' => Kind::List,
                'p' => Kind::Secret,
                _ => Kind::Str,
            };
            fits.then_some(Opt { short, long, kind, required: rest.starts_with('!'), help })
        })
        .collect();
    all.sort_by_key(|o| o.long.replace('-', ""));
    all
}

/// The options that were given.
#[derive(Debug, Default)]
pub(in super::super) struct Args {
    values: BTreeMap<&'static str, Vec<String>>,
}

impl Args {
    pub(in super::super) fn has(&self, long: &str) -> bool {
        self.values.contains_key(long)
    }

    pub(in super::super) fn get(&self, long: &str) -> Option<&str> {
        self.values.get(long).and_then(|v| v.first()).map(String::as_str)
    }

    /// The value of a required option.
    pub(in super::super) fn need(&self, long: &str) -> &str {
        self.get(long).unwrap_or("")
    }

    pub(in super::super) fn all(&self, long: &str) -> &[String] {
        self.values.get(long).map_or(&[], Vec::as_slice)
    }

    pub(in super::super) fn int(&self, long: &str) -> Option<i64> {
        self.get(long).and_then(|v| v.parse().ok())
    }

    pub(in super::super) fn bool(&self, long: &str) -> Option<bool> {
        self.get(long).and_then(boolean)
    }
}

/// A boolean in any of the accepted spellings.
pub(in super::super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
        "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
        _ => None,
    }
}

/// A word that esxcli takes for an option: a dash and a letter, or two dashes and a letter.
fn is_option(word: &str) -> bool {
    let rest = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    rest.is_some_and(|r| r.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Reads the words behind a command.
///
/// # Errors
/// The message that follows `Error: `; a second missing parameter is on its own, indented line.
pub(super) fn parse(options: &[Opt], words: &[String], tty: bool) -> Result<Args, String> {
    let mut args = Args::default();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if !is_option(word) {
            return Err(format!("Invalid option {word}"));
        }
        let (name, assigned) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let found = options.iter().find(|o| {
            name.strip_prefix("--") == Some(o.long)
                || (!name.starts_with("--") && name.chars().nth(1) == o.short && name.len() == 2)
        });
        let Some(option) = found else { return Err(format!("Invalid option {name}")) };
        let value = if option.kind == Kind::Flag {
            if assigned.is_some() {
                return Err(format!("While processing '{name}'. Flag parameter does not take any value"));
            }
            "true".to_owned()
        } else if let Some(value) = assigned {
            value
        } else if let Some(next) = words.next_if(|w| !is_option(w)) {
            next.clone()
        } else if option.kind == Kind::Secret {
            // The real program asks here; without a terminal there is nobody to ask. Its words in that case were
            // not recorded.
            let _ = tty;
            return Err(format!("Enter value for '{}': no terminal to read it from", option.long));
        } else {
            return Err(format!("{name} must have value"));
        };
        match option.kind {
            Kind::Bool if boolean(&value).is_none() => {
                return Err(format!(
                    "While processing '{name}'. Argument type mismatch. Expecting one of {{0, 1, n[o], y[es], f[alse], t[rue], off, on}}. Got '{value}'"
                ));
            }
            Kind::Int if value.parse::<i64>().is_err() => {
                return Err(format!(
                    "While processing '{name}'. Argument type mismatch. Expecting integer value. Got '{value}'"
                ));
            }
            _ => {}
        }
        let list = args.values.entry(option.long).or_default();
        if !list.is_empty() && option.kind != Kind::List {
            return Err(format!("Duplicated option {name}"));
        }
        list.push(value);
    }
    let missing: Vec<String> = options
        .iter()
        .filter(|o| o.required && !args.has(o.long))
        .map(|o| format!("Missing required parameter {}", o.aliases()))
        .collect();
    if missing.is_empty() { Ok(args) } else { Err(missing.join("\n       ")) }
}

/// A name and its text: the text begins in column 25, or on the next line when the name is too long.
pub(super) fn described(name: &str, text: &str) -> String {
    let pad = " ".repeat(24);
    let text = text.replace('\n', &format!("\n{pad}"));
    if name.len() <= 20 { format!("  {name:<22}{text}") } else { format!("  {name}\n{pad}{text}") }
}

/// The usage text of a command (layout recorded on 6.7: system account add --help).
pub(super) fn usage(command: &str, help: &str, options: &[Opt]) -> String {
    let name = command.rsplit(' ').next().unwrap_or(command);
    let mut out = vec![
        format!("Usage: esxcli {command} [cmd options]"),
        String::new(),
        "Description: ".into(),
        described(name, help),
        String::new(),
        "Cmd options:".into(),
    ];
    for o in options {
        let value = match o.kind {
            Kind::Str | Kind::Secret => "=<str>",
            Kind::Int => "=<long>",
            Kind::Bool => "=<bool>",
            Kind::List => "=[ <str> ... ]",
            Kind::Flag => "",
        };
        let mut help = o.help.to_owned();
        match (o.required, o.kind == Kind::Secret) {
            (true, true) => help.push_str(" (required secret)"),
            (true, false) => help.push_str(" (required)"),
            (false, true) => help.push_str(" (secret)"),
            (false, false) => {}
        }
        if o.kind == Kind::Secret {
            help.push_str(
                "\nWARNING: Providing secret values on the command line is insecure because it may be logged\nor preserved in history files. Instead, specify this option with no value on the command\nline, and enter the value on the supplied prompt.",
            );
        }
        out.push(described(&format!("{}{value}", o.aliases()), &help));
    }
    out.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[&str] = &[
        "n name s! A name",
        "e enabled b On",
        "s server l Servers",
        "f force f Do it",
        "m mtu i Size",
        "p password p Word",
    ];

    fn run(words: &[&str]) -> Result<Args, String> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        parse(&options(LINES, Release::V80), &words, false)
    }

    #[test]
    fn reads_values_in_every_spelling() {
        let a = run(&["--name=-x", "-e", "OFF", "-s", "a", "--server=b", "--force", "-m", "-1"]).unwrap();
        assert_eq!(a.need("name"), "-x");
        assert_eq!(a.bool("enabled"), Some(false));
        assert_eq!(a.all("server"), ["a", "b"]);
        assert!(a.has("force"));
        assert_eq!(a.int("mtu"), Some(-1));
    }

    #[test]
    fn refuses_what_the_client_refuses() {
        assert_eq!(run(&["-n", "-x"]).unwrap_err(), "-n must have value");
        assert_eq!(run(&["-n", "a", "-n", "b"]).unwrap_err(), "Duplicated option -n");
        assert_eq!(run(&["-n", "a", "--test", "true"]).unwrap_err(), "Invalid option --test");
        assert_eq!(run(&["-n", "a", "b"]).unwrap_err(), "Invalid option b");
        assert_eq!(run(&["-e", "1"]).unwrap_err(), "Missing required parameter -n|--name");
        assert!(run(&["-n", "a", "--force=1"]).unwrap_err().contains("does not take any value"));
        assert!(run(&["-n", "a", "-m", "big"]).unwrap_err().ends_with("Expecting integer value. Got 'big'"));
        assert!(run(&["-n", "a", "-p"]).is_err(), "no terminal to ask on");
    }
}
