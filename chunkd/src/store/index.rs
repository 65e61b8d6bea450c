//! The index: which chunks a data directory holds, in id order, for listings and totals. It is
//! derived from the records and never trusted over them: reads and writes go to the record's path,
//! which follows from the id alone. The home of `rocksdb` in this crate.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chunkproto::{ChunkId, ChunkInfo, Crc64};
use rocksdb::{
    BlockBasedOptions, Cache, DB, Direction, IteratorMode, LogLevel, Options, ReadOptions,
    WriteOptions,
};

use super::fault::Fault;

/// Memory for rows on their way to disk, of which up to two exist. Six embedded stores share a
/// process with a budget of 256 MiB.
const WRITE_BUFFER_BYTES: usize = 2 << 20;
/// Open tables; each holds its own index and filter in memory.
const OPEN_FILES_MAX: i32 = 64;
/// Log after which RocksDB writes its memory out, so that a start replays little.
const WAL_MAX_BYTES: u64 = 8 << 20;

/// First byte of a chunk's key; its id follows.
const CHUNK_PREFIX: u8 = b'c';
/// The key that is there only after a clean stop.
const CLEAN_KEY: &[u8] = b"m:clean";
/// First byte of a row: where the record is. 1 is a file of its own.
const IN_OWN_FILE: u8 = 1;
/// First byte of the clean mark: version of this index's rows.
const INDEX_VERSION: u8 = 1;

/// What a directory holds in sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Chunks held.
    pub chunk_count: u64,
    /// Bytes of chunk data held.
    pub used_bytes: u64,
}

/// An open index.
pub(crate) struct Index {
    db: DB,
    /// Set by the first failure; then no clean mark is written and the next start checks all rows.
    suspect: AtomicBool,
}

impl Index {
    /// Opens the index at `dir` or makes an empty one.
    pub fn open(dir: &Path, cache_bytes: usize) -> Result<Self, Fault> {
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&Cache::new_lru_cache(cache_bytes));
        tables.set_bloom_filter(10.0, false);
        tables.set_cache_index_and_filter_blocks(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&tables);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(2);
        options.set_max_total_wal_size(WAL_MAX_BYTES);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        Ok(Self {
            db: DB::open(&options, dir)?,
            suspect: AtomicBool::new(false),
        })
    }

    /// The totals that a clean stop left behind, or None after any other stop. The mark is gone,
    /// durably, when this returns; until the next clean stop, the rows are not to be trusted alone.
    pub fn take_clean_mark(&self) -> Result<Option<Totals>, Fault> {
        let Some(mark) = self.db.get(CLEAN_KEY)? else {
            return Ok(None);
        };
        self.db.delete_opt(CLEAN_KEY, &synced())?;
        Ok(decode_mark(&mark))
    }

    /// Ends with a clean stop: all rows and the mark are durable. Does nothing if the index failed
    /// at any time.
    pub fn put_clean_mark(&self, totals: Totals) -> Result<(), Fault> {
        if self.suspect.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut mark = vec![INDEX_VERSION];
        mark.extend_from_slice(&totals.chunk_count.to_le_bytes());
        mark.extend_from_slice(&totals.used_bytes.to_le_bytes());
        // The log is one sequence: syncing its last entry makes all rows before it durable.
        self.watch(
            self.db
                .put_opt(CLEAN_KEY, mark, &synced())
                .map_err(Fault::from),
        )
    }

    /// The row of chunk `id`.
    pub fn get(&self, id: ChunkId) -> Result<Option<ChunkInfo>, Fault> {
        let row = self.watch(self.db.get_pinned(chunk_key(id)).map_err(Fault::from))?;
        row.map(|row| self.watch(decode_row(id, &row))).transpose()
    }

    /// Enters a chunk; true if it was not there. Not synced: the record is durable before, and an
    /// unclean start enters what is missing.
    pub fn insert(&self, info: &ChunkInfo) -> Result<bool, Fault> {
        let new = self.get(info.id)?.is_none();
        let mut row = vec![IN_OWN_FILE];
        row.extend_from_slice(&info.length_bytes.to_le_bytes());
        row.extend_from_slice(&info.crc64.0.to_le_bytes());
        self.watch(self.db.put(chunk_key(info.id), row).map_err(Fault::from))?;
        Ok(new)
    }

    /// Removes a chunk's row and returns what it said. Not synced; see [`insert`](Self::insert).
    pub fn remove(&self, id: ChunkId) -> Result<Option<ChunkInfo>, Fault> {
        let row = self.get(id)?;
        if row.is_some() {
            self.watch(self.db.delete(chunk_key(id)).map_err(Fault::from))?;
        }
        Ok(row)
    }

    /// Up to `limit` rows in id order, from the first one behind `after` on.
    pub fn page(&self, after: Option<ChunkId>, limit: usize) -> Result<Vec<ChunkInfo>, Fault> {
        self.rows(after).take(limit).collect()
    }

    /// All rows in id order, from the first one behind `after` on.
    pub fn rows(
        &self,
        after: Option<ChunkId>,
    ) -> impl Iterator<Item = Result<ChunkInfo, Fault>> + '_ {
        let start = after.map_or_else(|| vec![CHUNK_PREFIX], |id| chunk_key(id).to_vec());
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound([CHUNK_PREFIX + 1]);
        let from = IteratorMode::From(&start, Direction::Forward);
        let rows = self.db.iterator_opt(from, options).map(|entry| {
            let (key, row) = self.watch(entry.map_err(Fault::from))?;
            self.watch(chunk_of_key(&key).and_then(|id| decode_row(id, &row)))
        });
        rows.filter(move |row| !matches!(row, Ok(info) if Some(info.id) == after))
    }

    fn watch<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        if result.is_err() {
            self.suspect.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl From<rocksdb::Error> for Fault {
    fn from(error: rocksdb::Error) -> Self {
        Self::Index(error.into_string())
    }
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn chunk_key(id: ChunkId) -> [u8; 17] {
    let mut key = [CHUNK_PREFIX; 17];
    key[1..].copy_from_slice(id.as_bytes());
    key
}

fn chunk_of_key(key: &[u8]) -> Result<ChunkId, Fault> {
    match key.split_first().map(|(_, id)| <[u8; 16]>::try_from(id)) {
        Some(Ok(id)) => Ok(ChunkId::from_bytes(id)),
        _ => Err(Fault::Index(format!("key {key:02x?} is no chunk's"))),
    }
}

fn decode_row(id: ChunkId, row: &[u8]) -> Result<ChunkInfo, Fault> {
    match (row.split_first(), u64_at(row, 1), u64_at(row, 9)) {
        (Some((&IN_OWN_FILE, _)), Some(length_bytes), Some(crc)) if row.len() == 17 => {
            Ok(ChunkInfo {
                id,
                length_bytes,
                crc64: Crc64(crc),
            })
        }
        _ => Err(Fault::Index(format!(
            "row {row:02x?} of chunk {id} is malformed"
        ))),
    }
}

/// None for a mark of another version, which then counts as unclean.
fn decode_mark(mark: &[u8]) -> Option<Totals> {
    (mark.first() == Some(&INDEX_VERSION)).then(|| {
        Some(Totals {
            chunk_count: u64_at(mark, 1)?,
            used_bytes: u64_at(mark, 9)?,
        })
    })?
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
