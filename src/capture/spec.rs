//! Names of sources, as `--video` and `--audio` take them.

use super::CaptureError;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where media comes from. Parsing only reads the text: nothing is opened.
///
/// A file called like a device is written with its folder: `./test`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceSpec {
    /// `none`: off.
    None,
    /// `test`: synthetic, always there.
    Test,
    /// `-`: a file on standard input.
    Stdin,
    /// A path.
    File(PathBuf),
    /// `camera`, `camera:ID`.
    Camera(Option<String>),
    /// `microphone`, `microphone:ID`.
    Microphone(Option<String>),
    /// `screen`, `screen:ID`.
    Screen(Option<String>),
    /// `window:ID-or-title`; `window` where a person is asked which.
    Window(Option<String>),
    /// `system`: what the speakers play.
    System,
}

impl SourceSpec {
    /// The words that are no paths, alone or before a colon.
    const WORDS: [&str; 8] = ["none", "test", "-", "camera", "microphone", "screen", "window", "system"];
}

impl FromStr for SourceSpec {
    type Err = CaptureError;

    fn from_str(text: &str) -> Result<Self, CaptureError> {
        let fail = |detail| Err(CaptureError::BadSpec { text: text.to_owned(), detail });
        let (word, id) = match text.split_once(':') {
            Some((word, id)) => (word, Some(id.to_owned())),
            None => (text, None),
        };
        let takes_id = matches!(word, "camera" | "microphone" | "screen" | "window");
        match (word, id) {
            (_, Some(id)) if takes_id && id.is_empty() => fail("an ID must follow the colon"),
            ("none", None) => Ok(Self::None),
            ("test", None) => Ok(Self::Test),
            ("-", None) => Ok(Self::Stdin),
            ("system", None) => Ok(Self::System),
            ("camera", id) => Ok(Self::Camera(id)),
            ("microphone", id) => Ok(Self::Microphone(id)),
            ("screen", id) => Ok(Self::Screen(id)),
            ("window", id) => Ok(Self::Window(id)),
            ("", None) => fail("it is empty"),
            _ => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = |f: &mut fmt::Formatter<'_>, word: &str, id: &Option<String>| match id {
            Some(id) => write!(f, "{word}:{id}"),
            None => f.write_str(word),
        };
        match self {
            Self::None => f.write_str("none"),
            Self::Test => f.write_str("test"),
            Self::Stdin => f.write_str("-"),
            Self::System => f.write_str("system"),
            Self::Camera(id) => device(f, "camera", id),
            Self::Microphone(id) => device(f, "microphone", id),
            Self::Screen(id) => device(f, "screen", id),
            Self::Window(id) => device(f, "window", id),
            Self::File(path) => {
                let text = path.to_string_lossy();
                let word = text.split_once(':').map_or(&*text, |(word, _)| word);
                if Self::WORDS.contains(&word) { write!(f, "./{text}") } else { f.write_str(&text) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back_as_written() {
        let forms = "none test - system camera camera:0 microphone microphone:USB_x:1 screen screen:1 window window:0x1f \
                     clip.webm ./test ./camera:1 /tmp/a:b.y4m";
        for text in forms.split_whitespace() {
            assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
        }
        assert_eq!("window:My Title".parse::<SourceSpec>().unwrap(), SourceSpec::Window(Some("My Title".into())));
    }

    #[test]
    fn a_file_called_like_a_device_stays_a_file() {
        for name in ["test", "camera:1", "-"] {
            let file = SourceSpec::File(name.into());
            let again: SourceSpec = file.to_string().parse().unwrap();
            assert_eq!(again, SourceSpec::File(format!("./{name}").into()));
        }
    }

    #[test]
    fn incomplete_names_are_refused() {
        for text in ["", "camera:", "window:", "screen:"] {
            assert!(text.parse::<SourceSpec>().is_err(), "{text}");
        }
    }
}
