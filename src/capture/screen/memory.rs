//! Memory shared with a display server.
#![allow(unsafe_code)] // Mapping a file that another process writes to. Every block says why it may.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::ptr::NonNull;

/// A mapping of a file descriptor, readable and writable.
///
/// The display server writes to it while it answers a request, which is never while we look: every user asks, waits for the answer and
/// then reads. A server that breaks this can only change pixels; all byte values are valid ones.
pub(super) struct SharedMemory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone, and is tied to no thread.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Maps the first `len` bytes of `file`, which must have as many.
    pub(super) fn map(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let size = rustix::fs::fstat(file)?.st_size;
        if len == 0 || u64::try_from(size).is_ok_and(|size| size < len as u64) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{size} bytes are not {len}")));
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at the address 0"))?;
        Ok(Self { start, len })
    }

    /// New memory of `len` bytes, all 0, and the file to share it by. It cannot be made smaller by whoever gets the file.
    pub(super) fn new(len: usize) -> io::Result<(Self, File)> {
        // SAFETY: the name is a C string; the descriptor that is returned is nobody else's.
        let file = unsafe {
            let fd = libc::memfd_create(c"rtckit-screen".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(fd)
        };
        file.set_len(len as u64)?;
        rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::SHRINK)?;
        let memory = Self::map(std::os::fd::AsFd::as_fd(&file), len)?;
        Ok((memory, file))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `len` bytes long and readable for as long as `self` lives; see the type on who writes.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably, so that there is no other slice.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` and is unmapped only here.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn two_mappings_of_one_file_are_the_same_memory_and_it_cannot_shrink() {
        let (mut one, file) = SharedMemory::new(5000).unwrap();
        let two = SharedMemory::map(file.as_fd(), 5000).unwrap();
        one.bytes_mut()[4999] = 7;
        assert_eq!((two.bytes()[4999], two.bytes().len()), (7, 5000));
        assert!(file.set_len(10).is_err());
        assert!(SharedMemory::map(file.as_fd(), 5001).is_err());
        assert!(SharedMemory::map(file.as_fd(), 0).is_err());
    }
}
