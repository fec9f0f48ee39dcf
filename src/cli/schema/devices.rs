//! The JSON of `devices`.

use super::{Member, Tables};

pub const DEVICES: Tables = Tables { schema: "rtckit.devices/1", report: REPORT, events: EVENTS };

const REPORT: &[Member] = &[
    ("schema", "text", "what this object is: its name and, behind the slash, its version"),
    ("devices[]", "objects", "the devices, by kind, the default of each first"),
    (
        "devices[].deviceId",
        "text",
        "stays the same for this user, also when it is plugged in again; of a display its name",
    ),
    ("devices[].groupId", "text", "the same for the camera and the microphone of one physical device"),
    ("devices[].kind", "text", "videoinput, audioinput, audiooutput or display"),
    ("devices[].label", "text", "what its driver calls it"),
    ("devices[].default", "true or false", "whether it is used when none is named"),
    ("devices[].path", "text", "what the system calls it, e.g. /dev/video0; absent where it has no such name"),
    ("devices[].capabilities", "object", "what it can do (MediaTrackCapabilities); with --capabilities"),
    ("devices[].capabilities.width", "object", "pixels, after cropping and scaling"),
    ("devices[].capabilities.width.min", "pixels", "the least"),
    ("devices[].capabilities.width.max", "pixels", "the most"),
    ("devices[].capabilities.height", "object", "pixels, after cropping and scaling"),
    ("devices[].capabilities.height.min", "pixels", "the least"),
    ("devices[].capabilities.height.max", "pixels", "the most"),
    ("devices[].capabilities.aspectRatio", "object", "width by height"),
    ("devices[].capabilities.aspectRatio.min", "number", "the least"),
    ("devices[].capabilities.aspectRatio.max", "number", "the most"),
    ("devices[].capabilities.frameRate", "object", "frames per second"),
    ("devices[].capabilities.frameRate.min", "frames per second", "the least"),
    ("devices[].capabilities.frameRate.max", "frames per second", "the most"),
    ("devices[].capabilities.facingMode[]", "texts", "user or environment; absent where the camera does not tell"),
    ("devices[].capabilities.resizeMode[]", "texts", "none and crop-and-scale"),
    ("devices[].capabilities.modes[]", "objects", "the native modes of a camera"),
    ("devices[].capabilities.modes[].pixelFormat", "text", "how it gives its pixels, a V4L2 FourCC"),
    ("devices[].capabilities.modes[].width", "pixels", "the width"),
    ("devices[].capabilities.modes[].height", "pixels", "the height"),
    ("devices[].capabilities.modes[].frameRate", "frames per second", "the rate"),
    ("eventsDropped", "count", "events that the reader of --events was too slow for; absent when there were none"),
    ("error", "object", "what went wrong; absent when nothing did"),
    ("error.name", "text", "NotFoundError when a required kind is missing"),
    ("error.stage", "text", "where it happened; null when that says nothing"),
    ("error.message", "text", "one line for people"),
    ("error.hint", "text", "what would help; null when we do not know"),
];

const EVENTS: &[Member] = &[
    ("watching", "event", "with --watch: what is there is known, and changes will be told"),
    ("watching.devices", "count", "devices that are there"),
    ("devicechange", "event", "devices came or went"),
    ("devicechange.added[]", "objects", "those that came, with the members of devices[]"),
    ("devicechange.removed[]", "objects", "those that went, with the members of devices[]"),
    ("warning", "event", "something to know that ends nothing"),
    ("warning.message", "text", "one line for people"),
    ("result", "event", "the last line, with the members of the report"),
];
