//! Files made by foreign tools, read back; files that are broken on purpose.

use crate::capture::{CaptureError, OpenOptions, SourceSpec, Wanted, file, open};
use crate::error::Classify;
use crate::media::frame_header;
use crate::media::{
    AudioConstraints, AudioInput, Codec, Constraint, EncodedFrame, MediaInput, MediaTime, Source, VideoConstraints,
    VideoInput,
};
use crate::stop::{Stop, StopReason};
use std::io::{Cursor, Read};
use std::path::PathBuf;

const BOTH: Wanted = Wanted { video: true, audio: true };
const VIDEO: Wanted = Wanted { video: true, audio: false };
const AUDIO: Wanted = Wanted { video: false, audio: true };
const ALL: [&str; 14] = [
    "vp8-opus.webm",
    "vp8-opus-live.webm",
    "vp8.ivf",
    "opus.ogg",
    "tiny.y4m",
    "tiny-444.y4m",
    "tone.wav",
    "tone-s24-pipe.wav",
    "vp9.webm",
    "vp9.ivf",
    "h264.mkv",
    "av1.ivf",
    "av1.webm",
    "mjpeg.mkv",
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn data(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("the fixture is committed")
}

fn try_open(name: &str, wanted: Wanted, repeat: bool) -> Result<MediaInput, CaptureError> {
    let options = OpenOptions { repeat, ..OpenOptions::default() };
    let (video, audio) = (VideoConstraints::default(), AudioConstraints::default());
    open(&SourceSpec::File(path(name)), wanted, &video, &audio, options)
}

fn from_stdin(bytes: impl Read + Send + 'static, wanted: Wanted) -> MediaInput {
    let options = OpenOptions { stdin: Some(Box::new(bytes)), ..OpenOptions::default() };
    open(&SourceSpec::Stdin, wanted, &VideoConstraints::default(), &AudioConstraints::default(), options).unwrap()
}

type Encoded = Box<dyn Source<EncodedFrame>>;

fn encoded(input: MediaInput) -> (Option<Encoded>, Option<Encoded>) {
    let video = input.video.map(|video| match video {
        VideoInput::Encoded { source, .. } => source,
        VideoInput::Raw { .. } => panic!("raw"),
    });
    let audio = input.audio.map(|audio| match audio {
        AudioInput::Encoded { source, .. } => source,
        AudioInput::Raw { .. } => panic!("raw"),
    });
    (video, audio)
}

fn rest<T>(mut source: Box<dyn Source<T>>) -> Vec<T> {
    let stop = Stop::new();
    std::iter::from_fn(|| source.next(&stop).unwrap()).collect()
}

fn seconds(frames: &[EncodedFrame]) -> Vec<f64> {
    frames.iter().map(|frame| frame.time.seconds()).collect()
}

fn assert_rising(times: &[f64], step: f64, tolerance: f64) {
    for pair in times.windows(2) {
        assert!((pair[1] - pair[0] - step).abs() <= tolerance, "{} after {}", pair[1], pair[0]);
    }
}

/// Gives its bytes a few at a time, as a pipe may.
struct Dribble(Cursor<Vec<u8>>, usize);

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let len = self.1.min(buffer.len());
        self.0.read(&mut buffer[..len])
    }
}

fn dribble(name: &str) -> Dribble {
    Dribble(Cursor::new(data(name)), 0)
}

