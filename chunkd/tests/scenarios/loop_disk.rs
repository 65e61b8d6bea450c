//! A small filesystem of its own on a loop device, to fail as a whole.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// `FS_IOC_SHUTDOWN` of the Linux kernel: the filesystem ends as in a power cut.
const SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
/// Its flag for "do not write the log out".
const NO_LOG_FLUSH: u32 = 2;

/// An ext4 filesystem in a file, mounted.
pub struct LoopDisk {
    home: TempDir,
}

impl LoopDisk {
    /// A fresh filesystem of `size_mib`; None, with a word why, where it cannot be mounted.
    pub fn new(size_mib: u64) -> Option<Self> {
        let disk = Self {
            home: TempDir::new().unwrap(),
        };
        let image = File::create(disk.image()).unwrap();
        image.set_len(size_mib << 20).unwrap();
        fs::create_dir(disk.mount_point()).unwrap();
        let made = run("mkfs.ext4", ["-q".as_ref(), disk.image().as_os_str()]);
        if made.and_then(|()| disk.mount()).is_err() {
            println!("skipped: mounting a loop device takes root, ext4 and its tools");
            return None;
        }
        Some(disk)
    }

    /// A data directory on the filesystem.
    pub fn data(&self) -> PathBuf {
        self.mount_point().join("data")
    }

    /// Cuts the power: nothing is read or written any more.
    pub fn cut(&self) {
        let root = File::open(self.mount_point()).unwrap();
        #[expect(unsafe_code, reason = "there is no safe call for this ioctl")]
        // SAFETY: FS_IOC_SHUTDOWN reads a u32 from the pointer that a Setter passes.
        let cut = unsafe {
            let flag = rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH);
            rustix::ioctl::ioctl(&root, flag)
        };
        cut.unwrap();
    }

    /// Zeroes `bytes` wherever they lie on the disk. What the system has in memory of the files on it
    /// stays, as it does when it could not write them.
    pub fn erase(&self, bytes: &[u8]) {
        let image = fs::read(self.image()).unwrap();
        let places = places_of(&image, bytes);
        assert!(!places.is_empty(), "they are on the disk");
        let file = File::options().write(true).open(self.image()).unwrap();
        for at in places {
            file.write_all_at(&vec![0; bytes.len()], at as u64).unwrap();
        }
        file.sync_all().unwrap();
    }

    /// Turns read-only, as ext4 does by itself when it finds an error.
    pub fn go_read_only(&self) {
        let flags = ["-o", "remount,abort"].map(OsStr::new);
        let mount_point = self.mount_point();
        run("mount", flags.into_iter().chain([mount_point.as_os_str()])).unwrap();
    }

    /// Takes all room.
    pub fn fill(&self) {
        let mut file = File::create(self.mount_point().join("filler")).unwrap();
        let zeros = vec![0; 1 << 16];
        while file.write_all(&zeros).is_ok() {}
    }

    /// Unmounts, even while files on it are open.
    pub fn unmount(&self) {
        let mount_point = self.mount_point();
        run("umount", ["-l".as_ref(), mount_point.as_os_str()]).unwrap();
    }

    /// Unmounts and mounts again, which ends a cut.
    pub fn mount_again(&self) {
        let ends = Instant::now() + Duration::from_secs(10);
        // A process that another scenario is starting may still hold files of it.
        while let Err(error) = run("umount", [self.mount_point().as_os_str()]) {
            assert!(Instant::now() < ends, "{error}");
            thread::yield_now();
        }
        self.mount().unwrap();
    }

    fn mount(&self) -> Result<(), String> {
        let flags = ["-o", "loop,errors=remount-ro"].map(OsStr::new);
        let (image, mount_point) = (self.image(), self.mount_point());
        let paths = [image.as_os_str(), mount_point.as_os_str()];
        run("mount", flags.into_iter().chain(paths))
    }

    fn image(&self) -> PathBuf {
        self.home.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.home.path().join("mounted")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily, since the node may still have files open; fails where nothing is mounted.
        let mount_point = self.mount_point();
        let _ = run("umount", ["-l".as_ref(), mount_point.as_os_str()]);
    }
}

/// Where `wanted` begins.
fn places_of(all: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = all.windows(wanted.len()).enumerate();
    let found = windows.filter(|(_, window)| *window == wanted);
    found.map(|(at, _)| at).collect()
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
