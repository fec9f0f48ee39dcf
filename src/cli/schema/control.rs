//! The answers to the commands of `--control`.

use super::Member;

/// What every answer has.
pub const ANSWER: &[Member] = &[
    ("answer", "event", "a command of --control was obeyed, or not; on a socket it goes there instead"),
    ("answer.command", "text", "the command; absent where the line was none"),
    ("answer.id", "any", "the id of the command; absent where it had none"),
    ("answer.ok", "true or false", "whether it was obeyed"),
    ("answer.error", "object", "why it was not obeyed"),
    ("answer.error.name", "text", "what kind of error"),
    ("answer.error.message", "text", "one line for people"),
    ("answer.error.hint", "text", "what would help; null when we do not know"),
];

/// What the answers about tracks have.
pub const TRACKS: &[Member] = &[
    ("answer.tracks[]", "objects", "the tracks that the command was about, as they are now"),
    ("answer.tracks[].kind", "text", "audio or video"),
    ("answer.tracks[].readyState", "text", "live or ended"),
    ("answer.tracks[].muted", "true or false", "whether it is black or silent by command"),
    ("answer.tracks[].settings", "object", "what it is set to (MediaTrackSettings)"),
    ("answer.tracks[].settings.width", "pixels", "the width; this and the next four of video"),
    ("answer.tracks[].settings.height", "pixels", "the height"),
    ("answer.tracks[].settings.aspectRatio", "number", "width by height"),
    ("answer.tracks[].settings.frameRate", "frames per second", "the nominal rate"),
    ("answer.tracks[].settings.resizeMode", "text", "none or crop-and-scale"),
    ("answer.tracks[].settings.facingMode", "text", "user or environment; absent where the camera does not tell"),
    ("answer.tracks[].settings.pixelFormat", "text", "a V4L2 FourCC; of cameras"),
    ("answer.tracks[].settings.sampleRate", "hertz", "samples per second and channel; this and the next six of audio"),
    ("answer.tracks[].settings.channelCount", "count", "channels"),
    ("answer.tracks[].settings.sampleSize", "bits", "per sample; absent where the source does not tell"),
    ("answer.tracks[].settings.latency", "seconds", "from sound to sample; absent where the source does not tell"),
    ("answer.tracks[].settings.echoCancellation", "true or false", "absent where it cannot be chosen"),
    ("answer.tracks[].settings.autoGainControl", "true or false", "absent where it cannot be chosen"),
    ("answer.tracks[].settings.noiseSuppression", "true or false", "absent where it cannot be chosen"),
    ("answer.tracks[].settings.deviceId", "text", "which device; absent for files"),
    ("answer.tracks[].settings.groupId", "text", "which physical device; absent where there is none"),
];
