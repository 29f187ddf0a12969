//! Reads the object dumps that `vim-cmd` prints: `(vim.host.Summary) {`, `key = value,`, lists in brackets,
//! `<unset>` for null. hostd's own settings and its boot time come in no other form over SSH.
//!
//! Sources: recorded on 5.5: advopt-view-scratch, on 6.0: hostsummary-grep-cpumodel, and public copies of
//! `hostsvc/hostsummary` of 7.0 and 8.0. Older releases print a comma and a blank after every member, newer ones
//! none after the last. How a quote or a line break inside a string is printed was never recorded: both the
//! escaped and the bare form are read.

use super::forms::FormError;

/// Deeper nesting than this is refused; hostd's own objects stay below 12.
const DEPTH: usize = 64;

/// A value of a dump.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `<unset>` or `null`.
    Unset,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text in double quotes.
    Text(String),
    /// A reference to a managed object, in single quotes: `vim.HostSystem:ha-host`.
    Ref(String),
    /// Any other bare word: a fraction, a date.
    Word(String),
    /// A list.
    List(Vec<Value>),
    /// An object.
    Object {
        /// Its type, for example `vim.host.Summary`.
        kind: String,
        /// Its members in the printed order.
        members: Vec<(String, Value)>,
    },
}

impl Value {
    /// The member at a path of names parted by dots; a number picks an element of a list.
    pub fn get(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(self, |at, name| match at {
            Self::Object { members, .. } => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            Self::List(items) => name.parse::<usize>().ok().and_then(|n| items.get(n)),
            _ => None,
        })
    }

    /// The first member of this name anywhere, an object's own members before those further in.
    pub fn find(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object { members, .. } => members
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v)
                .or_else(|| members.iter().find_map(|(_, v)| v.find(name))),
            Self::List(items) => items.iter().find_map(|v| v.find(name)),
            _ => None,
        }
    }

    /// The text of a quoted value, a reference or a bare word.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(s) | Self::Ref(s) | Self::Word(s) => Some(s),
            _ => None,
        }
    }

    /// A truth value.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    /// A whole number.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Number(n) = self { Some(*n) } else { None }
    }

    /// The elements of a list.
    pub fn items(&self) -> &[Value] {
        if let Self::List(items) = self { items } else { &[] }
    }

    /// The value as one line of text; empty for `<unset>`, for lists and for objects.
    pub fn text(&self) -> String {
        match self {
            Self::Text(s) | Self::Ref(s) | Self::Word(s) => s.clone(),
            Self::Bool(b) => b.to_string(),
            Self::Number(n) => n.to_string(),
            Self::Unset | Self::List(_) | Self::Object { .. } => String::new(),
        }
    }

    /// The same as JSON; the types of objects are left out.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Unset => serde_json::Value::Null,
            Self::Bool(b) => (*b).into(),
            Self::Number(n) => (*n).into(),
            Self::Text(s) | Self::Ref(s) | Self::Word(s) => s.as_str().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Object { members, .. } => {
                serde_json::Value::Object(members.iter().map(|(n, v)| (n.clone(), v.to_json())).collect())
            }
        }
    }
}

/// Reads a dump. Lines before the first one that begins with `(` are a heading (`Listsummary:`) and are skipped.
pub fn parse(text: &str) -> Result<Value, FormError> {
    let start = if text.starts_with('(') { Some(0) } else { text.find("\n(").map(|at| at + 1) };
    let mut reader = Reader { text, at: start.unwrap_or(text.len()) };
    if start.is_none() {
        reader.at = 0;
        return reader.fail("no `(type)` at the beginning of a line");
    }
    reader.value(0)
}

