//! Encodes the test picture and tone and records them: no network, no peer.
//!
//!     cargo run --release --example record_test_pattern -- test.webm 3
//!
//! Sources, codecs and files know nothing of each other; what they share are the frames of [`rtckit::media`]. Each
//! blocks, so each track has a thread of its own.

#![allow(clippy::print_stdout, reason = "it is a program")]

use rtckit::capture::{self, OpenOptions, SourceSpec, Wanted};
use rtckit::codec::{self, AudioEncoderSettings, EncoderSettings};
use rtckit::media::{AudioConstraints, AudioInput, Codec, EncodedFrame, VideoConstraints, VideoInput};
use rtckit::record::{Existing, Target, TrackInfo, WebmRecorder};
use rtckit::stop::{Stop, StopReason};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const VIDEO: usize = 0;
const AUDIO: usize = 1;

/// Sends every encoded picture until `stop`. A recorder that is gone has said why elsewhere.
fn encode_video(input: VideoInput, frames: &SyncSender<(usize, EncodedFrame)>, stop: &Stop) -> Outcome {
    let VideoInput::Raw { format, mut source, .. } = input else { return Err("the test picture is raw".into()) };
    let mut encoder = codec::video_encoder(Codec::Vp8, &format, EncoderSettings::default())?;
    while let Some(picture) = source.next(stop)? {
        encoder.encode(&picture, false, &mut |frame| drop(frames.send((VIDEO, frame))))?;
    }
    Ok(())
}

/// The same with sound.
fn encode_audio(input: AudioInput, frames: &SyncSender<(usize, EncodedFrame)>, stop: &Stop) -> Outcome {
    let AudioInput::Raw { format, mut source, .. } = input else { return Err("the test tone is raw".into()) };
    let mut encoder = codec::audio_encoder(Codec::Opus, format, AudioEncoderSettings::default())?;
    while let Some(sound) = source.next(stop)? {
        encoder.encode(&sound, &mut |frame| drop(frames.send((AUDIO, frame))))?;
    }
    Ok(encoder.flush(&mut |frame| drop(frames.send((AUDIO, frame))))?)
}

fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "test.webm".to_owned());
    let seconds = args.next().map_or(Ok(3.0), |text| text.parse())?;

    // One source for both tracks, so that they share a timeline.
    let both = Wanted { video: true, audio: true };
    let (video, audio) = (VideoConstraints::default(), AudioConstraints::default());
    let input = capture::open(&SourceSpec::Test, both, &video, &audio, OpenOptions::default())?;
    let (Some(VideoInput::Raw { format: picture, .. }), Some(AudioInput::Raw { format: sound, .. })) =
        (&input.video, &input.audio)
    else {
        return Err("the test source has both, raw".into());
    };
    let tracks = [
        TrackInfo::Video { codec: Codec::Vp8, size: Some((picture.width, picture.height)) },
        TrackInfo::Audio { codec: Codec::Opus, channels: sound.channels, sample_rate: sound.sample_rate },
    ];
    let mut recorder = WebmRecorder::create(Target::File(path.into()), Existing::Refuse, &tracks)?;

    let (stop, (sender, frames)) = (Stop::new(), sync_channel(64));
    let end = Instant::now() + Duration::try_from_secs_f64(seconds)?;
    std::thread::scope(|scope| -> Outcome {
        let (stop, for_sound) = (&stop, sender.clone());
        let workers = [
            input.video.map(|input| scope.spawn(move || encode_video(input, &sender, stop))),
            input.audio.map(|input| scope.spawn(move || encode_audio(input, &for_sound, stop))),
        ];
        // Whatever was captured before the stop is still recorded: the frames end when both encoders have.
        let mut written = Ok(());
        for (track, frame) in frames {
            written = written.and_then(|()| recorder.write(track, &frame));
            if written.is_err() || Instant::now() >= end {
                stop.stop(StopReason::Done);
            }
        }
        for worker in workers.into_iter().flatten() {
            worker.join().map_err(|_| "an encoder panicked")??;
        }
        Ok(written?)
    })?;
    let recorded = recorder.finish()?;
    println!("{:?}: {:.2} s, {} bytes", recorded.path, recorded.duration, recorded.bytes);
    Ok(())
}
