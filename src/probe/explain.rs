//! From what happened to a verdict, a sentence and advice.

use super::examine::Target;
use super::exchange::Failure;
use super::link::Broken;
use super::report::{Echo, ServerReport};
use super::rest;
use super::verdict::Verdict;
use super::wire::ErrorCode;
use crate::ice_server::ServerTransport;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// How an examination, or a step of it, ended early.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// We know what is wrong.
    Verdict { verdict: Verdict, error_code: Option<u16>, message: String, hint: Option<String> },
    /// Another server is to be asked.
    Alternate(SocketAddr),
    /// The run is to end.
    Stopped,
}

impl Ending {
    pub(super) fn verdict(verdict: Verdict, message: impl Into<String>) -> Self {
        Self::Verdict { verdict, error_code: None, message: message.into(), hint: None }
    }

    pub(super) fn with_hint(self, advice: Option<String>) -> Self {
        match self {
            Self::Verdict { verdict, error_code, message, hint } => {
                Self::Verdict { verdict, error_code, message, hint: hint.or(advice) }
            }
            other => other,
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Verdict { message, .. } => message.clone(),
            Self::Alternate(server) => format!("it sends us on to {server}"),
            Self::Stopped => "ended before the answer came".to_owned(),
        }
    }

    pub(super) fn error_code(&self) -> Option<u16> {
        match self {
            Self::Verdict { error_code, .. } => *error_code,
            Self::Alternate(_) => Some(300),
            Self::Stopped => None,
        }
    }
}

/// A request came to nothing. `heard`: the server has answered earlier ones.
pub(super) fn failure(failure: Failure, heard: bool, transport: ServerTransport) -> Ending {
    match failure {
        Failure::Silent { waited } if heard => {
            let waited = waited.as_secs_f64();
            Ending::verdict(Verdict::Unreachable, format!("it answered before, and not to this within {waited:.1} s"))
        }
        Failure::Silent { waited } => {
            let advice = match transport {
                ServerTransport::Udp | ServerTransport::Dtls => {
                    "a firewall may drop UDP: try ?transport=tcp, and whether anything listens there"
                }
                _ => "a firewall may drop it: try another port, 443 for one",
            };
            let message = format!("no answer within {:.1} s", waited.as_secs_f64());
            Ending::verdict(Verdict::Unreachable, message).with_hint(Some(advice.to_owned()))
        }
        Failure::Broken(why) => broken(why, heard),
        Failure::Protocol(why) => Ending::verdict(Verdict::Protocol, why),
        Failure::Refused(error) => refused(&error),
        Failure::Alternate(server) => Ending::Alternate(server),
        Failure::StaleNonce => Ending::Verdict {
            verdict: Verdict::StaleNonce,
            error_code: Some(438),
            message: "it declares every nonce stale, its own newest one too (438)".to_owned(),
            hint: Some("several servers behind one address that do not share their nonces look like this".to_owned()),
        },
        Failure::Stopped => Ending::Stopped,
    }
}

/// The answer came from an address that was not asked.
pub(super) fn answered_from(other: SocketAddr) -> Ending {
    let hint = "clients and NATs pass such an answer over: a server with several addresses must answer from the one that was asked";
    Ending::verdict(Verdict::Protocol, format!("its answer comes from {other} and not from where it was asked"))
        .with_hint(Some(hint.to_owned()))
}

/// A link broke. `heard`: the server has answered before.
pub(super) fn broken(broken: Broken, heard: bool) -> Ending {
    match broken {
        Broken::Refused(why) => Ending::verdict(Verdict::Unreachable, why),
        Broken::Closed if heard => Ending::verdict(Verdict::Protocol, "it closed the connection in the middle"),
        Broken::Closed => Ending::verdict(Verdict::Protocol, "it closed the connection without an answer"),
        Broken::Foreign(why) => Ending::verdict(Verdict::Protocol, why.to_string()),
        Broken::Secure(why) => Ending::verdict(Verdict::Tls, why),
    }
}

