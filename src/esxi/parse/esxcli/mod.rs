//! What esxcli and localcli print: the known commands by their form, all others by what the text looks like.

mod filter;
pub mod help;
pub mod known;
mod shape;

use serde_json::{Map, Value};

use super::Listed;
use super::errors::begins_failed;
use super::family::Invocation;
use super::invocation::Esxcli;
use crate::esxi::forms::table::is_ruler;
use crate::esxi::forms::text::{label, lines, pieces};
use crate::esxi::forms::{FormError, Shape, blocks, csv, keyvalue, xml};
use filter::Filter;
use known::{Form, Known};
use shape::{bare, blocks_json, has_headings, refuse, rows_json, table_json, unheaded};

/// Reads an answer of esxcli.
///
/// # Errors
/// A text that is not what the command prints.
pub fn read(invocation: &Invocation, text: &str) -> Result<Value, FormError> {
    let esxcli = Esxcli::new(&invocation.args);
    let filter = Filter::new(&invocation.filters);
    let text = filter.cleaned(text);
    let known = known::find(&esxcli.name());
    if let Some(formatter) = &esxcli.formatter {
        return formatted(formatter, &esxcli, known, filter, &text);
    }
    if text.trim().is_empty() {
        return Ok(nothing(&esxcli, known, filter));
    }
    let version = esxcli.path.is_empty() && ["--version", "-v", "-V"].iter().any(|o| invocation.has(o));
    // A welcome message may say anything, also that access is denied.
    if filter == Filter::Words || version || esxcli.name() == "system welcomemsg get" {
        return Ok(bare(&text));
    }
    let ask = Ask { esxcli: &esxcli, known, filter };
    match known.map(|k| k.form) {
        Some(Form::Table) => table(&ask, &text),
        Some(Form::Line) => line(&text),
        Some(_) => block(&ask, &text),
        None => any(&ask, &text),
    }
}

/// What is known when a text is read.
struct Ask<'a> {
    esxcli: &'a Esxcli,
    known: Option<&'static Known>,
    filter: Filter,
}

impl Ask<'_> {
    /// Whether the answer is an array even when it is one block.
    fn many(&self) -> bool {
        match self.known {
            Some(known) => {
                matches!(known.form, Form::Table | Form::Blocks | Form::Records) && self.esxcli.verb() != "get"
            }
            None => lists(self.esxcli.verb()),
        }
    }
}

fn lists(verb: &str) -> bool {
    verb == "list" || verb == "ls" || verb.ends_with("list")
}

/// The answer of a command that printed nothing at all.
fn nothing(esxcli: &Esxcli, known: Option<&Known>, filter: Filter) -> Value {
    let many = match known {
        Some(known) => matches!(known.form, Form::Table | Form::Blocks | Form::Records),
        None => lists(esxcli.verb()),
    };
    if many || filter == Filter::Words { Value::Array(Vec::new()) } else { Value::Object(Map::new()) }
}

fn table(ask: &Ask<'_>, text: &str) -> Result<Value, FormError> {
    let must = ask.known.map_or(&[][..], |k| k.must);
    let headings = ask.known.map_or(&[][..], |k| k.headings);
    let sorted = if ask.filter.cuts() { unsorted(text, must) } else { None };
    let text = sorted.as_deref().unwrap_or(text);
    if lines(text).iter().any(|l| is_ruler(l.raw)) {
        let read = table_json(text, ask.filter.cuts(), headings);
        if read.is_err() && ask.filter == Filter::Cells {
            return rows_json(text, &[], &[], true);
        }
        let (value, printed) = read?;
        if ask.filter != Filter::Cells && !printed.is_empty() && !must.iter().all(|m| printed.iter().any(|p| p == m)) {
            return refuse(text, "not the columns of this command");
        }
        return Ok(value);
    }
    if !ask.filter.cuts() {
        // Copies that lost the ruler (it makes a heading of the line above on many sites), or both.
        return match () {
            () if has_headings(text, must, headings) => rows_json(text, must, headings, false),
            () => match unheaded(text, headings) {
                Some(rows) => Ok(rows),
                None => refuse(text, "no ruler of dashes under a heading line"),
            },
        };
    }
    let labels = lines(text).iter().filter(|l| l.indent > 0 && label(l.body).is_some()).count();
    if labels > 0 && labels == lines(text).len() {
        return refuse(text, "labels, where the command prints a table");
    }
    if begins_failed(text) && pieces(lines(text)[0].raw).len() == 1 {
        return refuse(text, "a sentence, where the command prints a table");
    }
    let headings = if ask.filter == Filter::Cells { &[][..] } else { headings };
    rows_json(text, must, headings, ask.filter == Filter::Cells)
}

