//! What is written is read back, and hostile bytes do no harm: seeded mutations of real messages, so that a failure comes again.

use super::link::Splitter;
use super::wire::{self, Incoming, Login, Malformed, Reply, Writer, attribute, method};
use crate::ice_server::Secret;
use std::net::SocketAddr;
use stun_types::message::MessageClass;

fn login(algorithms: Option<Vec<u8>>) -> Login {
    Login::new("alice", &Secret::new("pencil"), "example.org", b"nonce".to_vec(), algorithms)
}

fn v4() -> SocketAddr {
    ([192, 0, 2, 1], 4711).into()
}

fn v6() -> SocketAddr {
    "[2001:db8::1]:443".parse().unwrap()
}

fn stun(bytes: &[u8]) -> Reply {
    match wire::read(bytes).unwrap() {
        Incoming::Stun(reply) => reply,
        Incoming::Channel { .. } => panic!("channel data"),
    }
}

fn success(login: &Login) -> Vec<u8> {
    let mut writer = Writer::new(MessageClass::Success, method::ALLOCATE, 42);
    writer.xor_address(attribute::XOR_RELAYED_ADDRESS, v4());
    writer.xor_address(attribute::XOR_MAPPED_ADDRESS, v6());
    writer.attribute(attribute::LIFETIME, &600_u32.to_be_bytes());
    writer.authenticate(login);
    writer.finish()
}

/// Messages of every kind that we read.
fn messages() -> Vec<Vec<u8>> {
    let mut refusal = Writer::new(MessageClass::Error, method::ALLOCATE, 7);
    refusal.attribute(attribute::ERROR_CODE, b"\0\0\x04\x01Unauthorized");
    refusal.attribute(attribute::REALM, b"example.org");
    refusal.attribute(attribute::NONCE, b"0123456789");
    refusal.attribute(attribute::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0]);
    let mut data = Writer::new(MessageClass::Indication, method::DATA, 8);
    data.xor_address(attribute::XOR_PEER_ADDRESS, v4());
    data.attribute(attribute::DATA, b"hello");
    let mut binding = Writer::new(MessageClass::Success, method::BINDING, 9);
    binding.attribute(attribute::MAPPED_ADDRESS, &[0, 1, 18, 103, 192, 0, 2, 1]);
    binding.attribute(attribute::ALTERNATE_SERVER, &[0, 1, 18, 103, 192, 0, 2, 2]);
    binding.attribute(attribute::SOFTWARE, b"Test \x1b[31m");
    vec![
        success(&login(None)),
        success(&login(Some(vec![0, 2, 0, 0]))),
        refusal.finish(),
        data.finish_bare(),
        binding.finish(),
        wire::channel_data(0x4000, b"hello", false),
    ]
}

#[test]
fn what_is_written_is_read_back() {
    let reply = stun(&success(&login(None)));
    assert_eq!((reply.class, reply.method, reply.transaction), (MessageClass::Success, method::ALLOCATE, 42));
    assert_eq!(reply.xor_address(attribute::XOR_RELAYED_ADDRESS), Some(v4()));
    assert_eq!(reply.mapped_address(), Some(v6()));
    assert_eq!(reply.number(attribute::LIFETIME), Some(600));
    let refusal = stun(&messages()[2]).error_code().unwrap();
    assert_eq!((refusal.code, refusal.reason.as_str()), (401, "Unauthorized"));
    let binding = stun(&messages()[4]);
    assert_eq!(binding.mapped_address(), Some(v4()));
    assert_eq!(binding.address(attribute::ALTERNATE_SERVER), Some(([192, 0, 2, 2], 4711).into()));
    match wire::read(&messages()[5]).unwrap() {
        Incoming::Channel { number, data } => assert_eq!((number, data.as_slice()), (0x4000, &b"hello"[..])),
        Incoming::Stun(_) => panic!("no channel data"),
    }
}

