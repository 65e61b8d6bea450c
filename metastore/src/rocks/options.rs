//! RocksDB's settings. The gateway around this store has to stay below 256 MiB, so whatever can
//! grow with the data is shared and bounded here: about 130 MiB in all.

use chunkproto::Durability;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options,
};

use super::tables::{self, Access};

/// Blocks, indexes and filters of all tables, while they are hot.
const BLOCK_CACHE_BYTES: usize = 48 * 1024 * 1024;
/// One table's rows in memory before they are written out.
const WRITE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// The same of the bodies, which fill it ten times as fast. Each time that a buffer is full, the next
/// commit waits for a new log file as well.
const BODIES_BUFFER_BYTES: usize = 24 * 1024 * 1024;
/// Such buffers per table: one fills while the others are written out.
const WRITE_BUFFERS_MAX: i32 = 3;
/// Rows in memory over all tables; beyond it a table is written out early.
const WRITE_BUFFERS_TOTAL_BYTES: usize = 64 * 1024 * 1024;
/// What is written out goes to the disk in steps of so much, so that no sync of the log has to wait for
/// all of it.
const WRITE_OUT_STEP_BYTES: u64 = 1024 * 1024;
/// A shorter body stands in the table itself.
const BODY_APART_MIN_BYTES: u64 = 512;
/// Bodies in one file.
const BODIES_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// The oldest files, as a part of all, from which bodies are moved that still live, and the part of
/// them that may be dead before that is done without other cause.
const BODIES_OLD: f64 = 0.25;
const BODIES_DEAD_MAX: f64 = 0.5;
/// Log that a start may have to replay; beyond it the tables that hold it back are written out.
const LOG_TOTAL_BYTES: u64 = 64 * 1024 * 1024;
/// Log that is kept after its rows were written out, for the backup that ships it: for so long, and
/// so much at most. Where the backup is further behind, it makes a new checkpoint.
const LOG_KEPT_S: u64 = 3600;
const LOG_KEPT_MIB: u64 = 256;
/// Table files held open.
const OPEN_FILES_MAX: i32 = 512;
/// 1 % of look-ups of missing keys read a block for nothing.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// RocksDB's own diary: how many files of how many bytes.
const DIARY_FILES_MAX: usize = 3;
const DIARY_FILE_BYTES: usize = 4 * 1024 * 1024;
/// A file with this many deletions among so many neighbours is compacted, so that no walk has to
/// step over what was deleted: after half a million deletes a first seek took 134 ms.
const TOMBSTONE_WINDOW: usize = 1024;
const TOMBSTONES_IN_WINDOW_MAX: usize = 256;
const TOMBSTONE_RATIO_MAX: f64 = 0.5;

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct RocksOptions {
    /// Memory for blocks, indexes and filters of all tables.
    pub block_cache_bytes: usize,
    /// When a commit is acknowledged.
    pub durability: Durability,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: BLOCK_CACHE_BYTES,
            durability: Durability::PowerSafe,
        }
    }
}

/// The settings of the whole database.
pub(super) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS_TOTAL_BYTES);
    options.set_max_total_wal_size(LOG_TOTAL_BYTES);
    options.set_bytes_per_sync(WRITE_OUT_STEP_BYTES);
    options.set_wal_ttl_seconds(LOG_KEPT_S);
    options.set_wal_size_limit_mb(LOG_KEPT_MIB);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_keep_log_file_num(DIARY_FILES_MAX);
    options.set_max_log_file_size(DIARY_FILE_BYTES);
    options.set_stats_dump_period_sec(0);
    // A power cut may tear the log's last record. It was never acknowledged, so recovery ends
    // before it; refusing to start (AbsoluteConsistency) would turn every power cut into a restore.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // A whole log file that went missing is damage and refused.
    options.set_track_and_verify_wals_in_manifest(true);
    options
}

/// The settings of every table, sharing one cache.
pub(super) fn column_families(given: &RocksOptions) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(given.block_cache_bytes);
    let own = tables::ALL.iter().map(|&(name, access)| (name, access));
    // RocksDB insists on this one; it stays empty.
    let default = (rocksdb::DEFAULT_COLUMN_FAMILY_NAME, Access::Range);
    own.chain([default])
        .map(|(name, access)| {
            let mut options = table(&cache, access);
            if name == tables::BODIES.name {
                keep_bodies_apart(&mut options, &cache);
            }
            ColumnFamilyDescriptor::new(name, options)
        })
        .collect()
}

/// Bodies stand in files of their own, which compaction of their keys does not copy: with them in
/// the table every body is written again at each level.
fn keep_bodies_apart(options: &mut Options, cache: &Cache) {
    options.set_write_buffer_size(BODIES_BUFFER_BYTES);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BODY_APART_MIN_BYTES);
    options.set_blob_file_size(BODIES_FILE_BYTES);
    options.set_blob_cache(cache);
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(BODIES_OLD);
    options.set_blob_gc_force_threshold(BODIES_DEAD_MAX);
}

fn table(cache: &Cache, access: Access) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Indexes and filters grow with the data; inside the cache they are bounded by it.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if access == Access::Point {
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
    options.add_compact_on_deletion_collector_factory(
        TOMBSTONE_WINDOW,
        TOMBSTONES_IN_WINDOW_MAX,
        TOMBSTONE_RATIO_MAX,
    );
    options
}
