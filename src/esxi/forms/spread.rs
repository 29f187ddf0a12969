//! Words spread over the columns of a table whose lines do not keep to the ruler: runs of blanks that a web page
//! made one blank, dashes that are shorter than their cells, heading lines without a ruler.
//!
//! A dash run is as long as the longest of its heading and its cells, so no cell is longer; beyond that the values
//! decide: what a heading is known to hold, and what the clear rows hold. Where two ways are about as good, there is
//! no answer.

use super::text::pieces;

/// One word of a line, and whether it has more than one blank (or a tab) before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    text: String,
    apart: bool,
}

/// The words of a line.
pub fn words(line: &str) -> Vec<Word> {
    let parted = pieces(line).into_iter().enumerate().flat_map(|(n, piece)| {
        let inner: Vec<Word> = piece
            .text
            .split_whitespace()
            .enumerate()
            .map(|(i, w)| Word { text: w.to_owned(), apart: n > 0 && i == 0 })
            .collect();
        inner
    });
    parted.collect()
}

/// What a cell under a heading looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Number,
    Mac,
    Ip,
    Socket,
    Date,
    Level,
    Seconds,
    Folder,
    Vmknic,
    PluginClass,
    /// One word without blanks, whatever it is.
    Word,
}

/// The kind of the cells under a heading, where every release prints the same.
fn kind(heading: &str) -> Option<Kind> {
    Some(match heading {
        "Enabled" | "Is Loaded" | "Is Enabled" | "Mounted" | "Active" | "Configured" | "DHCP DNS" | "Is Online"
        | "Is VVOL" | "Is Group" | "Accessible" | "Read-Only" | "isPE" | "Is SSD" | "Settable" | "Inherit"
        | "MAC Address Valid" | "Compliant" | "Is Local" => Kind::Boolean,
        "Recv Q" | "Send Q" | "World ID" | "VLAN ID" | "Active Clients" | "MTU" | "Port Begin" | "Port End"
        | "Size" | "Free" | "Partition" | "Extent Number" | "Num Ports" | "Controller Number" | "Namespace ID"
        | "Block Size" | "Max Cons" | "Port" | "Tpgt" | "Start Sector" | "End Sector" | "Prefix Length" => Kind::Number,
        "MAC Address" | "Mac Address" => Kind::Mac,
        "IPv4 Address" | "IPv4 Netmask" | "IPv4 Broadcast" | "Netmask" => Kind::Ip,
        "Local Address" | "Foreign Address" => Kind::Socket,
        "Install Date" | "Creation Date" => Kind::Date,
        "Acceptance Level" => Kind::Level,
        "Expiry" => Kind::Seconds,
        "Mount Point" | "Full Path" => Kind::Folder,
        "Vmknic" => Kind::Vmknic,
        "Plugin Class" | "Plugin class" => Kind::PluginClass,
        "Module Name" | "Plugin Name" | "Plugin name" | "Discovery Method" => Kind::Word,
        _ => return None,
    })
}

/// What stands where there is no value.
fn nothing(cell: &str) -> bool {
    ["N/A", "-", "--", "None", "none", "unknown", "Unknown", "(incomplete)"].contains(&cell)
}

impl Kind {
    fn fits(self, cell: &str) -> bool {
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        match self {
            Self::Boolean => ["true", "false"].iter().any(|w| cell.eq_ignore_ascii_case(w)),
            Self::Number => digits(cell.strip_prefix('-').unwrap_or(cell)),
            Self::Mac => cell.split(':').count() == 6 && cell.split(':').all(|p| p.len() == 2),
            Self::Ip => cell.parse::<std::net::IpAddr>().is_ok(),
            Self::Socket => cell.contains([':', '.']) && !cell.contains(' '),
            Self::Date => cell.split('-').count() == 3 && cell.split('-').all(digits),
            Self::Level => {
                ["VMwareCertified", "VMwareAccepted", "PartnerSupported", "CommunitySupported"].contains(&cell)
            }
            Self::Seconds => cell.strip_suffix(" sec").is_some_and(|n| digits(n.strip_prefix('-').unwrap_or(n))),
            Self::Folder => cell.starts_with('/'),
            Self::Vmknic => cell.strip_prefix("vmk").is_some_and(digits),
            // The classes of the storage stack's plug-ins (recorded on 5.0 to 8.0).
            Self::PluginClass => ["MP", "SATP", "PSP", "VAAI", "Filter", "VAAI_FILTER"].contains(&cell),
            Self::Word => !cell.contains(' '),
        }
    }
}

