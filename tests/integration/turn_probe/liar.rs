//! A TURN server of ours that does what RFC 8489 and RFC 8656 say, but for one thing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use stun_types::attribute::{Fingerprint, MessageIntegrity, MessageIntegritySha256};
use stun_types::message::{IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message};

/// The one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It takes the data, and nothing comes out.
    EatsData,
    /// The same, with SHA-256 in place of MD5 and SHA-1 (RFC 8489 section 9.2).
    EatsDataSha256,
    /// It relays for anybody, and eats the data.
    Open,
    /// Its responses are to requests that nobody made.
    Transaction,
    /// Its fingerprints are wrong.
    Fingerprint,
    /// Its responses are signed with another password.
    Integrity,
    /// Its responses are not signed.
    Unsigned,
    /// Its messages end early.
    Truncated,
    /// It sends these bytes in place of messages.
    Bytes(&'static [u8]),
    /// It answers requests to allocate with this code.
    Code(u16),
    /// It answers authenticated requests to allocate with this code.
    LateCode(u16),
    /// It answers authenticated requests of this method with this code.
    CodeTo(u16, u16),
    /// It sends those who want to allocate on to another port of this machine.
    Alternate(u16),
    /// It sends one byte a second.
    Slow,
    /// It answers bindings and nothing else.
    StunOnly,
    /// It asks for credentials without a nonce.
    NoNonce,
    /// It gives an address that nobody can send to.
    NoAddress,
    /// It answers from another port than the one that was asked.
    Elsewhere,
    /// It declares its first nonce stale and takes the next one; it eats the data.
    StaleOnce,
    /// Its nonce is longer than a nonce may be.
    LongNonce,
    /// Its nonce announces algorithms for passwords, and there are none.
    BidDown,
    /// It allocates and does not say so.
    HoldsBack,
    /// What it says is changed by the dice of this seed.
    Garbled(u64),
}

/// What clients did at a server that lies.
#[derive(Debug, Default)]
pub struct Seen {
    /// User names, as they came.
    pub usernames: Vec<String>,
    /// Authenticated requests to delete an allocation.
    pub released: usize,
}

pub const USER: &str = "alice";
pub const PASSWORD: &str = "honest-to-goodness";
const REALM: &str = "liar.test";
const ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];
const NONCE: &[u8] = b"nonce";
const FRESH: &[u8] = b"another nonce";

/// A server that lies. It ends when it is dropped.
pub struct Liar {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Liar {
    pub fn over_udp(lie: Lie) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self::run(address, move |over, seen| {
            let mut buffer = [0; 2048];
            let mut dice = Dice::of(lie);
            while !over.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                let Some(mut answer) = answer(&buffer[..length], client, lie, &seen) else { continue };
                dice.garble(&mut answer);
                let _ = if lie == Lie::Elsewhere { &elsewhere } else { &socket }.send_to(&answer, client);
            }
        })
    }

    pub fn over_tcp(lie: Lie) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        Self::run(address, move |over, seen| {
            while !over.load(Ordering::Relaxed) {
                let Ok((stream, client)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                let (over, seen) = (Arc::clone(&over), Arc::clone(&seen));
                std::thread::spawn(move || serve_stream(stream, client, lie, &over, &seen));
            }
        })
    }

    /// Runs `serve`, which must end soon after its flag is set.
    pub fn run(address: SocketAddr, serve: impl FnOnce(Arc<AtomicBool>, Arc<Mutex<Seen>>) + Send + 'static) -> Self {
        let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let theirs = (Arc::clone(&over), Arc::clone(&seen));
        Self { address, seen, over, thread: Some(std::thread::spawn(move || serve(theirs.0, theirs.1))) }
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}:{}", self.address)
    }
}

