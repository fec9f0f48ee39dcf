//! How the other side is told of our candidates: under which addresses they are known outside, and behind which names they hide.

use super::local_names::LocalNames;
use crate::signaling::Candidate;
use std::net::IpAddr;

/// What becomes of candidates on their way to the other side.
pub(super) struct Advertised {
    /// At which a NAT with fixed mappings passes on to us what comes to the same port.
    public: Vec<IpAddr>,
    /// What host addresses hide behind, if they do.
    names: Option<LocalNames>,
}

impl Advertised {
    pub fn new(public: Vec<IpAddr>, names: Option<LocalNames>) -> Self {
        Self { public, names }
    }

    /// What the other side is told of a candidate: none, one, or as many as it is known under.
    pub fn candidates(&self, candidate: Candidate) -> Vec<Candidate> {
        let told = |text| Candidate { candidate: text, ..candidate.clone() };
        self.told(&candidate.candidate).into_iter().map(told).collect()
    }

    /// A description as the other side is told it.
    pub fn description(&self, sdp: &str) -> String {
        let mut out = String::with_capacity(sdp.len());
        for line in sdp.split_inclusive('\n') {
            let text = line.trim_end();
            match text.strip_prefix("a=").filter(|text| text.starts_with("candidate:")) {
                Some(candidate) => {
                    for told in self.told(candidate) {
                        out.extend(["a=", &told, &line[text.len()..]]);
                    }
                }
                None => out.push_str(line),
            }
        }
        out
    }

    fn told(&self, candidate: &str) -> Vec<String> {
        let seen = self.public.iter().filter_map(|public| seen_from_outside(candidate, public));
        let all = std::iter::once(candidate.to_owned()).chain(seen);
        match &self.names {
            Some(names) => all.filter_map(|candidate| hidden(&candidate, |ip| names.name_of(ip))).collect(),
            None => all.collect(),
        }
    }
}

/// The candidate that a peer outside of a NAT with fixed mappings sees in place of a host candidate (RFC 8445 section
/// 5.1.1.2); `None` for other candidates, and where the families differ.
fn seen_from_outside(candidate: &str, public: &IpAddr) -> Option<String> {
    const TYPE_PREFERENCE: u32 = 100;
    let (head, tail) = candidate.split_once(" typ host")?;
    let fields: Vec<&str> = head.split(' ').collect();
    let [foundation, component, protocol, priority, address, port] = fields[..] else { return None };
    if address.parse::<IpAddr>().ok()?.is_ipv4() != public.is_ipv4() {
        return None;
    }
    let priority = priority.parse::<u32>().ok()? & 0x00ff_ffff | TYPE_PREFERENCE << 24;
    // A foundation of its own, of the same letters.
    Some(format!(
        "{foundation}1 {component} {protocol} {priority} {public} {port} typ srflx raddr {address} rport {port}{tail}"
    ))
}

/// The candidate without an address that only our own network knows; `None` when that has no name.
fn hidden(candidate: &str, name_of: impl FnOnce(IpAddr) -> Option<String>) -> Option<String> {
    let mut fields: Vec<&str> = candidate.split(' ').collect();
    let [foundation, _, protocol, _, address, _, "typ", kind, ..] = fields[..] else { return None };
    let name;
    let own;
    if kind == "host" {
        name = name_of(address.parse().ok()?)?;
        // The library makes it of the address, which could be found by trying them all.
        let of = name.split('-').next().unwrap_or(foundation);
        own = format!("candidate:{of}{}", u8::from(protocol.eq_ignore_ascii_case("tcp")));
        (fields[0], fields[4]) = (&own, &name);
    }
    for related in 8..fields.len() - 1 {
        match fields[related] {
            "raddr" if fields[related + 1].contains(':') => fields[related + 1] = "::",
            "raddr" => fields[related + 1] = "0.0.0.0",
            "rport" => fields[related + 1] = "9",
            _ => {}
        }
    }
    Some(fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "m=audio 9 X 0\r\na=candidate:12 1 udp 2130706431 10.0.0.2 4000 typ host ufrag x\r\n\
                       a=candidate:13 1 udp 2130706431 fd00::2 4000 typ host\r\n\
                       a=candidate:14 1 udp 1694498815 192.0.2.1 4000 typ srflx raddr 10.0.0.2 rport 4000\r\n";

    #[test]
    fn a_host_candidate_is_joined_by_the_one_that_is_seen_from_outside() {
        let advertised = |public| Advertised::new(public, None);
        let seen = "a=candidate:121 1 udp 1694498815 203.0.113.9 4000 typ srflx raddr 10.0.0.2 rport 4000 ufrag x\r\n";
        let expected = SDP.replace("a=candidate:13", &format!("{seen}a=candidate:13"));
        assert_eq!(advertised(vec!["203.0.113.9".parse().unwrap()]).description(SDP), expected);
        assert_eq!(advertised(Vec::new()).description(SDP), SDP);
    }

    #[test]
    fn where_names_hide_addresses_none_of_ours_is_told() {
        let name = |ip: IpAddr| ip.is_ipv4().then(|| "0123abcd-ef.local".to_owned());
        let told = |candidate: &str| hidden(candidate, name);
        let host = "candidate:12 1 udp 2130706431 10.0.0.2 4000 typ host ufrag x";
        let named = "candidate:0123abcd0 1 udp 2130706431 0123abcd-ef.local 4000 typ host ufrag x";
        assert_eq!(told(host).as_deref(), Some(named));
        let tcp = told("candidate:12 1 tcp 1 10.0.0.2 9 typ host tcptype passive").unwrap();
        assert!(tcp.starts_with("candidate:0123abcd1 ") && tcp.ends_with(" tcptype passive"), "{tcp}");
        assert_eq!(told("candidate:13 1 udp 1 fd00::2 4000 typ host"), None);
        let seen = seen_from_outside(host, &"203.0.113.9".parse().unwrap()).unwrap();
        for related in [&seen, "candidate:1 1 udp 1 192.0.2.1 4 typ relay raddr 10.0.0.2 rport 4000"] {
            let hidden = told(related).unwrap();
            assert!(hidden.contains(" raddr 0.0.0.0 rport 9") && !hidden.contains("10.0.0.2"), "{hidden}");
        }
        assert!(
            told("candidate:1 1 udp 1 2001:db8::1 4 typ srflx raddr fd00::2 rport 4")
                .unwrap()
                .ends_with(" raddr :: rport 9")
        );
    }
}