/// How a cell is written: letters, digits and marks, each run once (`vmk10`: `a0`).
fn pattern(cell: &str) -> String {
    let mut out = String::new();
    for c in cell.chars() {
        let class = match c {
            'a'..='z' => 'a',
            'A'..='Z' => 'A',
            '0'..='9' => '0',
            c if c.is_alphabetic() => 'a',
            c => c,
        };
        if !out.ends_with(class) {
            out.push(class);
        }
    }
    out
}

/// Whether one pattern has no other letters than another.
fn within(one: &str, other: &str) -> bool {
    one.chars().all(|c| other.contains(c))
}

/// What the clear rows hold in one column.
#[derive(Debug, Clone, Default)]
struct Seen {
    patterns: Vec<String>,
    /// Longest cell.
    longest: usize,
    some: bool,
}

/// The columns over which lines are spread.
#[derive(Debug)]
pub struct Sheet {
    headings: Vec<String>,
    /// Lengths of the dash runs; `None` where there is no ruler to be trusted.
    widths: Option<Vec<usize>>,
    seen: Vec<Seen>,
    /// The last column holds texts.
    prose: bool,
    /// Some rows were clear.
    learned: bool,
}

/// A way to spread a line, and by how much it is better than the next one.
struct Way {
    cells: Vec<String>,
    margin: i32,
}

/// Headings of texts, whose cells are of many words.
pub const PROSE: [&str; 6] = ["Description", "Message", "Impact", "Help", "Summary", "Detail"];

/// Most words of a cell that is not the last one.
const WORDS: usize = 14;

/// Most words of a line that is spread: more than any row has.
const MOST_WORDS: usize = 200;

impl Sheet {
    /// Columns with these headings, and the lengths of their dashes.
    pub fn new(headings: &[String], widths: Option<Vec<usize>>, prose: bool) -> Self {
        Self { headings: headings.to_vec(), widths, seen: vec![Seen::default(); headings.len()], prose, learned: false }
    }

    /// Spreads lines; `None` for one that fits in no way, or in several that are about as good.
    pub fn rows(&mut self, lines: &[Vec<Word>]) -> Vec<Option<Vec<String>>> {
        for line in lines.iter().take(2000) {
            if let Some(way) = self.best(line).filter(|way| way.margin >= 3) {
                self.learn(&way.cells);
            }
        }
        let enough = if self.prose { 1 } else { 2 };
        let clear = |line: &Vec<Word>| {
            self.best(line).filter(|w| w.margin >= enough).map(|w| w.cells).filter(|row| !self.beyond(line, row))
        };
        lines.iter().map(clear).collect()
    }

    /// Whether a row has an empty cell only because one of as many words as columns is longer than its dashes: then
    /// the dashes are not those of these rows.
    fn beyond(&self, line: &[Word], row: &[String]) -> bool {
        line.len() == row.len()
            && row.iter().any(String::is_empty)
            && line.iter().enumerate().any(|(n, word)| self.score(n, &word.text, 1, 0).is_none())
    }

    /// Notes what a row holds that is known to be cut right.
    pub fn learn(&mut self, cells: &[String]) {
        self.learned = true;
        for (seen, cell) in self.seen.iter_mut().zip(cells).filter(|(_, c)| !c.is_empty()) {
            seen.some = true;
            seen.longest = seen.longest.max(cell.chars().count());
            let pattern = pattern(cell);
            if seen.patterns.len() < 40 && !seen.patterns.contains(&pattern) {
                seen.patterns.push(pattern);
            }
        }
    }

