//! A path that meddles: a UDP proxy before a TURN server that loses, repeats, reorders or changes what clients send to a channel.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What becomes of every fifth packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddling {
    Nothing,
    Loses,
    Repeats,
    /// It is sent after the one behind it.
    Reorders,
    Changes,
}

/// The proxy. It ends when it is dropped.
pub struct Meddler {
    pub address: SocketAddr,
    /// The bytes of each packet that came, without the header of its channel.
    pub sizes: Arc<Mutex<Vec<usize>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Meddler {
    pub fn before(server: SocketAddr, meddling: Meddling) -> Self {
        let front = Arc::new(socket());
        let address = front.local_addr().unwrap();
        let (over, sizes) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (theirs, seen) = (Arc::clone(&over), Arc::clone(&sizes));
        let thread = std::thread::spawn(move || serve(&front, server, meddling, &theirs, &seen));
        Self { address, sizes, over, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("turn:{}", self.address)
    }
}

/// One that returns from reading now and then.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket
}

fn serve(
    front: &Arc<UdpSocket>,
    server: SocketAddr,
    meddling: Meddling,
    over: &Arc<AtomicBool>,
    sizes: &Mutex<Vec<usize>>,
) {
    let mut ways: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut threads = Vec::new();
    let mut kept: Option<Vec<u8>> = None;
    let mut numbered = 0;
    let mut buffer = [0; 65_536];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, client)) = front.recv_from(&mut buffer) else { continue };
        let way = Arc::clone(ways.entry(client).or_insert_with(|| {
            let way = Arc::new(socket());
            way.connect(server).unwrap();
            let (front, back, over) = (Arc::clone(front), Arc::clone(&way), Arc::clone(over));
            threads.push(std::thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while !over.load(Ordering::Relaxed) {
                    if let Ok(length) = back.recv(&mut buffer) {
                        let _ = front.send_to(&buffer[..length], client);
                    }
                }
            }));
            way
        }));
        let packet = &mut buffer[..length];
        if packet.first() != Some(&0x40) {
            let _ = way.send(packet);
            continue;
        }
        numbered += 1;
        sizes.lock().unwrap().push(length - 4);
        let fifth = numbered % 5 == 3;
        match meddling {
            Meddling::Loses if fifth => continue,
            Meddling::Reorders if fifth => {
                kept = Some(packet.to_vec());
                continue;
            }
            Meddling::Repeats if fifth => drop(way.send(packet)),
            Meddling::Changes if fifth => packet[length - 1] ^= 1,
            _ => {}
        }
        let _ = way.send(packet);
        if let Some(late) = kept.take() {
            let _ = way.send(&late);
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