/// The text with its heading line and its ruler in front again, where `sort` moved them.
fn unsorted(text: &str, must: &[&str]) -> Option<String> {
    let all = lines(text);
    let ruler = all.iter().position(|l| is_ruler(l.raw))?;
    let heads = |run: &[crate::esxi::forms::text::Piece]| must.iter().all(|m| run.iter().any(|p| p.text == *m));
    let heading = all.iter().position(|l| !must.is_empty() && heads(&pieces(l.raw)))?;
    if ruler == heading + 1 {
        return None;
    }
    let rest = (0..all.len()).filter(|i| *i != ruler && *i != heading);
    let order = [heading, ruler].into_iter().chain(rest);
    Some(order.map(|i| format!("{}\n", all[i].raw)).collect())
}

fn block(ask: &Ask<'_>, text: &str) -> Result<Value, FormError> {
    let Some(known) = ask.known else { return any(ask, text) };
    if lines(text).iter().take(3).any(|l| is_ruler(l.raw)) {
        return refuse(text, "a table, where the command prints labels");
    }
    if begins_failed(text) {
        return refuse(text, "a sentence, where the command prints labels");
    }
    // Only the heading was copied, a name.
    if known.form == Form::Block
        && let [only] = lines(text).as_slice()
        && label(only.body).is_none()
        && (known.must.contains(&"Name") && only.body.split_whitespace().count() <= 3)
    {
        let only = blocks::Block { heading: Some(only.body.to_owned()), ..blocks::Block::default() };
        return Ok(blocks_json(vec![only], ask.many(), false));
    }
    let headed = match known.form {
        Form::Blocks => Some(true),
        Form::Record | Form::Records => Some(false),
        _ => None,
    };
    let read = blocks::blocks(text, Shape { headed, cut: ask.filter.cuts(), ..Shape::default() });
    let found = match read {
        Ok(found) => found,
        Err(_) if ask.filter.cuts() => return Ok(bare(text)),
        Err(error) => return Err(error),
    };
    if ask.filter.cuts() {
        // Only values are left (`awk '{print $2}'`): not a heading each.
        let headings_only = found.iter().all(|b| b.entries.is_empty());
        if headings_only && (ask.filter == Filter::Cells || known.form != Form::Blocks) {
            return Ok(bare(text));
        }
    } else if !found.is_empty()
        // Of the first block a copy can have left lines out.
        && !found.iter().any(|b| known.must.iter().all(|m| b.entries.contains_key(*m)))
    {
        return refuse(text, "not the labels of this command");
    }
    if found.iter().all(|b| b.entries.is_empty()) && !ask.filter.cuts() {
        return refuse(text, "no `Label: value` line");
    }
    Ok(blocks_json(found, ask.many(), false))
}

/// A bare word or line.
fn line(text: &str) -> Result<Value, FormError> {
    if begins_failed(text) || lines(text).iter().any(|l| is_ruler(l.raw)) {
        return refuse(text, "not the bare value that the command prints");
    }
    Ok(bare(text))
}

/// A command that is not known: its text says what it is.
fn any(ask: &Ask<'_>, text: &str) -> Result<Value, FormError> {
    let all = lines(text);
    let cut = ask.filter.cuts();
    if all.iter().take(4).any(|l| is_ruler(l.raw) && (l.body.contains(' ') || l.indent == 0)) {
        let read = table_json(text, cut, &[]);
        if read.is_ok() || !cut {
            return read.map(|(value, _)| value);
        }
        return rows_json(text, &[], &[], true);
    }
    if begins_failed(text) {
        return refuse(text, "a sentence that says that something failed");
    }
    let labels = all.iter().filter(|l| label(l.body).is_some()).count();
    let read = blocks::blocks(text, Shape { cut, ..Shape::default() });
    if labels > 0
        && let Ok(found) = read
        && found.iter().any(|b| !b.entries.is_empty())
    {
        let headed = found.iter().any(|b| b.heading.is_some());
        return Ok(blocks_json(found, headed && ask.many(), true));
    }
    let reads = lists(ask.esxcli.verb()) || ask.esxcli.verb() == "get";
    if cut {
        if reads && all.iter().all(|l| pieces(l.raw).len() > 1) {
            return rows_json(text, &[], &[], ask.filter == Filter::Cells);
        }
        return Ok(bare(text));
    }
    let prose = |body: &str| body.split_whitespace().count() > 6 || body.ends_with('.');
    if reads && (all.len() > 1 && labels > 0 || all.iter().any(|l| prose(l.body))) {
        return refuse(text, "neither a table, nor `Label: value` lines, nor a bare value");
    }
    if lists(ask.esxcli.verb()) && all.len() > 1 {
        return refuse(text, "neither a table nor `Label: value` lines");
    }
    Ok(bare(text))
}

