//! What is wrong with a server, in one word.

use crate::error::ErrorKind;
use serde::Serialize;
use std::fmt;

/// The verdict on a server. They are listed from good to bad: the worst of several is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It does all that its URL promises.
    Ok,
    /// It works, and misses a threshold: round trip, days left.
    Threshold,
    /// It works, and loses more than is allowed.
    Lossy,
    /// It takes the data and none of it comes out.
    RelayBlackhole,
    /// It answers STUN requests and has no relay.
    StunOnly,
    /// Its quota or its capacity is used up: 486, 508.
    Quota,
    /// It does not let us do this: 403, 442.
    Forbidden,
    /// It declares every nonce stale, its own newest one too.
    StaleNonce,
    /// It does not accept user name and credential.
    Auth,
    /// It breaks its protocol, or says that it is broken.
    Protocol,
    /// TLS or DTLS did not come up, or its certificate does not hold.
    Tls,
    /// It does not answer.
    Unreachable,
    /// Its name cannot be resolved.
    Dns,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Threshold,
        Self::Lossy,
        Self::RelayBlackhole,
        Self::StunOnly,
        Self::Quota,
        Self::Forbidden,
        Self::StaleNonce,
        Self::Auth,
        Self::Protocol,
        Self::Tls,
        Self::Unreachable,
        Self::Dns,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Threshold => "threshold",
            Self::Lossy => "lossy",
            Self::RelayBlackhole => "relay-blackhole",
            Self::StunOnly => "stun-only",
            Self::Quota => "quota",
            Self::Forbidden => "forbidden",
            Self::StaleNonce => "stale-nonce",
            Self::Auth => "auth",
            Self::Protocol => "protocol",
            Self::Tls => "tls",
            Self::Unreachable => "unreachable",
            Self::Dns => "dns",
        }
    }

    /// The class of failure that it stands for; `None` when all is well.
    pub fn kind(self) -> Option<ErrorKind> {
        Some(match self {
            Self::Ok => return None,
            Self::Threshold | Self::Lossy => ErrorKind::Threshold,
            Self::RelayBlackhole => ErrorKind::SessionLost,
            Self::StunOnly | Self::Quota | Self::Forbidden | Self::StaleNonce | Self::Auth => ErrorKind::Auth,
            Self::Protocol => ErrorKind::Refused,
            Self::Tls => ErrorKind::Dtls,
            Self::Unreachable => ErrorKind::Unreachable,
            Self::Dns => ErrorKind::Dns,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_listed_from_good_to_bad_under_the_names_that_json_has() {
        assert!(Verdict::ALL.is_sorted());
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
            assert_eq!(verdict.kind().is_none(), verdict == Verdict::Ok);
        }
    }
}
