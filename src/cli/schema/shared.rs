//! What several commands say alike: of the connection, of the time that it took, of recordings, of files on their way.

use super::Member;

/// The transport.
pub const CONNECTION: &[Member] = &[
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
];

/// The steps of the set-up, in the time of the process.
pub const TIMING: &[Member] = &[
    ("timing", "object", "when each step of the set-up was reached; a step that was not is absent"),
    ("timing.offerCreated", "seconds since the start of the process", "the offer was made, or read"),
    ("timing.gatheringComplete", "seconds since the start of the process", "all our candidates are known"),
    ("timing.checksStarted", "seconds since the start of the process", "both descriptions are set: ICE checks begin"),
    ("timing.nominated", "seconds since the start of the process", "ICE has a pair"),
    ("timing.dtlsConnected", "seconds since the start of the process", "DTLS is up: connected"),
    ("timing.dataChannelOpen", "seconds since the start of the process", "the first data channel is open"),
];

/// Behind `offer`.
pub const OFFER: &[Member] = &[
    ("offer.files", "count", "files"),
    ("offer.bytes", "bytes", "their sizes together; null when a size is not known"),
];

/// Behind `progress`.
pub const PROGRESS: &[Member] = &[
    ("progress.bytes", "bytes", "what is there, of earlier runs too"),
    ("progress.total", "bytes", "of how many; null when nobody knows"),
    ("progress.files", "count", "files that are done"),
    ("progress.path", "text", "the file at hand"),
    ("progress.fileBytes", "bytes", "how much of it is there"),
    ("progress.fileSize", "bytes", "its size; null when nobody knows"),
];

/// Behind `file`.
pub const FILE: &[Member] = &[
    ("file.path", "text", "its name as it was sent"),
    ("file.size", "bytes", "its size"),
    ("file.blake3", "text", "its BLAKE3 hash, hexadecimal"),
];

/// Behind `recording`, in reports.
pub const RECORDING: &[Member] = &[
    ("recording.path", "text", "the file, under the name it got; null for a stream"),
    ("recording.bytes", "bytes", "its size"),
    ("recording.duration", "seconds", "its length"),
    ("recording.tracks[]", "objects", "its tracks"),
    ("recording.tracks[].number", "number", "its number in the file, from 1"),
    ("recording.tracks[].kind", "text", "audio or video"),
    ("recording.tracks[].mimeType", "text", "the RTP media type"),
    ("recording.tracks[].frames", "count", "frames written"),
    ("recording.tracks[].keyFrames", "count", "frames among them that decoding can start from"),
    ("recording.tracks[].bytes", "bytes", "in those frames, without the container"),
    ("recording.tracks[].start", "seconds", "time of the first frame in the file; null without one"),
    ("recording.tracks[].end", "seconds", "end of the last frame in the file; null without one"),
    ("recording.tracks[].beforeFirstKeyFrame", "count", "frames left out, since no key frame had come before them"),
    ("recording.tracks[].moved", "count", "frames that came too late for their time and were written at a later one"),
];
