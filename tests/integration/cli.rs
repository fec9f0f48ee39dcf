//! The command line as scripts see it: streams, exit codes, configuration.

use std::fs;
use std::io::Read;
use std::process::{Command, Output, Stdio};

/// The program with an environment of its own: no configuration of whoever runs the tests.
fn rtckit(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtckit"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn version_and_help_are_a_product_and_go_to_stdout() {
    let version = output(&mut rtckit(&["--version"]));
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), format!("rtckit {}\n", env!("CARGO_PKG_VERSION")));
    let help = output(&mut rtckit(&["--help"]));
    assert_eq!((help.status.code(), help.stderr.len()), (Some(0), 0));
    for word in ["Examples:", "Exit codes:", "completions", "124"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_exit_2_and_says_so_on_stderr() {
    for args in
        [&["--no-such-flag"][..], &[], &["frobnicate"], &["man", "--quiet", "-v"], &["man", "--events-file", "fd:x"]]
    {
        let run = output(&mut rtckit(args));
        assert_eq!((run.status.code(), run.stdout.len()), (Some(2), 0), "{args:?}");
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_broken_config_file_is_exit_2_with_one_line_and_a_hint() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("rtckit").join("config.toml");
    fs::create_dir(file.parent().expect("it has one")).expect("a folder");
    fs::write(&file, "qiet = true\n").expect("a file");
    let run = output(rtckit(&["man"]).env("XDG_CONFIG_HOME", home.path()));
    assert_eq!(run.status.code(), Some(2));
    let said = text(&run.stderr);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("error: config file") && said.ends_with("hint: did you mean 'quiet'?\n"), "{said}");
    let run = output(&mut rtckit(&["man", "--config", "/nowhere/rtckit.toml"]));
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("/nowhere/rtckit.toml"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child =
        rtckit(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    assert_eq!((child.wait().expect("it ends").code(), said.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_exit_13() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let run = output(rtckit(&["man"]).stdout(full));
    assert_eq!(run.status.code(), Some(13));
    assert!(text(&run.stderr).starts_with("error: cannot write standard output: "));
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = output(&mut rtckit(&["completions", shell]));
        assert_eq!(run.status.code(), Some(0), "{shell}");
        assert!(text(&run.stdout).contains("completions"), "{shell}");
    }
}
