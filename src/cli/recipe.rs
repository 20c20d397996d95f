//! `baton recipe function`: things to copy out, with the user's own URL filled in.

use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::cli::Failure;
use crate::cli::complain;
use crate::cli::say;
use crate::domain::public_url::PublicUrl;

const FUNCTION: &str = include_str!("../recipes/function.js");
const FUNCTION_FILE: &str = "handoff.protected.js";
const PLACEHOLDER: &str = "https://your-baton-host";

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    recipe: Recipe,
}

#[derive(Debug, clap::Subcommand)]
enum Recipe {
    /// Write a Twilio Function that reads a handoff: key from the environment, never in the code
    Function(Function),
}

#[derive(clap::Args, Debug)]
struct Function {
    /// Directory to write it to: the `functions` of your Twilio project
    dir: PathBuf,
    /// Where Twilio reaches Baton
    #[arg(long, env = "BATON_PUBLIC_URL", default_value = PLACEHOLDER)]
    url: String,
    /// Overwrite one that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.recipe {
        Recipe::Function(function) => function.write(),
    }
}

impl Function {
    fn write(&self) -> Result<(), Failure> {
        // Of several, the first makes Baton's links.
        let url = self.url.split_whitespace().next().unwrap_or(PLACEHOLDER);
        let url: PublicUrl =
            url.parse().map_err(|why| Failure::Usage(format!("--url {url} {why}")))?;
        let file = self.dir.join(FUNCTION_FILE);
        if url.as_str() == PLACEHOLDER {
            let what = "the Function will ask {PLACEHOLDER}: give --url, or set BATON_URL in its environment";
            complain(what.replace("{PLACEHOLDER}", PLACEHOLDER));
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).create_new(!self.force);
        let cannot = |why: std::io::Error| {
            let hint = if why.kind() == std::io::ErrorKind::AlreadyExists {
                "; give --force to overwrite it"
            } else {
                ""
            };
            Failure::Failed(format!("cannot write {}: {why}{hint}", file.display()))
        };
        let text = FUNCTION.replace(PLACEHOLDER, url.as_str());
        let written = fs::create_dir_all(&self.dir)
            .and_then(|()| options.open(&file))
            .and_then(|mut out| out.write_all(text.as_bytes()));
        written.map_err(cannot)?;
        say(format!(
            "Wrote {}\n\n1. In the Twilio project's .env:  BATON_API_KEY=<a key of `baton key new --scope handoff:read`>  and, if it moves, BATON_URL={url}\n2. Deploy it; in Studio, a Run Function widget with the parameter call_sid = {{{{trigger.call.CallSid}}}}\n3. Split on {{{{widgets.<its name>.parsed.found}}}}. For Send To Flex, name single members of parsed.data: its attributes hold 1024 characters in all. ({url}/twilio/studio/handoff answers attributes that always fit.)",
            file.display()
        ));
        Ok(())
    }
}
