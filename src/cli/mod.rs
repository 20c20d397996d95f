//! What an operator types. Answers go to standard output, the log and complaints to standard error;
//! exit 0 is done, 1 failed, 64 asked for wrongly.

mod call;
mod client;
mod connector;
mod key;
mod recipe;
mod serve;
mod sign;
mod whole_store;

use std::fmt::Display;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

use crate::config::raw::Raw;

/// Asked for wrongly: `EX_USAGE` of `sysexits.h`.
const USAGE: u8 = 64;

/// Keeps the context of a phone call between a voice agent and Twilio Flex
#[derive(Debug, Parser)]
#[command(name = "baton", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server. With no settings at all it keeps everything in ./baton-data
    #[command(after_help = serve::SECRETS_HELP)]
    Serve(Box<Raw>),
    /// Make, list and revoke API keys of a running server
    Key(key::Args),
    /// Play whole calls against a server, with a pretend Twilio and a pretend agent
    Call(Box<call::Args>),
    /// Make connectors on a running server, link them to Twilio, find out what is wrong with them
    Connector(Box<connector::Args>),
    /// Make and check Twilio's request signatures, and find out why one is refused
    Sign(sign::Args),
    /// Write out things to copy into a Twilio account
    Recipe(recipe::Args),
    /// Copy everything from one store to another: embedded to Redis, or back
    #[command(after_help = whole_store::MIGRATE_HELP)]
    Migrate(Box<whole_store::Migrate>),
    /// Seal everything that is stored anew, with the newest sealing key
    #[command(after_help = whole_store::REKEY_HELP)]
    Rekey(Box<Raw>),
}

/// Why a command was not carried out.
#[derive(Debug)]
enum Failure {
    /// Asked for wrongly.
    Usage(String),
    /// Tried, and failed.
    Failed(String),
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(complaint) => {
            // clap prints help to standard output and complaints to standard error by itself.
            let _ = complaint.print();
            return if complaint.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Serve(raw) => serve::run(&raw),
        Command::Call(args) => call::run(*args),
        Command::Key(args) => key::run(args),
        Command::Connector(args) => connector::run(*args),
        Command::Sign(args) => sign::run(args),
        Command::Recipe(args) => recipe::run(args),
        Command::Migrate(args) => whole_store::migrate(&args),
        Command::Rekey(raw) => whole_store::rekey(&raw),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => {
            complain(&why);
            ExitCode::from(USAGE)
        }
        Err(Failure::Failed(why)) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// Answers on standard output. A reader that has gone away (`baton serve | head -1`) ends nothing.
fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{}", harmless(&text.to_string()));
}

/// A text without what a terminal would obey: names and settings are other people's. (What JSON is made
/// of is left as it is.)
fn harmless(text: &str) -> String {
    let is_obeyed = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let show = |c: char| {
        if is_obeyed(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
    };
    text.chars().map(show).collect()
}

fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "baton: {text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::raw::SECRETS;

    #[test]
    fn a_terminal_is_shown_nothing_that_it_would_obey() {
        let text = "a\u{1b}[2J\u{9b}31m \u{202e}b\n\tc é 😀";
        assert_eq!(harmless(text), "a\\u001b[2J\\u009b31m \\u202eb\n\tc é 😀");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// README's table of settings is `baton serve --help`, row by row.
    #[test]
    fn readme_lists_every_setting_with_its_default() {
        let readme = include_str!("../../README.md");
        let mut command = Cli::command();
        command.build();
        let serve = command.find_subcommand("serve").unwrap();
        let mut rows = 0;
        for argument in serve.get_arguments() {
            let Some(variable) = argument.get_env().and_then(|name| name.to_str()) else {
                continue;
            };
            let flag = argument.get_long().unwrap();
            let default = argument.get_default_values().first().map(|v| v.to_string_lossy());
            let default = default.map(|value| format!("`{value}`")).unwrap_or_default();
            let help = argument.get_help().unwrap();
            let row = format!("| `{variable}` | `--{flag}` | {default} | {help} |");
            assert!(readme.contains(&row), "README lacks the row:\n{row}");
            rows += 1;
        }
        for secret in SECRETS {
            assert!(readme.contains(&format!("| `{secret}` |")), "README lacks {secret}");
            rows += 1;
        }
        let in_readme = readme.lines().filter(|line| line.starts_with("| `BATON_")).count();
        assert_eq!(in_readme, rows, "README lists settings that are not there");
    }
}
