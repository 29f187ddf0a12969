//! Changes to an input, the same in every run: the generator starts from the target's name.

/// SplitMix64: small, quick, and the same everywhere.
pub struct Dice(u64);

impl Dice {
    /// From a word.
    pub fn new(word: &str) -> Self {
        Self(
            word.bytes()
                .fold(0x9E37_79B9_7F4A_7C15, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 for an empty range.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// The longest input that is made.
const LONGEST: usize = 24 * 1024;

/// The longest that one is on the way there.
const LARGEST: usize = 256 * 1024;

const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "+1",
    "00",
    "255",
    "256",
    "4096",
    "65535",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999",
    "1e309",
    "-0.0",
    "NaN",
    "inf",
    "0x10",
    "1_000",
    "٣",
    "①",
];

const PIECES: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "   ",
    "\0",
    "\x1b[31m",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\u{a0}",
    "\u{202e}",
    "é",
    "漢",
    "🖧",
    ":",
    ": ",
    "::",
    "--",
    "---",
    "-- --",
    "----------  ------",
    "=",
    " = ",
    ",",
    ", ",
    "\"",
    "'",
    "\\",
    "\\\"",
    "\\x",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "<unset>",
    "null",
    "&amp;",
    "&#x0;",
    "&lt;",
    "<!--",
    "]]>",
    "<![CDATA[",
    "<!DOCTYPE x [<!ENTITY a \"b\">]>",
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{#",
    "&a ",
    "*a",
    "<<: *a",
    "? ",
    "- ",
    "|\n",
    ">-\n",
    "!!str ",
    "!x ",
    "%YAML 1.1\n",
    "---\n",
    "...\n",
    "~",
    "yes",
    "N/A",
    "Error: ",
    " [Error]",
    "Usage: esxcli",
    "PK\x05\x06",
    "`\n",
    "#1/",
    "//",
    "/0",
    "!",
    "!!",
    "@",
    "|1|",
    "*",
    "?",
    "%h",
    "\x01",
    "\x010 0\n",
];

const OPEN: &[&str] = &[
    "(a) [",
    "(a) {k = ",
    "[",
    "{",
    "{a: ",
    "- ",
    "? ",
    "((",
    "<a>",
    "   ",
    "not ",
    "{{",
    "\"",
    "'",
    "\\",
    "-",
    "(",
    "1+",
    "a.",
    "&a [",
    "|",
];

/// One to four changes to a seed.
pub fn mutated(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        change(dice, &mut input, seeds);
        // Repeated lines that are repeated again would fill the memory of this machine.
        input.truncate(LARGEST);
    }
    input.truncate(LONGEST);
    input
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = dice.below(input.len() + 1);
    let here = at.min(input.len().saturating_sub(1));
    match dice.below(20) {
        0 if !input.is_empty() => input[here] ^= 1 << dice.below(8),
        1 if !input.is_empty() => input[here] = dice.next() as u8,
        2 => input.truncate(at),
        3 => drop(input.drain(..at)),
        4 | 5 => insert(input, at, dice.pick(PIECES).as_bytes()),
        6 => insert(
            input,
            at,
            dice.pick(&[&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x80\x80"]),
        ),
        7 | 8 => number(dice, input, at),
        9 => {
            let other = &seeds[dice.below(seeds.len())];
            let (from, to) = (dice.below(other.len() + 1), dice.below(other.len() + 1));
            input.truncate(at);
            input.extend_from_slice(&other[from.min(to)..from.max(to)]);
        }
        10..=14 => lines(dice, input),
        15 => {
            let open = dice.pick(OPEN).repeat(1 << dice.below(13));
            insert(input, at, &open.as_bytes()[..open.len().min(LONGEST)]);
        }
        16 => {
            let end = (at + 1 + dice.below(60)).min(input.len());
            let chunk = input[at.min(end)..end].repeat(1 << dice.below(8));
            insert(input, at, &chunk);
        }
        17 => {
            let (from, to) = (b" \n:,-"[dice.below(5)], b" \n:,\t\0"[dice.below(6)]);
            let skip = dice.below(4);
            input.iter_mut().filter(|byte| **byte == from).skip(skip).for_each(|byte| *byte = to);
        }
        18 => {
            let text = String::from_utf8_lossy(input);
            *input = if dice.below(2) == 0 { text.replace('\n', "\r\n") } else { text.replace("  ", " ") }.into_bytes();
        }
        _ => {
            let end = (at + 1 + dice.below(20)).min(input.len());
            drop(input.drain(at.min(end)..end));
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// Another number where one stands, or one more.
fn number(dice: &mut Dice, input: &mut Vec<u8>, at: usize) {
    let start = input[at..].iter().position(u8::is_ascii_digit).map_or(at, |skipped| at + skipped);
    let end =
        input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |length| start + length);
    input.splice(start..end, dice.pick(NUMBERS).bytes());
}

/// A line more, a line less, two lines swapped, a line shortened or moved in.
fn lines(dice: &mut Dice, input: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(6) {
        0 => lines.insert(b, lines[a].clone()),
        1 => drop(lines.remove(a)),
        2 => lines.swap(a, b),
        3 => {
            let keep = dice.below(lines[a].len() + 1);
            lines[a].truncate(keep);
        }
        4 => {
            let blanks = dice.below(9);
            lines[a].splice(0..0, std::iter::repeat_n(b' ', blanks));
        }
        _ => {
            let line = lines[a].clone();
            let many = 1 << dice.below(9);
            lines.splice(b..b, std::iter::repeat_n(line, many));
        }
    }
    *input = lines.concat();
}