/// The first object or list of this type (`vim.host.ServiceInfo`) in a dump, read alone: the whole of
/// `hostsvc/hostconfig` is thousands of lines. `None`: the dump has none.
pub fn typed(text: &str, kind: &str) -> Option<Result<Value, FormError>> {
    let head = format!("({kind})");
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(&head)?;
        from = at + head.len();
        if text.get(from..)?.trim_start().starts_with(['{', '[']) {
            return Some(Reader { text, at }.value(0));
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn fail<T>(&self, problem: &'static str) -> Result<T, FormError> {
        // At the end of the text there is nothing to show: the place is the last thing written.
        let at = self.at.min(self.text.trim_end().len());
        let before = self.text.get(..at).unwrap_or("");
        let from = before.rfind('\n').map_or(0, |n| n + 1);
        let line = before.matches('\n').count() + 1;
        let text = self.text.get(from..).unwrap_or("").lines().next().unwrap_or("").to_owned();
        Err(FormError { line, problem, text })
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes `word` if it comes next.
    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes everything up to the first of these characters, which is not taken.
    fn until(&mut self, stop: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(stop).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn value(&mut self, depth: usize) -> Result<Value, FormError> {
        if depth > DEPTH {
            return self.fail("nested too deep");
        }
        self.blanks();
        if self.take("<unset>") {
            return Ok(Value::Unset);
        }
        if self.take("(") {
            let kind = self.until(|c| c == ')' || c == '\n').trim().to_owned();
            if !self.take(")") {
                return self.fail("a type is not closed");
            }
            self.blanks();
            return match self.rest().as_bytes().first() {
                Some(b'{') => self.object(kind, depth),
                Some(b'[') => self.list(depth),
                // `(vim.vm.AffinityInfo) null`, or a typed scalar
                _ => self.value(depth + 1),
            };
        }
        match self.rest().as_bytes().first() {
            None => self.fail("the text ends where a value should be"),
            Some(b'{') => self.object(String::new(), depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.quoted('"').map(Value::Text),
            Some(b'\'') => self.quoted('\'').map(Value::Ref),
            Some(_) => {
                let word = self.until(|c| matches!(c, ',' | '\n' | '\r' | '}' | ']')).trim();
                match word {
                    "" => self.fail("no value"),
                    "null" => Ok(Value::Unset),
                    "true" => Ok(Value::Bool(true)),
                    "false" => Ok(Value::Bool(false)),
                    _ => Ok(word.parse().map_or_else(|_| Value::Word(word.to_owned()), Value::Number)),
                }
            }
        }
    }

    fn object(&mut self, kind: String, depth: usize) -> Result<Value, FormError> {
        self.take("{");
        let mut members = Vec::new();
        loop {
            self.blanks();
            if self.take("}") {
                return Ok(Value::Object { kind, members });
            }
            let name = self.until(|c| matches!(c, '=' | '\n' | '}' | '{')).trim();
            if name.is_empty() || !self.take("=") {
                return self.fail("a member without `name = `");
            }
            let value = self.value(depth + 1)?;
            members.push((name.to_owned(), value));
            self.blanks();
            self.take(",");
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, FormError> {
        self.take("[");
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.take("]") {
                return Ok(Value::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.blanks();
            self.take(",");
        }
    }

    /// A quoted text. A quote ends it only where a value can end, so that a bare quote inside does not.
    fn quoted(&mut self, mark: char) -> Result<String, FormError> {
        self.at += 1;
        let start = self.at;
        let rest = self.rest();
        let mut out = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, c @ ('"' | '\'' | '\\'))) => out.push(c),
                    Some((_, c)) => out.extend(['\\', c]),
                    None => break,
                }
            } else if c == mark && ends_value(&rest[at + 1..]) {
                self.at = start + at + 1;
                return Ok(out);
            } else {
                out.push(c);
            }
        }
        self.at = start;
        self.fail("a text is not closed")
    }
}

/// Whether a value may have ended in front of this text: the end of a list or an object, another member, or,
/// after a comma, another element. Looks at one name only, so that long texts stay quick.
pub(super) fn ends_value(rest: &str) -> bool {
    let rest = rest.trim_start();
    let (comma, rest) = match rest.strip_prefix(',') {
        Some(after) => (true, after.trim_start()),
        None => (false, rest),
    };
    if rest.is_empty() || rest.starts_with(['}', ']']) || comma && rest.starts_with(['"', '\'', '(', '<']) {
        return true;
    }
    let name = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    name.len() < rest.len() && name.starts_with(" = ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::esxi::recorded;

    #[test]
    fn reads_a_setting_recorded_on_5_5() {
        let text = recorded(include_str!("../../fixtures/transcripts/5.x/advopt-view-scratch.txt"));
        let dump = parse(&text).unwrap();
        assert_eq!(dump.get("0.key").unwrap().as_str(), Some("ScratchConfig.ConfiguredScratchLocation"));
        assert_eq!(
            dump.find("value").unwrap().as_str(),
            Some("/vmfs/volumes/57017270-43f7d020-b2d0-b8ac6f929c2c/.locker")
        );
        assert_eq!(dump.get("0.dynamicType"), Some(&Value::Unset));
    }

    #[test]
    fn reads_nested_objects_lists_references_and_the_newer_commas() {
        let text = r#"Listsummary:

(vim.host.Summary) {
   host = 'vim.HostSystem:ha-host',
   hardware = (vim.host.Summary.HardwareSummary) {
      otherIdentifyingInfo = (vim.host.SystemIdentificationInfo) [
         (vim.host.SystemIdentificationInfo) {
            identifierValue = "",
            identifierType = (vim.ElementDescription) {
               label = "Asset Tag",
               key = "AssetTag"
            }
         }
      ],
      cpuModel = "Intel(R) Xeon(R) CPU E31220 @ 3.10GHz",
      memorySize = 8589328384
   },
   runtime = (vim.host.RuntimeInfo) {
      inMaintenanceMode = false,
      bootTime = "2026-11-22T08:00:00.123456Z",
      dynamicProperty = (vmodl.DynamicProperty) [],
      affinity = (vim.vm.AffinityInfo) null,
   },
   config = <unset>,
   load = 0.25,
}"#;
        let dump = parse(text).unwrap();
        assert_eq!(dump.get("host"), Some(&Value::Ref("vim.HostSystem:ha-host".into())));
        assert_eq!(dump.get("hardware.memorySize").unwrap().as_i64(), Some(8_589_328_384));
        assert_eq!(dump.get("hardware.otherIdentifyingInfo.0.identifierType.key").unwrap().text(), "AssetTag");
        assert_eq!(dump.get("runtime.bootTime").unwrap().as_str(), Some("2026-11-22T08:00:00.123456Z"));
        assert_eq!(dump.find("inMaintenanceMode").unwrap().as_bool(), Some(false));
        assert_eq!(dump.get("runtime.affinity"), Some(&Value::Unset));
        assert_eq!(dump.get("load"), Some(&Value::Word("0.25".into())));
        assert_eq!(dump.get("runtime.dynamicProperty").unwrap().items().len(), 0);
        assert!(dump.get("runtime.nothing").is_none());
        assert_eq!(dump.to_json()["hardware"]["cpuModel"], "Intel(R) Xeon(R) CPU E31220 @ 3.10GHz");
    }

    #[test]
    fn quotes_and_line_breaks_inside_a_text_are_kept() {
        let dump = parse("(a) [ (b) { key = \"K\", value = \"say \\\"hi\\\" or \"ho\"\nand, go\" } ]").unwrap();
        assert_eq!(dump.find("value").unwrap().text(), "say \"hi\" or \"ho\"\nand, go");
        assert_eq!(dump.find("key").unwrap().text(), "K");
    }

    #[test]
    fn a_part_is_found_by_its_type_and_read_alone() {
        let text = "(a) {\n   odd\n   name = \"of (b.C) things\",\n   c = (b.C) {\n      key = 1\n   }\n}";
        assert!(parse(text).is_err());
        assert_eq!(typed(text, "b.C").unwrap().unwrap().get("key"), Some(&Value::Number(1)));
        assert!(typed(text, "b.D").is_none());
        assert!(typed("(b.C) {\n   key = 1", "b.C").unwrap().is_err());
    }

    #[test]
    fn what_is_no_dump_is_an_error_with_its_line() {
        assert_eq!(parse("Unable to find option").unwrap_err().line, 1);
        assert_eq!(parse("(a) {\n   key = 1,\n   oops\n}").unwrap_err().line, 3);
        assert!(parse(&"(a) [".repeat(5000)).unwrap_err().problem.contains("deep"));
        assert!(parse("").is_err());
        assert!(parse("(a) {").is_err());
        let cut = parse("(a) {\n   key = 1,\n\n").unwrap_err();
        assert_eq!((cut.line, cut.text.as_str()), (2, "   key = 1,"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[(){}\\[\\]<>=,\"'a-z0-9\\\\\n é.]{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("(a) {{ k = {text}"));
            let _ = typed(&format!("(a) {{ k = {text}"), "a");
        }

        #[test]
        fn a_text_comes_back(word in "[a-zA-Z0-9 /:.-]{0,40}") {
            let dump = parse(&format!("(a) [\n   (a) {{\n      value = \"{word}\"\n   }}\n]\n")).unwrap();
            prop_assert_eq!(dump.find("value").unwrap().as_str(), Some(word.as_str()));
        }
    }
}
