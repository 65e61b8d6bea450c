//! A disk that is slow: strace holds up every read, write and sync of one process for as long as this
//! lives. The process finds no other difference.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A sync takes so many times as long as a read or a write.
const SYNC_FACTOR: u32 = 20;
const READS_AND_WRITES: &str = "pread64,preadv,preadv2,pwrite64,pwritev,pwritev2,write,writev";
const SYNCS: &str = "fsync,fdatasync,sync_file_range";

/// Holds up the disk accesses of a process until it is dropped.
#[derive(Debug)]
pub struct SlowDisk {
    strace: Child,
}

impl SlowDisk {
    /// Whether strace is installed, and may trace.
    #[must_use]
    pub fn is_possible() -> bool {
        let traced = Command::new("strace")
            .args(["--output=/dev/null", "true"])
            .output();
        traced.is_ok_and(|traced| traced.status.success())
    }

    /// Every sync of the process `pid` takes `pause` longer from now on, every read and write a twentieth of
    /// that.
    ///
    /// # Panics
    /// When strace cannot be started.
    #[must_use]
    pub fn of(pid: u32, pause: Duration) -> Self {
        let held_up = |calls: &str, pause: Duration| {
            format!("--inject={calls}:delay_exit={}", pause.as_micros())
        };
        let strace = Command::new("strace")
            .args(["-qqq", "--follow-forks", "--output=/dev/null"])
            .arg(format!("--trace={READS_AND_WRITES},{SYNCS}"))
            .arg(held_up(READS_AND_WRITES, pause / SYNC_FACTOR))
            .arg(held_up(SYNCS, pause))
            .arg(format!("--attach={pid}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace can be started where it is installed");
        Self { strace }
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // The kernel lets go of what a dead tracer held.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
