//! The names that templates and conditions look up, with their places: what makes an undefined variable an error
//! before any host is touched.

use std::collections::BTreeSet;
use std::ops::Range;

use minijinja::machinery::{ast, parse, parse_expr};
use minijinja::{Environment, ErrorKind};

use super::problem::nearest;
use super::template::{ENVIRONMENT, Fault, SYNTAX, fault, limits};

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

/// The names that a template (or, if `expression`, a bare expression) uses, or what is wrong with it.
pub fn uses(text: &str, expression: bool) -> Result<Vec<Use>, Vec<Fault>> {
    let mut walk = Walk::default();
    let env: &Environment<'_> = &ENVIRONMENT;
    limits(text, expression).map_err(|f| vec![f])?;
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
