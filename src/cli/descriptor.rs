//! Output to a descriptor that the caller opened: `fd:3`.
#![allow(unsafe_code)] // A number becomes a file nowhere else.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A copy of descriptor `number`, which stays open.
pub fn duplicate(number: i32) -> io::Result<File> {
    // SAFETY: dup reads no memory; a number that is no open descriptor is answered with EBADF.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `copy` was opened just now and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(copy) }))
}