    /// How many cells of a row are of the kind that their headings say, less those that are not.
    pub fn kinds(&self, row: &[String]) -> i32 {
        let known = self.headings.iter().zip(row).filter(|(_, cell)| !cell.is_empty() && !nothing(cell));
        let known = known.filter_map(|(h, cell)| kind(h).map(|k| (k, cell)));
        known
            .map(|(k, cell)| match k {
                // Any word at all shows nothing.
                Kind::Word if k.fits(cell) => 0,
                k if k.fits(cell) => 1,
                _ => -1,
            })
            .sum()
    }

    /// How well a cell fits into a column; `None` for not at all.
    fn score(&self, column: usize, cell: &str, count: usize, crossed: usize) -> Option<i32> {
        let last = column + 1 == self.headings.len();
        if cell.is_empty() {
            return (column > 0 && kind(&self.headings[column]) != Some(Kind::PluginClass)).then_some(-3);
        }
        let length = cell.chars().count();
        let mut score = -6 * crossed as i32;
        if let Some(widths) = &self.widths {
            // The dashes of a last column can be those of its heading alone.
            let own = self.headings[column].chars().count();
            if length > widths[column] {
                if !(last && widths[column] <= own) {
                    return None;
                }
            } else if length == widths[column] && own < length {
                // Some cell must be as long as the dashes.
                score += if self.seen[column].longest < length { 5 } else { 1 };
            }
        }
        match kind(&self.headings[column]) {
            // Never empty, and never another word.
            Some(Kind::PluginClass) if !Kind::PluginClass.fits(cell) => return None,
            Some(_) if nothing(cell) => {}
            Some(Kind::Word) if !cell.contains(' ') => {}
            Some(kind) if kind.fits(cell) => score += 4,
            Some(_) => score -= 5,
            None => {}
        }
        let seen = &self.seen[column];
        if seen.some {
            let pattern = pattern(cell);
            score += if seen.patterns.contains(&pattern) {
                2
            } else if seen.patterns.iter().any(|p| within(p, &pattern) || within(&pattern, p)) {
                1
            } else {
                -1
            };
        } else if self.learned {
            score -= 2;
        }
        let more = count.saturating_sub(1).min(20) as i32;
        let prose = last && self.prose || PROSE.contains(&self.headings[column].as_str());
        if !prose {
            score -= if last { more } else { 2 * more };
        }
        Some(score)
    }

    /// The best way to spread a line.
    fn best(&self, line: &[Word]) -> Option<Way> {
        let (n, m) = (self.headings.len(), line.len());
        if n == 0 || m == 0 || m > MOST_WORDS {
            return None;
        }
        let parted = line.iter().any(|w| w.apart);
        // at[column][used]: the two best scores, and how many words the column took in the best way.
        type Cell = Option<(i32, Option<i32>, usize)>;
        let mut at: Vec<Vec<Cell>> = vec![vec![None; m + 1]; n + 1];
        at[0][0] = Some((0, None, 0));
        for column in 0..n {
            let last = column + 1 == n;
            for used in 0..=m {
                let Some((first, second, _)) = at[column][used] else { continue };
                let takes = if last { m - used..=m - used } else { 0..=WORDS.min(m - used) };
                let mut cell = String::new();
                let mut crossed = 0;
                for count in 0..=*takes.end() {
                    if count > 0 {
                        let word = &line[used + count - 1];
                        if count > 1 {
                            cell.push(' ');
                            crossed += usize::from(word.apart);
                        }
                        cell.push_str(&word.text);
                    }
                    if count < *takes.start() {
                        continue;
                    }
                    let Some(mut add) = self.score(column, &cell, count, crossed) else { continue };
                    // Cells that one blank parts, where others have more between them.
                    if parted && column > 0 && count > 0 && used > 0 && !line[used].apart {
                        add -= 1;
                    }
                    let slot = &mut at[column + 1][used + count];
                    for score in [Some(first), second].into_iter().flatten() {
                        let score = score + add;
                        *slot = match *slot {
                            None => Some((score, None, count)),
                            Some((best, _, _)) if score > best => Some((score, Some(best), count)),
                            Some((best, next, took)) => Some((best, Some(next.map_or(score, |n| n.max(score))), took)),
                        };
                    }
                }
            }
        }
        let (score, second, _) = at[n][m]?;
        let mut cells = Vec::with_capacity(n);
        let mut used = m;
        for column in (0..n).rev() {
            let (_, _, count) = at[column + 1][used]?;
            let texts: Vec<&str> = line[used - count..used].iter().map(|w| w.text.as_str()).collect();
            cells.push(texts.join(" "));
            used -= count;
        }
        cells.reverse();
        Some(Way { cells, margin: second.map_or(i32::MAX, |s| score.saturating_sub(s)) })
    }
}

