//! Handing written bytes on to the disk without waiting for it: the sync that follows finds less to
//! do, and the disk works while others still copy. The one call that no safe library offers.
#![expect(
    unsafe_code,
    reason = "1.3 times as many chunks of 1 MiB a second; see docs/benchmarks.md"
)]

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// Asks the kernel to begin writing `length_bytes` bytes of `file` from `at` on. Promises nothing: what was
/// not written is left to the next sync, which also reports errors.
pub(crate) fn begin(file: &File, at: u64, length_bytes: u64) {
    let (Ok(at), Ok(length_bytes)) = (i64::try_from(at), i64::try_from(length_bytes)) else {
        return;
    };
    // SAFETY: the call takes numbers only and touches no memory of this process. The descriptor is
    // open for as long as `file` is borrowed. Whatever it answers, nothing here depends on it.
    let _ = unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            at,
            length_bytes,
            libc::SYNC_FILE_RANGE_WRITE,
        )
    };
}
