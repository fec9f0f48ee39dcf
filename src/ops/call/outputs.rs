//! The threads of received tracks: each takes its frames to the recording, and to a decoder where something needs them decoded.

use super::measure::Measure;
use crate::codec::{self, AudioEncoderSettings};
use crate::error::{Classify, Error, ErrorKind};
use crate::filter::Resampler;
use crate::media::{
    AudioDecoder, AudioEncoder, AudioFormat, AudioFrame, Codec, EncodedFrame, Loss, MediaKind, MediaTime, VideoDecoder,
    VideoFrame,
};
use crate::ops::media::{Hearing, Viewing};
use crate::peer::{KeyFrameRequester, Mark, Timing};
use crate::pipeline::queue::Receiver;
use crate::progress::{Event, Progress};
use crate::record::{Finished, TrackInfo, WavSink, WebmError, WebmRecorder, Y4mSink};
use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// What decoded audio is written as.
pub(super) const AUDIO: AudioFormat =
    AudioFormat { sample_rate: NonZeroU32::new(48_000).expect("not zero"), channels: 2 };
/// What sound is recorded as; G.711, which no container of ours holds, is encoded again.
pub(super) const RECORDED_SOUND: Codec = Codec::Opus;
/// A hole in audio longer than this is not concealed: the stream paused.
const MOST_CONCEALED: MediaTime = MediaTime::from_micros(1_000_000);

/// When the files of a call begin, where it is told.
pub(super) type Begun = watch::Sender<Option<Instant>>;

pub(super) type SharedRecorder = Arc<Mutex<Option<WebmRecorder>>>;

/// What a thread leaves behind when its track is over.
pub(super) struct Done {
    /// The place of what led to it.
    pub feed: usize,
    /// Frames decoded, where any were to be.
    pub decoded: Option<u64>,
    pub output: Option<Finished>,
    /// Its places in the recording.
    pub places: Vec<usize>,
}

pub(super) struct VideoSinks {
    pub y4m: Option<Y4mSink>,
    pub viewing: Option<Viewing>,
    pub measure: Option<Arc<Measure>>,
}

#[derive(Default)]
pub(super) struct AudioSinks {
    pub wav: Option<WavSink>,
    pub hearing: Option<Hearing>,
    pub measure: Option<Arc<Measure>>,
}

/// A track as the recording takes it.
pub(super) fn track_info(kind: MediaKind, codec: Codec) -> TrackInfo {
    match kind {
        MediaKind::Video => TrackInfo::Video { codec, size: None },
        MediaKind::Audio => {
            TrackInfo::Audio { codec: RECORDED_SOUND, channels: AUDIO.channels, sample_rate: AUDIO.sample_rate }
        }
    }
}

/// When the timeline of a recording begins, once it does.
pub(super) type ZeroOfTimeline = Box<dyn Fn() -> Option<Instant> + Send>;

/// How a track is recorded, if it is.
pub(super) struct Recording {
    recorder: Option<SharedRecorder>,
    /// The places of the track in it: a peer may change the codec, and one in the file has one.
    places: RefCell<Vec<(Codec, usize)>>,
    /// Where it is told when the files begin, if this is what they are made of, and the zero of its timeline.
    begun: Option<(Begun, ZeroOfTimeline)>,
    /// Who is told when the others are recorded without it.
    optional: Option<Arc<dyn Progress>>,
    left_out: Cell<bool>,
}

impl Recording {
    /// Of a track without which the recording would not be what it is to be; of none without a recorder.
    pub(super) fn new(
        recorder: Option<SharedRecorder>,
        place: (Codec, usize),
        begun: Option<(Begun, ZeroOfTimeline)>,
    ) -> Self {
        Self { recorder, places: RefCell::new(vec![place]), begun, optional: None, left_out: Cell::new(false) }
    }

    /// Of a further track, which is left out with a word where its frames cannot be recorded.
    pub(super) fn optional(
        recorder: Option<SharedRecorder>,
        place: (Codec, usize),
        progress: Arc<dyn Progress>,
    ) -> Self {
        Self { optional: Some(progress), ..Self::new(recorder, place, None) }
    }

    /// Its places in the recording.
    pub(super) fn places(&self) -> Vec<usize> {
        let places = self.places.borrow();
        places.iter().filter(|_| self.recorder.is_some()).map(|(_, place)| *place).collect()
    }

    /// The place for frames of this codec.
    fn place(&self, recorder: &mut WebmRecorder, codec: Codec) -> Result<usize, WebmError> {
        let mut places = self.places.borrow_mut();
        if let Some((_, place)) = places.iter().find(|(known, _)| *known == codec) {
            return Ok(*place);
        }
        let place = recorder.add_track(track_info(codec.kind(), codec))?;
        places.push((codec, place));
        Ok(place)
    }

