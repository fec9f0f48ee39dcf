//! What can be captured, and choosing among it.

use super::ScreenError;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// What a surface is; W3C screen-capture `DisplayCaptureSurfaceType`, without the kinds that only a browser has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SurfaceKind {
    /// What one monitor shows.
    #[default]
    Monitor,
    /// One window, whatever lies above it.
    Window,
}

impl SurfaceKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Monitor, Self::Window];
}

impl fmt::Display for SurfaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monitor => "monitor",
            Self::Window => "window",
        })
    }
}

impl FromStr for SurfaceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| format!("'{text}' is none of monitor, window"))
    }
}

/// One monitor or window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Surface {
    /// What names it. A monitor's is its output's (`HDMI-1`) and stays; a window's (`0x1e00003`) is its own for as long as it
    /// is open.
    pub id: String,
    /// What it is.
    #[serde(rename = "displaySurface")]
    pub kind: SurfaceKind,
    /// What people call it: a window's title, a monitor's make and model or else its name.
    pub label: String,
    /// The program that a window belongs to, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Pixels from the left edge of the desktop.
    pub x: i32,
    /// Pixels from the top edge of the desktop.
    pub y: i32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether it is the main monitor, which is captured unless another is named.
    pub primary: bool,
}

/// Finds the surface that `wanted` means: by its ID, else its label, else a part of one label alone, in either case.
///
/// # Errors
/// When there is none or more than one.
pub(super) fn find(surfaces: &[Surface], kind: SurfaceKind, wanted: &str) -> Result<Surface, ScreenError> {
    let lower = wanted.to_lowercase();
    let of_kind: Vec<_> = surfaces.iter().filter(|surface| surface.kind == kind).collect();
    let rules: [&dyn Fn(&Surface) -> bool; 3] = [
        &|surface| surface.id.eq_ignore_ascii_case(wanted) || same_number(&surface.id, wanted),
        &|surface| surface.label == wanted,
        &|surface| surface.label.to_lowercase().contains(&lower),
    ];
    for rule in rules {
        let fitting: Vec<_> = of_kind.iter().copied().filter(|surface| rule(surface)).collect();
        match fitting[..] {
            [] => {}
            [one] => return Ok(one.clone()),
            _ => {
                return Err(ScreenError::Ambiguous { kind, wanted: wanted.to_owned(), found: listed(&fitting) });
            }
        }
    }
    let found = there_are(&of_kind);
    Err(ScreenError::NotFound { kind, wanted: wanted.to_owned(), found })
}

/// What there is, in words.
pub(super) fn there_are(surfaces: &[&Surface]) -> String {
    if surfaces.is_empty() { "there is none".to_owned() } else { format!("there are {}", listed(surfaces)) }
}

fn listed(surfaces: &[&Surface]) -> String {
    let names: Vec<_> = surfaces.iter().map(|surface| format!("{} '{}'", surface.id, surface.label)).collect();
    names.join(", ")
}

/// Whether both are numbers and the same, in whatever base: tools of X11 write the IDs of windows in hexadecimal or decimal.
fn same_number(a: &str, b: &str) -> bool {
    number(a).is_some_and(|a| number(b) == Some(a))
}

/// The number that `text` is, in decimal or hexadecimal.
pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(id: &str, label: &str) -> Surface {
        Surface {
            id: id.to_owned(),
            kind: SurfaceKind::Window,
            label: label.to_owned(),
            application: None,
            x: 0,
            y: 0,
            width: 1,
            height: 1,
            primary: false,
        }
    }

    #[test]
    fn a_surface_is_found_by_id_title_or_a_part_of_one_title() {
        let surfaces = [window("0x1e00003", "Mail"), window("0x2000001", "Mail: inbox"), window("0x2", "Editor")];
        let id = |wanted: &str| find(&surfaces, SurfaceKind::Window, wanted).map(|surface| surface.id);
        for wanted in ["0x1e00003", "0X1E00003", "31457283", "Mail"] {
            assert_eq!(id(wanted).unwrap(), "0x1e00003", "{wanted}");
        }
        assert_eq!(id("EDIT").unwrap(), "0x2");
        let ambiguous = id("mail").unwrap_err().to_string();
        assert!(ambiguous.contains("0x1e00003") && ambiguous.contains("0x2000001"), "{ambiguous}");
        let missing = id("Terminal").unwrap_err().to_string();
        assert!(missing.contains("Terminal") && missing.contains("0x2 'Editor'"), "{missing}");
        assert!(find(&surfaces, SurfaceKind::Monitor, "Mail").unwrap_err().to_string().contains("there is none"));
    }
}