/// What `--formatter` asked for.
fn formatted(
    formatter: &str,
    esxcli: &Esxcli,
    known: Option<&'static Known>,
    filter: Filter,
    text: &str,
) -> Result<Value, FormError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(nothing(esxcli, known, filter));
    }
    if filter.cuts() && filter == Filter::Words {
        return Ok(bare(text));
    }
    let one = esxcli.verb() == "get";
    let cut = |error| if filter.cuts() { Ok(bare(text)) } else { Err(error) };
    let read = match formatter {
        "xml" => {
            let start = text.find("<?xml").or_else(|| text.find("<output"));
            if !trimmed.starts_with('<') && !filter.cuts() {
                return refuse(text, "no XML");
            }
            xml::value(start.map_or(text, |at| &text[at..]))
        }
        "keyvalue" => keyvalue::value(text),
        "csv" => {
            if !trimmed.lines().next().unwrap_or("").contains(',') {
                return if begins_failed(text) { refuse(text, "no csv") } else { line(text) };
            }
            let fields = fields(esxcli);
            let first = trimmed.lines().next().unwrap_or("").trim_end_matches(',');
            let names =
                |l: &str| l.split(',').all(|n| n.starts_with(|c: char| c.is_ascii_uppercase()) && !n.contains(' '));
            let headed = match &fields {
                _ if !filter.cuts() => true,
                Some(fields) => first.eq_ignore_ascii_case(fields),
                None => names(first),
            };
            let text = match (headed, fields) {
                (true, _) => text.into(),
                (false, Some(fields)) => format!("{fields},\n{text}"),
                (false, None) => {
                    let count = first.split(',').count();
                    let names: Vec<String> = (1..=count).map(|n| format!("_{n}")).collect();
                    format!("{},\n{text}", names.join(","))
                }
            };
            csv::structures(&text).map(|mut rows| match rows.len() {
                1 if one => rows.remove(0),
                _ => Value::Array(rows),
            })
        }
        "json" | "python" => shape::json(text),
        _ => any(&Ask { esxcli, known: None, filter }, text),
    };
    read.or_else(cut)
}

/// The names that `--format-param=fields=A,B` asked for.
fn fields(esxcli: &Esxcli) -> Option<String> {
    let value = esxcli.params.iter().find_map(|p| p.strip_prefix("fields="))?;
    Some(value.trim_matches(['"', '\'']).trim_end_matches(',').chars().filter(|c| !c.is_whitespace()).collect())
}

/// The known commands, and the forms by which all others are read.
pub fn listed() -> Vec<Listed> {
    let mut out: Vec<Listed> = known::KNOWN
        .iter()
        .map(|k| Listed {
            name: format!("esxcli {}", k.path),
            about: match k.form {
                Form::Table => "table: an array, one object a row",
                Form::Blocks => "blocks under heading lines: an array of objects with _heading",
                Form::Records => "blocks of labels: an array of objects",
                Form::Block => "one block under a heading line: an object with _heading",
                Form::Record => "one block of labels: an object",
                Form::Line => "a bare value: a string",
            }
            .to_owned(),
            example: format!("esxcli {}", k.path),
        })
        .collect();
    let more = [
        (
            "esxcli *",
            "every other esxcli or localcli command, by the form of its text",
            "esxcli storage vflash cache list",
        ),
        (
            "esxcli --formatter",
            "xml, csv, keyvalue, json: arrays and objects keyed by property",
            "esxcli --formatter=csv network nic list",
        ),
        ("esxcli --help", "a usage text: its sections as objects", "esxcli system account add --help"),
    ];
    out.extend(more.map(|(name, about, example)| Listed {
        name: name.into(),
        about: about.into(),
        example: example.into(),
    }));
    out
}
