//! Flag > environment > config file > default, by one mechanism for every command.
//!
//! What the environment and the file say becomes the default of the flag of the same name before the command line is
//! parsed for good: so a flag always wins, lists are replaced and not joined, and values are checked by the same parsers.
//! `--timeout` is `RTCKIT_TIMEOUT` and `timeout = "10s"`; at the top of the file for every command that has it, in
//! `[call]` for that one.

use super::args::read_text;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind as Refusal};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use rtckit::error::{Classify, ErrorKind};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Why the environment or the config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read config file {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("config file {path}: {reason}", path = path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("config file {path}: unknown {what} '{key}'", path = path.display())]
    Unknown { path: PathBuf, what: &'static str, key: String, suggestion: Option<String> },
    #[error("{origin}: {reason}")]
    Value { origin: String, reason: String },
}

impl Classify for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { suggestion, .. } => suggestion.as_ref().map(|near| format!("did you mean '{near}'?")),
            _ => None,
        }
    }
}

/// What a process is started with, apart from its arguments.
pub struct Surroundings<'a> {
    /// Looks a variable up.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The config file to use when none is named, if there is one.
    pub config: Option<PathBuf>,
}

/// Why a command line was not accepted.
#[derive(Debug)]
pub enum ParseError {
    /// Clap's: also `--help` and `--version`.
    Clap(clap::Error),
    Config(ConfigError),
}

/// One value that did not come from the command line.
struct Setting {
    origin: String,
    values: Vec<String>,
}

/// Flags that neither environment nor file may set.
const NEVER: [&str; 2] = ["help", "version"];

/// `$XDG_CONFIG_HOME/rtckit/config.toml`, by default in `~/.config`; `None` when it does not exist.
pub fn default_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("rtckit").join("config.toml")).filter(|path| path.exists())
}

/// Parses `args` for `command` in `around`.
pub fn matches(command: &Command, args: &[OsString], around: &Surroundings) -> Result<ArgMatches, ParseError> {
    // What a flag on the command line requires may stand in the environment or the file.
    let first = without_requirements(command).try_get_matches_from(args).map_err(ParseError::Clap)?;
    let Some((name, chosen)) = first.subcommand() else { return Ok(first) };
    let mut built = command.clone();
    built.build();
    let subcommand = built.find_subcommand(name).expect("clap found it in the same command");
    let mut settings = BTreeMap::new();
    let file = match chosen.get_one::<PathBuf>("config") {
        Some(path) => Some(path.clone()),
        None => (around.variable)("RTCKIT_CONFIG").map(PathBuf::from).or_else(|| around.config.clone()),
    };
    if let Some(path) = file {
        from_file(&built, subcommand, &path, &mut settings).map_err(ParseError::Config)?;
    }
    from_environment(subcommand, around.variable, &mut settings).map_err(ParseError::Config)?;
    let given = |arg: &Arg| chosen.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    settings.retain(|flag, _| !opponents(subcommand, flag).any(given));
    let mut command = command.clone();
    for (flag, setting) in &settings {
        let arg = find(subcommand, flag).expect("settings are made of the subcommand's flags");
        let id = arg.get_id().clone();
        // The defaults of clap live as long as the process; so do these, once per run.
        let values: Vec<&'static str> = setting.values.iter().map(|value| &*value.clone().leak()).collect();
        command = if arg.is_global_set() {
            command.mut_arg(id, |arg| arg.default_values(values))
        } else {
            command.mut_subcommand(name, |sub| sub.mut_arg(id, |arg| arg.default_values(values)))
        };
    }
    // A default is nothing that is given, in clap's eyes.
    let parsed = match command.clone().try_get_matches_from(args) {
        Err(error) if is_met(&error, &settings) => without_requirements(&command).try_get_matches_from(args),
        parsed => parsed,
    };
    parsed.map_err(|error| blame(error, &settings))
}

/// The command line where no flag requires another.
fn without_requirements(command: &Command) -> Command {
    command.clone().mut_subcommands(|sub| sub.mut_args(|arg| arg.requires(Resettable::<clap::Id>::Reset)))
}

