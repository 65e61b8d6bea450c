//! A standalone gateway looks after its chunk stores, and its metadata can be brought back.

#[path = "../cluster/kit.rs"]
#[expect(dead_code, reason = "the cluster's suite uses the rest")]
mod kit;
mod master_key;
mod metadata;
mod scrub;
mod stores;
