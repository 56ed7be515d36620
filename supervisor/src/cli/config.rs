//! The configuration file: options of the command line, by their own names. What it says is each option's default, so
//! a variable of the environment and a flag have the last word.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml_edit::{Document, Item, TableLike, Value};

/// Where it is unless one says otherwise; need not be there.
pub const DEFAULT: &str = "/etc/carob/config.toml";
/// The commands whose options are in the file, in the table of the first one's name.
const COMMANDS: [&str; 2] = ["daemon", "config"];
/// Options that belong to one run, not to a machine; and the one that may be given several times.
const PER_RUN: [&str; 5] = ["config", "help", "version", "output", "pull-secret"];

/// Commands that have no use for the file, so that a mistake in it does not stop them.
const WITHOUT: [&str; 3] = ["check", "explain", "cri-log"];

/// What a file says.
#[derive(Debug, Default)]
pub struct File {
    path: PathBuf,
    settings: BTreeMap<Key, Setting>,
}

/// Which option: its table, none for those of all commands, and its identifier.
type Key = (Option<&'static str>, String);

#[derive(Debug)]
struct Setting {
    value: String,
    line: usize,
}

impl File {
    /// Reads the file that the arguments or the environment name, or the default one if there is one.
    ///
    /// # Errors
    /// Each mistake with its line.
    pub fn read(command: &Command, args: &[OsString]) -> anyhow::Result<Self> {
        let lenient = command.clone().ignore_errors(true);
        let matches = lenient.try_get_matches_from(args).ok();
        let asked = matches.as_ref().and_then(ArgMatches::subcommand_name);
        if asked.is_some_and(|name| WITHOUT.contains(&name)) {
            return Ok(Self::default());
        }
        let named = matches.and_then(|matches| matches.get_one::<PathBuf>("config").cloned());
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && named.is_none() => {
                return Ok(Self::default());
            }
            Err(e) => return Err(e).with_context(|| format!("cannot read {path:?}")),
        };
        let parsed = parse(&text, command).map_err(|errors| {
            let lines = errors
                .iter()
                .map(|(line, text)| format!("{}:{line}: {text}", path.display()));
            anyhow::anyhow!(lines.collect::<Vec<_>>().join("\n"))
        })?;
        Ok(Self {
            path,
            settings: parsed,
        })
    }

    /// The command with what the file says as defaults.
    pub fn as_defaults(&self, mut command: Command) -> Command {
        for ((table, id), setting) in &self.settings {
            // clap keeps defaults for ever; there are a few, once.
            let value: &'static str = Box::leak(setting.value.clone().into_boxed_str());
            let set = move |arg: Arg| arg.default_value(value);
            command = match table {
                None => command.mut_arg(id, set),
                Some(_) => COMMANDS.iter().fold(command, |command, name| {
                    command.mut_subcommand(name, |sub| sub.mut_arg(id, set))
                }),
            };
        }
        command
    }

    /// Prints every option with its value and where that comes from, as a file that could be read again.
    ///
    /// # Errors
    /// When an option has no value to print.
    pub fn print_effective(&self, command: &Command, matches: &ArgMatches) -> anyhow::Result<()> {
        for (table, arg) in options(command) {
            let id = arg.get_id().as_str();
            let source = matches.value_source(id);
            let Some(values) = matches.get_raw(id) else {
                println!("# {} is not set", name(&arg));
                continue;
            };
            // Lists are written as on the command line.
            let values: Vec<_> = values.map(OsStr::to_string_lossy).collect();
            let value = values.join(",");
            let origin = match (source, self.settings.get(&(table, id.to_owned()))) {
                (Some(ValueSource::CommandLine), _) => "command line".to_owned(),
                (Some(ValueSource::EnvVariable), _) => match arg.get_env() {
                    Some(name) => format!("environment: {}", name.to_string_lossy()),
                    None => bail!("{} comes from nowhere", name(&arg)),
                },
                (_, Some(setting)) => format!("{}:{}", self.path.display(), setting.line),
                (_, None) => "default".to_owned(),
            };
            let key = match table {
                Some(table) => format!("{table}.{}", name(&arg)),
                None => name(&arg),
            };
            let value = match is_word(&arg) {
                // A string of JSON is one of TOML.
                true => serde_json::Value::from(value).to_string(),
                false => value,
            };
            println!("{key} = {value}  # {origin}");
        }
        Ok(())
    }
}

