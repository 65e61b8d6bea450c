//! The metadata in an embedded RocksDB: one copy, on one disk, for one process.
//!
//! | file | what it owns |
//! |---|---|
//! | `metastore` | [`RocksMetastore`]: every method of the trait, and the one way off the runtime |
//! | `open` | the directory: its lock, its format marker, why it may be refused |
//! | `options` | RocksDB's settings and what they cost in memory |
//! | `tables` | the column families, and what each maps to what |
//! | `keys`, `rows` | how keys and rows are written as bytes |
//! | `read`, `cursor` | looking rows up, walking over them |
//! | `commit` | the batch, and the one place where it is written and synced |
//! | `locks` | what keeps a checked precondition true until the commit |
//! | `buckets`, `objects`, `multipart`, `parts`, `listing`, `cluster`, `gc` | the operations |
//! | `chunks` | the rows that name chunks, beside whatever row holds them |

mod buckets;
mod chunks;
mod cluster;
mod commit;
mod cursor;
mod gc;
mod keys;
mod listing;
mod locks;
mod metastore;
mod multipart;
mod objects;
mod open;
mod options;
mod parts;
mod read;
mod rows;
mod tables;

pub use metastore::RocksMetastore;
pub use open::OpenError;
pub use options::RocksOptions;
