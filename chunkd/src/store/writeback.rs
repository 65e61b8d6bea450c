//! Handing written bytes on to the disk without waiting for it: the sync that follows finds less to
//! do, and the disk works while others still copy. The one call that no safe library offers.
#![expect(
    unsafe_code,
    reason = "1.3 times as many chunks of 1 MiB a second; see docs/benchmarks.md"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// Asks the kernel to begin writing `length_bytes` bytes of `file` from `at` on. Promises nothing: what was
/// not written is left to the next sync, which also reports errors.
pub(crate) fn begin(file: &File, at: u64, length_bytes: u64) {
    // Whatever it answers, nothing depends on it.
    let _ = sync_range(file, at, length_bytes, libc::SYNC_FILE_RANGE_WRITE);
}

/// Waits until those bytes are written, which began before. Promises as little, for what the disk and the
/// filesystem have to note beside them is left to the next sync too.
///
/// # Errors
/// A write that failed. It is reported here once, so it counts as a failed sync.
pub(crate) fn wait(file: &File, at: u64, length_bytes: u64) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    match sync_range(file, at, length_bytes, flags) {
        // Filesystems without the call leave everything to the sync.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE)
            ) =>
        {
            Ok(())
        }
        waited => waited,
    }
}

fn sync_range(file: &File, at: u64, length_bytes: u64, flags: libc::c_uint) -> io::Result<()> {
    let (Ok(at), Ok(length_bytes)) = (i64::try_from(at), i64::try_from(length_bytes)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: the call takes numbers only and touches no memory of this process. The descriptor is
    // open for as long as `file` is borrowed.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), at, length_bytes, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