/// Whether all that clap misses is set.
fn is_met(error: &clap::Error, settings: &BTreeMap<String, Setting>) -> bool {
    let set = |arg: &String| settings.get(flag_of(arg)).is_some_and(|setting| setting.values != ["false"]);
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => {
            error.kind() == Refusal::MissingRequiredArgument && missing.iter().all(set)
        }
        _ => false,
    }
}

/// The name of a flag as clap writes it in errors: `--redis <URL>`.
fn flag_of(arg: &str) -> &str {
    arg.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default()
}

/// Says which setting a value that clap refused came from.
fn blame(error: clap::Error, settings: &BTreeMap<String, Setting>) -> ParseError {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return ParseError::Clap(error) };
    let flag = flag_of(arg);
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        _ => "",
    };
    match settings.get(flag) {
        Some(setting) if setting.values.iter().any(|known| known == value) => {
            let text = error.to_string();
            let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            ParseError::Config(ConfigError::Value { origin: setting.origin.clone(), reason })
        }
        _ => ParseError::Clap(error),
    }
}

fn flags(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg))).filter(|(long, _)| !NEVER.contains(long))
}

fn find<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    flags(command).find(|(long, _)| *long == flag).map(|(_, arg)| arg)
}

/// What must not stand beside `flag` on one command line: from a higher place it rules the lower one out.
fn opponents<'a>(command: &'a Command, flag: &str) -> impl Iterator<Item = &'a Arg> {
    let arg = find(command, flag).expect("settings are made of the subcommand's flags");
    let against =
        |one: &Arg, other: &Arg| command.get_arg_conflicts_with(one).iter().any(|id| id.get_id() == other.get_id());
    flags(command).map(|(_, other)| other).filter(move |other| against(arg, other) || against(other, arg))
}

fn from_environment(
    command: &Command,
    variable: &dyn Fn(&str) -> Option<OsString>,
    settings: &mut BTreeMap<String, Setting>,
) -> Result<(), ConfigError> {
    for (flag, arg) in flags(command).filter(|(flag, _)| *flag != "config") {
        let origin = format!("RTCKIT_{}", flag.to_uppercase().replace('-', "_"));
        let Some(value) = variable(&origin).filter(|value| !value.is_empty()) else { continue };
        let Ok(value) = value.into_string() else {
            return Err(ConfigError::Value { origin, reason: "it is not UTF-8".to_owned() });
        };
        let values = match arg.get_action() {
            ArgAction::Append => value.split_whitespace().map(str::to_owned).collect(),
            ArgAction::SetTrue => {
                vec![boolean(&value).map_err(|reason| ConfigError::Value { origin: origin.clone(), reason })?]
            }
            _ => vec![value],
        };
        for opponent in opponents(command, flag) {
            settings
                .retain(|known, setting| setting.origin.starts_with("RTCKIT_") || opponent.get_long() != Some(known));
        }
        settings.insert(flag.to_owned(), Setting { origin, values });
    }
    Ok(())
}

fn from_file(
    root: &Command,
    command: &Command,
    path: &Path,
    settings: &mut BTreeMap<String, Setting>,
) -> Result<(), ConfigError> {
    let text = read_text(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        ConfigError::Syntax { path: path.to_owned(), reason: format!("line {line}: {}", error.message()) }
    })?;
    let unknown = |what, key: &str, known: Vec<&str>| ConfigError::Unknown {
        path: path.to_owned(),
        what,
        key: key.to_owned(),
        suggestion: nearest(key, &known),
    };
    // The top of the file first, then the command's own table over it; all of the file is checked.
    for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
        if !root.get_subcommands().any(|sub| find(sub, key).is_some()) {
            return Err(unknown("key", key, root.get_subcommands().flat_map(flags).map(|(flag, _)| flag).collect()));
        }
        if let Some(arg) = find(command, key) {
            settings.insert(key.clone(), setting(path, key, arg, value)?);
        }
    }
    for (name, inner) in table.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
        let Some(sub) = root.find_subcommand(name) else {
            return Err(unknown("table", name, root.get_subcommands().map(Command::get_name).collect()));
        };
        for (key, value) in inner {
            let Some(arg) = find(sub, key) else {
                return Err(unknown("key", key, flags(sub).map(|(flag, _)| flag).collect()));
            };
            let setting = setting(path, key, arg, value)?;
            if sub.get_name() == command.get_name() {
                settings.insert(key.clone(), setting);
            }
        }
    }
    Ok(())
}

