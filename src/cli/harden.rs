//! `esxprep harden`: what the baselines ask, and how much of it is covered. No host is touched.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::hardening::{self, Baseline, compare, coverage, show};

/// `esxprep harden`.
#[derive(Debug, Args)]
pub struct HardenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the baselines, or the controls of one.
    List {
        /// The baseline, such as stig-8.0; all are listed when none is given.
        baseline: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show everything known of a control: what each baseline asks, how it is judged and fixed, what that needs.
    Show {
        /// A control's id (ESXI-80-000005, esxi-8.account-lockout) or a concept (account-lockout).
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Show where two baselines ask for different values, and what satisfies both.
    Diff {
        /// One baseline.
        a: String,
        /// The other.
        b: String,
        #[command(flatten)]
        output: Output,
    },
    /// Count what is fixed, judged and not judged, and say why.
    Coverage {
        #[command(flatten)]
        output: Output,
        /// As Markdown (docs/hardening.md holds this).
        #[arg(long, conflicts_with = "output")]
        markdown: bool,
    },
}

/// How it is shown.
#[derive(Debug, Clone, Copy, Args)]
struct Output {
    /// How it is shown.
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Human,
    /// One JSON document.
    Json,
}

/// Shows what the baselines ask.
pub fn harden(args: &HardenArgs) -> ExitCode {
    let shown = match &args.what {
        What::List { baseline: None, output } => {
            let heads: Vec<Head<'_>> = hardening::all().map(Head::of).collect();
            Ok(output.shown(&heads, show::baselines))
        }
        What::List { baseline: Some(name), output } => {
            named(name).map(|baseline| output.shown(baseline, || show::list(baseline)))
        }
        What::Show { id, output } => known(id).map(|known| output.shown(&known, || show::text(&known))),
        What::Diff { a, b, output } => named(a).and_then(|a| Ok((a, named(b)?))).map(|(a, b)| {
            let comparison = compare::compare(a, b);
            output.shown(&comparison, || show::differences(&comparison))
        }),
        What::Coverage { markdown: true, .. } => Ok(Ok(coverage::markdown())),
        What::Coverage { output, .. } => Ok(output.shown(&coverage::everything(), coverage::text)),
    };
    match shown {
        Ok(Ok(text)) => super::print(text),
        Ok(Err(error)) => super::fail(&error.to_string()),
        Err(problem) => super::fail(&problem),
    }
}

/// A baseline without its controls.
#[derive(Serialize)]
struct Head<'a> {
    name: &'a str,
    title: &'a str,
    publisher: &'a str,
    edition: String,
    versions: &'a [String],
    controls: usize,
}

impl<'a> Head<'a> {
    fn of(b: &'a Baseline) -> Self {
        let (name, title, publisher) = (&b.name, &b.title, &b.publisher);
        Self { name, title, publisher, edition: b.edition(), versions: &b.versions, controls: b.controls.len() }
    }
}

impl Output {
    fn shown<T: Serialize + ?Sized>(
        self,
        value: &T,
        human: impl FnOnce() -> String,
    ) -> Result<String, serde_json::Error> {
        match self.output {
            Form::Human => Ok(human()),
            Form::Json => serde_json::to_string_pretty(value).map(|text| text + "\n"),
        }
    }
}

fn named(name: &str) -> Result<&'static Baseline, String> {
    let all: Vec<&str> = hardening::names().collect();
    hardening::baseline(name)
        .ok_or_else(|| format!("there is no baseline named {name:?}; there are {}", all.join(", ")))
}

fn known(id: &str) -> Result<Vec<show::Known>, String> {
    let known = show::known(id);
    if !known.is_empty() {
        return Ok(known);
    }
    let near = show::nearest(id).map_or_else(
        || "`esxprep harden list BASELINE` lists the controls".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    Err(format!("no baseline has a control or a concept {id:?}; {near}"))
}