/// Serves one client with a lie over any stream that returns from reading now and then.
pub fn serve_stream(
    mut stream: impl Read + Write + ReadTimeout,
    client: SocketAddr,
    lie: Lie,
    over: &AtomicBool,
    seen: &Mutex<Seen>,
) {
    let mut dice = Dice::of(lie);
    stream.set_read_timeout(Duration::from_millis(20));
    let (mut buffer, mut waiting) = ([0; 2048], Vec::new());
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => waiting.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => return,
        }
        while waiting.len() >= 20 {
            let whole = 20 + usize::from(u16::from_be_bytes([waiting[2], waiting[3]]));
            if waiting.len() < whole {
                break;
            }
            let request: Vec<u8> = waiting.drain(..whole).collect();
            let Some(mut answer) = answer(&request, client, lie, seen) else { continue };
            dice.garble(&mut answer);
            if lie == Lie::Slow {
                for byte in answer {
                    if over.load(Ordering::Relaxed) || stream.write_all(&[byte]).and_then(|()| stream.flush()).is_err()
                    {
                        return;
                    }
                    for _ in 0..50 {
                        if over.load(Ordering::Relaxed) {
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            } else if stream.write_all(&answer).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    }
}

/// A stream whose reads can be bounded.
pub trait ReadTimeout {
    fn set_read_timeout(&self, timeout: Duration);
}

impl ReadTimeout for std::net::TcpStream {
    fn set_read_timeout(&self, timeout: Duration) {
        std::net::TcpStream::set_read_timeout(self, Some(timeout)).unwrap();
    }
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    /// None but for a lie that needs them.
    fn of(lie: Lie) -> Self {
        Self(if let Lie::Garbled(seed) = lie { seed } else { 0 })
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }

    /// Changes, cuts, lengthens or replaces two of three messages.
    fn garble(&mut self, message: &mut Vec<u8>) {
        if self.0 == 0 || self.roll(3) == 0 {
            return;
        }
        for _ in 0..=self.roll(3) {
            let (at, byte) = (self.roll(message.len()), u8::try_from(self.roll(256)).unwrap());
            match self.roll(6) {
                0 => message.truncate(at),
                1 => message.insert(at, byte),
                2 => message.extend_from_within(at..),
                3 => *message = (0..self.roll(200)).map(|_| u8::try_from(self.roll(256)).unwrap()).collect(),
                _ if at < message.len() => message[at] = byte,
                _ => {}
            }
        }
    }
}

fn key(password: &str, algorithm: IntegrityAlgorithm) -> IntegrityKey {
    LongTermKeyCredentials::new(USER.to_owned(), password.to_owned(), REALM.to_owned()).make_key(algorithm)
}

/// A message under construction.
struct Answer(Vec<u8>);

impl Answer {
    fn new(kind: u16, request: &[u8], lie: Lie) -> Self {
        let mut bytes = [&kind.to_be_bytes()[..], &[0, 0], &request[4..20]].concat();
        if lie == Lie::Transaction {
            bytes[19] ^= 1;
        }
        Self(bytes)
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.announce(0);
    }

    fn announce(&mut self, more: usize) {
        let length = u16::try_from(self.0.len() - 20 + more).unwrap();
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }

    fn put_address(&mut self, kind: u16, address: SocketAddr) {
        let SocketAddr::V4(address) = address else { panic!("the liar speaks IPv4") };
        let cookie = [0x21, 0x12, 0xa4, 0x42];
        let mut value = vec![0, 1];
        value.extend((address.port() ^ 0x2112).to_be_bytes());
        value.extend(address.ip().octets().iter().zip(cookie).map(|(a, b)| a ^ b));
        self.put(kind, &value);
    }

    fn sign(&mut self, lie: Lie) {
        let password = if lie == Lie::Integrity { "another" } else { PASSWORD };
        match lie {
            Lie::Unsigned | Lie::Open => {}
            Lie::EatsDataSha256 => {
                self.announce(36);
                let key = key(password, IntegrityAlgorithm::Sha256);
                let hmac = MessageIntegritySha256::compute(&[&self.0], &key).unwrap();
                self.put(0x001c, &hmac);
            }
            _ => {
                self.announce(24);
                let hmac = MessageIntegrity::compute(&[&self.0], &key(password, IntegrityAlgorithm::Sha1)).unwrap();
                self.put(0x0008, &hmac);
            }
        }
    }

    fn finish(mut self, lie: Lie) -> Vec<u8> {
        self.announce(8);
        let mut crc = u32::from_be_bytes(Fingerprint::compute(&[&self.0])) ^ 0x5354_554e;
        if lie == Lie::Fingerprint {
            crc ^= 1;
        }
        self.put(0x8028, &crc.to_be_bytes());
        if lie == Lie::Truncated {
            self.0.truncate(self.0.len() - 6);
        }
        self.0
    }
}

fn answer(request: &[u8], client: SocketAddr, lie: Lie, seen: &Mutex<Seen>) -> Option<Vec<u8>> {
    let message = Message::from_bytes(request).ok()?;
    let method = message.method().value();
    if let Lie::Bytes(bytes) = lie {
        return Some(bytes.to_vec());
    }
    let success = |method: u16| Answer::new(0x0100 | method, request, lie);
    let refusal = |code: u16| {
        let mut answer = Answer::new(0x0110 | method, request, lie);
        answer.put(0x0009, &[0, 0, u8::try_from(code / 100).unwrap(), u8::try_from(code % 100).unwrap(), b'N', b'o']);
        answer
    };
    if method == 1 {
        let mut answer = success(method);
        answer.put_address(0x0020, client);
        return Some(answer.finish(lie));
    }
    // Indications are eaten.
    if !message.has_class(stun_types::message::MessageClass::Request) {
        return None;
    }
    let algorithm = if lie == Lie::EatsDataSha256 { IntegrityAlgorithm::Sha256 } else { IntegrityAlgorithm::Sha1 };
    let signed = message.validate_integrity_with_key(&key(PASSWORD, algorithm)).is_ok();
    let value = |kind: u16| message.raw_attribute(kind.into()).map(|attribute| attribute.value.to_vec());
    if let Some(username) = value(0x0006) {
        let mut seen = seen.lock().unwrap();
        seen.usernames.push(String::from_utf8(username).unwrap());
        seen.released += usize::from(signed && method == 4 && value(0x000d) == Some(vec![0; 4]));
    }
    let stale = lie == Lie::StaleOnce && value(0x0015).is_some_and(|nonce| nonce != FRESH);
    match (lie, method) {
        (Lie::StunOnly, _) => return None,
        (Lie::Code(code), 3) => return Some(refusal(code).finish(lie)),
        (Lie::HoldsBack, 3) if signed => return None,
        (Lie::CodeTo(refused, code), _) if signed && method == refused => return Some(refusal(code).finish(lie)),
        (Lie::LateCode(code), 3) if signed && code != 438 => return Some(refusal(code).finish(lie)),
        (Lie::LateCode(438), 3) | (Lie::StaleOnce, _) if signed && (stale || lie != Lie::StaleOnce) => {
            let mut answer = refusal(438);
            answer.put(0x0014, REALM.as_bytes());
            answer.put(0x0015, FRESH);
            return Some(answer.finish(lie));
        }
        (Lie::Alternate(port), 3) => {
            let mut answer = refusal(300);
            answer.put(0x8023, &[&[0, 1][..], &port.to_be_bytes(), &[127, 0, 0, 1]].concat());
            return Some(answer.finish(lie));
        }
        _ => {}
    }
    if !signed && lie != Lie::Open {
        let mut answer = refusal(401);
        answer.put(0x0014, REALM.as_bytes());
        match lie {
            Lie::NoNonce => {}
            Lie::LongNonce => answer.put(0x0015, &[b'n'; 764]),
            Lie::BidDown => answer.put(0x0015, b"obMatJos2gAAAnonce"),
            _ => answer.put(0x0015, NONCE),
        }
        if lie == Lie::EatsDataSha256 {
            answer.put(0x8002, &ALGORITHMS);
        }
        return Some(answer.finish(lie));
    }
    let mut answer = success(method);
    if method == 3 {
        let relay: SocketAddr = if lie == Lie::NoAddress { ([0, 0, 0, 0], 0) } else { ([127, 0, 0, 1], 9) }.into();
        answer.put_address(0x0016, relay);
        answer.put_address(0x0020, client);
    }
    if matches!(method, 3 | 4) {
        answer.put(0x000d, &600_u32.to_be_bytes());
    }
    answer.sign(lie);
    Some(answer.finish(lie))
}
