//! Templates and conditions: what names they use, and their values. minijinja, strict about undefined names.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::machinery::{Token, ast, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

pub use super::names::{Use, uses};

/// Names and values that a template sees.
pub type Context = BTreeMap<String, minijinja::Value>;

/// What is wrong in a template, and where in its text.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What.
    pub message: String,
    /// Where, in bytes of the template.
    pub range: Range<usize>,
    /// What to do.
    pub help: Option<String>,
}

/// Work that one template may do, in minijinja's unit: an instruction, or 64 bytes of data.
const FUEL: u64 = 1_000_000;
/// The longest text, in bytes, that this lets a template make. Far more than anybody means, and little enough to hold.
pub(crate) const MOST_TEXT: usize = FUEL as usize * 64;
/// Words and signs of one expression. Its parser and its compiler go one call deeper for each `not`, `+` or `|`;
/// a thread's 2 MB of stack are enough for a thousand and more.
const MAX_TOKENS: usize = 500;

// `{# #}` would swallow the `${#name}` of shell scripts; YAML has its own comments.
pub(super) static SYNTAX: LazyLock<SyntaxConfig> = LazyLock::new(|| {
    SyntaxConfig::builder().comment_delimiters("{##", "##}").keep_trailing_newline(true).build().unwrap_or_default()
});

pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_syntax(SYNTAX.clone());
    env.set_debug(true);
    env.set_fuel(Some(FUEL));
    env.add_test("version", |a: minijinja::Value, op: &str, b: minijinja::Value| -> Result<bool, Error> {
        let order = compare_versions(&a, &b)?;
        Ok(match op {
            "<" | "lt" => order.is_lt(),
            "<=" | "le" => order.is_le(),
            ">" | "gt" => order.is_gt(),
            ">=" | "ge" => order.is_ge(),
            "==" | "=" | "eq" => order.is_eq(),
            "!=" | "ne" => order.is_ne(),
            other => {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("`{other}` compares no versions; use one of <, <=, >, >=, ==, !="),
                ));
            }
        })
    });
    for (name, holds) in VERSION_TESTS {
        env.add_test(*name, move |a: minijinja::Value, b: minijinja::Value| compare_versions(&a, &b).map(holds));
        env.add_filter(*name, move |a: minijinja::Value, b: minijinja::Value| compare_versions(&a, &b).map(holds));
    }
    env
});

type Holds = fn(Ordering) -> bool;
const VERSION_TESTS: &[(&str, Holds)] = &[
    ("version_lt", Ordering::is_lt),
    ("version_le", Ordering::is_le),
    ("version_gt", Ordering::is_gt),
    ("version_ge", Ordering::is_ge),
    ("version_eq", Ordering::is_eq),
];

/// Compares dotted numbers part by part; a missing part is 0, so that 6.5 equals 6.5.0.
fn compare_versions(a: &minijinja::Value, b: &minijinja::Value) -> Result<Ordering, Error> {
    let parts = |value: &minijinja::Value| -> Result<Vec<u64>, Error> {
        let text = value.to_string();
        text.trim()
            .split(['.', '-'])
            .map(|part| {
                part.parse::<u64>().map_err(|_| {
                    Error::new(ErrorKind::InvalidOperation, format!("`{text}` is not a version such as 7.0 or 8.0.3"))
                })
            })
            .collect()
    };
    let (mut a, mut b) = (parts(a)?, parts(b)?);
    let longest = a.len().max(b.len());
    a.resize(longest, 0);
    b.resize(longest, 0);
    Ok(a.cmp(&b))
}

/// If the text is one `{{ expression }}` and nothing else, the place of the expression. A block that ends with a
/// line end is text.
fn lone_expression(text: &str) -> Option<Range<usize>> {
    if text.ends_with('\n') {
        return None;
    }
    let trimmed = text.trim();
    let inner = trimmed.strip_prefix("{{")?.strip_suffix("}}")?;
    let ast::Stmt::Template(template) = parse(trimmed, "<template>", SYNTAX.clone()).ok()? else { return None };
    if !matches!(template.children.as_slice(), [ast::Stmt::EmitExpr(_)]) {
        return None;
    }
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    let start = inner.as_ptr() as usize - text.as_ptr() as usize;
    Some(start..start + inner.len())
}