#[test]
fn integrity_is_that_of_the_right_password_and_of_an_unchanged_message() {
    for algorithms in [None, Some(vec![0, 2, 0, 0])] {
        let ours = login(algorithms.clone());
        let theirs = Login::new("alice", &Secret::new("crayon"), "example.org", b"nonce".to_vec(), algorithms);
        let message = success(&ours);
        assert!(stun(&message).is_signed_by(&ours));
        assert!(stun(&message).has_integrity());
        assert!(!stun(&message).is_signed_by(&theirs));
        assert!(!stun(&messages()[2]).is_signed_by(&ours));
        // The last octet of the lifetime, with a fingerprint that fits again.
        let mut changed = message[..message.len() - 8].to_vec();
        let at = message.windows(4).position(|window| window == 600_u32.to_be_bytes()).unwrap();
        changed[at + 3] ^= 1;
        let length = u16::try_from(changed.len() - 20).unwrap();
        changed[2..4].copy_from_slice(&length.to_be_bytes());
        assert!(!stun(&changed).is_signed_by(&ours));
    }
}

/// RFC 5769 section 2.4: the user is マトリックス, and the password is typed with a soft hyphen, an ordinal and a Roman numeral.
const LONG_TERM_REQUEST: [u8; 116] = [
    0x00, 0x01, 0x00, 0x60, 0x21, 0x12, 0xa4, 0x42, 0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72, 0xc0, 0x29, 0xda, 0x41,
    0x2e, 0x00, 0x06, 0x00, 0x12, 0xe3, 0x83, 0x9e, 0xe3, 0x83, 0x88, 0xe3, 0x83, 0xaa, 0xe3, 0x83, 0x83, 0xe3, 0x82,
    0xaf, 0xe3, 0x82, 0xb9, 0x00, 0x00, 0x00, 0x15, 0x00, 0x1c, 0x66, 0x2f, 0x2f, 0x34, 0x39, 0x39, 0x6b, 0x39, 0x35,
    0x34, 0x64, 0x36, 0x4f, 0x4c, 0x33, 0x34, 0x6f, 0x4c, 0x39, 0x46, 0x53, 0x54, 0x76, 0x79, 0x36, 0x34, 0x73, 0x41,
    0x00, 0x14, 0x00, 0x0b, 0x65, 0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x2e, 0x6f, 0x72, 0x67, 0x00, 0x00, 0x08, 0x00,
    0x14, 0xf6, 0x70, 0x24, 0x65, 0x6d, 0xd6, 0x4a, 0x3e, 0x02, 0xb8, 0xe0, 0x71, 0x2e, 0x85, 0xc9, 0xa2, 0x8c, 0xa8,
    0x96, 0x66,
];

#[test]
fn a_password_is_the_same_however_it_was_typed() {
    let user = "マトリックス";
    let login = |password: &str| Login::new(user, &Secret::new(password), "example.org", b"nonce".to_vec(), None);
    let request = stun(&LONG_TERM_REQUEST);
    assert_eq!(request.attribute(attribute::USERNAME), Some(user.as_bytes()));
    for typed in ["The\u{ad}M\u{aa}tr\u{2168}", "TheMatrIX"] {
        assert!(request.is_signed_by(&login(typed)), "{typed}");
    }
    assert!(!request.is_signed_by(&login("TheMatrix")));
    // What no table of SASLprep knows is signed as it is.
    let message = success(&login("pencil 🖉"));
    assert!(stun(&message).is_signed_by(&login("pencil 🖉")) && !stun(&message).is_signed_by(&login("pencil")));
}

#[test]
fn only_the_cookie_in_a_nonce_promises_algorithms() {
    for (nonce, promised) in [
        ("obMatJos2gAAAx", true),
        ("obMatJos2QAAAx", false),
        ("obMatJos2gAA", false),
        ("obMatJos3gAAA", false),
        ("", false),
    ] {
        assert_eq!(wire::promises_algorithms(nonce.as_bytes()), promised, "{nonce}");
    }
}

#[test]
fn a_wrong_fingerprint_is_told_from_other_faults() {
    let mut message = messages()[2].clone();
    *message.last_mut().unwrap() ^= 1;
    assert_eq!(wire::read(&message).unwrap_err(), Malformed::Fingerprint);
}

