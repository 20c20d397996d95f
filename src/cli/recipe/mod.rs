//! `baton recipe …`: things to copy out, with the user's own URL, ids and SIDs filled in.

mod flex;

use std::fs;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::Failure;
use crate::cli::complain;
use crate::cli::say;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::address::ChannelSid;
use crate::domain::connector::address::PhoneNumber;
use crate::domain::connector::address::WorkflowSid;
use crate::domain::public_url::PublicUrl;

const NO_URL: &str = "https://your-baton-host";

/// A file to copy out.
struct File {
    name: &'static str,
    text: &'static str,
    is_program: bool,
}

macro_rules! file {
    ($text:literal) => {
        file!($text as $text)
    };
    ($text:literal as $name:literal) => {
        File {
            name: $name,
            text: include_str!(concat!("../../recipes/", $text)),
            is_program: false,
        }
    };
}

use file;

const FUNCTION: File = file!("function.js" as "handoff.protected.js");
const STUDIO_FLOW: File = file!("studio-flow.json");
const TWIML_BIN: File = file!("twiml-bin.xml");
const FALLBACK_BIN: File = file!("fallback-bin.xml");
const AGENTS: [File; 4] = [
    file!("agent-polyai.py"),
    file!("agent-stream.mjs"),
    file!("agent-relay.mjs"),
    File { is_program: true, ..file!("write-handoff.sh") },
];

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    recipe: Recipe,
}

#[derive(Debug, clap::Subcommand)]
enum Recipe {
    /// Write a Twilio Function that reads a handoff: key from the environment, never in the code
    Function(At),
    /// Write a Studio flow: to the agent, back with its handoff, and on to Flex
    StudioFlow(StudioFlow),
    /// Write a `TwiML` Bin that greets a caller and sends the call to Baton
    Twiml(OfConnector),
    /// Write a `TwiML` Bin for when Baton is not reached: a person takes the call without it
    FallbackBin(FallbackBin),
    /// Write a Flex UI plugin: a tab with the handoff on each call's task
    FlexPlugin(At),
    /// Write a script that shows the panel in Flex's CRM container, for Flex without a plugin of Baton's
    FlexPanel(At),
    /// Write agents to begin with: a `PolyAI` function, a media stream's, a `ConversationRelay`'s, and
    /// plain curl
    Agent(OfConnector),
}

#[derive(clap::Args, Debug)]
struct Place {
    /// Directory to write it to
    dir: PathBuf,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args, Debug)]
struct At {
    #[command(flatten)]
    place: Place,
    /// Where Twilio reaches Baton
    #[arg(long, env = "BATON_PUBLIC_URL", default_value = NO_URL)]
    url: String,
}

#[derive(clap::Args, Debug)]
struct OfConnector {
    #[command(flatten)]
    at: At,
    /// The connector's id, `conn_…`
    #[arg(long)]
    connector: ConnectorId,
}

#[derive(clap::Args, Debug)]
struct StudioFlow {
    #[command(flatten)]
    of: OfConnector,
    /// The `TaskRouter` workflow that gives calls to people, `WW…`
    #[arg(long)]
    workflow: WorkflowSid,
    /// The task channel `voice` of that workspace, `TC…`
    #[arg(long)]
    channel: ChannelSid,
    /// Who is called when Flex takes no call, such as +441632960000
    #[arg(long)]
    fallback_number: PhoneNumber,
}

