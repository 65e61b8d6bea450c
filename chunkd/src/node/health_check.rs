//! Looking whether a disk is still there and well: its identity is read from the medium, its
//! filesystem asked whether it takes writes, and where a write has failed, a small one is tried.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use chunkproto::DiskId;
use rustix::fs::{Advice, StatVfsMountFlags};
use tokio::sync::oneshot;

use super::identity::{self, DiskIdentity};
use crate::store::is_of_process;

/// Longest `disk.json` that is read: far above a roster of hundreds of disks.
const IDENTITY_MAX_BYTES: u64 = 1 << 20;
/// What a trial write is long.
const TRIAL_BYTES: usize = 4096;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The disk is there and well.
    Good,
    /// The process or the machine lacks something; that says nothing of the disk.
    Unclear,
    /// The disk takes no writes.
    NoWrites(String),
    /// The disk is gone or cannot be read.
    Gone(String),
}

/// A check of one disk.
#[derive(Debug, Clone)]
pub(crate) struct HealthCheck {
    /// Its data directory.
    pub dir: PathBuf,
    /// Its identity.
    pub disk_id: DiskId,
    /// Whether to try a write.
    pub try_write: bool,
}

impl HealthCheck {
    /// Checks, in a thread of its own: on a disk that hangs it may never come back, and must not
    /// take the place of work on other disks. The caller starts one at a time for each disk.
    pub fn start(self) -> oneshot::Receiver<Verdict> {
        let (answer, verdict) = oneshot::channel();
        let run = move || drop(answer.send(self.run()));
        // Without a thread nothing is answered, and the receiver says that the sender is gone.
        if let Err(error) = thread::Builder::new()
            .name("disk-checkup".into())
            .spawn(run)
        {
            tracing::warn!(%error, "cannot look at a disk");
        }
        verdict
    }

    fn run(&self) -> Verdict {
        let read = read_uncached(&identity::path_in(&self.dir));
        let identity = match read {
            Ok(bytes) => DiskIdentity::parse(&self.dir, &bytes).map_err(|error| error.to_string()),
            Err(error) if is_of_process(&error) => return Verdict::Unclear,
            Err(error) => Err(format!("disk.json cannot be read: {error}")),
        };
        match identity {
            Ok(identity) if identity.disk_id == self.disk_id => self.look_for_writing(),
            Ok(identity) => Verdict::Gone(format!("it is disk {} now", identity.disk_id)),
            Err(reason) => Verdict::Gone(reason),
        }
    }

    fn look_for_writing(&self) -> Verdict {
        match rustix::fs::statvfs(&self.dir) {
            Err(error) => return Verdict::Gone(format!("its size cannot be asked: {error}")),
            Ok(stat) if stat.f_flag.contains(StatVfsMountFlags::RDONLY) => {
                return Verdict::NoWrites("its filesystem is mounted read-only".into());
            }
            Ok(_) => {}
        }
        if !self.try_write {
            return Verdict::Good;
        }
        match trial_write(&self.dir.join("tmp").join("checkup")) {
            Ok(()) => Verdict::Good,
            Err(error) if is_of_process(&error) || is_full(&error) => Verdict::Unclear,
            Err(error) => Verdict::NoWrites(format!("a trial write failed: {error}")),
        }
    }
}

/// Reads a short file from the medium rather than from the page cache.
fn read_uncached(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // Advice alone: a filesystem that ignores it costs the checkup some of its sharpness.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    let mut bytes = Vec::new();
    file.take(IDENTITY_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn trial_write(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&[0x5a; TRIAL_BYTES])?;
    file.sync_all()?;
    fs::remove_file(path)
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::super::identity::Roster;
    use super::*;

    fn check() -> (TempDir, HealthCheck) {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        let disk_id = DiskId::generate();
        let identity = DiskIdentity::new(disk_id, Roster::default());
        identity.write(dir.path()).unwrap();
        let check = HealthCheck {
            dir: dir.path().to_owned(),
            disk_id,
            try_write: true,
        };
        (dir, check)
    }

    #[tokio::test]
    async fn a_disk_that_is_well_is_good_and_nothing_is_left_on_it() {
        let (dir, check) = check();
        assert_eq!(check.start().await.unwrap(), Verdict::Good);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn another_disk_at_its_place_is_not_the_disk() {
        let (dir, check) = check();
        let other = DiskIdentity::new(DiskId::generate(), Roster::default());
        other.write(dir.path()).unwrap();
        assert!(matches!(check.run(), Verdict::Gone(_)));
        fs::remove_file(identity::path_in(dir.path())).unwrap();
        assert!(matches!(check.run(), Verdict::Gone(_)));
    }

    #[test]
    fn a_trial_write_that_fails_ends_writing_and_a_full_disk_does_not() {
        let (dir, check) = check();
        fs::create_dir(dir.path().join("tmp/checkup")).unwrap();
        assert!(matches!(check.run(), Verdict::NoWrites(_)));
        fs::remove_dir(dir.path().join("tmp/checkup")).unwrap();
        symlink("/dev/full", dir.path().join("tmp/checkup")).unwrap();
        assert_eq!(check.run(), Verdict::Unclear);
    }
}
