//! Two peers in one process exchange messages over a data channel.
//!
//!     cargo run --release --example data_channel
//!
//! A [`Session`] is one peer connection. Descriptions and candidates travel over a `Signaling`: here a pair of ends in
//! memory; anything that carries messages to the other side can be one.

#![allow(clippy::print_stdout, reason = "it is a program")]

use rtckit::peer::{
    Config, DataChannelInit, DataMessage, Interfaces, NegotiateOptions, PeerError, Role, Session, Timing,
};
use rtckit::signaling::memory;
use rtckit::stop::Stop;
use std::sync::Arc;
use std::time::Instant;

async fn session() -> Result<Session, PeerError> {
    let config = Config { interfaces: Interfaces::Loopback, ..Config::default() };
    Session::new(&config, Arc::new(Timing::new(Instant::now()))).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut alice, mut bob) = (session().await?, session().await?);
    // What is to be negotiated has to be there before the offer is made.
    let channel = alice.create_data_channel(&DataChannelInit::reliable("greetings")).await?;

    let (mut to_bob, mut to_alice) = memory::pair();
    let (options, stop) = (NegotiateOptions::default(), Stop::new());
    tokio::try_join!(
        alice.connect(Role::Call, &mut to_bob, &options, &stop),
        bob.connect(Role::Answer, &mut to_alice, &options, &stop),
    )?;

    // Bob answers whatever comes on the channel that Alice opened, until she hangs up.
    let bob = tokio::spawn(async move {
        if let Some(channel) = bob.next_data_channel().await {
            while let Some(message) = channel.receive().await {
                if let DataMessage::Text(text) = message {
                    channel.send(&DataMessage::Text(format!("{text} yourself"))).await?;
                }
            }
        }
        bob.close().await;
        Ok::<(), PeerError>(())
    });

    if !channel.opened().await? {
        return Err("the channel was closed before it was open".into());
    }
    for text in ["hello", "grüß dich"] {
        let sent = Instant::now();
        channel.send(&DataMessage::Text(text.to_owned())).await?;
        match channel.receive().await {
            Some(DataMessage::Text(answer)) => println!("{text}: {answer} ({:.2?})", sent.elapsed()),
            other => return Err(format!("not an answer: {other:?}").into()),
        }
    }
    alice.close().await;
    bob.await??;
    Ok(())
}