    fn write(&self, frame: &EncodedFrame) -> Result<(), Error> {
        let Some(shared) = &self.recorder else {
            // What is decoded begins at the zero of the session.
            self.note_begin(MediaTime::ZERO);
            return Ok(());
        };
        if self.left_out.get() {
            return Ok(());
        }
        let mut recorder = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(working) = recorder.as_mut() else { return Ok(()) };
        let written = self.place(working, frame.codec).and_then(|place| working.write(place, frame));
        working.begins_at().into_iter().for_each(|time| self.note_begin(time));
        let Err(error) = written else { return Ok(()) };
        match &self.optional {
            Some(progress) if error.kind() == ErrorKind::InvalidInput => {
                self.left_out.set(true);
                let message = format!("another {} is not recorded: {error}", frame.codec.kind());
                progress.event(Event::Warning { message });
                Ok(())
            }
            _ => {
                // Closed as it is: the other tracks must not report that they found a broken recorder, and hide what broke it.
                *recorder = None;
                let hint =
                    format!("--{}-codec lets the peer send nothing but what was recorded so far", frame.codec.kind());
                let changed = matches!(error, WebmError::NoFurther { .. });
                let error = Error::from(error).at("record");
                Err(if changed { error.with_hint(hint) } else { error })
            }
        }
    }

    fn note_begin(&self, time: MediaTime) {
        let Some((begun, zero)) = &self.begun else { return };
        begun.send_if_modified(|begun| {
            let is_news = begun.is_none();
            *begun = begun.or_else(|| Some(zero()? + time.duration()));
            is_news
        });
    }
}

pub(super) fn receive_video(
    codec: Codec,
    frames: &Receiver<EncodedFrame>,
    recording: &Recording,
    sinks: Option<VideoSinks>,
    key_frames: &KeyFrameRequester,
    (timing, count): (&Timing, &AtomicU64),
) -> Result<(Option<u64>, Option<Finished>), Error> {
    let mut codec = codec;
    let mut sinks = sinks.filter(|sinks| sinks.y4m.is_some() || sinks.viewing.is_some() || sinks.measure.is_some());
    let mut decoder: Option<Box<dyn VideoDecoder>> = match &sinks {
        Some(_) => Some(codec::video_decoder(codec)?),
        None => None,
    };
    let mut decoded = 0;
    while let Some(frame) = frames.recv() {
        recording.write(&frame)?;
        let (Some(decoder), Some(sinks)) = (&mut decoder, &mut sinks) else { continue };
        if frame.codec != std::mem::replace(&mut codec, frame.codec) {
            *decoder = codec::video_decoder(codec)?;
        }
        let mut written = Ok(());
        let result = decoder.decode(&frame, &mut |picture: VideoFrame| {
            if decoded == 0 {
                timing.mark(Mark::FirstFrameDecoded);
            }
            decoded += 1;
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(measure) = &sinks.measure {
                measure.picture(&picture);
            }
            if let Some(viewing) = &mut sinks.viewing {
                viewing.show(&picture);
            }
            if let (Some(y4m), Ok(())) = (&mut sinks.y4m, &written) {
                written = y4m.write(&picture).map_err(|error| Error::from(error).at("video-output"));
            }
        });
        written?;
        if let Err(error) = result {
            tracing::debug!("{error}");
            key_frames.request();
        }
    }
    let output = match sinks.and_then(|sinks| sinks.y4m).filter(|_| decoded > 0) {
        Some(y4m) => Some(y4m.finish().map_err(|error| Error::from(error).at("video-output"))?),
        None => None,
    };
    Ok((decoder.map(|_| decoded), output))
}

/// A decoder, and what takes its sound.
type Decoding = (Box<dyn AudioDecoder>, Listening);

/// Takes decoded sound to where it goes.
struct Listening {
    sinks: AudioSinks,
    /// What the recording cannot hold as it came is encoded again for it.
    recoding: Option<Box<dyn AudioEncoder>>,
    /// To [`AUDIO`].
    resampler: Resampler,
}

impl Listening {
    fn hear(&mut self, sound: &AudioFrame, recording: &Recording) -> Result<(), Error> {
        let Self { sinks, recoding, resampler } = self;
        let mut taken = Ok(());
        resampler.process(sound, &mut |sound| {
            if taken.is_ok() {
                taken = take_sound(sinks, recoding.as_deref_mut(), &sound, recording);
            }
        })?;
        taken
    }

