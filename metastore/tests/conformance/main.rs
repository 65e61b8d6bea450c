//! The suite that every metastore passes: each scenario runs against memory and RocksDB. What
//! only one of them promises stands in `rocks_only`.

#![expect(clippy::unwrap_used, reason = "all of this crate is tests")]

mod appends;
mod backups;
mod buckets;
mod chunks;
mod conditions;
mod fixtures;
mod garbage;
mod inline_bodies;
mod leases;
mod lifecycle;
mod listing;
mod listing_model;
mod multipart;
mod objects;
mod orphans;
mod parts;
mod placement;
mod races;
mod renames;
mod repairs;
mod rocks_only;
mod uploads_listing;
mod usage;
mod users;
mod versions;

/// Makes each scenario a test per store. A scenario that is not named here is dead code, which
/// the compiler reports.
#[macro_export]
macro_rules! on_every_store {
    ($($scenario:ident),* $(,)?) => {
        mod on_memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario($crate::fixtures::memory()).await;
                }
            )*
        }

        mod on_rocks {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    let directory = tempfile::tempdir().unwrap();
                    super::$scenario($crate::fixtures::rocks(directory.path())).await;
                }
            )*
        }
    };
}
