//! What the JSON of each command means: the tables that the man pages show, and tests hold against real runs.
//!
//! A name is a path: `sent[].ssrc` is the member `ssrc` of each element of the array `sent`.

mod call;
mod capture;
mod control;
mod devices;
mod record;
mod screen;
mod shared;
mod signal;
mod transfer;
mod turn_probe;

/// A member: its path, its type or unit, and what it says.
pub type Member = (&'static str, &'static str, &'static str);

/// The JSON of one command.
pub struct Tables {
    /// The name and version of its schema.
    pub schema: &'static str,
    /// The object of `--json`, and the last line of `--events`.
    pub report: &'static [Member],
    /// The lines of `--events`: types, and behind a dot the members of each.
    pub events: &'static [Member],
}

/// How long tables are together.
const fn length(tables: &[&[Member]]) -> usize {
    let (mut sum, mut table) = (0, 0);
    while table < tables.len() {
        sum += tables[table].len();
        table += 1;
    }
    sum
}

/// All tables, one behind the other; `N` is their length together.
const fn concatenated<const N: usize>(tables: &[&[Member]]) -> [Member; N] {
    let mut all = [("", "", ""); N];
    let (mut at, mut table) = (0, 0);
    while table < tables.len() {
        let mut member = 0;
        while member < tables[table].len() {
            all[at] = tables[table][member];
            (at, member) = (at + 1, member + 1);
        }
        table += 1;
    }
    all
}

/// One table of several.
macro_rules! joined {
    ($($table:expr),+ $(,)?) => {{
        const TABLES: &[&[$crate::cli::schema::Member]] = &[$($table),+];
        const LENGTH: usize = $crate::cli::schema::length(TABLES);
        &$crate::cli::schema::concatenated::<LENGTH>(TABLES)
    }};
}
use joined;

/// The commands whose JSON is described.
const COMMANDS: &[(&str, Tables)] = &[
    ("call", call::CALL),
    ("answer", call::ANSWER),
    ("capture", capture::CAPTURE),
    ("devices", devices::DEVICES),
    ("record", record::RECORD),
    ("screen", screen::SCREEN),
    ("send-file", transfer::SEND_FILE),
    ("receive-file", transfer::RECEIVE_FILE),
    ("signal", signal::SIGNAL),
    ("turn-probe", turn_probe::TURN_PROBE),
];

/// The JSON of a command; `None` where it writes none but errors.
pub fn of(command: &str) -> Option<&'static Tables> {
    COMMANDS.iter().find(|(name, _)| *name == command).map(|(_, tables)| tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_stands_twice_or_without_what_holds_it() {
        for (command, tables) in COMMANDS {
            for table in [tables.report, tables.events] {
                for (index, (name, unit, meaning)) in table.iter().enumerate() {
                    assert!(!unit.is_empty() && !meaning.is_empty(), "{command}: {name}");
                    assert!(!table[..index].iter().any(|(other, ..)| other == name), "{command}: {name} stands twice");
                    if let Some((holder, _)) = name.rsplit_once('.') {
                        assert!(
                            table[..index].iter().any(|(other, ..)| *other == holder),
                            "{command}: {name} has no {holder}"
                        );
                    }
                }
            }
        }
    }
}
