//! What blogs, forums, tickets and scripts do to an output on its way: marks in front of every line, numbers of
//! lines, times, fences, blank lines between the lines, lines left out, characters of a web page.
//!
//! A damage is undone only where every line has it, so that a value that looks like one stays.

/// A line and its 1-based number in what was given.
pub type Numbered = (usize, String);

/// Lines of the texts around a session that are no output: banners of the host, of ssh, of `script`, of PuTTY.
const AROUND: [&str; 22] = [
    "The time and date of this login have been sent to the system logs.",
    "All commands run on the ESXi shell are logged and may be included in",
    "support bundles. Do not provide passwords directly on the command line.",
    "Most tools can prompt for secrets or accept them from standard input.",
    "VMware offers supported, powerful system administration tools. Please",
    "VMware offers powerful and supported automated system administration tools. Please",
    "see www.vmware.com/go/sysadmintools for details.",
    "See www.vmware.com/go/sysadmintools for details.",
    "The ESXi Shell can be disabled by an administrative user. See the",
    "vSphere Security documentation for more information.",
    "Using keyboard-interactive authentication.",
    "Keyboard-interactive authentication prompts from server:",
    "End of keyboard-interactive prompts from server",
    "Script started",
    "Script done",
    "Script done.",
    "=~=~=~=~=~=~=~=~=~=~=~= PuTTY log",
    "Connection to ",
    "Warning: Permanently added ",
    "Copy code",
    "Copied!",
    "login as: ",
];

/// The text without what makes it unlike a terminal's: escape sequences, widthless characters, other blanks.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            // A window's title: to the bell.
            '\u{1b}' if chars.next_if_eq(&']').is_some() => {
                while chars.peek().is_some_and(|c| *c != '\n')
                    && chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}')
                {}
            }
            '\u{1b}' | '\u{7}' | '\0' | '\u{ad}' | '\u{feff}' | '\u{2060}' => {}
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => {}
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => out.push(' '),
            // Line and page breaks of a document: the lines keep their numbers.
            '\u{c}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            _ => out.push(c),
        }
    }
    // Colours whose escape character was lost.
    if out.contains("[0m") {
        out = uncoloured(&out);
    }
    out
}

fn uncoloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = from[1..].bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
        let colour = from[1 + length..].starts_with('m') && length < 12;
        let taken = if colour { length + 2 } else { 1 };
        if !colour {
            out.push('[');
        }
        rest = &from[taken..];
    }
    out + rest
}

/// A whole output in one line, as programs log it: `"a\nb\n"`.
pub fn unescaped(text: &str) -> Option<String> {
    let body = text.trim();
    if body.contains('\n') || body.matches("\\n").count() < 2 {
        return None;
    }
    let body = body.strip_prefix("b'").or_else(|| body.strip_prefix("u'")).unwrap_or(body);
    let body = body.trim_matches(['"', '\'']);
    Some(backslashed(body))
}

fn backslashed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, (c == '\\').then(|| chars.next()).flatten()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('r')) => {}
            ('\\', Some(other)) => out.push(other),
            _ => out.push(c),
        }
    }
    out
}

/// Takes out what stands around sessions: banners, fences, tags, the marks of `script`. For every family of commands.
pub fn unframed(lines: &mut Vec<Numbered>) {
    let blank = |l: &Numbered| l.1.trim().is_empty();
    let mark = |line: &str| {
        let line = line.trim();
        let low = line.to_ascii_lowercase();
        let fence = |c: char| {
            let rest = line.trim_start_matches(c);
            line.len() - rest.len() >= 3 && rest.chars().all(|c| c.is_ascii_alphanumeric())
        };
        let tags = ["<pre>", "</pre>", "<code>", "</code>", "<pre><code>", "</code></pre>", "[code]", "[/code]"];
        fence('`') || fence('~') || tags.contains(&low.as_str())
    };
    let around = |line: &str| {
        let indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        AROUND.iter().any(|a| match *a {
            "Connection to " => {
                line.starts_with(a) && (line.ends_with(" closed.") || line.ends_with(" closed by remote host."))
            }
            "Warning: Permanently added " => line.starts_with(a) && line.ends_with("list of known hosts."),
            "Script started" | "Script done" => {
                line.starts_with(&format!("{a} on ")) || line.starts_with(&format!("{a}, "))
            }
            "=~=~=~=~=~=~=~=~=~=~=~= PuTTY log" | "login as: " => line.starts_with(a),
            whole => line == whole,
        }) || !indented && ["Password:", "password:"].contains(&line)
            || (line.ends_with("password:") || line.ends_with("Password:")) && line.contains('@') && line.len() < 90
    };
    if lines.iter().any(|l| around(&l.1)) {
        // The heading of the banner goes with it.
        let banner = lines.iter().any(|l| l.1.trim() == AROUND[1]);
        lines.retain(|l| !(around(&l.1) || banner && l.1.trim() == "WARNING:"));
    }
    if lines.iter().any(|l| mark(&l.1)) {
        lines.retain(|l| !mark(&l.1));
    }
    for (open, close) in [("<pre>", "</pre>"), ("<code>", "</code>"), ("[code]", "[/code]"), ("```", "```")] {
        if let Some(first) = lines.iter_mut().find(|l| !blank(l))
            && let Some(rest) = first.1.trim_start().strip_prefix(open)
        {
            first.1 = rest.to_owned();
            if let Some(last) = lines.iter_mut().rfind(|l| !blank(l))
                && let Some(rest) = last.1.trim_end().strip_suffix(close)
            {
                last.1 = rest.to_owned();
            }
        }
    }
    marked(lines, '>');
}