#[derive(clap::Args, Debug)]
struct FallbackBin {
    #[command(flatten)]
    place: Place,
    /// The `TaskRouter` workflow that gives calls to people, `WW…`
    #[arg(long)]
    workflow: WorkflowSid,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.recipe {
        Recipe::Function(at) => {
            let url = at.url()?;
            let file = at.place.write(&FUNCTION, &[(NO_URL, url.as_str())])?;
            say(format!(
                "Wrote {file}\n\n1. In the Twilio project's .env:  BATON_API_KEY=<a key of `baton key new --scope handoff:read`>  and, if it moves, BATON_URL={url}\n2. Deploy it; in Studio, a Run Function widget with the parameter call_sid = {{{{trigger.call.CallSid}}}}\n3. Split on {{{{widgets.<its name>.parsed.found}}}}. For Send To Flex, name single members of parsed.data: its attributes hold 1024 characters in all. ({url}/twilio/studio/handoff answers attributes that always fit.)"
            ));
            Ok(())
        }
        Recipe::StudioFlow(flow) => flow.write(),
        Recipe::Twiml(of) => {
            let file = of.write(&TWIML_BIN, &[])?;
            say(format!(
                "Wrote {file}\n\n1. Twilio console, TwiML Bins: make one of it\n2. Phone Numbers, your number: \"A call comes in\" is that bin, \"Primary handler fails\" that of `baton recipe fallback-bin`\n3. \"Call status changes\": {}/twilio/status/{}, so that Baton hears when calls end",
                of.at.url()?,
                of.connector
            ));
            Ok(())
        }
        Recipe::FallbackBin(bin) => {
            let file =
                bin.place.write(&FALLBACK_BIN, &[("WORKFLOW_SID_HERE", bin.workflow.as_str())])?;
            say(format!(
                "Wrote {file}\n\n1. Twilio console, TwiML Bins: make one of it\n2. Phone Numbers, your number: \"Primary handler fails\" is that bin\n3. baton connector verify conn_… is red for every number without one"
            ));
            Ok(())
        }
        Recipe::FlexPlugin(at) => flex::plugin(&at),
        Recipe::FlexPanel(at) => flex::panel(&at),
        Recipe::Agent(of) => {
            of.at.place.is_free(&AGENTS)?;
            let written = AGENTS.iter().map(|file| of.write(file, &[]));
            let written = written.collect::<Result<Vec<_>, _>>()?;
            say(format!(
                "Wrote {}\n\nEach says at its top what it is for and how it is run.",
                written.join("\n      ")
            ));
            Ok(())
        }
    }
}

impl StudioFlow {
    fn write(&self) -> Result<(), Failure> {
        let of = &self.of;
        let file = of.write(
            &STUDIO_FLOW,
            &[
                ("WORKFLOW_SID_HERE", self.workflow.as_str()),
                ("CHANNEL_SID_HERE", self.channel.as_str()),
                ("FALLBACK_NUMBER_HERE", self.fallback_number.as_str()),
            ],
        )?;
        say(format!(
            "Wrote {file}\n\n1. Twilio console, Studio, a new flow: \"Import from JSON\", paste it, publish\n2. Phone Numbers, your number: \"A call comes in\" is that flow, \"Primary handler fails\" the bin of `baton recipe fallback-bin`\n3. \"Call status changes\": {}/twilio/status/{}?flow=FW…, with the flow's SID: Baton hears when calls end, and Twilio is sent on to the flow",
            of.at.url()?,
            of.connector
        ));
        Ok(())
    }
}

impl OfConnector {
    fn write(&self, file: &File, more: &[(&str, &str)]) -> Result<String, Failure> {
        let url = self.at.url()?;
        let own = [
            ("BATON_PUBLIC_URL_HERE", url.as_str()),
            ("CONNECTOR_ID_HERE", self.connector.as_str()),
        ];
        self.at.place.write(file, &[&own, more].concat())
    }
}

impl At {
    /// Of several, the first makes Baton's links.
    fn url(&self) -> Result<PublicUrl, Failure> {
        let url = self.url.split_whitespace().next().unwrap_or(NO_URL);
        url.parse().map_err(|why| Failure::Usage(format!("--url {url} {why}")))
    }
}

impl Place {
    /// Makes sure that all of `files` can be written, before any is.
    fn is_free(&self, files: &[File]) -> Result<(), Failure> {
        let there = files.iter().map(|file| self.dir.join(file.name)).find(|path| path.exists());
        match there.filter(|_| !self.force) {
            None => Ok(()),
            Some(path) => {
                let path = path.display();
                let what = format!("{path} is there already; give --force to overwrite it");
                Err(Failure::Failed(what))
            }
        }
    }

    /// Writes a file with what is to stand in the place of what; answers where it is.
    fn write(&self, file: &File, places: &[(&str, &str)]) -> Result<String, Failure> {
        let text = places
            .iter()
            .fold(file.text.to_owned(), |text, (name, value)| text.replace(name, value));
        if text.contains(NO_URL) {
            complain(format!(
                "{} will ask {NO_URL}: give --url, or set BATON_PUBLIC_URL",
                file.name
            ));
        }
        let path = self.dir.join(file.name);
        let folder = path.parent().unwrap_or(&self.dir);
        let written = fs::create_dir_all(folder).and_then(|()| self.put(&path, file, &text));
        written.map_err(|why| {
            let is_there = why.kind() == ErrorKind::AlreadyExists;
            let hint = if is_there { "; give --force to overwrite it" } else { "" };
            Failure::Failed(format!("cannot write {}: {why}{hint}", path.display()))
        })?;
        Ok(path.display().to_string())
    }

    fn put(&self, path: &Path, file: &File, text: &str) -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).create_new(!self.force);
        options.mode(if file.is_program { 0o755 } else { 0o644 });
        options.open(path)?.write_all(text.as_bytes())
    }
}
