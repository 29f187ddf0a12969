//! What is wrong inside the scripts of sections.

use super::scan::{Section, Word};
use super::{Linter, behaviour, ed25519_refused};

impl Linter<'_> {
    pub(super) fn script(&mut self, section: &Section) {
        let name = section.header.first().map_or("", |w| w.text.as_str());
        let python = section.header.iter().any(|w| w.text == "--interpreter=python");
        let body = &self.text[section.body.clone()];
        if body.trim().is_empty() {
            if let Some(header) = section.header.first() {
                self.note(header, "empty-section", format!("`{name}` is empty"), "take it out");
            }
            return;
        }
        let mut at = section.body.start;
        let mut to_local = false;
        let mut writes_etc: Option<Word> = None;
        let mut saved_after = false;
        let mut here_document: Option<(String, Word)> = None;
        for line in body.split_inclusive('\n') {
            let start = at;
            at += line.len();
            let content = line.trim();
            let lead = line.len() - line.trim_start().len();
            let word =
                Word { text: content.to_owned(), range: start + lead..start + lead + content.len(), quoted: false };
            if let Some((end, _)) = &here_document {
                let closed = line.trim_end_matches(['\r', '\n']) == end.as_str();
                self.keys(&word);
                // What goes into local.sh runs after hostd; the rest of a here-document is data.
                if closed {
                    here_document = None;
                    to_local = false;
                }
                continue;
            }
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            self.keys(&word);
            if content.contains("local.sh") && content.contains(">>") {
                self.warn(
                    &word,
                    "local-sh-append",
                    "lines appended to local.sh never run: the stock file ends with `exit 0`".into(),
                    "write the whole file with `>`, and end it with `exit 0` yourself",
                );
            }
            to_local |= content.contains("local.sh");
            if !python && !to_local && content.contains("vim-cmd") {
                self.vim_cmd(name, &word);
            }
            if content.contains("weasel/ks.cfg") {
                self.default_script(&word);
            }
            if content.contains("/dev/ttyS") {
                self.warn(
                    &word,
                    "serial",
                    "ESXi has no /dev/ttyS0: its kernel holds the serial port".into(),
                    "with `logPort=com1` on the boot line, `vsish -e set /system/log \"text\"` reaches it",
                );
            }
            if content.contains("auto-backup.sh") {
                saved_after = true;
            } else if content.contains("> /etc/") || content.contains(">/etc/") || content.contains(" /etc/ssh") {
                saved_after = false;
                writes_etc.get_or_insert_with(|| word.clone());
            }
            if let Some(end) = delimiter(content).filter(|_| !python) {
                here_document = Some((end, word));
            } else if !content.ends_with('\\') {
                to_local = false;
            }
        }
        if let Some((end, word)) = here_document {
            let message = format!("the here-document is never closed: no line is `{end}` alone");
            self.error(&word, "here-document", message, "the delimiter must begin in the first column");
        }
        if let Some(word) = writes_etc.filter(|_| name == "%firstboot" && !saved_after) {
            self.warn(
                &word,
                "not-saved",
                "/etc is a RAM disk: this is gone after the next reboot".into(),
                "end %firstboot with /sbin/auto-backup.sh",
            );
        }
    }

    fn vim_cmd(&mut self, section: &str, word: &Word) {
        if section == "%post" || section == "%pre" {
            let message = format!("`vim-cmd` in {section}: there is no hostd in the installer");
            return self.error(word, "vim-cmd", message, "move it to %firstboot");
        }
        let Some(line) = self.line else { return };
        let row = behaviour(line);
        if !row.vim_cmd_in_firstboot {
            let message = format!("`vim-cmd` in %firstboot may hang on {}: {}", self.release(), row.reason);
            let help = format!(
                "put it into /etc/rc.local.d/local.sh, written whole, and reboot once ({})",
                row.evidence.source
            );
            self.warn(word, "vim-cmd", message, help);
        }
    }

    fn keys(&mut self, word: &Word) {
        if let (Some(reason), true) = (ed25519_refused(self.line), word.text.contains("ssh-ed25519 ")) {
            let message = format!("an Ed25519 key does not work on {}: {reason}", self.release());
            self.error(word, "ed25519", message, "use an ECDSA or RSA key: `ssh-keygen -t ecdsa -b 384`");
        }
    }

    fn default_script(&mut self, word: &Word) {
        self.warn(
            word,
            "default-script",
            "weasel/ks.cfg is the installer's own script, whose root password is publicly known".into(),
            "write a script of your own",
        );
    }
}

/// The word that ends a here-document which begins on this line.
fn delimiter(line: &str) -> Option<String> {
    let (_, after) = line.split_once("<<")?;
    let after = after.strip_prefix('-').unwrap_or(after).trim_start();
    if after.starts_with('<') {
        return None;
    }
    let word: String = after
        .trim_start_matches(['\'', '"', '\\'])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    (!word.is_empty() && !word.starts_with(|c: char| c.is_ascii_digit())).then_some(word)
}