/// A generator of numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }

    fn mutate(&mut self, message: &mut Vec<u8>) {
        for _ in 0..=self.roll(4) {
            let at = self.roll(message.len());
            match self.roll(6) {
                0 if at < message.len() => message[at] ^= 1 << self.roll(8),
                1 if at < message.len() => message[at] = self.byte(),
                2 => message.truncate(at),
                3 => message.insert(at, self.byte()),
                // Lengths are what parsers trip over.
                4 if message.len() > 24 => {
                    let (length, value) = (4 * self.roll(message.len() / 4) + 2, [self.byte(), self.byte()]);
                    if let Some(place) = message.get_mut(length..length + 2) {
                        place.copy_from_slice(&value);
                    }
                }
                _ => {
                    let tail = message[at..].to_vec();
                    message.extend(tail);
                }
            }
        }
    }
}

#[test]
fn bytes_by_chance_are_no_message_and_do_no_harm() {
    let mut dice = Dice(0x0ddb_a115_eed0_0001);
    let mut past_the_header = 0;
    for round in 0..60_000 {
        let mut bytes: Vec<u8> = (0..dice.roll(120)).map(|_| dice.byte()).collect();
        // Half of them with a header that opens the first door, and a length that fits.
        if round % 2 == 0 && bytes.len() >= 20 {
            bytes.truncate(bytes.len() / 4 * 4);
            let length = u16::try_from(bytes.len() - 20).unwrap();
            bytes[0] &= 0x3f;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        }
        match wire::read(&bytes) {
            Ok(Incoming::Stun(reply)) => {
                past_the_header += 1;
                assert!(!reply.is_signed_by(&login(None)), "{bytes:02x?}");
            }
            Ok(Incoming::Channel { data, .. }) => assert!(data.len() + 4 <= bytes.len()),
            Err(Malformed::Attributes(_)) => past_the_header += 1,
            Err(_) => {}
        }
        let mut splitter = Splitter::default();
        splitter.take(&bytes);
        while let Ok(Some(message)) = splitter.next() {
            assert!(message.len() >= 4);
        }
    }
    assert!(past_the_header > 10_000, "{past_the_header}");
}

#[test]
fn no_mutation_of_a_message_does_harm() {
    let (originals, login) = (messages(), login(None));
    let mut dice = Dice(0x5eed_1234_abcd_9876);
    let (mut read, mut refused) = (0, 0);
    for round in 0..60_000 {
        let original = &originals[round % originals.len()];
        let mut message = original.clone();
        dice.mutate(&mut message);
        match wire::read(&message) {
            Err(why) => {
                refused += 1;
                assert!(why.to_string().chars().all(|c| !c.is_control()), "{why}");
            }
            Ok(Incoming::Channel { data, .. }) => assert!(data.len() + 4 <= message.len()),
            Ok(Incoming::Stun(reply)) => {
                read += 1;
                let _ = (
                    reply.mapped_address(),
                    reply.address(attribute::ALTERNATE_SERVER),
                    reply.number(attribute::LIFETIME),
                );
                if let Some(error) = reply.error_code() {
                    assert!((300..700).contains(&error.code) && error.reason.chars().all(|c| !c.is_control()));
                }
                // From the transaction to the integrity; the length counts what follows as well, and that is not signed.
                let covered = 4..original.len() - 8;
                let same = original[..2] == message[..2] && original.get(covered.clone()) == message.get(covered);
                assert!(
                    same || !reply.is_signed_by(&login),
                    "a forged message is taken for a signed one: {message:02x?}"
                );
            }
        }
        let mut splitter = Splitter::default();
        for piece in message.chunks(1 + dice.roll(64)) {
            splitter.take(piece);
            while let Ok(Some(message)) = splitter.next() {
                assert!(message.len() >= 4);
            }
        }
    }
    // The mutations reach the parser's depths, and its doors.
    assert!(read > 1000 && refused > 10_000, "{read} were read and {refused} refused");
}
