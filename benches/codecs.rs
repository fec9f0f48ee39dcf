//! What a picture costs: CPU time, bits and likeness of each video codec with the settings of a call.
//!
//! `cargo bench --bench codecs -- film.y4m 1500000 2`: a film, bits per second, threads. `benches/README.md` says how the
//! film is made and has the results.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "that is what it is for")]

use rtckit::capture::{self, OpenOptions, SourceSpec, Wanted};
use rtckit::codec::{self, EncoderSettings};
use rtckit::media::{AudioConstraints, Codec, I420, VideoConstraints, VideoFrame, VideoInput};
use rtckit::stop::Stop;
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [film, bitrate, threads] = &args[..] else {
        // Cargo runs every bench to see that it works.
        println!("usage: codecs FILM.y4m BITS_PER_SECOND THREADS");
        return Ok(());
    };
    let (bitrate, threads) = (bitrate.parse()?, threads.parse()?);
    println!("| codec | CPU ms a picture to encode | to decode | kbit/s | PSNR of luma | pictures left out |");
    println!("|---|---|---|---|---|---|");
    for codec in Codec::VIDEO {
        measure(codec, film, bitrate, threads)?;
    }
    Ok(())
}

fn measure(codec: Codec, film: &str, bitrate: u32, threads: u32) -> Result<(), Box<dyn Error>> {
    let wanted = Wanted { video: true, audio: false };
    let (video, audio) = (VideoConstraints::default(), AudioConstraints::default());
    let spec = SourceSpec::File(film.into());
    let input = capture::open(&spec, wanted, &video, &audio, OpenOptions::default())?;
    let Some(VideoInput::Raw { format, mut source, .. }) = input.video else { return Err("not a y4m".into()) };
    let settings = EncoderSettings { bitrate, threads, ..EncoderSettings::default() };
    let mut encoder = codec::video_encoder(codec, &format, settings)?;
    let mut decoder = codec::video_decoder(codec)?;
    let (mut pictures, mut left_out, mut bytes, mut error, mut compared) = (0u32, 0u32, 0usize, 0.0, 0u64);
    let (mut encoding, mut decoding) = (0.0, 0.0);
    let stop = Stop::new();
    let began = Instant::now();
    while let Some(picture) = source.next(&stop)? {
        pictures += 1;
        let mut frames = Vec::new();
        let before = cpu_seconds()?;
        encoder.encode(&picture, false, &mut |frame| frames.push(frame))?;
        let between = cpu_seconds()?;
        encoding += between - before;
        left_out += u32::from(frames.is_empty());
        let mut shown: Option<VideoFrame> = None;
        for frame in frames {
            bytes += frame.data.len();
            decoder.decode(&frame, &mut |picture| shown = Some(picture))?;
        }
        decoding += cpu_seconds()? - between;
        if let Some(shown) = shown {
            error += squared_error(&picture, &shown);
            compared += picture.planes()[0].len() as u64;
        }
    }
    let seconds = f64::from(pictures) / format.frame_rate.as_f64();
    println!(
        "| {codec} | {:.1} | {:.1} | {:.0} | {:.1} dB | {left_out} of {pictures} |",
        encoding * 1000.0 / f64::from(pictures),
        decoding * 1000.0 / f64::from(pictures),
        bytes as f64 * 8.0 / 1000.0 / seconds,
        10.0 * (255.0f64.powi(2) * compared as f64 / error.max(1.0)).log10(),
    );
    eprintln!("{codec}: {:.1} s for {seconds:.1} s of film", began.elapsed().as_secs_f64());
    Ok(())
}

fn squared_error(a: &I420, b: &I420) -> f64 {
    let pairs = a.planes()[0].iter().zip(b.planes()[0]);
    pairs.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum()
}

/// Processor time of all threads of this process, from the kernel's count in nanoseconds.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let mut total = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9;
    }
    Ok(total)
}
