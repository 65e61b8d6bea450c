//! A disk that is small enough to be filled: ext4 in a sparse file, mounted by a loop device. Root only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the fill leaves at first of the free room; then less, until not even this fits.
const LAST_PIECE_BYTES: u64 = 4096;

/// A mounted disk; gone on drop, though processes that still use it may go on until they end.
#[derive(Debug)]
pub struct SmallDisk {
    mounted_at: PathBuf,
    filler: PathBuf,
}

impl SmallDisk {
    /// Makes a disk of `size_bytes` and mounts it, empty, at the directory `dir`, which is made.
    ///
    /// # Errors
    /// Why there is none: mounting is for root, and not in every container.
    ///
    /// # Panics
    /// When `dir` cannot be made.
    pub fn mount(dir: &Path, size_bytes: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a disk is for root".to_owned());
        }
        fs::create_dir_all(dir).expect("the mount point can be made");
        let image = dir.with_extension("ext4");
        let file = fs::File::create(&image).expect("the disk's file can be made");
        file.set_len(size_bytes).expect("the disk's file is sparse");
        run("mkfs.ext4", &["-q", "-F", "-m", "0"], &[&image])?;
        run("mount", &["-o", "loop"], &[&image, dir])?;
        let disk = Self {
            mounted_at: dir.to_owned(),
            filler: dir.join("lost+found").join("filler"),
        };
        Ok(disk)
    }

    /// Takes all the room that is left.
    ///
    /// # Panics
    /// When the filling file cannot be made.
    pub fn fill(&self) {
        let file = fs::File::create(&self.filler).expect("there is room for a name");
        let (mut at, mut piece) = (0, 1 << 30);
        while piece >= LAST_PIECE_BYTES {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&file, flags, at, piece) {
                Ok(()) => at += piece,
                Err(_) => piece /= 2,
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When the filling file cannot be removed.
    pub fn free(&self) {
        fs::remove_file(&self.filler).expect("the filling file can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still writes may end in peace. A failure leaves a mount behind, no more.
        let _ = run("umount", &["--lazy"], &[&self.mounted_at]);
    }
}

fn run(program: &str, flags: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(flags).args(paths).output();
    let Output { status, stderr, .. } = output.map_err(|error| format!("{program}: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&stderr))),
    }
}
