//! The desktop portal, played by the tests: a ScreenCast service on a session bus, and PipeWire with a stream that we feed.

mod feed;
mod service;

use super::RED;
use super::call::Sending;
use crate::support::{PATIENCE, PipeWire, Rtckit, await_that, calls_share_the_machine};
use feed::Feed;
use service::{Answer, Service};

#[test]
fn what_a_person_picks_is_sent_and_their_permission_is_kept_for_the_next_time() {
    let Some(desktop) = PipeWire::start("") else { return };
    let _turn = calls_share_the_machine();
    let socket = desktop.runtime.path("pipewire-0");
    let feed = Feed::start(&socket, (320, 240), [0, 0, 255, 0]);
    let service = Service::start(&desktop.bus, &socket, feed.node(), Answer::Yes);
    let token = desktop.runtime.path("token");
    let more = ["--restore-token", token.to_str().unwrap(), "--cursor", "never"];
    for (asked, kept) in [(None, "token-1"), (Some("token-1"), "token-2")] {
        let mut sending = Sending::start_on(|command| _ = desktop.reach(command), "--video=window", &more);
        sending.await_picture("the surface", |pictures, frame| {
            (pictures.width, pictures.height) == (320, 240) && pictures.is(frame, (160, 120), RED)
        });
        let seen = service.seen();
        assert_eq!(seen.restore_token.as_deref(), asked);
        // Windows, hidden cursor, kept until it is revoked.
        assert_eq!((seen.types, seen.cursor_mode, seen.persist_mode), (Some(2), Some(1), Some(2)));
        assert_eq!(std::fs::read_to_string(&token).unwrap().trim(), kept);
        sending.call.interrupt();
        assert_eq!(sending.call.wait(PATIENCE).code, Some(130));
        await_that("the end of the session", || service.seen().closed);
    }
}

#[test]
fn a_person_who_says_no_and_a_desktop_without_the_portal_are_device_errors() {
    let Some(desktop) = PipeWire::start("") else { return };
    let run = || {
        let token = desktop.runtime.path("token");
        let args = ["call", "--loopback", "--video=screen", "--restore-token", token.to_str().unwrap()];
        // Where no display answers, the portal is the only way.
        let exit = Rtckit::spawn(desktop.reach(&mut Rtckit::command(args))).wait(PATIENCE);
        assert_eq!(exit.code, Some(4), "{exit:?}");
        exit.error_line().to_owned()
    };
    let without = run();
    assert!(without.contains("portal"), "{without}");
    let _service = Service::start(&desktop.bus, &desktop.runtime.path("pipewire-0"), 0, Answer::No);
    let denied = run();
    assert!(denied.contains("said no"), "{denied}");
}