    /// What decodes this codec and listens to it; `None` where nobody wants to hear it.
    fn begin(codec: Codec, sinks: AudioSinks, recording: &Recording) -> Result<Option<Decoding>, Error> {
        let recoding = match recording.recorder.is_some() && codec != RECORDED_SOUND {
            true => Some(codec::audio_encoder(RECORDED_SOUND, AUDIO, AudioEncoderSettings::default())?),
            false => None,
        };
        if sinks.wav.is_none() && sinks.hearing.is_none() && sinks.measure.is_none() && recoding.is_none() {
            return Ok(None);
        }
        let decoder = codec::audio_decoder(codec, AUDIO.channels)?;
        let resampler = Resampler::new(decoder.format(), AUDIO)?;
        Ok(Some((decoder, Self { sinks, recoding, resampler })))
    }

    /// Gives all of it to the sinks, which come back.
    fn finish(mut self, recording: &Recording) -> Result<AudioSinks, Error> {
        let Self { sinks, recoding, resampler } = &mut self;
        let mut taken = Ok(());
        resampler.flush(&mut |sound| {
            if taken.is_ok() {
                taken = take_sound(sinks, recoding.as_deref_mut(), &sound, recording);
            }
        })?;
        if let Some(encoder) = recoding {
            encoder.flush(&mut |packet| {
                if taken.is_ok() {
                    taken = recording.write(&packet);
                }
            })?;
        }
        taken.map(|()| self.sinks)
    }
}

fn take_sound(
    sinks: &mut AudioSinks,
    recoding: Option<&mut (dyn AudioEncoder + 'static)>,
    sound: &AudioFrame,
    recording: &Recording,
) -> Result<(), Error> {
    if let Some(measure) = &sinks.measure {
        measure.sound(sound);
    }
    if let Some(hearing) = &mut sinks.hearing {
        hearing.play(sound);
    }
    if let Some(wav) = &mut sinks.wav {
        wav.write(sound).map_err(|error| Error::from(error).at("audio-output"))?;
    }
    let mut written = Ok(());
    if let Some(encoder) = recoding {
        encoder.encode(sound, &mut |packet| {
            if written.is_ok() {
                written = recording.write(&packet);
            }
        })?;
    }
    written
}

pub(super) fn receive_audio(
    codec: Codec,
    frames: &Receiver<EncodedFrame>,
    recording: &Recording,
    sinks: Option<AudioSinks>,
    (timing, count): (&Timing, &AtomicU64),
) -> Result<(Option<u64>, Option<Finished>), Error> {
    let sinks = sinks.unwrap_or_default();
    let mut codec = codec;
    let mut decoding = Listening::begin(codec, sinks, recording)?;
    let mut decoded = 0;
    let mut due: Option<MediaTime> = None;
    while let Some(frame) = frames.recv() {
        if frame.codec != std::mem::replace(&mut codec, frame.codec) {
            let sinks = match decoding {
                Some((_, listening)) => listening.finish(recording)?,
                None => AudioSinks::default(),
            };
            decoding = Listening::begin(codec, sinks, recording)?;
            due = None;
        }
        if codec == RECORDED_SOUND {
            recording.write(&frame)?;
        }
        let Some((decoder, listening)) = &mut decoding else { continue };
        let mut heard = Ok(());
        let mut hear = |sound: AudioFrame| {
            if heard.is_ok() {
                heard = listening.hear(&sound, recording);
            }
        };
        let hole = due.map_or(MediaTime::ZERO, |due| frame.time.minus(due));
        if let Some(time) = due
            && hole > MediaTime::from_micros(5_000)
            && hole < MOST_CONCEALED
        {
            let samples = usize::try_from(hole.rescale(decoder.format().sample_rate).ticks()).unwrap_or(0);
            if let Err(error) = decoder.conceal(Loss { time, samples, next: Some(&frame) }, &mut hear) {
                tracing::debug!("{error}");
            }
        }
        match decoder.decode(&frame, &mut |sound: AudioFrame| {
            due = Some(sound.time.plus(sound.duration()));
            hear(sound);
        }) {
            Ok(()) => {
                decoded += 1;
                count.fetch_add(1, Ordering::Relaxed);
                timing.mark(Mark::FirstFrameDecoded);
            }
            Err(error) => tracing::debug!("{error}"),
        }
        heard?;
    }
    let has_decoded = decoding.is_some();
    let wav = match decoding {
        Some((_, listening)) => {
            let AudioSinks { wav, hearing, .. } = listening.finish(recording)?;
            hearing.into_iter().for_each(Hearing::finish);
            wav
        }
        None => None,
    };
    let output = match wav.filter(|_| decoded > 0) {
        Some(wav) => Some(wav.finish().map_err(|error| Error::from(error).at("audio-output"))?),
        None => None,
    };
    Ok((has_decoded.then_some(decoded), output))
}
