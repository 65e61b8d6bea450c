//! A chunk server: what is durable on it outlives its process, what it knows of fences does not.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use chunkd::Fences;
use chunkproto::{
    ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkReceipt, ChunkResult, ChunkStream, Fence,
    Heartbeat, NodeId, Registration,
};
use futures::TryStreamExt as _;
use tokio::time::sleep;
use uuid::Uuid;

use crate::dice::Dice;
use crate::disk::{Disk, garble};
use crate::settings::{CAPACITY_BYTES, ZONES};
use crate::shown::Shown;

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Everything takes so long.
    Slow(Duration),
    /// It does nothing, and goes on where it was once that is over.
    Frozen,
    /// Its process is gone.
    Dead,
    /// It takes no chunks for want of room.
    Full,
    /// It stores something else than was sent, and says so.
    Garbles,
    /// It sends wrong bytes as if they were right.
    Lies,
}

pub struct Node {
    pub id: NodeId,
    dice: Dice,
    mood: Shown<Mood>,
    /// Counts its processes.
    life: Shown<u64>,
    disk: Mutex<Disk>,
    fences: Mutex<Fences>,
}

impl Node {
    pub fn new(id: NodeId, dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            id,
            dice,
            mood: Shown::new(Mood::Well),
            life: Shown::new(1),
            disk: Mutex::default(),
            fences: Mutex::new(Fences::unlearnt()),
        })
    }

    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    pub fn mood(&self) -> Mood {
        self.mood.get()
    }

    /// Changes how it is. One that died starts anew, with what is on its disk.
    pub fn become_so(&self, mood: Mood) {
        if self.mood() == Mood::Dead && mood != Mood::Dead {
            *self.fences.lock().unwrap() = Fences::unlearnt();
        }
        if mood == Mood::Dead {
            self.life.change(|life| *life += 1);
        }
        self.mood.change(|present| *present = mood);
    }

    /// Does something for a caller, unless the process ends before that is done.
    pub async fn serve<T>(&self, work: impl Future<Output = ChunkResult<T>>) -> ChunkResult<T> {
        if self.mood() == Mood::Dead {
            return Err(ChunkError::Unreachable("connection refused".into()));
        }
        let begun = self.life.get();
        let ended = self.life.until(|life| (*life != begun).then_some(()));
        let in_turn = async {
            self.wait().await;
            work.await
        };
        tokio::select! {
            biased;
            () = ended => Err(ChunkError::Unreachable("connection reset".into())),
            done = in_turn => done,
        }
    }

    /// Waits for the processor or the disk.
    pub async fn wait(&self) {
        if let Mood::Slow(time) = self.mood() {
            sleep(time).await;
        }
        let goes_on = |mood: &Mood| (*mood != Mood::Frozen).then_some(());
        self.mood.until(goes_on).await;
    }

    /// Lets an operation of a job in.
    pub async fn admit(&self, fence: Option<Fence>) -> ChunkResult<Option<chunkd::Admitted>> {
        let fences = self.fences.lock().unwrap().clone();
        match fence {
            Some(fence) => fences.admit(fence).await.map(Some),
            None => Ok(None),
        }
    }

    pub fn learn(&self, fences: &[Fence]) {
        self.fences.lock().unwrap().learn(fences);
    }

    pub async fn put(&self, put: ChunkPut, mut body: ChunkStream) -> ChunkResult<ChunkReceipt> {
        if self.mood() == Mood::Full {
            return Err(ChunkError::Full("no room".into()));
        }
        let (mut pieces, mut length_bytes) = (Vec::new(), 0);
        while let Some(piece) = body.try_next().await? {
            length_bytes += piece.len() as u64;
            pieces.push(piece);
        }
        if length_bytes != put.length_bytes {
            return Err(ChunkError::BadBody("it ended too soon".into()));
        }
        if self.mood() == Mood::Garbles {
            garble(&mut pieces);
        }
        // The disk takes its time to make it durable.
        self.dice.pause(1..6).await;
        self.wait().await;
        self.disk().keep(put, pieces)
    }

    /// Opens a chunk. A rotten one yields half of its pieces, and is set aside.
    pub fn open(&self, chunk: ChunkId) -> ChunkResult<(ChunkInfo, Vec<ChunkResult<Bytes>>)> {
        self.disk().open(chunk, self.mood() == Mood::Lies)
    }

    /// Its failure zone, which has others too.
    pub fn zone(&self) -> String {
        (self.id.as_bytes()[0] % ZONES).to_string()
    }

    pub fn registration(&self, incarnation: Uuid) -> Registration {
        Registration {
            node_id: self.id,
            incarnation,
            address: self.id.to_string(),
            zone: self.zone(),
            state: self.heartbeat(incarnation),
        }
    }

    pub fn heartbeat(&self, incarnation: Uuid) -> Heartbeat {
        let disk = self.disk();
        let held = disk.inventory();
        let used_bytes = held.iter().map(|chunk| chunk.length_bytes).sum();
        Heartbeat {
            incarnation,
            capacity_bytes: CAPACITY_BYTES,
            used_bytes,
            free_bytes: CAPACITY_BYTES - used_bytes,
            chunk_count: held.len() as u64,
            in_flight: 0,
            disk_errors: 0,
            quarantined: disk.quarantined,
            writable: self.mood() != Mood::Full,
            fenced_disks: Vec::new(),
            scrub: None,
        }
    }

    /// The process that runs now, as gateways tell it from others.
    pub fn incarnation(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.life.get()))
    }
}
