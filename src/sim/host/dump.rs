//! Objects in vim-cmd's notation.
//!
//! Recorded on 5.5: a field `dynamicType = <unset>` in front, a comma and a blank behind every field. Newer releases
//! (documented, not recorded): no such field, commas only between fields, no blank behind them.

use super::state::Release;

/// A value of a dump.
#[derive(Debug, Clone)]
pub(super) enum D {
    /// A text, quoted and otherwise as it is: how a quote inside is written was not recorded.
    Text(String),
    /// A number, a boolean, a reference.
    Raw(String),
    Unset,
    /// An object with its type.
    Obj(&'static str, Vec<(&'static str, D)>),
    /// A list with the type of its items.
    List(&'static str, Vec<D>),
}

impl D {
    pub(super) fn text(value: impl Into<String>) -> D {
        D::Text(value.into())
    }

    pub(super) fn raw(value: impl ToString) -> D {
        D::Raw(value.to_string())
    }

    /// A list of texts, unset when there is none.
    pub(super) fn texts(list: impl IntoIterator<Item = impl Into<String>>) -> D {
        let items: Vec<D> = list.into_iter().map(D::text).collect();
        if items.is_empty() { D::Unset } else { D::List("string", items) }
    }
}

/// The text of a whole dump.
pub(super) fn print(release: Release, value: &D) -> String {
    let mut out = String::new();
    put(&mut out, release < Release::V67, 0, value);
    out.push('\n');
    out
}

fn put(out: &mut String, old: bool, depth: usize, value: &D) {
    let pad = |n: usize| "   ".repeat(n);
    match value {
        D::Text(text) => {
            out.push('"');
            out.push_str(text);
            out.push('"');
        }
        D::Raw(text) => out.push_str(text),
        D::Unset => out.push_str("<unset>"),
        D::Obj(kind, fields) => {
            out.push_str(&format!("({kind}) {{\n"));
            if old {
                out.push_str(&format!("{}dynamicType = <unset>, \n", pad(depth + 1)));
            }
            for (n, (name, field)) in fields.iter().enumerate() {
                out.push_str(&format!("{}{name} = ", pad(depth + 1)));
                put(out, old, depth + 1, field);
                let last = n + 1 == fields.len();
                out.push_str(if old {
                    ", \n"
                } else if last {
                    "\n"
                } else {
                    ",\n"
                });
            }
            out.push_str(&pad(depth));
            out.push('}');
        }
        D::List(kind, items) => {
            out.push_str(&format!("({kind}) [\n"));
            for (n, item) in items.iter().enumerate() {
                out.push_str(&pad(depth + 1));
                put(out, old, depth + 1, item);
                let last = n + 1 == items.len();
                out.push_str(match (last, old) {
                    (true, _) => "\n",
                    (false, true) => ", \n",
                    (false, false) => ",\n",
                });
            }
            out.push_str(&pad(depth));
            out.push(']');
        }
    }
}