fn setting(path: &Path, key: &str, arg: &Arg, value: &Value) -> Result<Setting, ConfigError> {
    let origin = format!("{key} in {}", path.display());
    let fail = |reason: String| ConfigError::Value { origin: origin.clone(), reason };
    let values = match (arg.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(value)) => vec![value.to_string()],
        (ArgAction::SetTrue, other) => return Err(fail(format!("true or false, not {}", other.type_str()))),
        (ArgAction::Append, Value::Array(values)) => values
            .iter()
            .map(scalar)
            .collect::<Option<_>>()
            .ok_or_else(|| fail("a list of texts or numbers".to_owned()))?,
        (_, value) => {
            vec![scalar(value).ok_or_else(|| fail(format!("one text or number, not {}", value.type_str())))?]
        }
    };
    Ok(Setting { origin, values })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

fn boolean(text: &str) -> Result<String, String> {
    match text {
        "1" | "true" | "yes" => Ok("true".to_owned()),
        "0" | "false" | "no" => Ok("false".to_owned()),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

/// The known word that is at most two edits away.
fn nearest(word: &str, known: &[&str]) -> Option<String> {
    let distance = |other: &str| {
        let other: Vec<char> = other.chars().collect();
        let mut row: Vec<usize> = (0..=other.len()).collect();
        for (i, a) in word.chars().enumerate() {
            let mut corner = std::mem::replace(&mut row[0], i + 1);
            for (j, b) in other.iter().enumerate() {
                let cost = corner + usize::from(a != *b);
                corner = row[j + 1];
                row[j + 1] = cost.min(corner + 1).min(row[j] + 1);
            }
        }
        row[other.len()]
    };
    let (near, known) = known.iter().map(|known| (distance(known), known)).min()?;
    (near <= 2).then(|| (*known).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name);
        Command::new("rtckit")
            .arg(flag("config").global(true).value_parser(clap::value_parser!(PathBuf)))
            .arg(flag("json").global(true).action(ArgAction::SetTrue))
            .subcommand(
                Command::new("call")
                    .arg(flag("width").value_parser(clap::value_parser!(u32)).default_value("1"))
                    .arg(flag("server").action(ArgAction::Append))
                    .arg(flag("secret").conflicts_with("secret-file"))
                    .arg(flag("secret-lifetime").requires("secret"))
                    .arg(flag("secret-file")),
            )
            .subcommand(Command::new("answer").arg(flag("width")).arg(flag("depth")))
    }

    /// What `call` is given by `flags`, the environment and the file.
    fn call(flags: &[&str], env: &[(&str, &str)], file: &str) -> Result<ArgMatches, ParseError> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file).unwrap();
        let variable = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        let around = Surroundings { variable: &variable, config: Some(path.path().to_owned()) };
        let args: Vec<OsString> = ["rtckit", "call"].iter().chain(flags).map(OsString::from).collect();
        matches(&command(), &args, &around)
    }

    fn width(flags: &[&str], env: &[(&str, &str)], file: &str) -> u32 {
        *call(flags, env, file).unwrap().subcommand().unwrap().1.get_one("width").unwrap()
    }

    fn fault(flags: &[&str], env: &[(&str, &str)], file: &str) -> (String, Option<String>) {
        match call(flags, env, file).unwrap_err() {
            ParseError::Config(error) => (error.to_string(), error.hint()),
            ParseError::Clap(error) => panic!("clap: {error}"),
        }
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_table_beats_the_top_beats_the_default() {
        let (flag, env, file) = (["--width=5"], [("RTCKIT_WIDTH", "4")], "width = 2\n[call]\nwidth = 3\n");
        assert_eq!(width(&flag, &env, file), 5);
        assert_eq!(width(&[], &env, file), 4);
        assert_eq!(width(&[], &[], file), 3);
        assert_eq!(width(&[], &[], "width = 2"), 2);
        assert_eq!(width(&[], &[], "[answer]\nwidth = 9"), 1);
    }

    #[test]
    fn lists_and_switches_come_from_everywhere_and_a_list_is_replaced() {
        let servers = |flags: &[&str], env: &[(&str, &str)]| -> Vec<String> {
            let matches = call(flags, env, "server = ['a', 'b']\njson = true").unwrap();
            assert!(matches.get_flag("json"));
            matches.subcommand().unwrap().1.get_many("server").unwrap().cloned().collect()
        };
        assert_eq!(servers(&[], &[]), ["a", "b"]);
        assert_eq!(servers(&[], &[("RTCKIT_SERVER", "c d")]), ["c", "d"]);
        assert_eq!(servers(&["--server", "e"], &[("RTCKIT_SERVER", "c d")]), ["e"]);
        assert!(!call(&[], &[("RTCKIT_JSON", "0")], "json = true").unwrap().get_flag("json"));
    }

    #[test]
    fn what_a_flag_requires_may_come_from_everywhere() {
        let (lifetime, variable) = (["--secret-lifetime=5"], [("RTCKIT_SECRET", "x")]);
        for (env, file) in [(&variable[..], ""), (&[], "secret = 'x'"), (&[], "[call]\nsecret = 'x'")] {
            let matches = call(&lifetime, env, file).unwrap();
            let given = matches.subcommand().unwrap().1;
            assert_eq!(given.get_one::<String>("secret").unwrap(), "x");
            assert_eq!(given.get_one::<String>("secret-lifetime").unwrap(), "5");
        }
        for env in [&[][..], &[("RTCKIT_SERVER", "x")]] {
            let Err(ParseError::Clap(error)) = call(&lifetime, env, "") else { panic!("nothing is missed") };
            assert_eq!(error.kind(), Refusal::MissingRequiredArgument);
        }
    }

    #[test]
    fn what_contradicts_a_higher_place_is_ruled_out() {
        let given = |flags: &[&str], env: &[(&str, &str)]| -> (bool, bool) {
            let matches = call(flags, env, "secret = 'low'").unwrap();
            let call = matches.subcommand().unwrap().1;
            (call.get_one::<String>("secret").is_some(), call.get_one::<String>("secret-file").is_some())
        };
        assert_eq!(given(&[], &[]), (true, false));
        assert_eq!(given(&["--secret-file=f"], &[]), (false, true));
        assert_eq!(given(&[], &[("RTCKIT_SECRET_FILE", "f")]), (false, true));
        assert_eq!(given(&["--secret=s"], &[("RTCKIT_SECRET_FILE", "f")]), (true, false));
    }

    #[test]
    fn faults_name_their_place_and_suggest_what_was_meant() {
        let (text, hint) = fault(&[], &[], "widht = 2");
        assert!(text.contains("unknown key 'widht'"), "{text}");
        assert_eq!(hint.as_deref(), Some("did you mean 'width'?"));
        assert_eq!(fault(&[], &[], "[cal]\n").1.as_deref(), Some("did you mean 'call'?"));
        assert!(fault(&[], &[], "[call]\ndepth = 1").0.contains("unknown key 'depth'"));
        assert!(fault(&[], &[], "depth = 1\nwidth = =").0.contains("line 2"));
        assert!(fault(&[], &[], "json = 'yes'").0.contains("true or false"));
        assert!(fault(&[], &[("RTCKIT_WIDTH", "wide")], "").0.starts_with("RTCKIT_WIDTH: invalid value 'wide'"));
        assert!(fault(&[], &[("RTCKIT_JSON", "perhaps")], "").0.contains("neither true nor false"));
        assert!(fault(&["--config", "/nowhere/at/all"], &[], "").0.contains("/nowhere/at/all"));
        assert!(fault(&[], &[], "width = 'wide'").0.contains("width in "));
    }
}
