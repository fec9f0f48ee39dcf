//! The JSON of `record`.

use super::{Member, Tables};

pub const RECORD: Tables = Tables {
    schema: "rtckit.record/1",
    report: &super::joined::<{ RECORDING.len() + SUPPORTED.len() }>(RECORDING, SUPPORTED),
    events: EVENTS,
};

const SUPPORTED: &[Member] =
    &[("supported", "true or false", "the answer to --is-type-supported, which writes this alone")];

/// What every command writes that records.
pub const RECORDING: &[Member] = &[
    ("schema", "text", "what this object is: its name and, behind the slash, its version"),
    ("mimeType", "text", "what it was recorded as; absent when it never began"),
    (
        "ended",
        "text",
        "why it ended: duration, max-size, input-ended, stopped, interrupt, terminate; absent when it failed",
    ),
    ("seconds", "seconds", "how long it ran, pauses included"),
    ("pauses", "count", "how often it was paused"),
    ("pausedSeconds", "seconds", "how long it was paused"),
    ("framesDropped", "count", "raw pictures that the encoder was too slow for"),
    ("recording", "object", "what was written; absent when that failed"),
    ("recording.path", "text", "the file, under the name it got; null for a stream"),
    ("recording.bytes", "bytes", "its size"),
    ("recording.duration", "seconds", "its length"),
    ("recording.tracks[]", "objects", "its tracks"),
    ("recording.tracks[].kind", "text", "audio or video"),
    ("recording.tracks[].mimeType", "text", "the RTP media type"),
    ("recording.tracks[].frames", "count", "frames written"),
    ("recording.tracks[].keyFrames", "count", "frames among them that decoding can start from"),
    ("recording.tracks[].bytes", "bytes", "in those frames, without the container"),
    ("recording.tracks[].start", "seconds", "time of the first frame in the file; null without one"),
    ("recording.tracks[].end", "seconds", "end of the last frame in the file; null without one"),
    ("recording.tracks[].beforeFirstKeyFrame", "count", "frames left out, since no key frame had come before them"),
    ("recording.tracks[].moved", "count", "frames that came too late for their time and were written at a later one"),
    ("eventsDropped", "count", "events that the reader of --events was too slow for; absent when there were none"),
    ("error", "object", "what went wrong; absent when nothing did"),
    ("error.name", "text", "what kind of error, as DOMException names it where it does"),
    ("error.stage", "text", "where it happened: open, capture, record, …; null when that says nothing"),
    ("error.message", "text", "one line for people"),
    ("error.hint", "text", "what would help; null when we do not know"),
];

/// What every command tells meanwhile that records.
pub const EVENTS: &[Member] = &[
    ("start", "event", "recording began"),
    ("start.path", "text", "the file; - for standard output"),
    ("start.mimeType", "text", "what it is recorded as"),
    ("recording", "event", "it goes on; twice a second"),
    ("recording.seconds", "seconds", "its length so far"),
    ("recording.bytes", "bytes", "its size so far"),
    ("recording.framesPerSecond", "per second", "pictures since the last of these events"),
    ("recording.framesDropped", "count", "raw pictures that the encoder was too slow for, since the start"),
    ("recording.paused", "true or false", "whether it is paused"),
    ("pause", "event", "it was paused"),
    ("pause.seconds", "seconds", "its length so far"),
    ("resume", "event", "it goes on after a pause"),
    ("resume.seconds", "seconds", "its length so far"),
    ("stop", "event", "it is complete"),
    ("error", "event", "it failed"),
    ("error.name", "text", "what kind of error"),
    ("error.message", "text", "one line for people"),
    ("warning", "event", "something to know that ends nothing"),
    ("warning.message", "text", "one line for people"),
    ("result", "event", "the last line, with the members of the report"),
];
