//! What the JSON of `call` and `answer` means: the one table that the man pages show, and a test holds against real runs.
//!
//! A name is a path: `sent[].ssrc` is the member `ssrc` of each element of the array `sent`.

/// A member: its path, its type or unit, and what it says.
pub type Member = (&'static str, &'static str, &'static str);

/// The version of the schema of a command's JSON; `None` where it writes none but errors.
pub fn of(command: &str) -> Option<&'static str> {
    match command {
        "call" => Some("rtckit.call/1"),
        "answer" => Some("rtckit.answer/1"),
        _ => None,
    }
}

/// The object of `--json`, and the last line of `--events`.
pub const REPORT: &[Member] = &[
    ("schema", "text", "what this object is: its name and, behind the slash, its version"),
    ("role", "text", "call or answer"),
    ("ended", "text", "why it ended: duration, peer-hung-up, input-ended, interrupt, terminate; absent when it failed"),
    ("seconds", "seconds", "how long it was connected"),
    ("connection", "object", "the transport; absent when it never came up"),
    ("connection.selectedPair", "object", "the candidate pair in use (RFC 8445)"),
    ("connection.selectedPair.local", "object", "our end of it"),
    ("connection.selectedPair.local.candidateType", "text", "host, srflx, prflx or relay"),
    ("connection.selectedPair.local.address", "text", "its IP address; absent where it is hidden"),
    ("connection.selectedPair.local.port", "number", "its port"),
    ("connection.selectedPair.local.protocol", "text", "udp or tcp"),
    ("connection.selectedPair.remote", "object", "the peer's end of it"),
    ("connection.selectedPair.remote.candidateType", "text", "host, srflx, prflx or relay"),
    ("connection.selectedPair.remote.address", "text", "its IP address; absent where it is hidden"),
    ("connection.selectedPair.remote.port", "number", "its port"),
    ("connection.selectedPair.remote.protocol", "text", "udp or tcp"),
    ("connection.selectedPair.currentRoundTripTime", "seconds", "there and back, by the last STUN check"),
    ("connection.bytesSent", "bytes", "sent by all protocols together"),
    ("connection.bytesReceived", "bytes", "received by all protocols together"),
    ("connection.dtlsCipher", "text", "the DTLS cipher suite, as IANA names it"),
    ("connection.srtpCipher", "text", "the SRTP protection profile, as IANA names it"),
    ("connection.transportFeedbackReceived", "count", "transport-wide congestion control reports of the peer"),
    (
        "quality",
        "text",
        "for a conversation, by round trip and loss: excellent (up to 100 ms), good (200 ms), acceptable (500 ms), poor",
    ),
    ("timing", "object", "when each step of the set-up was reached; a step that was not is absent"),
    ("timing.offerCreated", "seconds since the start of the process", "the offer was made, or read"),
    ("timing.gatheringComplete", "seconds since the start of the process", "all our candidates are known"),
    ("timing.checksStarted", "seconds since the start of the process", "both descriptions are set: ICE checks begin"),
    ("timing.nominated", "seconds since the start of the process", "ICE has a pair"),
    ("timing.dtlsConnected", "seconds since the start of the process", "DTLS is up: connected"),
    ("timing.dataChannelOpen", "seconds since the start of the process", "the first data channel is open"),
    ("timing.firstFrameReceived", "seconds since the start of the process", "the first whole frame came in"),
    ("timing.firstFrameDecoded", "seconds since the start of the process", "the first received frame was decoded"),
    ("sent[]", "objects", "the tracks that were sent"),
    ("sent[].kind", "text", "audio or video"),
    ("sent[].mimeType", "text", "the RTP media type: video/VP8, audio/opus"),
    ("sent[].ssrc", "number", "the RTP stream"),
    ("sent[].packetsSent", "count", "packets, retransmissions not counted"),
    ("sent[].bytesSent", "bytes", "the payload of those packets"),
    ("sent[].framesSent", "count", "frames"),
    ("sent[].keyFramesSent", "count", "key frames among them; video only"),
    ("sent[].pliCount", "count", "key frames that the peer asked for; video only"),
    ("sent[].roundTripTime", "seconds", "there and back, by the last RTCP report that allowed it"),
    ("sent[].packetsLost", "count", "packets that the peer missed, by its own count"),
    ("sent[].fractionLost", "0 to 1", "the part of the packets that it missed since its report before"),
    ("sent[].jitter", "seconds", "interarrival jitter at the peer"),
    ("sent[].framesDropped", "count", "raw pictures that the encoder was too slow for"),
    ("sent[].encodedDropped", "count", "encoded frames that the network was too slow for"),
    ("received[]", "objects", "the tracks that were received"),
    ("received[].kind", "text", "audio or video"),
    ("received[].mimeType", "text", "the RTP media type"),
    ("received[].ssrc", "number", "the RTP stream"),
    ("received[].packetsReceived", "count", "packets, padding and retransmissions included"),
    ("received[].bytesReceived", "bytes", "the payload of those packets"),
    ("received[].packetsLost", "count", "packets that never came"),
    ("received[].framesReceived", "count", "whole frames"),
    ("received[].keyFramesReceived", "count", "key frames among them; video only"),
    ("received[].pliCount", "count", "key frames that we asked for; video only"),
    ("received[].jitter", "seconds", "interarrival jitter here (RFC 3550 section 6.4.1)"),
    ("received[].framesDecoded", "count", "frames decoded; absent when nothing needed them decoded"),
    ("received[].framesDropped", "count", "frames that the recorder or the decoder was too slow for"),
    ("data", "object", "what went over the data channel; absent without one"),
    ("data.label", "text", "its label"),
    ("data.messagesSent", "count", "messages sent"),
    ("data.bytesSent", "bytes", "in those messages"),
    ("data.messagesReceived", "count", "messages received"),
    ("data.bytesReceived", "bytes", "in those messages"),
    ("recording", "object", "what --record wrote"),
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
    ("videoOutput", "object", "what --video-output wrote"),
    ("videoOutput.path", "text", "the file, under the name it got; - for standard output"),
    ("videoOutput.bytes", "bytes", "its size"),
    ("audioOutput", "object", "what --audio-output wrote"),
    ("audioOutput.path", "text", "the file, under the name it got; - for standard output"),
    ("audioOutput.bytes", "bytes", "its size"),
    ("measured", "object", "what --measure read from test media"),
    (
        "measured.latency",
        "object",
        "from the capture of each picture to the end of its decoding; absent when no barcode was read. The clocks of \
         both machines must agree",
    ),
    ("measured.latency.min", "seconds", "the least"),
    ("measured.latency.median", "seconds", "half of all were no more"),
    ("measured.latency.p95", "seconds", "95 % of all were no more"),
    ("measured.latency.max", "seconds", "the most"),
    ("measured.framesMeasured", "count", "pictures whose barcode was read"),
    ("measured.framesUnreadable", "count", "decoded pictures without a readable barcode"),
    ("measured.framesMissing", "count", "pictures captured between the first and the last measured that never came"),
    ("measured.freezeCount", "count", "times without a new picture for as long as webrtc-stats calls a freeze"),
    ("measured.totalFreezesDuration", "seconds", "those times together"),
    ("measured.avSkew", "seconds", "how much later the picture is than its sound, median; negative when sound is late"),
    ("peer", "object", "with --loopback the report of the answering side: the members of this one, without schema"),
    ("eventsDropped", "count", "events that the reader of --events was too slow for; absent when there were none"),
    ("error", "object", "what went wrong; absent when nothing did. Without a call there is only this and schema"),
    ("error.name", "text", "what kind of error, as DOMException or RTCErrorDetailType names it where one of them does"),
    ("error.stage", "text", "where it happened: open, signaling, ice, …; null when that says nothing"),
    ("error.message", "text", "one line for people"),
    ("error.hint", "text", "what would help; null when we do not know"),
];

/// The lines of `--events`: types, and behind a dot the members of each.
pub const EVENTS: &[Member] = &[
    ("connectionstatechange", "event", "RTCPeerConnection.connectionState changed"),
    ("connectionstatechange.state", "text", "connected, disconnected, failed or closed"),
    ("track", "event", "the first packet of a track of the peer came"),
    ("track.kind", "text", "audio or video"),
    ("track.mimeType", "text", "the RTP media type"),
    ("datachannel", "event", "the data channel is open, ours or the peer's"),
    ("datachannel.label", "text", "its label"),
    ("warning", "event", "something to know that ends nothing"),
    ("warning.message", "text", "one line for people"),
    ("result", "event", "the last line, with the members of the report"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_stands_twice_or_without_what_holds_it() {
        for table in [REPORT, EVENTS] {
            for (index, (name, unit, meaning)) in table.iter().enumerate() {
                assert!(!unit.is_empty() && !meaning.is_empty(), "{name}");
                assert!(!table[..index].iter().any(|(other, ..)| other == name), "{name} stands twice");
                if let Some((holder, _)) = name.rsplit_once('.') {
                    assert!(table[..index].iter().any(|(other, ..)| *other == holder), "{name} has no {holder}");
                }
            }
        }
    }
}
