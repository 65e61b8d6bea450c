//! The tables, each a column family. A table's name and the shape of its keys and rows are a disk
//! format: a change of any needs a new format number in `open`.

use std::marker::PhantomData;

use super::rows::defaults;
use crate::lease::LeaseRow;
use crate::rename::RenameRow;
use crate::versions::Noncurrent;
use crate::{
    Bucket, BucketName, BucketSettings, BucketUsage, ChunkOwner, GcItem, InlineBody, JobControl,
    NodePhase, NodeRow, ObjectAttributes, ObjectVersion, Orphan, Part, PartSet, RepairRow, Upload,
    User, VersionOrder,
};

/// A table whose rows are of type `R`.
pub(super) struct Table<R> {
    /// Name of the column family.
    pub(super) name: &'static str,
    /// The bytes of the fields that rows of version 1 lack.
    pub(super) added_in_2: fn() -> Vec<u8>,
    /// The bytes of the fields that rows of versions 1 and 2 lack.
    pub(super) added_in_3: fn() -> Vec<u8>,
    row: PhantomData<fn() -> R>,
}

impl<R> Table<R> {
    const fn named(name: &'static str) -> Self {
        Self::grown(name, Vec::new, Vec::new)
    }

    /// A table whose rows got further fields at their end.
    const fn grown(
        name: &'static str,
        added_in_2: fn() -> Vec<u8>,
        added_in_3: fn() -> Vec<u8>,
    ) -> Self {
        Self {
            name,
            added_in_2,
            added_in_3,
            row: PhantomData,
        }
    }
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Table<R> {}

/// Bucket name → bucket.
pub(super) const BUCKETS: Table<Bucket> =
    Table::grown("buckets", defaults::<BucketSettings>, Vec::new);
/// Bucket id → name. Written and removed with the bucket: a commit asks here whether it lives.
pub(super) const BUCKET_IDS: Table<BucketName> = Table::named("bucket_ids");
/// Bucket id ‖ key → current version. Exactly what a listing shows.
pub(super) const CURRENT: Table<ObjectVersion> = Table::grown(
    "current",
    defaults::<(VersionOrder, ObjectAttributes)>,
    Vec::new,
);
/// Bucket id ‖ escaped key ‖ end of key ‖ upload id → upload under way.
pub(super) const UPLOADS: Table<Upload> =
    Table::grown("uploads", defaults::<ObjectAttributes>, defaults::<String>);
/// Upload id ‖ part number → part, before and after completion.
pub(super) const PARTS: Table<Part> = Table::named("parts");
/// Upload id → the part set of a completed upload, for as long as its object is current.
pub(super) const PART_SETS: Table<PartSet> = Table::named("part_sets");
/// Chunk id → the row that names it.
pub(super) const CHUNKS: Table<ChunkOwner> = Table::named("chunks");
/// Node id ‖ chunk id → nothing. Chunks that should be on the node: named by a row, or unlinked
/// and not yet collected.
pub(super) const NODE_CHUNKS: Table<()> = Table::named("node_chunks");
/// Time of unlinking ‖ entry id → what may be deleted.
pub(super) const GC: Table<GcItem> = Table::named("gc");
/// Chunk id → a chunk with too few replicas.
pub(super) const REPAIR: Table<RepairRow> = Table::named("repair");
/// Good replicas ‖ chunk id → bytes to copy. See `repairs` for entries that are out of date.
pub(super) const REPAIR_ORDER: Table<u64> = Table::named("repair_order");
/// Body id → the bytes of a short object, for as long as it is current.
pub(super) const BODIES: Table<InlineBody> = Table::named("bodies");
/// Bucket id ‖ escaped key ‖ end of key ‖ inverted order → a version that is not current, the
/// newest of a key first. Where a key has no current version, the first one is a delete marker.
pub(super) const NONCURRENT: Table<Noncurrent> = Table::named("noncurrent");
/// Bucket id ‖ key → place of the `null` version, while it is not current.
pub(super) const NULL_VERSIONS: Table<VersionOrder> = Table::named("null_versions");
/// Bucket id → what the bucket holds and may hold. Written by the ledger alone.
pub(super) const USAGE: Table<BucketUsage> = Table::named("usage");
/// Bucket id ‖ client's token → the rename that was carried out under it.
pub(super) const RENAMES: Table<RenameRow> = Table::named("renames");
/// Time of a rename ‖ bucket id ‖ client's token → nothing. Says which may be forgotten.
pub(super) const RENAME_TIMES: Table<()> = Table::named("rename_times");
/// Canonical id → user.
pub(super) const USERS: Table<User> = Table::named("users");
/// Access key → canonical id.
pub(super) const ACCESS_KEYS: Table<String> = Table::named("access_keys");
/// Email → canonical id.
pub(super) const USER_EMAILS: Table<String> = Table::named("user_emails");
/// Node id → node.
pub(super) const NODES: Table<NodeRow> = Table::named("nodes");
/// Node id ‖ chunk id → a chunk that the node holds and that no row places there. (On disks
/// the family keeps its first name.)
pub(super) const ORPHANS: Table<Orphan> = Table::named("strays");
/// Node id → what an operator wants of the node.
pub(super) const NODE_PHASES: Table<NodePhase> = Table::named("node_phases");
/// Name of a job → its lease, also after that has ended.
pub(super) const LEASES: Table<LeaseRow> = Table::named("leases");
/// Name of a job → what the operator has said about it.
pub(super) const JOB_CONTROLS: Table<JobControl> = Table::named("job_controls");

/// How a table is read, which decides its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// By whole keys, of which many do not exist: a bloom filter spares the disk.
    Point,
    /// By ranges: a filter would cost memory and answer nothing.
    Range,
}

/// Every table with how it is read.
pub(super) const ALL: [(&str, Access); 25] = [
    (BUCKETS.name, Access::Range),
    (BUCKET_IDS.name, Access::Point),
    (CURRENT.name, Access::Point),
    (UPLOADS.name, Access::Point),
    (PARTS.name, Access::Point),
    (PART_SETS.name, Access::Point),
    (CHUNKS.name, Access::Point),
    (NODE_CHUNKS.name, Access::Range),
    (GC.name, Access::Range),
    (REPAIR.name, Access::Range),
    (REPAIR_ORDER.name, Access::Range),
    (BODIES.name, Access::Point),
    (NODES.name, Access::Range),
    (ORPHANS.name, Access::Range),
    (NODE_PHASES.name, Access::Range),
    (NONCURRENT.name, Access::Point),
    (NULL_VERSIONS.name, Access::Point),
    (USAGE.name, Access::Point),
    (RENAMES.name, Access::Point),
    (RENAME_TIMES.name, Access::Range),
    (USERS.name, Access::Point),
    (ACCESS_KEYS.name, Access::Point),
    (USER_EMAILS.name, Access::Point),
    (LEASES.name, Access::Range),
    (JOB_CONTROLS.name, Access::Range),
];
