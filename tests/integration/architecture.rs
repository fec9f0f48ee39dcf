//! The import table of ARCHITECTURE.md, enforced on every file under `src/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Level 0: may be imported by all, import only each other.
const LEVEL_0: &[&str] = &["media", "error", "stop", "progress", "ice_server", "trust", "numbered"];

/// Level 1: import level 0, never each other.
const LEVEL_1: &[&str] = &[
    "pipeline",
    "capture",
    "filter",
    "codec",
    "record",
    "playback",
    "sound",
    "signaling",
    "rooms",
    "probe",
    "transfer",
];

/// What else a module may import of ours. `ops` is missing because it may import everything in the library.
const ALSO: &[(&str, &[&str])] = &[("peer", &["signaling", "pipeline"]), ("cli", &["ops"])];

/// Crates that only the named modules may name.
const OWNERS: &[(&str, &[&str])] = &[
    ("webrtc", &["peer"]),
    ("rtc", &["peer"]),
    ("vpx_sys", &["codec"]),
    ("libaom_sys", &["codec"]),
    ("openh264", &["codec"]),
    ("openh264_sys2", &["codec"]),
    ("opusic_c", &["codec"]),
    ("zune_jpeg", &["capture"]),
    ("png", &["record"]),
    ("jpeg_encoder", &["record", "capture"]),
    ("nokhwa", &["capture"]),
    ("v4l", &["capture"]),
    ("rubato", &["filter"]),
    ("csscolorparser", &["filter"]),
    ("sonora", &["filter"]),
    ("cpal", &["sound"]),
    ("alsa", &["sound"]),
    ("minifb", &["playback"]),
    ("webm", &["record"]),
    ("mkv_element", &["record", "capture"]),
    ("matroska", &["record", "capture"]),
    ("hound", &["record", "capture"]),
    ("ogg", &["record", "capture"]),
    ("blake3", &["transfer", "media"]),
    ("x11rb", &["capture"]),
    ("wayland_client", &["capture"]),
    ("wayland_protocols_wlr", &["capture"]),
    ("ashpd", &["capture"]),
    ("pipewire", &["capture"]),
    ("yuv", &["capture", "filter", "record"]),
    ("fast_image_resize", &["media", "capture"]),
    ("reqwest", &["signaling"]),
    ("httpdate", &["signaling"]),
    ("stun_types", &["probe"]),
    ("x509_parser", &["probe", "peer"]),
    ("rtc_dtls", &["probe"]),
    ("axum", &["rooms", "signaling"]),
    ("hyper", &["rooms"]),
    ("hyper_util", &["rooms"]),
    ("tower_http", &["rooms"]),
    ("rcgen", &["rooms"]),
    ("redis", &["rooms"]),
    ("spake2", &["signaling"]),
    ("qrcode", &["cli"]),
    ("tokio_tungstenite", &["rooms", "signaling"]),
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli", "main"]),
    ("tikv_jemallocator", &["main"]),
    ("tracing_subscriber", &["cli", "main"]),
];

/// A breach of the table, as a person would want to read it.
#[derive(Debug, PartialEq)]
struct Breach(String);

/// The room of the house that a path below `src/` belongs to: its first component, without `.rs`.
fn room(path: &Path) -> String {
    let first = path.components().next().expect("a file below src/ has a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The source without comments, and with the content of its string and character literals blanked.
fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let raw_hashes = raw_string_hashes(&source[..at], rest);
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += block_comment_len(rest);
            code.push(' ');
        } else if let Some(hashes) = raw_hashes {
            let open = 1 + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            at += rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len());
            code.push_str("\"\"");
        } else if rest.starts_with('"') {
            let mut end = 1;
            while end < rest.len() && rest.as_bytes()[end] != b'"' {
                end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
            }
            at += (end + 1).min(rest.len());
            code.push_str("\"\"");
        } else if let Some(len) = char_literal_len(rest) {
            at += len;
            code.push_str("' '");
        } else {
            let next = rest.chars().next().expect("not at the end");
            code.push(next);
            at += next.len_utf8();
        }
    }
    code
}