/// Takes a mark away that stands in front of every line: a quotation's `>`, a table's `|`.
fn marked(lines: &mut [Numbered], mark: char) {
    let all = |lines: &[Numbered]| {
        lines.iter().any(|l| !l.1.trim().is_empty())
            && lines.iter().all(|l| l.1.trim().is_empty() || l.1.trim_start().starts_with(mark))
            && (mark == '>' || !lines.iter().all(|l| l.1.trim().is_empty() || l.1.trim_end().ends_with(mark)))
    };
    for _ in 0..4 {
        if !all(lines) {
            return;
        }
        let apart = lines.iter().all(|l| {
            let rest = l.1.trim_start().strip_prefix(mark).unwrap_or("");
            rest.is_empty() || rest.starts_with([' ', '\t', mark])
        });
        for (_, line) in lines.iter_mut() {
            let rest = line.trim_start().strip_prefix(mark).unwrap_or("");
            *line = if apart { rest.strip_prefix(' ').unwrap_or(rest).to_owned() } else { rest.to_owned() };
        }
    }
}

/// Takes a quotation's `>` away that stands in front of the first line alone: pages go on quoting until a blank line.
fn lazy(lines: &mut [Numbered]) {
    let mut full = lines.iter_mut().filter(|l| !l.1.trim().is_empty());
    let Some(first) = full.next().filter(|l| l.1.starts_with("> ")) else { return };
    let mut rest = full.peekable();
    if rest.peek().is_some() && rest.all(|l| !l.1.trim_start().starts_with('>')) {
        first.1.drain(..2);
    }
}

/// Undoes what is done to the lines of tables and blocks. Only for esxcli without a formatter.
pub fn restored(lines: &mut Vec<Numbered>, filters: &[Vec<String>]) {
    marked(lines, '|');
    lazy(lines);
    entities(lines);
    quoted(lines);
    // `grep -n`, `cat -n`: the numbers were asked for.
    if !filters.iter().flatten().any(|w| w == "nl" || w.starts_with('-') && !w.starts_with("--") && w.contains('n')) {
        numbers(lines, !filters.is_empty());
    }
    times(lines);
    boxed(lines);
    for (_, line) in lines.iter_mut() {
        if let Some(ruler) = dashes(line) {
            *line = ruler;
        }
    }
    double_spaced(lines);
    lines.retain(|l| !elided(&l.1));
    tabbed(lines);
}

/// Characters that HTML writes as words.
fn entities(lines: &mut [Numbered]) {
    let named = ["&nbsp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#160;"];
    if !lines.iter().any(|l| named.iter().any(|n| l.1.contains(n)) || l.1.trim_end().ends_with("<br>")) {
        return;
    }
    for (_, line) in lines.iter_mut() {
        for tag in ["<br>", "<br/>", "<br />"] {
            if let Some(rest) = line.trim_end().strip_suffix(tag) {
                *line = rest.to_owned();
            }
        }
        for (name, c) in named.iter().zip([" ", "<", ">", "\"", "'", " "]) {
            if line.contains(name) {
                *line = line.replace(name, c);
            }
        }
        if line.contains("&amp;") {
            *line = line.replace("&amp;", "&");
        }
    }
}

