//! The JSON of `screen`.

use super::record::{EVENTS, RECORDING};
use super::{Member, Tables, joined};

pub const SCREEN: Tables = Tables { schema: "rtckit.screen/1", report: joined![RECORDING, LIST], events: EVENTS };

const LIST: &[Member] = &[
    ("snapshot", "object", "the picture; with --snapshot, which writes this alone"),
    ("snapshot.path", "text", "the file, under the name it got; - for standard output"),
    ("snapshot.bytes", "bytes", "its size"),
    ("snapshot.width", "pixels", "its width"),
    ("snapshot.height", "pixels", "its height"),
    ("surfaces[]", "objects", "the monitors, then the windows; with --list, which writes these alone"),
    (
        "surfaces[].id",
        "text",
        "what --select takes: HDMI-1, 0x1e00003; a window's is its own for as long as it is open",
    ),
    ("surfaces[].displaySurface", "text", "monitor or window"),
    ("surfaces[].label", "text", "a window's title, a monitor's description or else its name"),
    ("surfaces[].application", "text", "the program that a window belongs to; absent where it does not say"),
    ("surfaces[].x", "pixels", "from the left edge of the desktop"),
    ("surfaces[].y", "pixels", "from the top edge of the desktop"),
    ("surfaces[].width", "pixels", "its width"),
    ("surfaces[].height", "pixels", "its height"),
    ("surfaces[].primary", "true or false", "whether it is the monitor that is captured when none is named"),
];
