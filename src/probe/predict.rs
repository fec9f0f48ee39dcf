//! Whether two sides will find a direct path, from what is known of their NATs.
//!
//! With ICE both sides send to each other's server-reflexive address, each from its own. One of the two directions must get
//! through; the answer then takes the same way back. Where something is not known, every possibility is tried, and only what all
//! of them agree on is said.

use super::nat::{Behaviour, Nat, Udp};
use serde::Serialize;

/// What is to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// A direct path.
    Direct,
    /// Only by way of a relay over UDP.
    Relay,
    /// Only by way of a relay that one side reaches over TCP or TLS.
    RelayOverTcp,
    /// It cannot be told.
    Inconclusive,
}

/// A prediction and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// What is to be expected.
    pub path: Path,
    /// Why.
    pub reason: String,
}

/// Predicts the path between two sides.
pub fn predict(one: &Nat, other: &Nat) -> Prediction {
    let say = |path, reason: &str| Prediction { path, reason: reason.to_owned() };
    if [one, other].iter().any(|nat| nat.udp == Udp::Blocked) {
        return say(Path::RelayOverTcp, "UDP is blocked on one side");
    }
    if [one, other].iter().any(|nat| nat.udp == Udp::Inconclusive) {
        return say(Path::Inconclusive, "on one side it is not known whether UDP gets through");
    }
    let same_side = one.translated == Some(true)
        && other.translated == Some(true)
        && one.mapped_address.map(|address| address.ip()) == other.mapped_address.map(|address| address.ip());
    if same_side {
        return say(
            Path::Inconclusive,
            "both are behind the same public address: whether they reach each other inside is not known",
        );
    }
    let mut outcomes = Vec::new();
    for (one_mapping, one_filter) in possibilities(one) {
        for (other_mapping, other_filter) in possibilities(other) {
            outcomes.push(
                gets_in(one_mapping, one_filter, other_mapping) || gets_in(other_mapping, other_filter, one_mapping),
            );
        }
    }
    match (outcomes.contains(&true), outcomes.contains(&false)) {
        (true, false) => say(Path::Direct, "the NAT of at least one side lets in what the other sends"),
        (false, true) => say(Path::Relay, "the ports that both NATs give to new peers cannot be known before"),
        _ => say(Path::Inconclusive, "it depends on what is inconclusive in the reports"),
    }
}

/// What mapping and filtering can be.
fn possibilities(nat: &Nat) -> Vec<(Behaviour, Behaviour)> {
    let can_be = |behaviour| match behaviour {
        Behaviour::Inconclusive => Behaviour::KNOWN.to_vec(),
        known => vec![known],
    };
    let mappings =
        if nat.translated == Some(false) { vec![Behaviour::EndpointIndependent] } else { can_be(nat.mapping) };
    let filters = can_be(nat.filtering);
    mappings.iter().flat_map(|mapping| filters.iter().map(move |filter| (*mapping, *filter))).collect()
}

/// Whether packets of a sender get in at the address of a receiver that a STUN server saw, once the receiver has sent to the
/// sender's.
fn gets_in(mapping: Behaviour, filter: Behaviour, sender_mapping: Behaviour) -> bool {
    match (mapping, filter) {
        (_, Behaviour::EndpointIndependent) => true,
        // The receiver opens the mapping that the sender knows for the sender's address …
        (Behaviour::EndpointIndependent, Behaviour::AddressDependent) => true,
        // … and here for its port as well, which is the right one only where the sender's port is the same for all.
        (Behaviour::EndpointIndependent, Behaviour::AddressAndPortDependent) => {
            sender_mapping == Behaviour::EndpointIndependent
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Behaviour::{
        AddressAndPortDependent as Port, AddressDependent as Address, EndpointIndependent as Free, Inconclusive,
    };

    fn nat(mapping: Behaviour, filtering: Behaviour, ip: u8) -> Nat {
        Nat {
            udp: Udp::Open,
            translated: Some(true),
            mapping,
            filtering,
            local_address: None,
            mapped_address: Some(([203, 0, 113, ip], 1).into()),
            observations: Vec::new(),
            reasons: Vec::new(),
        }
    }

    #[test]
    fn what_hole_punching_can_do_is_predicted_and_nothing_is_guessed() {
        for (one, other, expected) in [
            ((Free, Port), (Free, Port), Path::Direct),
            ((Free, Address), (Port, Port), Path::Direct),
            ((Free, Port), (Port, Port), Path::Relay),
            ((Free, Port), (Address, Port), Path::Relay),
            ((Port, Port), (Port, Port), Path::Relay),
            ((Port, Free), (Port, Port), Path::Direct),
            ((Free, Inconclusive), (Free, Inconclusive), Path::Direct),
            ((Free, Inconclusive), (Port, Port), Path::Inconclusive),
            ((Port, Inconclusive), (Port, Port), Path::Inconclusive),
        ] {
            let (a, b) = (nat(one.0, one.1, 1), nat(other.0, other.1, 2));
            assert_eq!(predict(&a, &b).path, expected, "{one:?} {other:?}");
            assert_eq!(predict(&b, &a).path, expected, "{other:?} {one:?}");
        }
        let open = nat(Free, Port, 1);
        assert_eq!(predict(&open, &nat(Free, Port, 1)).path, Path::Inconclusive, "the same NAT");
        assert_eq!(predict(&open, &Nat { udp: Udp::Blocked, ..nat(Free, Free, 2) }).path, Path::RelayOverTcp);
        assert_eq!(predict(&open, &Nat { udp: Udp::Inconclusive, ..nat(Free, Free, 2) }).path, Path::Inconclusive);
    }
}
