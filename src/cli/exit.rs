//! Exit codes: the one table that the process, `--help` and the man pages share.

use rtckit::error::ErrorKind;
use std::fmt::Write;

/// A bug of ours.
pub const INTERNAL: u8 = 1;
/// A command line that cannot be understood.
pub const USAGE: u8 = 2;
/// Ctrl-C.
pub const INTERRUPT: u8 = 130;
/// SIGTERM.
pub const TERMINATE: u8 = 143;

/// Every exit code and what it means, as users read it.
pub const TABLE: [(u8, &str); 17] = [
    (0, "done"),
    (INTERNAL, "internal error (a bug of ours)"),
    (USAGE, "usage"),
    (3, "invalid input: SDP, JSON, a constraint that cannot be met, an unknown codec"),
    (4, "device: not found, busy, denied, unplugged"),
    (5, "refused by the other side"),
    (6, "DNS"),
    (7, "unreachable: no answer from a server"),
    (8, "authentication or authorisation"),
    (9, "ICE failed"),
    (10, "DTLS, SRTP or fingerprint"),
    (11, "session lost after it was up"),
    (12, "integrity: hash mismatch, unplayable file"),
    (13, "output exists or cannot be written"),
    (14, "a threshold did not hold"),
    (124, "--timeout ran out"),
    (INTERRUPT, "SIGINT; 143 for SIGTERM, and SIGHUP unless nohup is in front"),
];

/// The exit code of a class of errors.
pub fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => USAGE,
        ErrorKind::InvalidInput => 3,
        ErrorKind::Device => 4,
        ErrorKind::Refused => 5,
        ErrorKind::Dns => 6,
        ErrorKind::Unreachable => 7,
        ErrorKind::Auth => 8,
        ErrorKind::Ice => 9,
        ErrorKind::Dtls => 10,
        ErrorKind::SessionLost => 11,
        ErrorKind::Integrity => 12,
        ErrorKind::Output => 13,
        ErrorKind::Threshold => 14,
        ErrorKind::Timeout => 124,
        ErrorKind::Interrupted => INTERRUPT,
        ErrorKind::Terminated => TERMINATE,
        _ => INTERNAL,
    }
}

/// The table, one line each, for `--help`.
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in TABLE {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {code:>3}  {meaning}");
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_a_row_and_every_row_a_kind() {
        use ErrorKind::*;
        let kinds = [
            Internal,
            Usage,
            InvalidInput,
            Device,
            Refused,
            Dns,
            Unreachable,
            Auth,
            Ice,
            Dtls,
            SessionLost,
            Integrity,
            Output,
            Threshold,
            Timeout,
            Interrupted,
        ];
        let codes: Vec<u8> = std::iter::once(0).chain(kinds.map(code)).collect();
        assert_eq!(codes, TABLE.map(|(code, _)| code));
        assert_eq!(code(Terminated), TERMINATE);
        // What a command that carries the signaling says by its code is passed on.
        for kind in kinds.into_iter().filter(|kind| ![Internal, Usage, Interrupted].contains(kind)) {
            assert_eq!(ErrorKind::of_exit_code(Some(i32::from(code(kind)))), kind);
        }
        assert!(help().contains(&TERMINATE.to_string()));
    }
}