/// The number of `#` when a raw string starts here.
fn raw_string_hashes(before: &str, rest: &str) -> Option<usize> {
    let after_r = rest.strip_prefix('r')?;
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with('b');
    let hashes = after_r.bytes().take_while(|byte| *byte == b'#').count();
    (!in_word && after_r[hashes..].starts_with('"')).then_some(hashes)
}

/// Block comments nest.
fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of a character literal that starts here; lifetimes are none.
fn char_literal_len(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if let Some(escape) = inner.strip_prefix('\\') {
        // The escaped character itself may be a quote.
        return Some(3 + escape.get(1..)?.find('\'')? + 1);
    }
    let one = inner.chars().next()?;
    inner[one.len_utf8()..].starts_with('\'').then(|| 2 + one.len_utf8())
}

/// Every path written in the code, as its first two segments; groups such as `use crate::{a, b::c}` are opened.
fn paths(code: &str) -> BTreeSet<(String, Option<String>)> {
    let tokens = tokenise(code);
    let mut found = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        if !is_word(token) || continues_path(&tokens[..at]) {
            continue;
        }
        if tokens.get(at + 1).is_some_and(|next| next == "::") {
            for second in heads(&tokens, at + 2) {
                found.insert((token.clone(), Some(second)));
            }
        }
        // `use webrtc;` and `extern crate webrtc;` name a crate without a path behind it.
        let before = tokens[..at].iter().rev().find(|before| *before != "::");
        let named = before.is_some_and(|before| before == "use" || before == "crate");
        if named && tokens.get(at + 1).is_some_and(|next| next == ";" || next == "as") {
            found.insert((token.clone(), None));
        }
    }
    found
}

/// Whether a word after `before` belongs to a path that began earlier. The `::` of `use ::webrtc` begins one.
fn continues_path(before: &[String]) -> bool {
    match before {
        [.., word, colons] if colons == "::" => {
            is_word(word) && !["use", "as", "dyn", "impl", "for", "in", "mut", "return"].contains(&word.as_str())
                || word == ">"
        }
        _ => false,
    }
}

fn tokenise(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            let mut word = String::from(c);
            while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || *next == '_') {
                word.push(next);
            }
            tokens.push(word);
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            tokens.push("::".to_owned());
        } else if !c.is_whitespace() {
            tokens.push(c.to_string());
        }
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The first words at `at`: one, or those of each branch of a `{…}` group.
fn heads(tokens: &[String], at: usize) -> Vec<String> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first != "{" {
        return vec![first.clone()];
    }
    let (mut depth, mut expect, mut heads) = (0, false, Vec::new());
    for token in &tokens[at..] {
        match token.as_str() {
            "{" => {
                depth += 1;
                expect = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," => expect = depth == 1,
            word if expect => {
                heads.push(word.to_owned());
                expect = false;
            }
            _ => {}
        }
    }
    heads
}

/// What the file at `path` (below `src/`) imports against the table. `rooms` are the modules that exist.
fn breaches(path: &Path, source: &str, rooms: &BTreeSet<String>) -> Vec<Breach> {
    let room = room(path);
    let code = code_only(source);
    let mut found = Vec::new();
    for (first, second) in paths(&code) {
        if let Some((_, owners)) = OWNERS.iter().find(|(name, _)| *name == first) {
            // A module of ours may be called like a crate: `self::webm::…`, or a `mod webm;` next to it.
            let local = code.contains(&format!("mod {first};")) || code.contains(&format!("mod {first} {{"));
            if !owners.contains(&room.as_str()) && !local {
                found.push(Breach(format!(
                    "{}: the crate {first} belongs to {}",
                    path.display(),
                    owners.join(" and ")
                )));
            }
        }
        let Some(second) = second else { continue };
        let of_ours = (first == "crate" || first == "rtckit") && rooms.contains(&second);
        if of_ours && second != room && !may_import(&room, &second) {
            found.push(Breach(format!("{}: {room} may not import {second}", path.display())));
        }
    }
    found
}

fn may_import(room: &str, other: &str) -> bool {
    if room == "ops" {
        return other != "cli" && other != "main";
    }
    if room == "lib" {
        return true;
    }
    if room == "main" {
        return other == "cli" || LEVEL_0.contains(&other);
    }
    let also = ALSO.iter().find(|(name, _)| *name == room).is_some_and(|(_, also)| also.contains(&other));
    LEVEL_0.contains(&other) || also
}

