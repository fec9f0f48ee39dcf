//! The JSON of `signal`.

use super::{Member, Tables};

pub const SIGNAL: Tables = Tables { schema: "rtckit.signal/1", report: REPORT, events: EVENTS };

const REPORT: &[Member] = &[
    ("schema", "text", "what this object is: its name and, behind the slash, its version"),
    ("urls[]", "texts", "where the page was; rooms are at the same places, with ws in place of http"),
    ("joins", "count", "members that came; those that came back do not count"),
    ("messages", "count", "messages passed on, each as often as it was"),
    ("bytes", "bytes", "data in them"),
    ("refused", "count", "connections that were refused or closed because of what the client did"),
    ("seconds", "seconds", "how long it listened"),
    ("eventsDropped", "count", "events that the reader of --events was too slow for; absent when there were none"),
    ("error", "object", "what went wrong; absent when nothing did. Then there is only this and schema"),
    ("error.name", "text", "what kind of error, as DOMException names it where it does"),
    ("error.stage", "text", "where it happened; null when that says nothing"),
    ("error.message", "text", "one line for people"),
    ("error.hint", "text", "what would help; null when we do not know"),
];

const EVENTS: &[Member] = &[
    ("listening", "event", "clients can connect"),
    ("listening.urls[]", "texts", "where the page is, the best one first"),
    ("join", "event", "somebody is in a room"),
    ("join.room", "text", "the room"),
    ("join.id", "text", "the ID of the member"),
    ("join.address", "text", "its address and port"),
    ("join.members", "count", "members of the room now"),
    ("join.resumed", "true or false", "whether it was a member before, and lost its connection"),
    ("refused", "event", "somebody was not let into a room"),
    ("refused.room", "text", "the room"),
    ("refused.address", "text", "its address and port"),
    (
        "refused.reason",
        "text",
        "full, bad-message, rate, idle, unsupported-version, too-large, too-many-rooms or unavailable",
    ),
    ("bye", "event", "a member is gone for good"),
    ("bye.room", "text", "the room"),
    ("bye.id", "text", "the ID of the member"),
    ("bye.reason", "text", "leave, lost, or why it was sent away: bad-message, rate, slow or too-large"),
    ("warning", "event", "something to know that ends nothing"),
    ("warning.message", "text", "one line for people"),
    ("result", "event", "the last line, with the members of the report"),
];
