//! The index: which chunks a data directory holds and where, and what each segment is used for. It
//! is derived from the records and never trusted over them. The home of `rocksdb` in this crate.
//!
//! Changes are not synced and not logged. After a crash the index is as it was after some earlier
//! change, and says after which group of the segments ([`Index::applied`]); what came later is read
//! from the segments again.
//!
//! An index that turns out to be damaged while it is in use is marked so, durably: the next start makes it
//! anew.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chunkproto::{ChunkId, ChunkInfo};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, Direction, ErrorKind, IteratorMode,
    LogLevel, Options, ReadOptions, ReadTier, WriteBatch, WriteOptions,
};

use super::durable;
use super::fault::Fault;
use super::index_rows::{
    self as rows, CLEAN_KEY, Gone, Row, STATE_KEY, State, Totals, WALK_KEY, Walk,
};

/// Memory for rows on their way to disk, of which up to two exist. Also bounds what is read again
/// from the segments after a crash: about 40,000 chunks for each.
const WRITE_BUFFER_BYTES: usize = 4 << 20;
/// Length of the parts that a table's index and filter are read in.
const FILTER_PART_BYTES: usize = 4096;
/// Open tables; each holds its own index and filter in memory.
const OPEN_FILES_MAX: i32 = 64;
/// The log holds the clean mark alone.
const WAL_MAX_BYTES: u64 = 1 << 20;
/// The file beside those of RocksDB that says that the index was found damaged, and how.
const DAMAGED: &str = "DAMAGED";

/// An open index.
pub(crate) struct Index {
    db: DB,
    dir: PathBuf,
    /// Held for as long as a change is made and written.
    changing: Mutex<()>,
    /// As of the last change; locked for a moment only, since it is asked for on the runtime's threads.
    state: Mutex<State>,
    /// Set by the first failure; then no clean mark is written, and the next start reads again what came
    /// after the rows that are durable.
    suspect: AtomicBool,
    /// Set when it turns out to be damaged.
    damaged: AtomicBool,
}

/// Memory for the blocks of one or more indexes.
#[derive(Clone)]
pub struct IndexCache(Cache);

/// A key and its row as bytes.
type KeyAndRow = (Box<[u8]>, Box<[u8]>);

/// What memory alone says of a chunk.
pub(crate) enum Cached {
    /// Its row.
    Row(Row),
    /// It has none.
    Absent,
    /// The disk must be asked.
    Unknown,
}

/// Changes that become visible together, in [`commit`](Self::commit). Others wait meanwhile.
pub(crate) struct IndexBatch<'a> {
    index: &'a Index,
    _changing: MutexGuard<'a, ()>,
    next: State,
    batch: WriteBatch,
}

impl IndexCache {
    /// A cache of `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Cache::new_lru_cache(bytes))
    }
}

impl std::fmt::Debug for IndexCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexCache")
    }
}

impl Index {
    /// Opens the index at `dir` or makes an empty one.
    ///
    /// # Errors
    /// `BadIndex` for one that is damaged or of another version: remove it and make it anew. `Index` if
    /// it could not be opened for another reason.
    pub fn open(dir: &Path, cache: &IndexCache) -> Result<Self, Fault> {
        if let Ok(detail) = fs::read_to_string(dir.join(DAMAGED)) {
            return Err(Fault::BadIndex(detail));
        }
        let db = DB::open(&options(cache), dir)?;
        let state = match db.get(STATE_KEY)? {
            Some(row) => rows::decode_state(&row)?,
            None if db.iterator(IteratorMode::Start).next().is_none() => State::default(),
            None => return Err(Fault::BadIndex("it is of an earlier version".into())),
        };
        Ok(Self {
            db,
            dir: dir.to_owned(),
            changing: Mutex::new(()),
            state: Mutex::new(state),
            suspect: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        })
    }

    /// Whether the last stop was a clean one: then every row is there and right. The mark is gone,
    /// durably, when this returns.
    pub fn take_clean_mark(&self) -> Result<bool, Fault> {
        let marked = self.db.get(CLEAN_KEY)?.is_some();
        if marked {
            self.db.delete_opt(CLEAN_KEY, &logged())?;
        }
        Ok(marked)
    }

    /// Ends with a clean stop: all rows and the mark are durable. Does nothing if the index failed
    /// at any time.
    pub fn put_clean_mark(&self) -> Result<(), Fault> {
        if self.suspect.load(Ordering::Relaxed) {
            return Ok(());
        }
        // IMPORTANT: the rows before the mark that says that they are all there.
        self.flush()?;
        let put = self.db.put_opt(CLEAN_KEY, [], &logged());
        self.watch(put.map_err(Fault::from))
    }