/// Each line as an item of a list in a program's log: `"...",`. Or quotes around the whole.
fn quoted(lines: &mut [Numbered]) {
    let texts = || lines.iter().filter(|l| !l.1.trim().is_empty());
    let item = |l: &str| {
        let l = l.trim();
        l.len() >= 2 && l.starts_with('"') && (l.ends_with('"') || l.ends_with("\","))
    };
    let count = texts().count();
    if texts().all(|l| item(&l.1)) && (count > 1 || texts().all(|l| l.1.trim().ends_with("\","))) && count > 0 {
        for (_, line) in lines.iter_mut() {
            let inside = line.trim().trim_end_matches(',');
            *line = backslashed(inside.strip_prefix('"').and_then(|l| l.strip_suffix('"')).unwrap_or(inside));
        }
        return;
    }
    // A quote that was opened before the first line, closed behind the last or never.
    let quotes: usize = texts().map(|l| l.1.matches('"').count()).sum();
    let first = lines.iter().position(|l| !l.1.trim().is_empty());
    let last = lines.iter().rposition(|l| !l.1.trim().is_empty());
    if let (Some(first), Some(last)) = (first, last)
        && count > 1
        && lines[first].1.trim_start().starts_with('"')
        && lines[first].1.matches('"').count() == 1
        && (quotes == 1 || quotes == 2 && lines[last].1.trim_end().ends_with('"'))
    {
        lines[first].1 = lines[first].1.replacen('"', "", 1);
        if quotes == 2 {
            lines[last].1 = lines[last].1.trim_end().trim_end_matches('"').to_owned();
        }
    }
}

/// Numbers of lines in front of every line, one higher each time.
fn numbers(lines: &mut [Numbered], filtered: bool) {
    let number = |line: &str| -> Option<(usize, usize)> {
        let lead = line.len() - line.trim_start().len();
        let digits = line[lead..].bytes().take_while(u8::is_ascii_digit).count();
        let value = line[lead..lead + digits].parse().ok()?;
        let rest = &line[lead + digits..];
        let mark = rest.chars().next().filter(|c| matches!(c, ':' | '.' | ')' | '|'));
        let end = lead + digits + mark.map_or(0, char::len_utf8);
        (line.len() == end || mark.is_some() || line[end..].starts_with([' ', '\t'])).then_some((value, end))
    };
    let mut found: Vec<(usize, usize, usize)> = Vec::new();
    for (at, (_, line)) in lines.iter().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let Some((value, end)) = number(line) else { return };
        let skipped = match found.last() {
            None => 1,
            Some((last, before, _)) => {
                let step = value.wrapping_sub(*before);
                if step == 0 || step > at - last { 0 } else { step }
            }
        };
        if skipped == 0 {
            return;
        }
        found.push((at, value, end));
    }
    // A mark or a tab behind each number is no column of the output.
    let marks = found.iter().all(|(at, _, end)| {
        let line = &lines[*at].1;
        line[..*end].ends_with(':') || line[*end..].starts_with('\t')
    });
    let first = found.first().is_some_and(|(at, value, _)| *value == at + 1);
    if !(first && marks || !filtered && found.len() > 2) {
        return;
    }
    // The blank behind the number belongs to it where every line has one.
    let blank = |c: char| {
        found.iter().all(|(at, _, end)| lines[*at].1[*end..].is_empty() || lines[*at].1[*end..].starts_with(c))
    };
    let apart = blank(' ') || blank('\t');
    // Numbers of one width, or padded: what is behind them begins in one place.
    for (at, _, end) in found {
        let rest = &lines[at].1[end..];
        lines[at].1 = if apart { rest.chars().skip(1).collect() } else { rest.to_owned() };
    }
}

/// A time in front of every line, as scripts and `ts` log it.
fn times(lines: &mut [Numbered]) {
    let length = |line: &str| -> Option<usize> {
        let body = line.strip_prefix('[').unwrap_or(line);
        let shape: String = body.chars().take(19).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        if !["0000-00-00 00:00:00", "0000-00-00T00:00:00"].contains(&shape.as_str()) {
            return None;
        }
        let taken = line.len() - body.len() + 19;
        let more =
            line[taken..].find(|c: char| !(c.is_ascii_digit() || ".,:+-Z]".contains(c))).unwrap_or(line.len() - taken);
        Some(taken + more)
    };
    let texts = lines.iter().filter(|l| !l.1.trim().is_empty());
    if texts.clone().count() == 0 || !texts.clone().all(|l| length(&l.1).is_some()) {
        return;
    }
    for (_, line) in lines.iter_mut() {
        if let Some(at) = length(line) {
            *line = line[at..].strip_prefix(' ').unwrap_or(&line[at..]).to_owned();
        }
    }
}

