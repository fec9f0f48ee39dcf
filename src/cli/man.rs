//! The man pages, from the same definitions as `--help`.

use super::{exit, schema};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

/// Every page: its file name and its text.
pub fn pages(command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = command.disable_help_subcommand(true);
    root.build();
    let names: Vec<String> = std::iter::once(&root)
        .chain(root.get_subcommands())
        .map(|command| command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned())
        .collect();
    let mut pages = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let command = match name.strip_prefix("rtckit-") {
            Some(sub) => root.find_subcommand(sub).expect("listed above").clone(),
            None => root.clone(),
        };
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let command = command.name(&*name.clone().leak()).after_help("").about(about);
        let man = Man::new(command)
            .title(name.to_uppercase())
            .section("1")
            .source(concat!("rtckit ", env!("CARGO_PKG_VERSION")));
        let mut page = Vec::new();
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        if index == 0 {
            man.render_subcommands_section(&mut page)?;
        }
        let json = name.strip_prefix("rtckit-").and_then(schema::of);
        sections(&examples, json, names.iter().filter(|other| *other != name)).to_writer(&mut page)?;
        pages.push((format!("{name}.1"), page));
    }
    Ok(pages)
}

fn sections<'a>(examples: &str, json: Option<&schema::Tables>, others: impl Iterator<Item = &'a String>) -> Roff {
    let mut roff = Roff::new();
    let examples = examples.trim_start_matches("Examples:\n");
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    if let Some(tables) = json {
        describe_json(tables, &mut roff);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in exit::TABLE {
        roff.control("TP", []).text([bold(code.to_string())]).text([roman(meaning)]);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in [
        (
            "RTCKIT_*",
            "The default of a flag: RTCKIT_TIMEOUT is --timeout. Flags that repeat take several values with spaces between.",
        ),
        ("RTCKIT_CREDENTIAL", "The secret of --username, out of sight of other users of the machine."),
        ("RTCKIT_CONFIG", "The config file."),
        ("RUST_LOG", "What is logged, e.g. rtckit=debug; wins over -q and -v."),
        ("NO_COLOR", "Set to anything: no colour."),
    ] {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
    roff.control("SH", ["FILES"]).control("TP", []).text([bold("$XDG_CONFIG_HOME/rtckit/config.toml")]).text([roman(
        "Defaults of flags, by long name: timeout = \"10s\" at the top for every command that has the flag, below [call] for \
         that one. A flag wins over the environment, and that over this file. Without XDG_CONFIG_HOME it is in ~/.config.",
    )]);
    roff.control("TP", []).text([bold("$XDG_STATE_HOME/rtckit/device-salt")]).text([roman(
        "32 random bytes, drawn when devices are first listed, that make the device IDs of this user. Whoever removes it gets \
         other IDs. Without XDG_STATE_HOME it is in ~/.local/state.",
    )]);
    let others: Vec<String> = others.map(|name| format!("{name}(1)")).collect();
    roff.control("SH", ["SEE ALSO"]).text([roman(others.join(", "))]);
    roff
}

fn describe_json(tables: &schema::Tables, roff: &mut Roff) {
    let schema = tables.schema;
    let mut section = |title: &str, intro: String, members: &[schema::Member]| {
        roff.control("SH", [title]).text([roman(intro)]);
        for (name, unit, meaning) in members {
            let meaning = format!("{}{}", meaning[..1].to_uppercase(), &meaning[1..]);
            roff.control("TP", []).text([bold(*name), roman(format!(" ({unit})"))]).text([roman(meaning)]);
        }
    };
    let intro = format!(
        "--json writes one object, {schema}, at the end: to standard output or, where that carries descriptions, media or \
         data, to --events-file, else to standard error. The version only changes if a member is renamed or removed; \
         readers must ignore members they do not know. sent[].ssrc is the member ssrc of each element of the array sent. \
         Members named as in W3C webrtc-stats mean what they mean there."
    );
    section("JSON REPORT", intro, tables.report);
    let intro = format!(
        "--events and --events-file write one object of {schema} per line while the command runs: type first, then the \
         members below, then schema. --events writes where --json does."
    );
    section("EVENTS", intro, tables.events);
}
