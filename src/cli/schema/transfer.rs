//! The JSON of `send-file` and `receive-file`, which is the same but for the schema's name.

use super::{Member, Tables, joined, shared};

pub const SEND_FILE: Tables = Tables { schema: "rtckit.send-file/1", report: REPORT, events: EVENTS };
pub const RECEIVE_FILE: Tables = Tables { schema: "rtckit.receive-file/1", report: REPORT, events: EVENTS };

const REPORT: &[Member] = joined![
    &[
        ("schema", "text", "what this object is: its name and, behind the slash, its version"),
        ("role", "text", "sender or receiver"),
        ("complete", "true or false", "whether everything that was wanted is in its place at the receiver"),
        ("files[]", "objects", "the files, in the order in which they are sent"),
        ("files[].path", "text", "its name as it was sent: relative, with / between its parts"),
        ("files[].output", "text", "the file that was written; - for standard output; receiver only"),
        ("files[].size", "bytes", "its size; absent as long as nobody knows"),
        ("files[].blake3", "text", "its BLAKE3 hash, hexadecimal; absent before it was read to its end"),
        ("files[].resumedFrom", "bytes", "so much of it was there already, and verified; absent when nothing was"),
        ("files[].state", "text", "done, skipped (the receiver has a file of that name), failed or incomplete"),
        ("files[].error", "text", "why it failed"),
        ("bytes", "bytes", "the sizes of the files that are done, together"),
        ("bytesTransferred", "bytes", "content that was sent in this run"),
        ("resumedFrom", "bytes", "content that was there already, of all files together"),
        ("seconds", "seconds", "from the receiver's consent to the end"),
        ("bytesPerSecond", "bytes per second", "content that was sent, by that time"),
        ("path", "text", "direct or relay; absent without a connection"),
        ("connections", "count", "peer connections that content was spread over at most, side by side"),
    ],
    shared::CONNECTION,
    &[("connection.transportFeedbackReceived", "count", "transport-wide congestion control reports of the peer")],
    shared::TIMING,
    &[
        ("eventsDropped", "count", "events that the reader of --events was too slow for; absent when there were none"),
        (
            "error",
            "object",
            "what went wrong; absent when nothing did. Without a transfer there is only this and schema"
        ),
        (
            "error.name",
            "text",
            "what kind of error, as DOMException or RTCErrorDetailType names it where one of them does"
        ),
        ("error.stage", "text", "where it happened: scan, signaling, ice, transfer, …; null when that says nothing"),
        ("error.message", "text", "one line for people"),
        ("error.hint", "text", "what would help; null when we do not know"),
    ],
];

const EVENTS: &[Member] = joined![
    &[
        ("code", "event", "a code was drawn, for the other side"),
        ("code.code", "text", "the code"),
        ("code.server", "text", "the URL of the server on which it holds"),
        ("check", "event", "what people compare: the same at both sides, unless somebody is in between"),
        ("check.words", "text", "the check string"),
        ("waiting", "event", "we are in a room, alone"),
        ("waiting.room", "text", "its URL"),
        ("connectionstatechange", "event", "RTCPeerConnection.connectionState changed"),
        ("connectionstatechange.state", "text", "connected"),
        ("datachannel", "event", "the data channel is open"),
        ("datachannel.label", "text", "its label"),
        ("offer", "event", "what is sent is known"),
    ],
    shared::OFFER,
    &[("progress", "event", "it goes on; a few times a second")],
    shared::PROGRESS,
    &[("file", "event", "a file is whole, verified and in its place at the receiver")],
    shared::FILE,
    &[
        ("warning", "event", "something to know that ends nothing"),
        ("warning.message", "text", "one line for people"),
        ("result", "event", "the last line, with the members of the report"),
    ],
];