#[test]
fn webm_gives_both_tracks_in_sync_from_a_file_a_pipe_and_a_live_stream() {
    let inputs = [
        try_open("vp8-opus.webm", BOTH, false).unwrap(),
        from_stdin(dribble("vp8-opus.webm"), BOTH),
        try_open("vp8-opus-live.webm", BOTH, false).unwrap(),
        from_stdin(dribble("vp8-opus-live.webm"), BOTH),
    ];
    for input in inputs {
        let Some(VideoInput::Encoded { size: Some((64, 48)), .. }) = &input.video else { panic!("64x48") };
        let Some(AudioInput::Encoded { channels: 1, .. }) = &input.audio else { panic!("mono") };
        let (video, audio) = encoded(input);
        // One after the other on one thread: the backlog holds what the second has not read yet.
        let (video, audio) = (rest(video.unwrap()), rest(audio.unwrap()));
        // ffprobe counts 20 and 101 packets, the first at 0.007 and -0.007 s: Opus starts with its pre-skip.
        assert_eq!((video.len(), audio.len()), (20, 101));
        assert!((video[0].time.seconds() - 0.0135).abs() < 0.001, "{}", video[0].time.seconds());
        assert_eq!(audio[0].time, MediaTime::ZERO);
        assert_rising(&seconds(&video), 0.1, 0.0011);
        assert_rising(&seconds(&audio), 0.02, 0.0011);
        let keys: Vec<_> = (0..20).filter(|n| video[*n].key).collect();
        assert_eq!(keys, [0, 10]);
        assert!(audio.iter().all(|packet| packet.key));
    }
}

#[test]
fn both_tracks_of_a_pipe_can_be_read_from_two_threads() {
    let (video, audio) = encoded(from_stdin(dribble("vp8-opus.webm"), BOTH));
    let video = std::thread::spawn(move || rest(video.unwrap()).len());
    let audio = std::thread::spawn(move || rest(audio.unwrap()).len());
    assert_eq!((video.join().unwrap(), audio.join().unwrap()), (20, 101));
}

#[test]
fn opening_one_track_gives_the_timeline_of_opening_both() {
    let (video, _) = encoded(try_open("vp8-opus.webm", VIDEO, false).unwrap());
    let (_, audio) = encoded(try_open("vp8-opus.webm", AUDIO, false).unwrap());
    assert!(rest(video.unwrap())[0].time > rest(audio.unwrap())[0].time);
}

#[test]
fn ivf_ogg_y4m_and_wav_give_what_the_foreign_tool_wrote() {
    for (name, codec, frames, keys) in [
        ("vp8.ivf", Codec::Vp8, 20, 2),
        ("vp9.ivf", Codec::Vp9, 20, 2),
        ("vp9.webm", Codec::Vp9, 5, 1),
        ("h264.mkv", Codec::H264, 20, 2),
        ("av1.ivf", Codec::Av1, 20, 2),
        ("av1.webm", Codec::Av1, 20, 2),
    ] {
        let (video, _) = encoded(try_open(name, VIDEO, false).unwrap());
        let video = rest(video.unwrap());
        assert_eq!(video.len(), frames, "{name}");
        assert!(video.iter().all(|frame| frame.codec == codec), "{name}");
        assert_rising(&seconds(&video), 0.1, 1e-9);
        assert_eq!(video.iter().filter(|frame| frame.key).count(), keys, "{name}");
        let sizes = video.iter().filter(|frame| frame.key).map(|frame| frame_header(codec, &frame.data).unwrap().size);
        assert!(sizes.into_iter().all(|size| size == Some((64, 48))), "{name}: a key frame says all that it needs");
    }

    let (_, audio) = encoded(try_open("opus.ogg", AUDIO, false).unwrap());
    let audio = rest(audio.unwrap());
    assert_eq!(audio.len(), 101);
    assert_eq!(audio[0].time, MediaTime::ZERO);
    assert_rising(&seconds(&audio), 0.02, 1e-9);

    let Some(VideoInput::Raw { format, live: false, source }) = try_open("tiny.y4m", VIDEO, false).unwrap().video
    else {
        panic!("raw")
    };
    assert_eq!((format.width, format.height, format.frame_rate.as_f64()), (16, 12, 25.0));
    let pictures = rest(source);
    assert_eq!(pictures.len(), 5);
    let file = data("tiny.y4m");
    assert_eq!(pictures[4].data(), &file[file.len() - 288..], "the last picture is the end of the file");
    assert_eq!(pictures[4].time.seconds(), 0.16);

    for (name, samples, peak) in [("tone.wav", 2000, 0.125), ("tone-s24-pipe.wav", 2000, 0.125)] {
        let Some(AudioInput::Raw { format, source, .. }) = try_open(name, AUDIO, false).unwrap().audio else {
            panic!("raw")
        };
        assert_eq!((format.sample_rate.get(), format.channels), (8000, 1));
        let frames = rest(source);
        assert!(frames.iter().all(|frame| frame.len() <= 80));
        assert_eq!(frames.iter().map(|frame| frame.len()).sum::<usize>(), samples);
        assert_eq!(frames[24].time.seconds(), 0.24);
        let highest = frames.iter().flat_map(|frame| &frame.samples).fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!((highest - peak).abs() < 0.001, "{name}: {highest}");
    }
}

