//! The committed man pages are those of this program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

fn pages(dir: &Path) -> BTreeMap<String, String> {
    fs::read_dir(dir)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .map(|path| {
            let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("UTF-8"))
        })
        .collect()
}

#[test]
fn the_committed_man_pages_are_what_the_program_writes() {
    let fresh = tempfile::tempdir().expect("a folder");
    let status = Command::new(env!("CARGO_BIN_EXE_rtckit")).arg("man").arg(fresh.path()).env_clear().status();
    assert!(status.expect("the program starts").success());
    let (fresh, committed) = (pages(fresh.path()), pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("man")));
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    let update = "run: cargo run -- man man  (and delete pages of commands that are gone)";
    assert_eq!(names(&fresh), names(&committed), "{update}");
    for (name, page) in &fresh {
        assert!(page.contains("EXIT STATUS") && page.contains("FILES") && page.contains("ENVIRONMENT"), "{name}");
        assert!(committed[name] == *page, "man/{name} is out of date; {update}");
    }
}
