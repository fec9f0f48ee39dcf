//! Frames: raw pictures and sound, and their encoded form.

use super::{AudioFormat, Codec, MediaTime};
use bytes::Bytes;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// A picture in planar YUV 4:2:0, 8 bits, limited range (BT.601 unless a source says otherwise).
///
/// One allocation holds Y, then U, then V, without padding: the strides are `width` and
/// `chroma_width()`. Odd sizes round the chroma planes up.
#[derive(Debug)]
pub struct I420 {
    width: u32,
    height: u32,
    data: Vec<u8>,
    home: Option<Arc<PoolShelf>>,
}

impl I420 {
    /// Bytes of a picture of this size.
    pub const fn byte_len(width: u32, height: u32) -> usize {
        let luma = width as usize * height as usize;
        luma + 2 * (width.div_ceil(2) as usize * height.div_ceil(2) as usize)
    }

    /// A picture that belongs to no pool; its content is unspecified. Prefer [`FramePool::take`] in a running pipeline.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, data: vec![0; Self::byte_len(width, height)], home: None }
    }

    /// Width in pixels; the stride of Y in bytes.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels; the rows of Y.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Width of U and V; their stride in bytes.
    pub const fn chroma_width(&self) -> u32 {
        self.width.div_ceil(2)
    }

    /// Rows of U and V.
    pub const fn chroma_height(&self) -> u32 {
        self.height.div_ceil(2)
    }

    /// All three planes, back to back.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// All three planes, back to back.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Y, U and V.
    pub fn planes(&self) -> [&[u8]; 3] {
        let (y, chroma) = self.data.split_at(self.width as usize * self.height as usize);
        let (u, v) = chroma.split_at(chroma.len() / 2);
        [y, u, v]
    }

    /// Y, U and V.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let (y, chroma) = self.data.split_at_mut(self.width as usize * self.height as usize);
        let (u, v) = chroma.split_at_mut(chroma.len() / 2);
        [y, u, v]
    }
}

impl Drop for I420 {
    fn drop(&mut self) {
        if let Some(shelf) = self.home.take() {
            shelf.put(std::mem::take(&mut self.data));
        }
    }
}

/// Recycles the memory of pictures: a picture taken from a pool returns its buffer when its last user drops it.
#[derive(Clone, Debug, Default)]
pub struct FramePool {
    shelf: Arc<PoolShelf>,
}

#[derive(Debug, Default)]
struct PoolShelf {
    free: Mutex<Vec<Vec<u8>>>,
}

impl PoolShelf {
    /// Enough for the queues of one track; more is handed back to the allocator.
    const MOST: usize = 8;

    fn put(&self, buffer: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < Self::MOST {
            free.push(buffer);
        }
    }
}

impl FramePool {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// A picture of this size; its content is unspecified (whatever the last user left).
    pub fn take(&self, width: u32, height: u32) -> I420 {
        let len = I420::byte_len(width, height);
        let recycled = self.shelf.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut data = recycled.unwrap_or_default();
        data.resize(len, 0);
        I420 { width, height, data, home: Some(Arc::clone(&self.shelf)) }
    }
}

/// One raw picture at its time. Cloning shares the pixels.
#[derive(Clone, Debug)]
pub struct VideoFrame {
    /// When it was captured, on the timeline of its capture.
    pub time: MediaTime,
    /// The pixels.
    pub picture: Arc<I420>,
}

impl VideoFrame {
    /// A frame that owns its picture.
    pub fn new(time: MediaTime, picture: I420) -> Self {
        Self { time, picture: Arc::new(picture) }
    }
}

impl Deref for VideoFrame {
    type Target = I420;

    fn deref(&self) -> &I420 {
        &self.picture
    }
}

/// A run of interleaved samples, `samples.len() / format.channels` per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioFrame {
    /// When the first sample was captured, on the timeline of its capture.
    pub time: MediaTime,
    /// Rate and channels.
    pub format: AudioFormat,
    /// Interleaved samples in -1.0 ..= 1.0.
    pub samples: Vec<f32>,
}

impl AudioFrame {
    /// Samples per channel.
    pub fn len(&self) -> usize {
        self.samples.len() / usize::from(self.format.channels.max(1))
    }

    /// Whether it holds no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How long it sounds.
    pub fn duration(&self) -> MediaTime {
        MediaTime::new(i64::try_from(self.len()).unwrap_or(i64::MAX), self.format.sample_rate)
    }
}

/// One encoded picture, or one packet of encoded audio. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// How the bytes are coded.
    pub codec: Codec,
    /// When it was captured, on the timeline of its capture.
    pub time: MediaTime,
    /// Whether decoding can start here. Always true for audio.
    pub key: bool,
    /// One frame in the codec's own framing: a VP8 frame (RFC 6386 section 9), a VP9 frame or superframe, an H.264
    /// access unit as a byte stream (annex B) with the parameter sets in each key frame, an AV1 temporal unit without its
    /// delimiter, an Opus packet (RFC 6716 section 3).
    pub data: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_cover_the_buffer_and_odd_sizes_round_chroma_up() {
        let picture = I420::new(5, 3);
        let [y, u, v] = picture.planes();
        assert_eq!((y.len(), u.len(), v.len()), (15, 6, 6));
        assert_eq!(picture.data().len(), I420::byte_len(5, 3));
    }

    #[test]
    fn a_dropped_picture_gives_its_memory_back_to_its_pool() {
        let pool = FramePool::new();
        let first = pool.take(64, 48);
        let address = first.data().as_ptr();
        let shared = VideoFrame::new(MediaTime::ZERO, first);
        let second_user = shared.clone();
        drop(shared);
        assert_ne!(pool.take(64, 48).data().as_ptr(), address, "still in use");
        drop(second_user);
        let reused = [pool.take(64, 48), pool.take(64, 48)];
        assert!(reused.iter().any(|picture| picture.data().as_ptr() == address));
    }
}
