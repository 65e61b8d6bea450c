//! The stores under measurement: opened fresh for every measurement and removed after it, chunks
//! spread over them in turn.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use chunkd::{ChunkStore, StoreOptions};

use crate::Failure;

/// What is made below the directory that the user names.
const SCRATCH_DIR: &str = "chunk-bench-scratch";

/// How chunks lie on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One file per chunk.
    Files,
    /// Append-only segments.
    Segments,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Files => "files",
            Self::Segments => "segments",
        })
    }
}

/// Open stores in a scratch directory.
pub(crate) struct Stores {
    stores: Vec<ChunkStore>,
    next: AtomicUsize,
    // After the stores, so that nothing writes into it while it is removed.
    scratch: Scratch,
}

/// A directory that goes with this value.
struct Scratch(PathBuf);

impl Stores {
    /// Makes `count` empty stores below `dir`.
    ///
    /// # Errors
    /// A scratch directory that is there already, from a run that was cut off or that still runs.
    pub(crate) fn open(dir: &Path, layout: Layout, count: u8) -> Result<Self, Failure> {
        let scratch = Scratch::make(dir)?;
        let open = |number: u8| {
            let options = options(scratch.0.join(number.to_string()), layout);
            Ok::<_, Failure>(ChunkStore::open(options)?)
        };
        Ok(Self {
            stores: (0..count).map(open).collect::<Result<_, _>>()?,
            next: AtomicUsize::new(0),
            scratch,
        })
    }

    /// The store whose turn it is.
    pub(crate) fn next(&self) -> &ChunkStore {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.stores[turn % self.stores.len()]
    }

    /// Closes the stores and removes everything, so that nothing of it disturbs what comes next.
    pub(crate) async fn remove(self) -> Result<(), Failure> {
        for store in &self.stores {
            store.close().await?;
        }
        drop(self.stores);
        self.scratch.remove()
    }
}

impl Scratch {
    fn make(dir: &Path) -> Result<Self, Failure> {
        let scratch = dir.join(SCRATCH_DIR);
        fs::create_dir_all(dir)?;
        fs::create_dir(&scratch).map_err(|error| {
            let path = scratch.display();
            format!("cannot make {path}: {error}; if no other run uses it, remove it")
        })?;
        Ok(Self(scratch))
    }

    /// Removes it and waits until the disk has done so.
    fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.0)?;
        let parent = self.0.parent().expect("it was joined to a directory");
        rustix::fs::syncfs(File::open(parent)?)?;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone already unless a measurement failed, and then that failure is what matters.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The only place that knows how a layout is chosen.
fn options(dir: PathBuf, layout: Layout) -> StoreOptions {
    let mut options = StoreOptions::new(dir);
    if layout == Layout::Files {
        options.segment_max_bytes = 0;
    }
    options
}