/// The headings in a line whose runs of blanks became one: a known heading line, or the one way in which every dash
/// run is as long as the longest of its heading and the cells of the clear rows.
pub fn headings(line: &str, widths: &[usize], rows: &[Vec<Word>], known: &[&[&str]]) -> Option<Vec<String>> {
    if let Some(found) = spelled(line, known) {
        return (found.len() == widths.len()).then_some(found);
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let n = widths.len();
    if words.len() < n || words.len() > 60 {
        return None;
    }
    let mut ways: Vec<Vec<String>> = Vec::new();
    ways_of(&words, widths, &mut Vec::new(), &mut ways);
    // Rows with one word a column need no guess.
    let clear: Vec<&Vec<Word>> = rows.iter().filter(|r| r.len() == n).collect();
    let longest = |column: usize| clear.iter().map(|r| r[column].text.chars().count()).max().unwrap_or(0);
    let longest: Vec<usize> = (0..n).map(longest).collect();
    let reached = |way: &Vec<String>| {
        let long = way.iter().zip(&longest).map(|(h, l)| h.chars().count().max(*l));
        long.zip(widths).filter(|(l, w)| l == *w).count()
    };
    let best = ways.iter().map(reached).max()?;
    let mut found = ways.iter().filter(|w| reached(w) == best);
    let one = found.next()?;
    found.next().is_none().then(|| one.clone())
}

fn ways_of(words: &[&str], widths: &[usize], taken: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    if out.len() > 500 {
        return;
    }
    let Some((width, rest)) = widths.split_first() else {
        if words.is_empty() {
            out.push(taken.clone());
        }
        return;
    };
    for count in 1..=words.len().saturating_sub(rest.len()) {
        let heading = words[..count].join(" ");
        if heading.chars().count() > *width {
            break;
        }
        taken.push(heading);
        ways_of(&words[count..], rest, taken, out);
        taken.pop();
    }
}

/// The known heading line that this line is, whatever the blanks between its words.
pub fn spelled(line: &str, known: &[&[&str]]) -> Option<Vec<String>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let found = known.iter().find(|k| k.iter().flat_map(|h| h.split_whitespace()).eq(words.iter().copied()))?;
    Some(found.iter().map(|h| (*h).to_owned()).collect())
}

