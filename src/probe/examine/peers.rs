//! Whom the relay lets us speak to: a second allocation at the same server, else a socket of ours.

use super::{Examination, STEP, UDP};
use crate::probe::allocation::Held;
use crate::probe::echo::{self, Peer};
use crate::probe::exchange::{Client, Failure, judge};
use crate::probe::link;
use crate::probe::report::{ServerReport, Stage};
use crate::probe::verdict::Verdict;
use crate::probe::wire::{self, attribute, method};
use crate::probe::{Ending, explain};
use crate::progress::Silent;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::UdpSocket;

impl Examination<'_> {
    /// Finds a peer that the relay lets us speak to: a second allocation, else a socket of ours.
    pub(super) async fn permission(&mut self, held: &mut Held, relayed: SocketAddr) -> Result<Peer, Ending> {
        let second = self.second(held, relayed).await;
        let Held { main: Some(main), other, .. } = held else { return Err(Ending::Stopped) };
        let began = Instant::now();
        let mut refusal = None;
        match (second, other.as_mut()) {
            (Ok(address), Some(client)) => {
                let done = match main.permit(address, self.due()).await {
                    Ok(()) => client.permit(relayed, self.due()).await,
                    Err(failure) => Err(failure),
                };
                match done {
                    Ok(()) => {
                        self.note(
                            Stage::Permission,
                            began,
                            &Ok(()),
                            Some(format!("for {address}, a second allocation")),
                        );
                        self.channel(main, address).await?;
                        return other.take().map(|client| Peer::Allocation(Box::new(client))).ok_or(Ending::Stopped);
                    }
                    Err(Failure::Stopped) => return Err(Ending::Stopped),
                    Err(failure) => refusal = Some(failure),
                }
            }
            (Err(why), _) => self.report.notes.push(format!("no second allocation: {why}")),
            (Ok(_), None) => {}
        }
        let own = self.own_peer(main, relayed, refusal).await;
        self.note(Stage::Permission, began, &own, Some("for a socket of ours".to_owned()));
        let (socket, address) = own?;
        self.channel(main, address).await?;
        Ok(Peer::Own(socket, vec![0; 65_536]))
    }

    /// Makes a second allocation at the same server; whatever becomes of it, it is released with the first.
    async fn second(&mut self, held: &mut Held, relayed: SocketAddr) -> Result<SocketAddr, String> {
        let client = self.connect_again().await.map_err(|ending| ending.message())?;
        let client = held.other.insert(client);
        let deadline = Instant::now() + STEP;
        let write = |writer: &mut wire::Writer| writer.attribute(attribute::REQUESTED_TRANSPORT, &UDP);
        let reply = match client.ask(method::ALLOCATE, write, deadline).await {
            Ok(reply) if judge(reply.clone()).is_ok() => {
                client.asked = true;
                Ok(reply)
            }
            Ok(reply) => match self.take_challenge(client, reply) {
                Ok(()) => client.allocate(relayed.is_ipv6(), deadline).await,
                Err(ending) => return Err(ending.message()),
            },
            Err(failure) => Err(failure),
        };
        let reply = reply.map_err(|failure| self.failed(failure, client.heard).message())?;
        let address = reply.xor_address(attribute::XOR_RELAYED_ADDRESS).ok_or("it said no address")?;
        if address.is_ipv4() != relayed.is_ipv4() {
            return Err("its address is of another family".to_owned());
        }
        Ok(address)
    }

    /// Connects once more without telling of it.
    async fn connect_again(&mut self) -> Result<Client, Ending> {
        let quiet = Silent;
        let mut again = Examination {
            target: self.target,
            settings: self.settings,
            progress: &quiet,
            stop: self.stop,
            report: ServerReport::new(self.target, Some(self.address)),
            address: self.address,
            deadline: self.due(),
            soft: None,
        };
        Box::pin(again.connect()).await
    }

    /// A socket of ours as the peer, and the address by which the relay knows it. `refusal` is what the relay said to a second
    /// allocation.
    async fn own_peer(
        &mut self,
        main: &mut Client,
        relayed: SocketAddr,
        refusal: Option<Failure>,
    ) -> Result<(UdpSocket, SocketAddr), Ending> {
        let mapped = self.report.mapped_address.filter(|mapped| mapped.is_ipv4() == relayed.is_ipv4());
        let (Some(mapped), Some(local)) = (mapped, self.report.local_address) else {
            return Err(match refusal {
                Some(failure) => self.failed(failure, true),
                None => Ending::verdict(Verdict::Protocol, "there is no peer to try the relay with"),
            });
        };
        let permitted = main.permit(mapped, self.due()).await;
        if let Err(failure) = permitted {
            return Err(self.failed(refusal.unwrap_or(failure), true));
        }
        let broken = |error: std::io::Error| explain::broken(link::refused(&error), true);
        let socket = link::udp_listener(SocketAddr::new(local.ip(), 0)).map_err(broken)?;
        let socket = UdpSocket::from_std(socket.into()).map_err(broken)?;
        match echo::learn_own_address(main, relayed, &socket).await {
            Some(address) => Ok((socket, address)),
            None => Err(Ending::verdict(
                Verdict::RelayBlackhole,
                "nothing that is sent to the address it gave us comes out",
            )),
        }
    }

    async fn channel(&mut self, main: &mut Client, peer: SocketAddr) -> Result<(), Ending> {
        let began = Instant::now();
        let bound = main.bind(wire::CHANNEL, peer, self.due()).await.map_err(|failure| self.failed(failure, true));
        self.note(Stage::Channel, began, &bound, None);
        bound
    }
}