fn refused(error: &ErrorCode) -> Ending {
    let (verdict, meaning) = match error.code {
        401 => (Verdict::Auth, "it refused user name or credential"),
        403 => (Verdict::Forbidden, "it forbids this"),
        437 => {
            (Verdict::Protocol, "it does not know the allocation that it has just made, or has one that it should not")
        }
        438 => (Verdict::StaleNonce, "it declares its nonce stale"),
        440 => (Verdict::Forbidden, "it has no relay address of this family"),
        441 => (Verdict::Auth, "it refused credentials that are not those of the allocation"),
        442 => (Verdict::Forbidden, "it does not relay UDP"),
        443 => (Verdict::Forbidden, "it does not relay between these address families"),
        486 => (Verdict::Quota, "the quota of this user is used up"),
        508 => (Verdict::Quota, "it has no capacity left"),
        500..=599 => (Verdict::Protocol, "it says that it is broken"),
        _ => (Verdict::Protocol, "it rejected our request"),
    };
    let said = if error.reason.is_empty() { String::new() } else { format!(", \"{}\"", error.reason) };
    let hint = match error.code {
        403 => Some("loopback and private peers are often denied on purpose: allowed-peer-ip, allow-loopback-peers"),
        486 => Some("allocations that were not released count until they expire"),
        _ => None,
    };
    Ending::Verdict {
        verdict,
        error_code: Some(error.code),
        message: format!("{meaning} ({}{said})", error.code),
        hint: hint.map(str::to_owned),
    }
}

/// The first request for an allocation was refused outright. `stun`: STUN requests were answered.
pub(super) fn challenge_refused(refusal: Failure, stun: bool) -> Ending {
    match &refusal {
        // Bad Request, Not Found, Method Not Allowed, Not Implemented: what servers without a relay say.
        Failure::Refused(error) if stun && matches!(error.code, 400 | 404 | 405 | 501) => Ending::Verdict {
            verdict: Verdict::StunOnly,
            error_code: Some(error.code),
            message: format!("it answers STUN requests and knows no TURN ({})", error.code),
            hint: None,
        },
        _ => failure(refusal, true, ServerTransport::Udp),
    }
}

/// User name or credential were refused.
pub(super) fn login_refused(error: &ErrorCode, target: &Target, realm: Option<&str>) -> Ending {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let expiry = target.credentials.as_ref().and_then(|login| rest::expiry(&login.username));
    let hint = match (target.minted, expiry) {
        (Some(lifetime), _) => format!(
            "the secret is not the server's, its clock is more than {} s ahead of ours, or it does not take REST credentials",
            lifetime.as_secs()
        ),
        (None, Some(expiry)) if (expiry as f64) < now => {
            format!("by our clock the credential expired {:.0} s ago", now - expiry as f64)
        }
        (None, Some(expiry)) => format!(
            "by our clock the credential holds for {:.0} s more: is it the server's secret, and is its clock right?",
            expiry as f64 - now
        ),
        (None, None) => format!(
            "its realm is '{}': keys that it keeps as hashes only fit the realm that they were made for",
            realm.unwrap_or_default()
        ),
    };
    refused(error).with_hint(Some(hint))
}

/// What would help with a certificate.
pub(super) fn tls_hint(report: &ServerReport) -> Option<String> {
    let certificate = report.certificate.as_ref()?;
    certificate.error.as_ref()?;
    let names = certificate.names.join(", ");
    let names = if names.is_empty() { "none".to_owned() } else { names };
    let days = certificate.days_left;
    Some(format!(
        "it is for {names}, from {}, for {days:.0} more days; --insecure goes on all the same",
        certificate.issuer
    ))
}

/// What came back through the relay.
pub(super) fn echo(echo: &Echo, max_loss: f64) -> Result<(), Ending> {
    if echo.packets_received == 0 {
        let what = if echo.packets_corrupted > 0 { "unchanged" } else { "at all" };
        let message = format!("of {} packets that it was given none came back {what}", echo.packets_sent);
        let hint = (echo.peer == "allocation").then_some(
            "does its relay address work from the server itself? behind NAT it needs external-ip, and its ports open",
        );
        return Err(Ending::verdict(Verdict::RelayBlackhole, message).with_hint(hint.map(str::to_owned)));
    }
    if echo.loss > max_loss {
        let message = format!(
            "{} of {} packets were lost ({:.1} %), more than {:.1} %",
            echo.packets_sent - echo.packets_received,
            echo.packets_sent,
            echo.loss * 100.0,
            max_loss * 100.0
        );
        return Err(Ending::verdict(Verdict::Lossy, message));
    }
    Ok(())
}

pub(super) fn echo_in_words(echo: &Echo) -> String {
    let trips = echo.round_trip_time.unwrap_or_default();
    format!(
        "{} of {} came back, RTT min/avg/p95/max {:.1}/{:.1}/{:.1}/{:.1} ms, jitter {:.1} ms",
        echo.packets_received,
        echo.packets_sent,
        trips.min * 1e3,
        trips.avg * 1e3,
        trips.p95 * 1e3,
        trips.max * 1e3,
        echo.jitter * 1e3
    )
}