/// Where the headings of a known heading line stand in it: first character, and behind the last.
pub fn placed(line: &str, headings: &[String]) -> Option<Vec<(usize, usize)>> {
    let mut from = 0;
    let mut out = Vec::new();
    for heading in headings {
        let at = from + line.get(from..)?.find(heading.as_str())?;
        from = at + heading.len();
        out.push((line[..at].chars().count(), line[..from].chars().count()));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(headings: &[&str], widths: Option<&[usize]>) -> Sheet {
        let headings: Vec<String> = headings.iter().map(|h| (*h).to_owned()).collect();
        Sheet::new(&headings, widths.map(<[usize]>::to_vec), false)
    }

    fn spread(sheet: &mut Sheet, lines: &[&str]) -> Vec<Option<String>> {
        let lines: Vec<Vec<Word>> = lines.iter().map(|l| words(l)).collect();
        sheet.rows(&lines).into_iter().map(|r| r.map(|r| r.join("|"))).collect()
    }

    #[test]
    fn values_decide_where_words_belong() {
        let columns = ["Proto", "Recv Q", "Local Address", "State", "World ID", "World Name"];
        let got = spread(
            &mut sheet(&columns, None),
            &["tcp 0 10.0.0.1:22 LISTEN 77 sshd", "udp 0 10.0.0.1:68 78 dhclient", "udp 0 [::]:123 79 ntp worker"],
        );
        let rows =
            ["tcp|0|10.0.0.1:22|LISTEN|77|sshd", "udp|0|10.0.0.1:68||78|dhclient", "udp|0|[::]:123||79|ntp worker"];
        assert_eq!(got, rows.map(|r| Some(r.to_owned())));
        // Widths: no cell is longer than its dashes.
        let got = spread(&mut sheet(&["User ID", "Description"], Some(&[7, 11])), &["root Admin of all", "nobody a"]);
        assert_eq!(got, [Some("root|Admin of all".into()), Some("nobody|a".into())]);
    }

    #[test]
    fn plug_ins_are_told_by_their_class() {
        let columns = ["Module Name", "Plugin Name", "Plugin Class", "Dependencies", "Full Path"];
        let lines = ["nmp NMP MP", "vmw_psp_lib None PSP", "vmw_satp_cx VMW_SATP_CX SATP vmw_satp_lib_cx", "a_b c_d"];
        let got = spread(&mut sheet(&columns, Some(&[19, 19, 12, 29, 9])), &lines);
        let rows = ["nmp|NMP|MP||", "vmw_psp_lib|None|PSP||", "vmw_satp_cx|VMW_SATP_CX|SATP|vmw_satp_lib_cx|"];
        assert_eq!(got[..3], rows.map(|r| Some(r.to_owned())));
        assert_eq!(got[3], None);
    }

    #[test]
    fn what_could_be_two_things_is_none() {
        let got = spread(&mut sheet(&["Name", "Switch", "Ports"], None), &["one two three four"]);
        assert_eq!(got, [None]);
        assert_eq!(spread(&mut sheet(&["Name", "Kind"], Some(&[4, 9])), &["abcdefgh x"]), [None]);
    }

    #[test]
    fn headings_reach_their_dashes() {
        let rows: Vec<Vec<Word>> = ["tcp 0 10.0.0.1:22 9 a"].iter().map(|l| words(l)).collect();
        let got = headings("Proto Recv Q Local Address World ID Name", &[5, 6, 13, 8, 4], &rows, &[]);
        assert_eq!(got.unwrap(), ["Proto", "Recv Q", "Local Address", "World ID", "Name"]);
        // Either word could stand with the middle one.
        assert_eq!(headings("A B C", &[3, 3], &[words("abc def")], &[]), None);
        assert_eq!(headings("A B C", &[9, 9], &[], &[&["A B", "C"]]).unwrap(), ["A B", "C"]);
        let line = "Name   Is Loaded Is Enabled";
        let known = spelled(line, &[&["Name", "Is Loaded", "Is Enabled"]]).unwrap();
        assert_eq!(placed(line, &known).unwrap(), [(0, 4), (7, 16), (17, 27)]);
    }

    #[test]
    fn a_long_line_is_spread_in_time() {
        let line = words(&"word ".repeat(20_000));
        let headings: Vec<String> = (0..12).map(|n| format!("Column {n}")).collect();
        let start = std::time::Instant::now();
        assert_eq!(Sheet::new(&headings, None, false).rows(&[line]), [None]);
        let lines: Vec<Vec<Word>> = (0..300).map(|_| words(&"word ".repeat(60))).collect();
        assert_eq!(Sheet::new(&headings, None, false).rows(&lines).len(), 300);
        assert!(start.elapsed().as_secs() < 30);
    }
}
