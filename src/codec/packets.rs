//! Samples of any number at a time, cut into packets of one length.

use super::CodecError;
use crate::media::{AudioFormat, AudioFrame, MediaTime, SampleClock};

/// Takes the time of the first sample and the samples of a packet.
pub(super) type PacketOut<'a> = dyn FnMut(MediaTime, &[f32]) -> Result<(), CodecError> + 'a;

/// Collects samples until a packet is full.
///
/// Packet times count samples from the first frame, so they neither jitter nor drift; a hole of more than 50 ms in the input
/// completes a packet with silence and counts on from the time after the hole.
pub(super) struct Packets {
    format: AudioFormat,
    clock: SampleClock,
    pending: Vec<f32>,
    /// Interleaved samples in a packet.
    length: usize,
}

impl Packets {
    /// Packets of so many milliseconds.
    pub(super) fn new(format: AudioFormat, milliseconds: u32) -> Self {
        let length = (format.sample_rate.get() / 1000 * milliseconds) as usize * usize::from(format.channels);
        Self { format, clock: SampleClock::new(format.sample_rate), pending: Vec::with_capacity(length * 2), length }
    }

    /// Takes a frame and calls `out` with each packet that it completes.
    pub(super) fn take(&mut self, frame: &AudioFrame, out: &mut PacketOut<'_>) -> Result<(), CodecError> {
        if frame.format != self.format {
            return Err(CodecError::FormatChanged { found: frame.format });
        }
        let mut end = self.clock;
        end.advance(self.pending.len() / usize::from(self.format.channels));
        if end.breaks_at(frame.time) {
            self.flush(out)?;
            self.clock.start(frame.time);
        }
        // One NaN would poison the filters of an encoder for good.
        self.pending.extend(frame.samples.iter().map(|&sample| if sample.is_finite() { sample } else { 0.0 }));
        self.drain(out)
    }

    /// Pads what is left with silence and gives it. The next frame begins anew.
    pub(super) fn flush(&mut self, out: &mut PacketOut<'_>) -> Result<(), CodecError> {
        if !self.pending.is_empty() {
            self.pending.resize(self.length, 0.0);
            self.drain(out)?;
        }
        self.clock.stop();
        Ok(())
    }

    fn drain(&mut self, out: &mut PacketOut<'_>) -> Result<(), CodecError> {
        let mut taken = 0;
        while let Some(samples) = self.pending.get(taken..taken + self.length) {
            out(self.clock.now(), samples)?;
            self.clock.advance(self.length / usize::from(self.format.channels));
            taken += self.length;
        }
        self.pending.drain(..taken);
        Ok(())
    }
}
