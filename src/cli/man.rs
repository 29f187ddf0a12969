//! `esxprep man`: one manual page with every subcommand.

use std::io::Write;

use clap::Command;
use clap_mangen::Man;

/// Writes the page.
pub fn page(mut command: Command, out: &mut dyn Write) -> std::io::Result<()> {
    command.build();
    let top = Man::new(command.clone());
    top.render_title(out)?;
    top.render_name_section(out)?;
    top.render_synopsis_section(out)?;
    subcommands(&command, out)?;
    let mut text = Vec::new();
    top.render_options_section(&mut text)?;
    write!(out, "{}", String::from_utf8_lossy(&text))?;
    let codes = super::EXIT_CODES.lines().skip(1).filter_map(|line| line.trim().split_once("  "));
    writeln!(out, ".SH \"EXIT STATUS\"")?;
    for (code, meaning) in codes {
        writeln!(out, ".TP\n{code}\n{}", meaning.trim())?;
    }
    writeln!(out, ".SH FILES")?;
    writeln!(out, ".TP\n~/.local/state/esxprep\nJournals of runs and locks, or what ESXPREP_STATE_DIR names")?;
    writeln!(out, ".TP\n~/.cache/esxprep\nDownloads")?;
    top.render_version_section(out)
}

fn subcommands(command: &Command, out: &mut dyn Write) -> std::io::Result<()> {
    for sub in command.get_subcommands() {
        if sub.has_subcommands() {
            subcommands(sub, out)?;
            continue;
        }
        let name = sub.get_bin_name().unwrap_or(sub.get_name()).to_uppercase();
        writeln!(out, ".SH \"{name}\"\n{}.", sub.get_about().map(ToString::to_string).unwrap_or_default())?;
        let man = Man::new(sub.clone());
        let mut text = Vec::new();
        man.render_synopsis_section(&mut text)?;
        man.render_options_section(&mut text)?;
        // The page has one section a subcommand: what were sections are parts of it.
        let text = String::from_utf8_lossy(&text).replace(".SH SYNOPSIS", ".PP").replace(".SH OPTIONS", ".PP");
        write!(out, "{text}")?;
    }
    Ok(())
}