/// A table in the frame of a markdown table or of `+---+` lines, as columns under dashes again.
fn boxed(lines: &mut Vec<Numbered>) {
    let frame = |l: &str| l.starts_with('+') && l.chars().all(|c| "+-=".contains(c));
    let row = |l: &str| l.len() > 1 && l.starts_with('|') && l.ends_with('|');
    let texts = || lines.iter().filter(|l| !l.1.trim().is_empty());
    if texts().count() < 2
        || !texts().all(|l| row(l.1.trim()) || frame(l.1.trim()))
        || !texts().any(|l| row(l.1.trim()))
    {
        return;
    }
    let cells = |l: &str| -> Vec<String> {
        let inside = l.trim().trim_start_matches('|');
        inside.strip_suffix('|').unwrap_or(inside).split('|').map(|c| c.trim().to_owned()).collect()
    };
    let ruler = |l: &str| l.contains('-') && l.chars().all(|c| "|-: ".contains(c));
    let rows: Vec<(usize, Vec<String>)> =
        texts().filter(|l| row(l.1.trim()) && !ruler(l.1.trim())).map(|l| (l.0, cells(&l.1))).collect();
    let count = rows.first().map_or(0, |r| r.1.len());
    if !(2..=100).contains(&count) || rows.iter().any(|r| r.1.len() != count) {
        return;
    }
    let width = |n: usize| rows.iter().map(|r| r.1[n].chars().count()).max().unwrap_or(0).clamp(2, 400);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = Vec::new();
    for (number, row) in &rows {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        out.push((*number, padded.join("  ")));
        if out.len() == 1 {
            let dashes: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
            out.push((number + 1, dashes.join("  ")));
        }
    }
    *lines = out;
}

/// A ruler whose dashes a word processor made longer ones.
fn dashes(line: &str) -> Option<String> {
    let long = |c: char| "\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{2500}\u{2501}".contains(c);
    if !line.contains(long) || !line.chars().all(|c| long(c) || c == '-' || c.is_whitespace()) {
        return None;
    }
    let dash = |c: char| match c {
        '\u{2014}' | '\u{2015}' => "---".to_owned(),
        '\u{2013}' => "--".to_owned(),
        c if long(c) => "-".to_owned(),
        c => c.to_string(),
    };
    Some(line.chars().map(dash).collect())
}

/// A blank line between every two lines: blank lines that were there before are two more.
fn double_spaced(lines: &mut Vec<Numbered>) {
    let blank = |l: &Numbered| l.1.trim().is_empty();
    let count = lines.iter().filter(|l| !blank(l)).count();
    if count < 3 || lines.windows(2).any(|w| !blank(&w[0]) && !blank(&w[1])) {
        return;
    }
    let mut run = 0;
    lines.retain(|l| {
        run = if blank(l) { run + 1 } else { 0 };
        // The first of each run was put there; of the others every second one.
        run == 0 || run % 2 == 0
    });
}

/// Whether a line only says that lines were left out.
fn elided(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty() || line.len() > 40 {
        return false;
    }
    if line.chars().all(|c| matches!(c, '.' | '\u{2026}' | ' ')) {
        return line.contains('\u{2026}') || line.matches('.').count() >= 2;
    }
    let bare = line.trim_matches(|c: char| "<>[](){}.-=*~# \u{2026}\u{2702}".contains(c) || c == '8');
    if bare.len() == line.len() {
        return false;
    }
    let low = bare.to_ascii_lowercase();
    let words = [
        "snip",
        "snipped",
        "truncated",
        "output truncated",
        "omitted",
        "output omitted",
        "cut",
        "more",
        "etc",
        "removed",
        "skipped",
        "lines omitted",
        "output skipped",
        "output snipped",
        "snipped output",
        "truncated output",
        "trimmed",
        "output trimmed",
        "content omitted",
        "redacted lines",
        "more lines",
        "snippet",
        "output cut",
    ];
    words.contains(&low.as_str())
}

/// Tabs in front of lines: a level of indentation each, or eight characters.
fn tabbed(lines: &mut [Numbered]) {
    let lead = |l: &str| l[..l.len() - l.trim_start().len()].to_owned();
    let leads: Vec<String> = lines.iter().map(|l| lead(&l.1)).collect();
    if !leads.iter().any(|l| l.contains('\t')) {
        return;
    }
    let only = leads.iter().all(|l| l.chars().all(|c| c == '\t'));
    for ((_, line), lead) in lines.iter_mut().zip(leads).filter(|(_, l)| l.contains('\t')) {
        let mut width = 0;
        for c in lead.chars() {
            width += match (c, only) {
                ('\t', true) => 3,
                ('\t', false) => 8 - width % 8,
                _ => 1,
            };
        }
        *line = " ".repeat(width) + line.trim_start();
    }
}
