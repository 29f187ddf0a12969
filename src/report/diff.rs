//! A small unified diff for values of several lines: files, host keys, configuration texts.

/// Lines kept around a difference.
const CONTEXT: usize = 3;
/// Above this many cells the table of the comparison costs more than the diff is worth.
const MOST_CELLS: usize = 4_000_000;

/// One line of the whole comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The unified diff of two texts, line by line, without a file head; empty when they have the same lines.
pub(super) fn unified(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let all = compare(&old, &new);
    let near = |i: usize| {
        let from = i.saturating_sub(CONTEXT);
        let to = (i + CONTEXT + 1).min(all.len());
        all[from..to].iter().any(|l| !matches!(l, Line::Same(_)))
    };
    let mut out = Vec::new();
    let (mut old_line, mut new_line) = (1, 1);
    let mut i = 0;
    while i < all.len() {
        if !near(i) {
            old_line += 1;
            new_line += 1;
            i += 1;
            continue;
        }
        let end = (i..all.len()).find(|&j| !near(j)).unwrap_or(all.len());
        let hunk = &all[i..end];
        let olds = hunk.iter().filter(|l| !matches!(l, Line::New(_))).count();
        let news = hunk.iter().filter(|l| !matches!(l, Line::Gone(_))).count();
        // As diff does: a side without lines is named by the line before it.
        let start = |line: usize, count: usize| if count == 0 { line - 1 } else { line };
        out.push(format!("@@ -{},{olds} +{},{news} @@", start(old_line, olds), start(new_line, news)));
        out.extend(hunk.iter().map(|line| match line {
            Line::Same(text) => format!(" {text}"),
            Line::Gone(text) => format!("-{text}"),
            Line::New(text) => format!("+{text}"),
        }));
        old_line += olds;
        new_line += news;
        i = end;
    }
    out
}

/// All lines of both, those in common once: a longest common subsequence between the common head and tail.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);

    let mut out: Vec<Line<'a>> = old[..head].iter().map(|l| Line::Same(l)).collect();
    if a.len().saturating_mul(b.len()) > MOST_CELLS {
        out.extend(a.iter().map(|l| Line::Gone(l)));
        out.extend(b.iter().map(|l| Line::New(l)));
    } else {
        // longest[i][j]: length of the longest common subsequence of a[i..] and b[j..].
        let width = b.len() + 1;
        let mut longest = vec![0u32; (a.len() + 1) * width];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                longest[i * width + j] = if a[i] == b[j] {
                    longest[(i + 1) * width + j + 1] + 1
                } else {
                    longest[(i + 1) * width + j].max(longest[i * width + j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            if i < a.len() && j < b.len() && a[i] == b[j] {
                out.push(Line::Same(a[i]));
                (i, j) = (i + 1, j + 1);
            } else if j == b.len() || (i < a.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
                out.push(Line::Gone(a[i]));
                i += 1;
            } else {
                out.push(Line::New(b[j]));
                j += 1;
            }
        }
    }
    out.extend(old[old.len() - tail..].iter().map(|l| Line::Same(l)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_keeps_its_surroundings() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9";
        assert_eq!(unified(before, after), ["@@ -2,7 +2,7 @@", " 2", " 3", " 4", "-5", "+five", " 6", " 7", " 8"]);
    }

    #[test]
    fn far_apart_changes_get_a_hunk_each() {
        let before: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        let mut after = before.clone();
        after[0] = "one".into();
        after.push("21".into());
        let diff = unified(&before.join("\n"), &after.join("\n"));
        assert_eq!(
            diff,
            ["@@ -1,4 +1,4 @@", "-1", "+one", " 2", " 3", " 4", "@@ -18,3 +18,4 @@", " 18", " 19", " 20", "+21"]
        );
    }

    #[test]
    fn nothing_before_and_nothing_different() {
        assert_eq!(unified("", "a\nb"), ["@@ -0,0 +1,2 @@", "+a", "+b"]);
        assert_eq!(unified("a\nb\n", "a\nb"), Vec::<String>::new());
    }

    #[test]
    fn diffs_apply() {
        // Rebuilds the new text from the diff's own lines (all within one hunk).
        let (before, after) = ("a\nb\nc\nd\ne", "b\nx\nc\ne\nf");
        let diff = unified(before, after);
        let rebuilt: Vec<_> = diff[1..].iter().filter(|l| !l.starts_with('-')).map(|l| &l[1..]).collect();
        let source: Vec<_> = diff[1..].iter().filter(|l| !l.starts_with('+')).map(|l| &l[1..]).collect();
        assert_eq!((rebuilt.join("\n").as_str(), source.join("\n").as_str()), (after, before));
    }
}
