//! Clients that others wrote, over whose HTTP and in whose browsers we have no say: whip-whep of Medooze, from npm.

use super::{listening, result};
use crate::browser::Page;
use crate::restart::recorded;
use crate::support::{MediaFile, PATIENCE, Scratch, await_that, calls_share_the_machine, have_file};
use serde_json::{Value, json};

/// The option that leaves us one address: the client joins the candidates of a restart with commas, so that it takes but one.
fn one_address() -> String {
    // Which one it is by which others are reached; nothing is sent.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let _ = socket.connect("192.0.2.1:9");
    format!("--interface={}", socket.local_addr().unwrap().ip())
}

/// One of its two modules, if it is installed.
fn module(name: &str) -> Option<String> {
    let path = format!("tests/foreign/node_modules/whip-whep/{name}");
    have_file(&path).map(|path| std::fs::read_to_string(path).unwrap())
}

/// Runs `begin` with the class `Client` of the module and a connection, which stay in the page as `client` and `connection`.
fn start(page: &Page, module: &str, begin: &str, url: &str) {
    let script = format!(
        "{{
        const [source, url] = arguments;
        const module = URL.createObjectURL(new Blob([source], {{ type: 'text/javascript' }}));
        const [Client] = Object.values(await import(module));
        window.client = new Client();
        window.connection = new RTCPeerConnection({{ bundlePolicy: 'max-bundle' }});
        {begin}
    }}"
    );
    page.evaluate(&script, json!([module, url]));
}

fn state(page: &Page) -> Value {
    page.evaluate("connection.connectionState", json!([]))
}

/// The ICE session that the connection has, on both sides.
fn session(page: &Page) -> Value {
    let fragments = "['localDescription', 'remoteDescription'].map((side) =>
        /a=ice-ufrag:(.*)/.exec(connection[side].sdp)[1].trim())";
    page.evaluate(fragments, json!([]))
}

/// Has the client restart ICE, after which both sides have another session.
fn restart(page: &Page) {
    let before = session(page);
    page.evaluate("client.restart()", json!([]));
    await_that("there is another session", || {
        let now = session(page);
        now[0] != before[0] && now[1] != before[1] && state(page) == "connected"
    });
}

#[test]
fn a_foreign_client_publishes_restarts_ice_and_ends_it() {
    let _turn = calls_share_the_machine();
    let (Some(module), Some(page)) = (module("whip.js"), Page::open()) else { return };
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "s3cret").unwrap();
    let recording = scratch.path("published.webm");
    let address = one_address();
    let road = ["--signal=whip-listen:127.0.0.1:0", &address];
    let args = [&["answer", "--record", recording.to_str().unwrap()][..], &road].concat();
    let (mut listener, url) = listening(&args, &scratch.path("token"));
    let publish = "
        const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240 } });
        for (const track of stream.getTracks()) connection.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
        await client.publish(connection, url, 's3cret');";
    start(&page, &module, publish, &url);
    let grows = || {
        let before = recorded(&scratch);
        await_that("what is recorded grows", || recorded(&scratch) > before + 20_000);
    };
    grows();
    restart(&page);
    grows();
    page.evaluate("client.stop()", json!([]));
    let result = result(&listener.succeed(PATIENCE));
    assert_eq!(result["ended"], "peer-hung-up", "{result}");
    assert_eq!(result["connection"]["iceRestarts"], 1, "{result}");
    assert_eq!(result["received"].as_array().map(Vec::len), Some(2), "{result}");
    MediaFile::open(&recording).assert_plays();
}

#[test]
fn a_foreign_player_in_firefox_shows_what_we_serve_restarts_ice_and_ends_it() {
    let _turn = calls_share_the_machine();
    let (Some(module), Some(page)) = (module("whep.js"), Page::open_in_firefox()) else { return };
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "s3cret").unwrap();
    let media = ["--video=test", "--audio=test", "--width=320", "--height=240"];
    let address = one_address();
    let args = [&["call", "--signal=whep-listen:127.0.0.1:0", &address][..], &media].concat();
    let (mut server, url) = listening(&args, &scratch.path("token"));
    let view = "
        for (const kind of ['audio', 'video']) connection.addTransceiver(kind, { direction: 'recvonly' });
        window.video = Object.assign(document.body.appendChild(document.createElement('video')), { muted: true, autoplay: true });
        const stream = video.srcObject = new MediaStream();
        connection.ontrack = ({ track }) => stream.addTrack(track);
        await client.view(connection, url, 's3cret');";
    start(&page, &module, view, &url);
    let played = || {
        let inbound = "[...(await connection.getStats()).values()].find((one) => one.type === 'inbound-rtp' && one.kind === 'video')";
        page.evaluate(inbound, json!([]))["framesDecoded"].as_u64().unwrap_or(0)
    };
    let plays = || {
        let before = played();
        await_that("pictures are played", || played() > before + 10);
    };
    plays();
    assert_eq!(page.evaluate("video.videoWidth", json!([])), 320);
    restart(&page);
    plays();
    page.evaluate("client.stop()", json!([]));
    let result = result(&server.succeed(PATIENCE));
    assert_eq!(result["connection"]["iceRestarts"], 1, "{result}");
    assert_eq!(result["sent"].as_array().map(Vec::len), Some(2), "{result}");
}