/// Refuses expressions that are too long to be taken apart safely.
pub(super) fn limits(text: &str, expression: bool) -> Result<(), Fault> {
    let (mut start, mut tokens, mut first) = (0, 0, false);
    for (token, span) in tokenize(text, expression, SYNTAX.clone()).map_while(Result::ok) {
        match token {
            Token::VariableStart | Token::BlockStart => (start, first) = (span.start_offset as usize, true),
            // A chain of `elif` is nested as deeply as it is long.
            Token::Ident("elif") if first => (tokens, first) = (tokens + 1, false),
            Token::Comma | Token::TemplateData(_) | Token::VariableEnd | Token::BlockEnd => {}
            _ if first => (tokens, first) = (1, false),
            _ => tokens += 1,
        }
        if tokens > MAX_TOKENS {
            return Err(Fault {
                message: format!("an expression of more than {MAX_TOKENS} words and signs"),
                range: start..span.end_offset as usize,
                help: Some("put parts of it into variables, or a long list into `vars`".into()),
            });
        }
    }
    Ok(())
}

pub(super) fn fault(error: &Error, text: &str, base: usize) -> Fault {
    let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let range = error.range().map_or(base..text.len(), |r| base + r.start..base + r.end);
    let mut help = None;
    match error.kind() {
        ErrorKind::SyntaxError | ErrorKind::BadEscape => message = format!("template syntax: {message}"),
        ErrorKind::OutOfFuel => {
            message = "this template does more work, or makes more text, than a playbook can mean".into();
            help = Some("look for loops in loops and for values that are repeated too often".into());
        }
        ErrorKind::UndefinedError => {
            let what = text.get(range.clone()).unwrap_or_default().trim().trim_start_matches('.');
            message = if what.is_empty() { "a value is undefined".into() } else { format!("`{what}` is undefined") };
            help = Some("`| default(...)` gives another value, `is defined` asks whether there is one".into());
        }
        _ => {}
    }
    Fault { message, range, help }
}

/// A value for templates.
pub fn value(of: impl serde::Serialize) -> minijinja::Value {
    minijinja::Value::from(minijinja::value::Serde(of))
}

/// Evaluates a bare expression.
pub fn eval(expression: &str, context: &Context) -> Result<minijinja::Value, Fault> {
    eval_at(expression, 0..expression.len(), context)
}

fn eval_at(text: &str, range: Range<usize>, context: &Context) -> Result<minijinja::Value, Fault> {
    let source = &text[range.clone()];
    limits(source, true)?;
    let env: &Environment<'_> = &ENVIRONMENT;
    let value = env
        .compile_expression(source)
        .and_then(|e| e.eval(minijinja::Value::from_pairs(context.clone())))
        .map_err(|e| fault(&e, text, range.start))?;
    if value.is_undefined() {
        let what = source.trim();
        return Err(Fault {
            message: format!("`{what}` is undefined"),
            range,
            help: Some("`| default(...)` gives another value, `is defined` asks whether there is one".into()),
        });
    }
    Ok(value)
}