/// All options that a file may have, those of all commands first.
fn options(command: &Command) -> Vec<(Option<&'static str>, Arg)> {
    let mine = command.get_arguments().map(|arg| (None, arg.clone()));
    let daemon = command.find_subcommand(COMMANDS[0]).into_iter();
    let of = daemon.flat_map(|daemon| daemon.get_arguments());
    let of = of.filter(|arg| !arg.is_global_set());
    mine.chain(of.map(|arg| (Some(COMMANDS[0]), arg.clone())))
        .filter(|(_, arg)| arg.get_long().is_some_and(|long| !PER_RUN.contains(&long)))
        .collect()
}

/// As TOML's keys mostly are.
fn name(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().replace('-', "_")
}

/// False for what is a number or boolean in the file.
fn is_word(arg: &Arg) -> bool {
    let of = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u8>(),
        TypeId::of::<u64>(),
        TypeId::of::<NonZeroUsize>(),
    ];
    let number = numbers.iter().any(|number| of == *number);
    !number && !matches!(arg.get_action(), ArgAction::SetTrue)
}

type Mistake = (usize, String);

fn parse(text: &str, command: &Command) -> Result<BTreeMap<Key, Setting>, Vec<Mistake>> {
    let line_at = |at: usize| text[..at].matches('\n').count() + 1;
    let document = Document::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        vec![(
            line,
            format!("not TOML: {}", error.message().trim().replace('\n', ", ")),
        )]
    })?;
    let mut reader = Reader {
        command,
        options: options(command),
        line_at: &line_at,
        settings: BTreeMap::new(),
        mistakes: Vec::new(),
    };
    reader.table(document.as_table(), None);
    match reader.mistakes.is_empty() {
        true => Ok(reader.settings),
        false => Err(reader.mistakes),
    }
}

struct Reader<'a> {
    command: &'a Command,
    options: Vec<(Option<&'static str>, Arg)>,
    line_at: &'a dyn Fn(usize) -> usize,
    settings: BTreeMap<Key, Setting>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn table(&mut self, table: &dyn TableLike, of: Option<&'static str>) {
        for (key, item) in table.iter() {
            let span = table
                .key(key)
                .and_then(|key| key.span())
                .or_else(|| item.span());
            let line = span.map_or(1, |span| (self.line_at)(span.start));
            if let (None, true, Some(inner)) = (of, key == COMMANDS[0], item.as_table_like()) {
                self.table(inner, Some(COMMANDS[0]));
                continue;
            }
            if let Err(text) = self.setting(key, item, of, line) {
                self.mistakes.push((line, text));
            }
        }
    }

    fn setting(
        &mut self,
        key: &str,
        item: &Item,
        of: Option<&'static str>,
        line: usize,
    ) -> Result<(), String> {
        let mine = || self.options.iter().filter(|(table, _)| *table == of);
        if of.is_none() && key == COMMANDS[0] {
            return Err(format!("{key} must be a table: write [{key}]"));
        }
        let Some((_, arg)) = mine().find(|(_, arg)| name(arg) == key) else {
            let names = mine().map(|(_, arg)| name(arg));
            let names = names.chain((of.is_none()).then(|| COMMANDS[0].to_owned()));
            return Err(unknown(key, names));
        };
        let wanted = match (is_word(arg), arg.get_action()) {
            (true, _) => "a string",
            (false, ArgAction::SetTrue) => "true or false",
            (false, _) => "a number",
        };
        let value = match item.as_value() {
            Some(Value::String(text)) if wanted == "a string" => text.value().clone(),
            Some(Value::Boolean(flag)) if wanted == "true or false" => flag.value().to_string(),
            Some(Value::Integer(number)) if wanted == "a number" => number.value().to_string(),
            _ => return Err(format!("{key} must be {wanted}")),
        };
        self.check(arg, &value)
            .map_err(|why| format!("{key}: {why}"))?;
        let id = arg.get_id().to_string();
        self.settings.insert((of, id), Setting { value, line });
        Ok(())
    }

    /// Whether the option takes the value.
    fn check(&self, arg: &Arg, value: &str) -> Result<(), String> {
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            return Ok(());
        }
        let flag = format!("--{}={value}", arg.get_long().unwrap_or_default());
        let args = ["carob", COMMANDS[0], &flag];
        match self.command.clone().try_get_matches_from(args) {
            Ok(_) => Ok(()),
            Err(error) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                Err(first.trim_start_matches("error: ").to_owned())
            }
        }
    }
}

