//! Why ICE found no path, from what both sides offered: which pairs there were to try, and the most likely cause.

use std::fmt;
use std::net::IpAddr;

/// One candidate as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offered {
    kind: String,
    tcp: bool,
    /// `None` for a name, which hides the address.
    ip: Option<IpAddr>,
}

impl Offered {
    /// Reads `candidate:…` (RFC 8839 section 5.1), with or without `a=` before it.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.trim().trim_start_matches("a=").split_ascii_whitespace().collect();
        let [_, _, protocol, _, address, _, "typ", kind, ..] = fields[..] else { return None };
        Some(Self { kind: kind.to_owned(), tcp: protocol.eq_ignore_ascii_case("tcp"), ip: address.parse().ok() })
    }

    fn is_public(&self) -> bool {
        match self.ip {
            Some(IpAddr::V4(ip)) => {
                let carrier = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
                !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || carrier)
            }
            Some(IpAddr::V6(ip)) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
            None => false,
        }
    }

    fn may_reach(&self, other: &Self) -> bool {
        let families = match (self.ip, other.ip) {
            (Some(a), Some(b)) => a.is_ipv4() == b.is_ipv4(),
            _ => true,
        };
        families && self.tcp == other.tcp
    }
}

/// The candidates of one side.
struct Side(Vec<Offered>);

impl Side {
    fn of<'a>(candidates: impl IntoIterator<Item = &'a str>) -> Self {
        Self(candidates.into_iter().filter_map(Offered::parse).collect())
    }

    fn any(&self, what: impl Fn(&Offered) -> bool) -> bool {
        self.0.iter().any(what)
    }

    fn all(&self, what: impl Fn(&Offered) -> bool) -> bool {
        !self.0.is_empty() && self.0.iter().all(what)
    }

    fn has_relay(&self) -> bool {
        self.any(|it| it.kind == "relay")
    }

    /// Whether somebody outside of its network could know where it is.
    fn is_known_outside(&self) -> bool {
        self.any(|it| it.kind != "host" || it.is_public())
    }
}

impl fmt::Display for Side {
    /// `host 2, srflx 1 (IPv4)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let mut kinds: Vec<(&str, bool)> = self.0.iter().map(|it| (it.kind.as_str(), it.tcp)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let counted = kinds.into_iter().map(|(kind, tcp)| {
            let count = self.0.iter().filter(|it| it.kind == kind && it.tcp == tcp).count();
            format!("{count} {kind}{}", if tcp { " over TCP" } else { "" })
        });
        let families = [
            (self.any(|it| it.ip.is_some_and(|ip| ip.is_ipv4())), "IPv4"),
            (self.any(|it| it.ip.is_some_and(|ip| ip.is_ipv6())), "IPv6"),
            (self.any(|it| it.ip.is_none()), "mDNS names"),
        ];
        let families: Vec<&str> = families.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
        write!(f, "{} ({})", counted.collect::<Vec<_>>().join(", "), families.join(", "))
    }
}

/// Says what was offered and what the most likely cause is that no pair of it worked.
pub(super) fn explain<'a>(
    ours: impl IntoIterator<Item = &'a str>,
    theirs: impl IntoIterator<Item = &'a str>,
    heard: bool,
) -> String {
    let (ours, theirs) = (Side::of(ours), Side::of(theirs));
    let pairs = ours.0.iter().map(|mine| theirs.0.iter().filter(|other| mine.may_reach(other)).count()).sum::<usize>();
    let cause = if theirs.0.is_empty() {
        "the peer gave no candidates: it has gathered none, or they did not come across"
    } else if ours.0.is_empty() {
        "there is no candidate of ours to try"
    } else if pairs == 0 {
        "no two of them fit together: they differ in IPv4 and IPv6, or in UDP and TCP"
    } else if heard {
        "the peer's checks arrive, so its way to us is open; it does not hear us, has given up, or answers to another offer"
    } else if ours.has_relay() || theirs.has_relay() {
        "not even a relay was of use: it may forbid the peer's address, or the peer is gone"
    } else if theirs.all(|it| it.ip.is_none()) {
        "the peer hides its addresses behind mDNS names, which are known in its own network alone"
    } else if !theirs.is_known_outside() {
        "the peer gave private addresses alone, and is not in this network or is gone"
    } else if !ours.is_known_outside() {
        "we gave private addresses alone, so from outside of this network nobody can answer"
    } else {
        "a firewall or a NAT on the way lets nothing through, which a TURN server gets past; or the peer is gone"
    };
    let heard = if heard { "something" } else { "nothing" };
    format!("{cause}; ours: {ours}; the peer's: {theirs}; {pairs} pairs tried, {heard} heard from the peer")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &str = "candidate:1 1 udp 2130706431 10.0.0.2 4000 typ host";
    const V6: &str = "a=candidate:1 1 UDP 2130706431 2001:db8::2 4000 typ host generation 0";
    const HIDDEN: &str = "candidate:1 1 udp 2113937151 6f1e.local 4000 typ host";
    const OUTSIDE: &str = "candidate:2 1 udp 1694498815 192.0.2.7 4000 typ srflx raddr 10.0.0.2 rport 4000";
    const RELAYED: &str = "candidate:3 1 udp 16777215 192.0.2.9 5000 typ relay raddr 192.0.2.7 rport 4000";
    const TCP: &str = "candidate:4 1 tcp 1518149375 10.0.0.3 9 typ host tcptype active";

    #[test]
    fn each_constellation_has_its_cause() {
        let cases: [(&[&str], &[&str], bool, &str); 9] = [
            (&[PRIVATE], &[], false, "the peer gave no candidates"),
            (&[PRIVATE], &[V6], false, "no two of them fit together"),
            (&[PRIVATE], &[TCP], false, "no two of them fit together"),
            (&[PRIVATE], &[PRIVATE], true, "the peer's checks arrive"),
            (&[PRIVATE, RELAYED], &[OUTSIDE], false, "not even a relay"),
            (&[PRIVATE], &[HIDDEN], false, "mDNS names, which are known"),
            (&[OUTSIDE], &[PRIVATE], false, "the peer gave private addresses alone"),
            (&[PRIVATE], &[OUTSIDE], false, "we gave private addresses alone"),
            (&[OUTSIDE], &[OUTSIDE], false, "a firewall or a NAT"),
        ];
        for (ours, theirs, heard, cause) in cases {
            let said = explain(ours.iter().copied(), theirs.iter().copied(), heard);
            assert!(said.contains(cause), "{ours:?} {theirs:?}: {said}");
        }
    }

    #[test]
    fn what_was_offered_is_counted_and_garbage_is_passed_over() {
        let said = explain([PRIVATE, OUTSIDE, TCP], [V6, HIDDEN, "candidate:x", ""], false);
        assert!(said.contains("ours: 1 host, 1 host over TCP, 1 srflx (IPv4)"), "{said}");
        assert!(said.contains("the peer's: 2 host (IPv6, mDNS names); 2 pairs tried"), "{said}");
    }
}