    /// Makes every change so far durable.
    pub fn flush(&self) -> Result<(), Fault> {
        self.watch(self.db.flush().map_err(Fault::from))
    }

    /// What the directory holds in sum.
    pub fn totals(&self) -> Totals {
        self.state().totals
    }

    /// The last group of the segments whose changes are in the rows.
    pub fn applied(&self) -> u64 {
        self.state().applied
    }

    /// How far a walk through the segments came that was cut off; `None` if none was.
    pub fn walk(&self) -> Result<Option<Walk>, Fault> {
        let row = self.watch(self.db.get(WALK_KEY).map_err(Fault::from))?;
        row.map(|row| self.watch(rows::decode_walk(&row)))
            .transpose()
    }

    /// The row of chunk `id`.
    pub fn get(&self, id: ChunkId) -> Result<Option<Row>, Fault> {
        let row = self.watch(self.db.get_pinned(rows::chunk_key(id)).map_err(Fault::from))?;
        row.map(|row| self.watch(rows::decode_row(id, &row)))
            .transpose()
    }

    /// The row of chunk `id` if that needs no disk; never blocks for long. Any trouble is left to
    /// [`get`](Self::get).
    pub fn get_cached(&self, id: ChunkId) -> Cached {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        match self.db.get_pinned_opt(rows::chunk_key(id), &options) {
            Ok(Some(row)) => rows::decode_row(id, &row).map_or(Cached::Unknown, Cached::Row),
            Ok(None) => Cached::Absent,
            Err(_) => Cached::Unknown,
        }
    }

    /// Begins a change.
    pub fn batch(&self) -> IndexBatch<'_> {
        let changing = self.changing.lock();
        IndexBatch {
            index: self,
            _changing: changing.unwrap_or_else(PoisonError::into_inner),
            next: *self.state(),
            batch: WriteBatch::default(),
        }
    }

    /// Up to `limit` chunks in id order, from the first one behind `after` on.
    pub fn page(&self, after: Option<ChunkId>, limit: usize) -> Result<Vec<ChunkInfo>, Fault> {
        let start = after.map_or_else(|| vec![rows::CHUNK], |id| rows::chunk_key(id).to_vec());
        let behind = self
            .range(rows::CHUNK, &start)
            .map(|entry| {
                let (key, row) = entry?;
                let id = self.watch(rows::id_of_key(&key))?;
                self.watch(rows::decode_row(id, &row)).map(|row| row.info)
            })
            .filter(|row| !matches!(row, Ok(info) if Some(info.id) == after));
        behind.take(limit).collect()
    }

    /// The chunks that have files of their own, in id order.
    pub fn own_files(&self) -> impl Iterator<Item = Result<ChunkId, Fault>> + '_ {
        self.range(rows::OWN_FILE, &[rows::OWN_FILE])
            .map(|entry| self.watch(rows::id_of_key(&entry?.0)))
    }

    /// The chunks in one life of a segment. Reads every row; for the rare case that the segment
    /// itself does not tell.
    pub fn located_in(&self, slot: u32, generation: u32) -> Result<Vec<Row>, Fault> {
        let rows = self.range(rows::CHUNK, &[rows::CHUNK]).map(|entry| {
            let (key, row) = entry?;
            let id = self.watch(rows::id_of_key(&key))?;
            self.watch(rows::decode_row(id, &row))
        });
        let here = |row: &Row| {
            row.location
                .is_some_and(|at| at.slot == slot && at.generation == generation)
        };
        rows.filter(|row| row.as_ref().map_or(true, here)).collect()
    }

    /// The segments' rows by slot.
    pub fn slots(&self) -> impl Iterator<Item = Result<(u32, Box<[u8]>), Fault>> + '_ {
        self.range(rows::SLOT, &[rows::SLOT]).map(|entry| {
            let (key, row) = entry?;
            let slot = self.watch(rows::slot_of_key(&key))?;
            Ok((slot, row))
        })
    }

    fn range(
        &self,
        prefix: u8,
        start: &[u8],
    ) -> impl Iterator<Item = Result<KeyAndRow, Fault>> + '_ {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound([prefix + 1]);
        let from = IteratorMode::From(start, Direction::Forward);
        let entries = self.db.iterator_opt(from, options);
        entries.map(|entry| self.watch(entry.map_err(Fault::from)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &result {
            self.suspect.store(true, Ordering::Relaxed);
            if let Fault::BadIndex(detail) = fault
                && !self.damaged.swap(true, Ordering::Relaxed)
            {
                self.mark_damaged(detail);
            }
        }
        result
    }

    /// Has the next start make the index anew.
    fn mark_damaged(&self, detail: &str) {
        let path = self.dir.join(DAMAGED);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(detail.as_bytes())?;
            file.sync_all()
        };
        let written = write().map_err(Fault::io("write", &path));
        let dir = self.dir.display();
        match written.and_then(|()| durable::sync_dir(&self.dir)) {
            Ok(()) => tracing::error!(
                %dir, detail,
                "the index is damaged: restart this process, which makes it anew from the records"
            ),
            Err(fault) => tracing::error!(
                %dir, detail, %fault,
                "the index is damaged and could not be marked so: stop this process, remove the index's \
                 directory, start again"
            ),
        }
    }
}

