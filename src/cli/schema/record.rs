//! The JSON of `record`.

use super::control::ANSWER;
use super::{Member, Tables, joined, shared};

pub const RECORD: Tables =
    Tables { schema: "rtckit.record/1", report: joined![RECORDING, ALONE], events: joined![EVENTS, ANSWER, ANSWERS] };

const ANSWERS: &[Member] = &[
    ("answer.state", "text", "recording or paused"),
    ("answer.seconds", "seconds", "the length so far"),
    ("answer.bytes", "bytes", "the size so far"),
];

const ALONE: &[Member] = &[
    ("check", "object", "what --check found; then there is nothing else but schema and error"),
    ("check.path", "text", "the file"),
    ("check.bytes", "bytes", "its size"),
    ("check.plays", "true or false", "whether a player could play it; if not, exit 12"),
    ("check.complete", "true or false", "whether it was finished: nothing is cut off, and it says how long it is"),
    ("check.declaredDuration", "seconds", "the length it declares; absent where it does not"),
    ("check.duration", "seconds", "the end of its last frame"),
    ("check.cues", "count", "points it can be seeked to; absent where its container knows none"),
    ("check.tracks[]", "objects", "its tracks"),
    ("check.tracks[].kind", "text", "audio, video or other"),
    ("check.tracks[].codec", "text", "as the container names it, or the RTP media type; raw for pictures and samples"),
    ("check.tracks[].frames", "count", "its frames"),
    ("check.tracks[].keyFrames", "count", "frames among them that decoding can start from"),
    ("check.tracks[].start", "seconds", "time of the first frame; absent without one"),
    ("check.tracks[].end", "seconds", "end of the last frame; absent without one"),
    ("check.tracks[].largestGap", "seconds", "the longest time from one frame to the next"),
    ("check.tracks[].backwards", "count", "frames whose time is not after that of the one before"),
    ("check.tracks[].decoded", "count", "frames that could be decoded; absent where we have no decoder"),
    ("check.tracks[].damaged", "count", "frames that could not; absent where we have no decoder"),
    ("check.audioStartOffset", "seconds", "how much later the sound begins than the picture; absent without both"),
    ("check.audioEndOffset", "seconds", "how much later the sound ends than the picture; absent without both"),
    ("check.avSkew", "object", "of test media: how much later the picture is than its sound, by flashes and chirps"),
    ("check.avSkew.begin", "seconds", "the median over the first ten seconds"),
    ("check.avSkew.median", "seconds", "the median over all"),
    ("check.avSkew.end", "seconds", "the median over the last ten seconds"),
    ("check.problems[]", "texts", "what is wrong with it"),
    ("repair", "object", "what --repair made; then there is nothing else but schema and error"),
    ("repair.path", "text", "the whole file"),
    ("repair.bytes", "bytes", "its size"),
    ("repair.duration", "seconds", "its length"),
    ("repair.frames", "count", "its frames, all tracks together; of a WAV file its samples per channel"),
    ("repair.cues", "count", "points it can be seeked to"),
    ("repair.bytesLeftOut", "bytes", "of the old file, which could not be used"),
    ("supported", "true or false", "the answer to --is-type-supported, which writes this alone"),
];

/// What every command writes that records.
pub const RECORDING: &[Member] = joined![
    &[
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
    ],
    shared::RECORDING,
    &[
        ("chunks[]", "objects", "with --chunk-pattern the files that were written, instead of recording"),
        ("chunks[].path", "text", "the file, under the name it got"),
        ("chunks[].bytes", "bytes", "its size"),
        ("chunks[].start", "seconds", "when it begins, from the start of the recording"),
        ("chunks[].duration", "seconds", "its length"),
        ("eventsDropped", "count", "events that the reader of --events was too slow for; absent when there were none"),
        ("error", "object", "what went wrong; absent when nothing did"),
        ("error.name", "text", "what kind of error, as DOMException names it where it does"),
        ("error.stage", "text", "where it happened: open, capture, record, …; null when that says nothing"),
        ("error.message", "text", "one line for people"),
        ("error.hint", "text", "what would help; null when we do not know"),
    ],
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
    (
        "recording.audioLevel",
        "0 to 1",
        "the loudest sample since the last of these events; absent where no samples come",
    ),
    ("dataavailable", "event", "a slice is in its file; all slices together are the recording"),
    ("dataavailable.path", "text", "the file; - for standard output"),
    ("dataavailable.timecode", "seconds", "when the slice begins, from the start of the recording"),
    ("dataavailable.offset", "bytes", "where in the file it begins; 0 where it has its own"),
    ("dataavailable.bytes", "bytes", "its size"),
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
