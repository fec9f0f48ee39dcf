//! What a TURN client does with an allocation, RFC 8656 sections 7 to 12.

use super::exchange::{Client, Failure};
use super::wire::{Reply, Writer, attribute, method};
use crate::stop::Stop;
use std::net::SocketAddr;
use std::time::Instant;

/// REQUESTED-TRANSPORT: UDP.
const UDP: [u8; 4] = [17, 0, 0, 0];
/// REQUESTED-ADDRESS-FAMILY: IPv6.
const IPV6: [u8; 4] = [2, 0, 0, 0];

/// The success response of a server that asked for no credentials.
pub(super) struct MostlyOpen(pub Reply);

/// What is allocated, and must be released.
#[derive(Default)]
pub(super) struct Held {
    pub main: Option<Client>,
    pub other: Option<Client>,
    /// The address of `main`.
    pub relayed: Option<SocketAddr>,
}

impl Held {
    /// Whether anything may have been allocated: also when the answer never came.
    pub(super) fn may_be_allocated(&self) -> bool {
        [&self.main, &self.other].into_iter().flatten().any(|client| client.asked)
    }

    /// Deletes all allocations; tells what became of the first.
    pub(super) async fn release(&mut self, deadline: Instant) -> Result<(), Failure> {
        let (main, other) = (self.main.as_mut(), self.other.as_mut());
        let release = async |client: Option<&mut Client>| match client {
            Some(client) if client.asked => {
                client.outlive(Stop::new());
                client.refresh(0, deadline).await
            }
            _ => Ok(()),
        };
        let (first, _) = tokio::join!(release(main), release(other));
        first
    }
}

impl Client {
    /// Asks for an address, of IPv6 first where `ipv6`, and of the other family where the server has none of that.
    pub(super) async fn allocate(&mut self, ipv6: bool, deadline: Instant) -> Result<Reply, Failure> {
        self.asked = true;
        let write = |ipv6: bool| {
            move |writer: &mut Writer| {
                writer.attribute(attribute::REQUESTED_TRANSPORT, &UDP);
                // Without it, it is IPv4; old servers do not know the attribute.
                if ipv6 {
                    writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &IPV6);
                }
            }
        };
        let mut allocated = self.authenticated(method::ALLOCATE, write(ipv6), deadline).await;
        if matches!(&allocated, Err(Failure::Refused(error)) if error.code == 440 || (ipv6 && error.code == 420)) {
            allocated = self.authenticated(method::ALLOCATE, write(!ipv6), deadline).await;
        }
        if matches!(allocated, Err(Failure::Refused(_))) {
            self.asked = false;
        }
        allocated
    }

    /// Lets `peer` send to the relayed address.
    pub(super) async fn permit(&mut self, peer: SocketAddr, deadline: Instant) -> Result<(), Failure> {
        let write = |writer: &mut Writer| writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        self.authenticated(method::CREATE_PERMISSION, write, deadline).await.map(|_| ())
    }

    /// Binds a channel to `peer`.
    pub(super) async fn bind(&mut self, channel: u16, peer: SocketAddr, deadline: Instant) -> Result<(), Failure> {
        let [high, low] = channel.to_be_bytes();
        let write = |writer: &mut Writer| {
            writer.attribute(attribute::CHANNEL_NUMBER, &[high, low, 0, 0]);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        };
        self.authenticated(method::CHANNEL_BIND, write, deadline).await.map(|_| ())
    }

    /// Prolongs the allocation, or deletes it with a lifetime of 0.
    pub(super) async fn refresh(&mut self, lifetime: u32, deadline: Instant) -> Result<(), Failure> {
        let write = |writer: &mut Writer| writer.attribute(attribute::LIFETIME, &lifetime.to_be_bytes());
        self.authenticated(method::REFRESH, write, deadline).await.map(|_| ())
    }
}
