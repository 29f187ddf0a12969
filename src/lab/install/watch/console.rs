//! The serial console as lines, and what a line says about the phase.

use std::collections::VecDeque;

use super::Phase;

/// Lines kept.
const KEPT: usize = 200;
/// Longest line kept, in bytes.
const LONGEST: usize = 1024;

/// The end of a serial log.
#[derive(Debug, Default)]
pub struct Console {
    lines: VecDeque<String>,
    partial: Vec<u8>,
    /// The kept lines in small letters, for searching.
    text: String,
}

impl Console {
    /// Takes more bytes; gives the lines that are now complete. A line that gets too long is cut into several.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') || self.partial.len() >= LONGEST {
                let line = clean(&std::mem::take(&mut self.partial));
                if !line.is_empty() {
                    out.push(line);
                }
            }
            if !matches!(byte, b'\n' | b'\r') {
                self.partial.push(*byte);
            }
        }
        self.lines.extend(out.iter().cloned());
        while self.lines.len() > KEPT {
            self.lines.pop_front();
        }
        if !out.is_empty() {
            self.text = self.lines.iter().flat_map(|line| [line.to_ascii_lowercase(), "\n".into()]).collect();
        }
        out
    }

    /// The last `count` lines, with the one that is not complete.
    pub fn last(&self, count: usize) -> Vec<String> {
        let partial = Some(clean(&self.partial)).filter(|line| !line.is_empty());
        let mut lines: Vec<String> = partial.into_iter().chain(self.lines.iter().rev().cloned()).take(count).collect();
        lines.reverse();
        lines
    }

    /// The kept lines in small letters.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Without terminal sequences and control characters.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.peek() == Some(&'[') {
                chars.next();
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
        } else if c == '\t' {
            out.push(' ');
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out.trim_end().to_owned()
}

/// Beginnings and pieces of console lines, the phase they mean, and why. The boot loader's and the installer's words are
/// from public logs and screenshots (medium), the kernel's form of a line is in every public vmkernel log (high).
const PHASES: &[(&str, Phase, &str)] = &[
    ("loading esxi installer", Phase::LoadingModules, "the boot loader says so"),
    ("loading vmware esxi", Phase::LoadingModules, "the boot loader says so"),
    ("loading /b.b00", Phase::LoadingModules, "the boot loader reads modules"),
    ("loading /k.b00", Phase::LoadingModules, "the boot loader reads modules"),
    ("isolinux", Phase::LoadingModules, "the boot loader has started"),
    ("running weasel", Phase::Installer, "the installer has started"),
    ("weasel", Phase::Installer, "the installer writes its log"),
];

/// The phase that a line means.
pub(super) fn phase_of(line: &str) -> Option<(Phase, &'static str)> {
    let lower = line.to_ascii_lowercase();
    let known = PHASES.iter().find(|(piece, _, _)| lower.contains(piece)).map(|(_, phase, why)| (*phase, *why));
    known.or_else(|| is_kernel_line(line).then_some((Phase::Installer, "the kernel writes its log")))
}

/// `2026-01-01T00:00:00.000Z cpu0:65536)Text`: a line of the vmkernel.
fn is_kernel_line(line: &str) -> bool {
    line.match_indices("cpu").any(|(at, _)| {
        let rest = &line[at + 3..];
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let cpu = digits(rest);
        let Some(rest) = rest[cpu..].strip_prefix(':').filter(|_| cpu > 0) else { return false };
        let world = digits(rest);
        world > 0 && rest[world..].starts_with(')')
    })
}