#[test]
fn other_chroma_and_ranges_become_limited_420() {
    let Some(VideoInput::Raw { source, .. }) = try_open("tiny-444.y4m", VIDEO, false).unwrap().video else {
        panic!("raw")
    };
    let pictures = rest(source);
    assert_eq!((pictures.len(), pictures[0].data().len()), (3, 14 * 10 + 2 * 7 * 5));
    let one = |header: &str, stored: &[u8]| {
        let bytes = [format!("YUV4MPEG2 W2 H2 F30:1 {header}\nFRAME\n").as_bytes(), stored].concat();
        let Some(VideoInput::Raw { source, .. }) = from_stdin(Cursor::new(bytes), VIDEO).video else { panic!("raw") };
        rest(source).remove(0).data().to_vec()
    };
    assert_eq!(one("C444", &[1, 2, 3, 4, 10, 20, 30, 40, 5, 5, 5, 6]), [1, 2, 3, 4, 25, 5]);
    assert_eq!(one("C422", &[1, 2, 3, 4, 10, 20, 5, 7]), [1, 2, 3, 4, 15, 6]);
    assert_eq!(one("Cmono", &[1, 2, 3, 4]), [1, 2, 3, 4, 128, 128]);
    assert_eq!(one("C420jpeg It XCOLORRANGE=FULL", &[0, 255, 0, 0, 128, 255]), [16, 235, 16, 16, 128, 240]);
}

