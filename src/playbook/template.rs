//! Templates and conditions: what names they use, and their values. minijinja, strict about undefined names.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::machinery::{ast, parse, parse_expr};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::problem::nearest;

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

/// A name that a template looks up.
#[derive(Debug, Clone)]
pub struct Use {
    /// The name and the attributes that follow it: `host`, `version`.
    pub path: Vec<String>,
    /// Where.
    pub range: Range<usize>,
    /// It may be undefined: `x is defined`, `x | default(..)`.
    pub soft: bool,
}

// `{# #}` would swallow the `${#name}` of shell scripts; YAML has its own comments.
static SYNTAX: LazyLock<SyntaxConfig> = LazyLock::new(|| {
    SyntaxConfig::builder().comment_delimiters("{##", "##}").keep_trailing_newline(true).build().unwrap_or_default()
});

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_syntax(SYNTAX.clone());
    env.set_debug(true);
    env.add_test("version", |a: &str, op: &str, b: &str| -> Result<bool, Error> {
        let order = compare_versions(a, b)?;
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
        env.add_test(*name, move |a: &str, b: &str| compare_versions(a, b).map(holds));
        env.add_filter(*name, move |a: &str, b: &str| compare_versions(a, b).map(holds));
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
fn compare_versions(a: &str, b: &str) -> Result<Ordering, Error> {
    let parts = |text: &str| -> Result<Vec<u64>, Error> {
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

fn fault(error: &Error, text: &str, base: usize) -> Fault {
    let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let range = error.range().map_or(base..text.len(), |r| base + r.start..base + r.end);
    let mut help = None;
    match error.kind() {
        ErrorKind::SyntaxError | ErrorKind::BadEscape => message = format!("template syntax: {message}"),
        ErrorKind::UndefinedError => {
            let what = text.get(range.clone()).unwrap_or_default().trim();
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

/// The names that a template (or, if `expression`, a bare expression) uses, or what is wrong with it.
pub fn uses(text: &str, expression: bool) -> Result<Vec<Use>, Vec<Fault>> {
    let mut walk = Walk::default();
    let env: &Environment<'_> = &ENVIRONMENT;
    if expression {
        if let Some(at) = text.find("{{") {
            return Err(vec![Fault {
                message: "this is an expression already, so it has no braces".into(),
                range: at..text.len(),
                help: Some(format!("write: {}", text.replace("{{", "").replace("}}", "").trim())),
            }]);
        }
        env.compile_expression(text).map_err(|e| vec![fault(&e, text, 0)])?;
        let expr = parse_expr(text).map_err(|e| vec![fault(&e, text, 0)])?;
        walk.expr(&expr, false);
    } else {
        env.template_from_str(text).map_err(|e| vec![fault(&e, text, 0)])?;
        let root = parse(text, "<template>", SYNTAX.clone()).map_err(|e| vec![fault(&e, text, 0)])?;
        walk.stmt(&root);
    }
    if !walk.faults.is_empty() {
        return Err(walk.faults);
    }
    let globals: BTreeSet<&str> = env.globals().map(|(name, _)| name).collect();
    walk.uses.retain(|u| !walk.assigned.contains(&u.path[0]) && !globals.contains(u.path[0].as_str()));
    Ok(walk.uses)
}

#[derive(Default)]
struct Walk {
    uses: Vec<Use>,
    /// Names that the template itself sets, anywhere in it.
    assigned: BTreeSet<String>,
    faults: Vec<Fault>,
}

fn range(span: minijinja::machinery::Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}

const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "default",
    "dictsort",
    "first",
    "float",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "version_ge",
    "version_gt",
    "version_le",
    "version_lt",
];
const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "safe",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
    "version",
    "version_eq",
    "version_ge",
    "version_gt",
    "version_le",
    "version_lt",
];

impl Walk {
    fn args(&mut self, args: &[ast::CallArg<'_>]) {
        for arg in args {
            match arg {
                ast::CallArg::Pos(e)
                | ast::CallArg::Kwarg(_, e)
                | ast::CallArg::PosSplat(e)
                | ast::CallArg::KwargSplat(e) => self.expr(e, false),
            }
        }
    }

    fn unknown(&mut self, what: &str, name: &str, range: Range<usize>, known: &[&str]) {
        let help = nearest(name, known.iter().copied()).map(|n| format!("did you mean `{n}`?"));
        self.faults.push(Fault { message: format!("there is no {what} `{name}`"), range, help });
    }

    fn expr(&mut self, expr: &ast::Expr<'_>, soft: bool) {
        match expr {
            ast::Expr::Var(v) => {
                self.uses.push(Use { path: vec![v.id.to_owned()], range: range(v.span()), soft });
            }
            ast::Expr::Const(_) => {}
            ast::Expr::Slice(s) => {
                self.expr(&s.expr, soft);
                [&s.start, &s.stop, &s.step].into_iter().flatten().for_each(|e| self.expr(e, false));
            }
            ast::Expr::UnaryOp(u) => self.expr(&u.expr, soft),
            ast::Expr::BinOp(b) => {
                self.expr(&b.left, false);
                // `x is defined and x > 3`: the left side guards the right one.
                let guarded: Vec<String> = match b.op {
                    ast::BinOpKind::ScAnd | ast::BinOpKind::ScOr => guards(&b.left),
                    _ => Vec::new(),
                };
                let from = self.uses.len();
                self.expr(&b.right, false);
                for u in &mut self.uses[from..] {
                    u.soft |= guarded.contains(&u.path[0]);
                }
            }
            ast::Expr::Compare(c) => {
                self.expr(&c.expr, false);
                c.ops.iter().for_each(|o| self.expr(&o.expr, false));
            }
            ast::Expr::IfExpr(i) => {
                self.expr(&i.test_expr, false);
                let guarded = guards(&i.test_expr);
                let from = self.uses.len();
                self.expr(&i.true_expr, soft);
                if let Some(e) = &i.false_expr {
                    self.expr(e, soft);
                }
                for u in &mut self.uses[from..] {
                    u.soft |= guarded.contains(&u.path[0]);
                }
            }
            ast::Expr::Filter(f) => {
                if let Some(e) = &f.expr {
                    self.expr(e, soft || matches!(f.name, "default" | "d"));
                }
                self.args(&f.args);
                let answer = ENVIRONMENT.empty_state().apply_filter(f.name, &[]);
                if answer.is_err_and(|e| e.kind() == ErrorKind::UnknownFilter) {
                    self.unknown("filter", f.name, range(f.span()), FILTERS);
                }
            }
            ast::Expr::Test(t) => {
                self.expr(&t.expr, matches!(t.name, "defined" | "undefined"));
                self.args(&t.args);
                let answer = ENVIRONMENT.empty_state().perform_test(t.name, &[]);
                if answer.is_err_and(|e| e.kind() == ErrorKind::UnknownTest) {
                    self.unknown("test", t.name, range(t.span()), TESTS);
                }
            }
            ast::Expr::GetAttr(g) => {
                let mut path = vec![g.name.to_owned()];
                let mut inner = &g.expr;
                while let ast::Expr::GetAttr(next) = inner {
                    path.push(next.name.to_owned());
                    inner = &next.expr;
                }
                if let ast::Expr::Var(v) = inner {
                    path.push(v.id.to_owned());
                    path.reverse();
                    let whole = range(v.span()).start..range(g.span()).end;
                    self.uses.push(Use { path, range: whole, soft });
                } else {
                    self.expr(&g.expr, soft);
                }
            }
            ast::Expr::GetItem(g) => {
                self.expr(&g.expr, soft);
                self.expr(&g.subscript_expr, false);
            }
            ast::Expr::Call(c) => {
                self.expr(&c.expr, false);
                self.args(&c.args);
            }
            ast::Expr::List(l) => l.items.iter().for_each(|e| self.expr(e, false)),
            ast::Expr::Tuple(t) => t.items.iter().for_each(|e| self.expr(e, false)),
            ast::Expr::Map(m) => m.keys.iter().chain(&m.values).for_each(|e| self.expr(e, false)),
        }
    }

    fn assign(&mut self, target: &ast::Expr<'_>) {
        match target {
            ast::Expr::Var(v) => {
                self.assigned.insert(v.id.to_owned());
            }
            ast::Expr::List(l) => l.items.iter().for_each(|e| self.assign(e)),
            ast::Expr::Tuple(t) => t.items.iter().for_each(|e| self.assign(e)),
            _ => {}
        }
    }

    fn body(&mut self, body: &[ast::Stmt<'_>]) {
        body.iter().for_each(|s| self.stmt(s));
    }

    fn stmt(&mut self, stmt: &ast::Stmt<'_>) {
        match stmt {
            ast::Stmt::Template(t) => self.body(&t.children),
            ast::Stmt::EmitExpr(e) => self.expr(&e.expr, false),
            ast::Stmt::ForLoop(f) => {
                self.assigned.insert("loop".into());
                self.assign(&f.target);
                self.expr(&f.iter, false);
                f.filter_expr.iter().for_each(|e| self.expr(e, false));
                self.body(&f.body);
                self.body(&f.else_body);
            }
            ast::Stmt::IfCond(i) => {
                self.expr(&i.expr, false);
                let guarded = guards(&i.expr);
                let from = self.uses.len();
                self.body(&i.true_body);
                self.body(&i.false_body);
                for u in &mut self.uses[from..] {
                    u.soft |= guarded.contains(&u.path[0]);
                }
            }
            ast::Stmt::WithBlock(w) => {
                for (target, expr) in &w.assignments {
                    self.assign(target);
                    self.expr(expr, false);
                }
                self.body(&w.body);
            }
            ast::Stmt::Set(s) => {
                self.assign(&s.target);
                self.expr(&s.expr, false);
            }
            ast::Stmt::SetBlock(s) => {
                self.assign(&s.target);
                self.body(&s.body);
            }
            ast::Stmt::AutoEscape(a) => self.body(&a.body),
            ast::Stmt::FilterBlock(f) => self.body(&f.body),
            _ => {}
        }
    }
}

/// Names that a condition asks `is defined` (or `is undefined`) about.
fn guards(expr: &ast::Expr<'_>) -> Vec<String> {
    match expr {
        ast::Expr::Test(t) if matches!(t.name, "defined" | "undefined") => {
            let mut walk = Walk::default();
            walk.expr(&t.expr, true);
            walk.uses.into_iter().map(|u| u.path[0].clone()).collect()
        }
        ast::Expr::BinOp(b) => guards(&b.left).into_iter().chain(guards(&b.right)).collect(),
        ast::Expr::UnaryOp(u) => guards(&u.expr),
        _ => Vec::new(),
    }
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