/// Renders a template. One that is a lone `{{ expression }}` keeps the type of its value.
pub fn render(text: &str, context: &Context) -> Result<serde_json::Value, Fault> {
    limits(text, false)?;
    let json = |value: &minijinja::Value| {
        serde_json::to_value(value).map_err(|e| Fault {
            message: format!("the value cannot be written down: {e}"),
            range: 0..text.len(),
            help: None,
        })
    };
    if let Some(range) = lone_expression(text) {
        return json(&eval_at(text, range, context)?);
    }
    let env: &Environment<'_> = &ENVIRONMENT;
    env.template_from_str(text)
        .and_then(|t| t.render(minijinja::Value::from_pairs(context.clone())))
        .map(serde_json::Value::String)
        .map_err(|e| fault(&e, text, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context() -> Context {
        let host = json!({"version": "6.5.0", "build": 5969303});
        Context::from([
            ("mtu".into(), minijinja::Value::from(9000)),
            ("nics".into(), minijinja::Value::from(vec!["vmnic0", "vmnic1"])),
            ("host".into(), value(host)),
        ])
    }

    #[test]
    fn a_lone_expression_keeps_its_type() {
        let r = |t: &str| render(t, &context()).unwrap();
        assert_eq!(r("{{ mtu }}"), json!(9000));
        assert_eq!(r(" {{- mtu -}} "), json!(9000));
        assert_eq!(r("{{ nics }}"), json!(["vmnic0", "vmnic1"]));
        assert_eq!(r("{{ mtu > 1500 }}"), json!(true));
        assert_eq!(r("{{ mtu }}{{ mtu }}"), json!("90009000"));
        assert_eq!(r("mtu {{ mtu }}"), json!("mtu 9000"));
        assert_eq!(r("n=${#name} {{ mtu }}\n"), json!("n=${#name} 9000\n"));
        assert_eq!(r("{{ mtu }}\n"), json!("9000\n"));
    }

    #[test]
    fn versions_compare_by_number() {
        let e = |t: &str| eval(t, &context()).map(|v| v.is_true()).map_err(|f| f.message);
        assert_eq!(e("host.version is version('<', '6.10')"), Ok(true));
        assert_eq!(e("host.version is version('==', '6.5')"), Ok(true));
        assert_eq!(e("host.version is version_ge('7.0')"), Ok(false));
        assert_eq!(e("host.version is version('>', 6)"), Ok(true));
        assert_eq!(e("host.version | version_lt('7.0')"), Ok(true));
        assert!(e("host.version is version('~', '7')").unwrap_err().contains("compares no versions"));
        assert!(e("host.version is version_lt('seven')").unwrap_err().contains("not a version"));
    }

    #[test]
    fn undefined_is_an_error_with_its_place() {
        let f = eval("mtu > 3 and host.biuld > 2", &context()).unwrap_err();
        assert!(f.message.contains("host.biuld") || f.message.contains("undefined"), "{f:?}");
        let f = render("a {{ nope }} b", &context()).unwrap_err();
        assert_eq!(&"a {{ nope }} b"[f.range], "nope");
        assert!(f.message.contains("undefined"));
    }

    #[test]
    fn names_in_use_with_their_places() {
        let names = |t: &str, e| {
            let mut n: Vec<String> =
                uses(t, e).unwrap().into_iter().map(|u| u.path.join(".") + if u.soft { "?" } else { "" }).collect();
            n.sort();
            n
        };
        assert_eq!(names("{{ a.b.c }} {% for x in xs %}{{ x }}{{ loop.index }}{% endfor %}", false), ["a.b.c", "xs"]);
        assert_eq!(names("a is defined and a > range(3)[1]", true), ["a?", "a?"]);
        assert_eq!(names("b | default('x') ~ c[d]", true), ["b?", "c", "d"]);
        assert_eq!(names("{% set y = z %}{{ y }}", false), ["z"]);
        let text = "x and  mtuu == 3";
        let found = uses(text, true).unwrap();
        assert_eq!(&text[found[1].range.clone()], "mtuu");
    }

    #[test]
    fn unknown_filters_and_broken_syntax() {
        let f = uses("{{ a | uper }}", false).unwrap_err();
        assert_eq!(f[0].message, "there is no filter `uper`");
        assert_eq!(f[0].help.as_deref(), Some("did you mean `upper`?"));
        let text = "ab {{ a b }}";
        let f = uses(text, false).unwrap_err();
        assert!(f[0].message.starts_with("template syntax: "), "{:?}", f[0]);
        assert_eq!(&text[f[0].range.clone()], "b");
        assert!(uses("{{ a }}", true).unwrap_err()[0].message.contains("no braces"));
    }
}