#[test]
fn every_sample_format_of_wav_reads_full_scale() {
    let wav = |tag: u16, bits: u16, samples: &[u8], size: u32| {
        let block = bits / 8;
        let mut bytes = b"RIFF\xFF\xFF\xFF\xFFWAVEfmt \x10\0\0\0".to_vec();
        bytes.extend(tag.to_le_bytes().iter().chain(&[1, 0]).chain(&8000_u32.to_le_bytes()).chain(&[0; 4]));
        bytes.extend(block.to_le_bytes().iter().chain(&bits.to_le_bytes()).chain(b"data").chain(&size.to_le_bytes()));
        bytes.extend(samples);
        let Some(AudioInput::Raw { source, .. }) = from_stdin(Cursor::new(bytes), AUDIO).audio else { panic!("raw") };
        rest(source).into_iter().flat_map(|frame| frame.samples).collect::<Vec<_>>()
    };
    assert_eq!(wav(1, 8, &[0, 128, 192], 3), [-1.0, 0.0, 0.5]);
    assert_eq!(wav(1, 16, &[0, 128, 0, 64, 9], 0), [-1.0, 0.5], "size 0 lasts to the end; half a sample is none");
    assert_eq!(wav(1, 24, &[0, 0, 128, 0, 0, 64], u32::MAX), [-1.0, 0.5]);
    assert_eq!(wav(1, 32, &[0, 0, 0, 128, 0, 0, 0, 64, 1, 1, 1, 1], 8), [-1.0, 0.5], "what follows is not sound");
    assert_eq!(wav(3, 32, &[0.25_f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat(), 8), [0.25, 0.0]);
    assert_eq!(wav(3, 64, &(-0.5_f64).to_le_bytes(), 8), [-0.5]);
}

#[test]
fn a_repeated_file_goes_on_in_time_and_both_tracks_keep_step() {
    let (video, audio) = encoded(try_open("vp8-opus.webm", BOTH, true).unwrap());
    let take = |mut source: Encoded, count: usize| -> Vec<f64> {
        let stop = Stop::new();
        (0..count).map(|_| source.next(&stop).unwrap().expect("it repeats").time.seconds()).collect()
    };
    let (video, audio) = (take(video.unwrap(), 50), take(audio.unwrap(), 250));
    assert!(video.windows(2).chain(audio.windows(2)).all(|pair| pair[0] < pair[1]));
    let (one, two) = (video[20] - video[0], video[40] - video[20]);
    assert!((one - 2.02).abs() < 0.02 && (one - two).abs() < 1e-6, "{one} {two}");
    assert!((audio[101] - audio[0] - one).abs() < 1e-6, "audio repeats when video does");

    for name in ["vp8.ivf", "opus.ogg"] {
        let wanted = if name == "vp8.ivf" { VIDEO } else { AUDIO };
        let (video, audio) = encoded(try_open(name, wanted, true).unwrap());
        let times = take(video.or(audio).unwrap(), 210);
        assert_rising(&times, times[1], 1e-6);
    }
}

#[test]
fn a_repeated_file_ends_when_stopped_and_an_empty_one_by_itself() {
    let stop = Stop::new();
    let (video, _) = encoded(try_open("vp8.ivf", VIDEO, true).unwrap());
    let mut video = video.unwrap();
    assert!(video.next(&stop).unwrap().is_some());
    stop.stop(StopReason::Done);
    assert!(video.next(&stop).unwrap().is_none());

    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.ivf");
    std::fs::write(&empty, &data("vp8.ivf")[..32]).unwrap();
    let options = OpenOptions { repeat: true, ..OpenOptions::default() };
    let (video, audio) = (VideoConstraints::default(), AudioConstraints::default());
    let (video, _) = encoded(open(&SourceSpec::File(empty), VIDEO, &video, &audio, options).unwrap());
    assert!(rest(video.unwrap()).is_empty());
}

#[test]
fn stdin_cannot_repeat() {
    let options = OpenOptions { repeat: true, stdin: Some(Box::new(dribble("vp8.ivf"))), ..OpenOptions::default() };
    let result = open(&SourceSpec::Stdin, VIDEO, &VideoConstraints::default(), &AudioConstraints::default(), options);
    assert!(matches!(result, Err(CaptureError::NotRepeatable { .. })));
}

#[test]
fn what_a_file_does_not_have_is_named() {
    let name = |name: &str, wanted| try_open(name, wanted, false).err().map(|e| (e.name(), e.to_string())).unwrap();
    let (kind, text) = name("mjpeg.mkv", VIDEO);
    assert!(kind == "NotSupportedError" && text.contains("video in V_MJPEG"), "{text}");
    let (kind, text) = name("mjpeg.mkv", AUDIO);
    assert!(kind == "NotFoundError" && text.ends_with("has no audio"), "{text}");
    assert_eq!(name("opus.ogg", BOTH).0, "NotFoundError");
    assert_eq!(name("tiny.y4m", AUDIO).0, "NotFoundError");
    let text = |bytes: Vec<u8>| file::walk_bytes(&bytes).unwrap_err().to_string();
    let ivf = data("vp8.ivf");
    assert!(text([&ivf[..8], b"HEVC", &ivf[12..]].concat()).contains("HEVC"));
    assert!(text(b"YUV4MPEG2 W4 H4 C420p10\nFRAME\n".to_vec()).contains("C420p10"));
    assert!(text(b"plain text, nothing else".to_vec()).contains("none of y4m"));
    assert!(text(Vec::new()).contains("none of y4m"));
}

#[test]
fn a_constraint_that_the_file_does_not_meet_is_named() {
    let check = |name: &str, width: Option<&str>, rate: Option<&str>, channels: Option<&str>| {
        let parse = |text: Option<&str>| text.map(|text| text.parse::<Constraint>().unwrap());
        let video = VideoConstraints { width: parse(width), frame_rate: parse(rate), ..VideoConstraints::default() };
        let audio = AudioConstraints { channel_count: parse(channels), ..AudioConstraints::default() };
        let wanted = if channels.is_some() { AUDIO } else { VIDEO };
        let result = open(&SourceSpec::File(path(name)), wanted, &video, &audio, OpenOptions::default());
        result.err().map(|error| format!("{}: {error}", error.name()))
    };
    assert_eq!(check("vp8.ivf", Some("exact:64"), Some("exact:10"), None), None);
    assert_eq!(check("tiny.y4m", Some("640"), Some("60"), None), None, "wishes are not demands");
    let refused = check("tiny.y4m", Some("min:300,max:640"), None, None).unwrap();
    assert!(refused.starts_with("OverconstrainedError") && refused.contains("width min:300,max:640"), "{refused}");
    assert!(check("vp8.ivf", None, Some("exact:30"), None).unwrap().contains("frameRate exact:30"));
    assert!(check("opus.ogg", None, None, Some("exact:1")).unwrap().contains("channelCount"));
}

#[test]
fn a_file_that_was_cut_off_is_read_up_to_the_cut() {
    let bytes = data("vp8-opus.webm");
    let (video, audio) = encoded(from_stdin(Cursor::new(bytes[..bytes.len() / 2].to_vec()), BOTH));
    let (video, audio) = (rest(video.unwrap()).len(), rest(audio.unwrap()).len());
    assert!((3..20).contains(&video) && (20..101).contains(&audio), "{video} {audio}");
    let zeroed = [&bytes[..bytes.len() / 2], &[0; 4096]].concat();
    let counts = file::walk_bytes(&zeroed).unwrap();
    assert!(counts.video_frames >= video as u64 && counts.audio_frames >= audio as u64);
    for name in ["vp8.ivf", "opus.ogg", "tiny.y4m", "tone.wav"] {
        let bytes = data(name);
        let (whole, half) =
            (file::walk_bytes(&bytes).unwrap(), file::walk_bytes(&bytes[..bytes.len() * 2 / 3]).unwrap());
        assert!(half.bytes > 0 && half.bytes < whole.bytes, "{name}");
    }
}

#[test]
fn hostile_bytes_never_panic_and_never_cost_more_than_they_are() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut refused, mut read) = (0, 0);
    for name in ALL {
        let original = data(name);
        for _ in 0..600 {
            let mut bytes = original.clone();
            // Mostly in the header, where sizes and counts are.
            let reach = if random(3) == 0 { bytes.len() } else { bytes.len().min(600) };
            for _ in 0..=random(4) {
                let at = random(reach);
                match random(6) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes[at] = 0,
                    2 => bytes[at] = 0xFF,
                    3 => bytes[at..(at + 8).min(reach)].fill(0xFF),
                    4 => drop(bytes.drain(at..(at + 1 + random(16)).min(reach))),
                    _ => bytes[at] = random(256) as u8,
                }
                if bytes.len() < reach {
                    break;
                }
            }
            bytes.truncate(bytes.len() - if random(4) == 0 { random(bytes.len()) } else { 0 });
            match file::walk_bytes(&bytes) {
                // Raw samples grow fourfold at most, mono y4m by half; Matroska frames are copies.
                Ok(contents) => {
                    assert!(contents.bytes <= 5 * bytes.len() as u64, "{name}: {contents:?} of {}", bytes.len());
                    read += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 500 && read > 500, "both outcomes were met: {refused} refused, {read} read");
}

#[test]
fn sizes_beyond_reason_are_refused_or_read_as_cut_off_without_the_memory() {
    let huge = b"YUV4MPEG2 W16384 H16384 F25:1\nFRAME\nxx".to_vec();
    assert_eq!(file::walk_bytes(&huge).unwrap(), file::Contents::default());
    let mut ivf = data("vp8.ivf")[..32].to_vec();
    ivf.extend([0xFF; 12]);
    assert!(file::walk_bytes(&ivf).is_err());
    let mut webm = data("vp8-opus.webm");
    // The last mention: the first is in the SeekHead.
    let tracks = webm.windows(4).rposition(|window| window == [0x16, 0x54, 0xAE, 0x6B]).unwrap();
    webm.splice(tracks + 4..tracks + 12, [0x01, 0x7F, 0, 0, 0, 0, 0, 0]);
    assert!(file::walk_bytes(&webm).unwrap_err().to_string().contains("beyond reason"));
}