fn unknown(key: &str, names: impl Iterator<Item = String>) -> String {
    let near = names
        .map(|name| (strsim::osa_distance(key, &name), name))
        .min();
    match near {
        Some((distance, name)) if distance <= (key.len() / 4).max(1) => {
            format!("{key} is no setting; did you mean {name}?")
        }
        _ => format!("{key} is no setting; `carob config` lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    use crate::cli::Cli;

    fn mistakes(text: &str) -> Vec<String> {
        let found = parse(text, &Cli::command()).map(|_| ());
        let mistakes = found.err().unwrap_or_default().into_iter();
        mistakes
            .map(|(line, text)| format!("{line}: {text}"))
            .collect()
    }

    #[test]
    fn each_mistake_has_its_line_and_a_way_out() {
        for (text, wanted) in [
            ("rot = \"/x\"", "1: rot is no setting; did you mean root?"),
            (
                "\n[daemon]\nmanifest = \"/x\"",
                "3: manifest is no setting; did you mean manifests?",
            ),
            ("zzz = 1", "1: zzz is no setting; `carob config` lists them"),
            ("root = 1", "1: root must be a string"),
            (
                "daemon.leave_running = \"yes\"",
                "1: leave_running must be true or false",
            ),
            (
                "\n\ndaemon.shutdown_grace_period = \"1m\"",
                "3: shutdown_grace_period must be a number",
            ),
            (
                "backend = \"docker\"",
                "1: backend: invalid value 'docker' for '--backend <BACKEND>'",
            ),
            (
                "[daemon]\noutput = \"json\"",
                "2: output is no setting; `carob config` lists them",
            ),
            ("[[daemon]]", "1: daemon must be a table: write [daemon]"),
        ] {
            assert_eq!(mistakes(text), [wanted], "{text}");
        }
        assert!(mistakes("root = ")[0].starts_with("1: not TOML: "));
        assert_eq!(mistakes("rot = 1\nstat = 2").len(), 2);
        let good = "root = \"/x\"\nbackend = \"containerd\"\n[daemon]\nleave_running = true\nshutdown_grace_period = 5\n";
        assert_eq!(mistakes(good), [""; 0]);
    }

    #[test]
    fn a_flag_has_the_last_word_over_the_file() {
        let file = File {
            path: PathBuf::from("f"),
            settings: parse(
                "root = \"/file\"\nstate = \"/file\"\n[daemon]\nleave_running = true",
                &Cli::command(),
            )
            .unwrap(),
        };
        let command = file.as_defaults(Cli::command());
        let matches = command
            .try_get_matches_from(["carob", "daemon", "--state", "/flag"])
            .unwrap();
        let (_, daemon) = matches.subcommand().unwrap();
        let path = |id: &str| daemon.get_one::<PathBuf>(id).unwrap().clone();
        assert_eq!(
            (path("root"), path("state")),
            ("/file".into(), "/flag".into())
        );
        assert!(daemon.get_flag("leave_running"));
    }
}