fn sources(below: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_module_imports_only_what_the_table_allows() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let relative: Vec<_> = files.iter().map(|file| file.strip_prefix(&src).unwrap().to_owned()).collect();
    let rooms: BTreeSet<_> = relative.iter().map(|path| room(path)).collect();
    assert!(files.len() > 15 && rooms.contains("media"), "the sources were not found: {files:?}");
    for name in &rooms {
        let known = LEVEL_0.contains(&name.as_str()) || LEVEL_1.contains(&name.as_str());
        let other = ["peer", "ops", "cli", "lib", "main"].contains(&name.as_str());
        assert!(known || other, "src/{name} is not in the table: give it a level, here and in ARCHITECTURE.md");
    }
    let mut found = Vec::new();
    for (file, path) in files.iter().zip(&relative) {
        found.extend(breaches(path, &std::fs::read_to_string(file).unwrap(), &rooms));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_planted_breach_is_found_however_it_is_written() {
    let rooms: BTreeSet<_> =
        ["media", "error", "codec", "record", "peer", "signaling", "ops", "cli"].map(str::to_owned).into();
    let count = |path: &str, source: &str| breaches(Path::new(path), source, &rooms).len();

    assert_eq!(count("codec/vp8.rs", "use crate::record::Webm;"), 1);
    assert_eq!(count("codec/vp8.rs", "use crate::{media::Codec, record::{Webm, Wav}};"), 1);
    assert_eq!(count("codec/vp8.rs", "fn f() { crate::record::write() }"), 1);
    assert_eq!(count("media/frame.rs", "use crate::codec::Vp8;"), 1);
    assert_eq!(count("error.rs", "use crate::peer::Session;"), 1);
    assert_eq!(count("peer/session.rs", "use crate::codec::Vp8;"), 1);
    assert_eq!(count("cli/call.rs", "use rtckit::{ops, peer};"), 1);
    assert_eq!(count("signaling/stdio.rs", "use webrtc::peer_connection::PeerConnection;"), 1);
    assert_eq!(count("ops/call.rs", "use rtc::shared::error::Error;"), 1);
    assert_eq!(count("ops/call.rs", "use ::webrtc as w;"), 1);
    assert_eq!(count("ops/call.rs", "use ::webrtc::data_channel::DataChannel;"), 1);
    assert_eq!(count("ops/call.rs", "extern crate webrtc;"), 1);
    assert_eq!(count("record/webm.rs", "fn f(x: &vpx_sys::vpx_image_t) {}"), 1);
    assert_eq!(count("codec/mod.rs", "use clap::Parser;"), 1);
    assert_eq!(count("ops/call.rs", "fn f() -> anyhow::Result<()> { Ok(()) }"), 1);
}

#[test]
fn what_the_table_allows_passes() {
    let rooms: BTreeSet<_> =
        ["media", "error", "codec", "record", "peer", "signaling", "ops", "cli"].map(str::to_owned).into();
    let none = |path: &str, source: &str| assert_eq!(breaches(Path::new(path), source, &rooms), [], "{path}: {source}");

    none(
        "codec/vp8.rs",
        "use crate::media::{Codec, EncodedFrame}; use crate::codec::Error; use vpx_sys::vpx_codec_err_t;",
    );
    none("peer/session.rs", "use crate::signaling::Message; use webrtc::peer_connection as pc; use rtc::sdp;");
    none("ops/call.rs", "use crate::{peer, codec, record, signaling};");
    none("cli/call.rs", "use rtckit::{error::Error, ops}; use clap::Args;");
    none("record/mod.rs", "mod webm; pub use webm::Writer;");
    none("peer/sdp.rs", "use super::codec::x; // use crate::codec::y\n/* crate::record::z /* deeper */ still */");
    none(
        "media/mod.rs",
        r##"const X: &str = "crate::codec::x"; const Y: &str = r#"webrtc::a"#; const Z: char = '"';"##,
    );
    none("media/mod.rs", "fn f<'a>(x: &'a str) -> char { '\\'' } //! [`crate::codec`]");
}