impl IndexBatch<'_> {
    /// The row of chunk `id` before the change. One change touches a chunk once.
    pub fn get(&self, id: ChunkId) -> Result<Option<Row>, Fault> {
        self.index.get(id)
    }

    /// Enters a chunk, in place of the row that it `had`.
    pub fn put(&mut self, row: &Row, had: Option<&Row>) {
        self.forget(had);
        let id = row.info.id;
        self.batch.put(rows::chunk_key(id), rows::encode_row(row));
        if row.location.is_none() {
            self.batch.put(rows::own_file_key(id), []);
        }
        self.next.totals.chunk_count += 1;
        self.next.totals.used_bytes += row.info.length_bytes;
    }

    /// Removes a chunk that `had` this row.
    pub fn remove(&mut self, had: &Row) {
        self.forget(Some(had));
        self.batch.delete(rows::chunk_key(had.info.id));
    }

    /// Writes a segment's row, or removes it.
    pub fn set_slot(&mut self, slot: u32, row: Option<&[u8]>) {
        match row {
            Some(row) => self.batch.put(rows::slot_key(slot), row),
            None => self.batch.delete(rows::slot_key(slot)),
        }
    }

    /// The latest delete of chunk `id` that the walk has met, before the change.
    pub fn gone(&self, id: ChunkId) -> Result<Option<Gone>, Fault> {
        let row = self.index.db.get_pinned(rows::gone_key(id));
        let row = self.index.watch(row.map_err(Fault::from))?;
        row.map(|row| self.index.watch(rows::decode_gone(&row)))
            .transpose()
    }

    /// Notes a delete that the walk has met.
    pub fn put_gone(&mut self, id: ChunkId, gone: Gone) {
        self.batch.put(rows::gone_key(id), rows::encode_gone(&gone));
    }

    /// Says how far the walk is.
    pub fn set_walk(&mut self, walk: Walk) {
        self.batch.put(WALK_KEY, rows::encode_walk(&walk));
    }

    /// Ends the walk, and forgets what was noted for it.
    pub fn end_walk(&mut self) -> Result<(), Fault> {
        self.batch.delete(WALK_KEY);
        let mut noted = self.index.range(rows::GONE, &[rows::GONE]);
        // A range that is removed costs later reads; so only if there is something in it.
        if noted.next().transpose()?.is_some() {
            self.batch.delete_range([rows::GONE], [rows::GONE + 1]);
        }
        Ok(())
    }

    /// Says that the rows show all groups up to this one.
    pub fn set_applied(&mut self, sequence: u64) {
        self.next.applied = sequence;
    }

    /// Makes the change visible, but not durable.
    pub fn commit(mut self) -> Result<(), Fault> {
        self.batch.put(STATE_KEY, rows::encode_state(&self.next));
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        let written = self.index.db.write_opt(self.batch, &options);
        self.index.watch(written.map_err(Fault::from))?;
        *self.index.state() = self.next;
        Ok(())
    }

    fn forget(&mut self, had: Option<&Row>) {
        let Some(had) = had else { return };
        if had.location.is_none() {
            self.batch.delete(rows::own_file_key(had.info.id));
        }
        self.next.totals.chunk_count -= 1;
        self.next.totals.used_bytes -= had.info.length_bytes;
    }
}

impl From<rocksdb::Error> for Fault {
    fn from(error: rocksdb::Error) -> Self {
        let kind = error.kind();
        let detail = error.into_string();
        // An error of the system may come as another kind, which only its words tell.
        let bad = if detail.contains("IO error:") {
            detail.contains("No such file or directory")
        } else {
            matches!(kind, ErrorKind::Corruption | ErrorKind::InvalidArgument)
        };
        if bad {
            Self::BadIndex(detail)
        } else {
            Self::Index(detail)
        }
    }
}

fn options(cache: &IndexCache) -> Options {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(&cache.0);
    tables.set_bloom_filter(10.0, false);
    tables.set_cache_index_and_filter_blocks(true);
    // A table's whole filter is longer than what the cache holds in one piece: it would be read anew
    // for each lookup.
    tables.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    tables.set_partition_filters(true);
    tables.set_metadata_block_size(FILTER_PART_BYTES);
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
    options
}

fn logged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
