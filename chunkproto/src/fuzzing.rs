//! What fuzzers feed with arbitrary bytes: each target panics where a parser breaks its promise. Built
//! for tests and by `make fuzz` alone.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::{CopyRequest, ErrorBody, ListPage, error_from_wire, error_to_wire};
use crate::{
    ChunkId, ClusterSecret, Crc64, DiskId, Durability, Fence, Heartbeat, HeartbeatReply,
    InventoryDigest, JobName, NodeId, OwnerHint, Registration,
};

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[("owner-hint", owner_hint), ("wire", wire)];

/// Owner hints, in records and in headers.
fn owner_hint(bytes: &[u8]) {
    let in_header = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| OwnerHint::from_header(text).ok());
    for hint in OwnerHint::decode(bytes).ok().into_iter().chain(in_header) {
        let again = OwnerHint::decode(&hint.encode()).expect("what was written can be read");
        assert_eq!(again, hint);
        let again = OwnerHint::from_header(&hint.to_header()).expect("as in a record");
        assert_eq!(again, hint);
    }
}

/// Bodies and texts of the internal APIs.
fn wire(bytes: &[u8]) {
    body::<CopyRequest>(bytes);
    body::<ListPage>(bytes);
    body::<ErrorBody>(bytes);
    body::<Registration>(bytes);
    body::<Heartbeat>(bytes);
    body::<HeartbeatReply>(bytes);
    body::<InventoryDigest>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        word::<ChunkId>(text);
        word::<NodeId>(text);
        word::<DiskId>(text);
        word::<Crc64>(text);
        word::<Fence>(text);
        word::<JobName>(text);
        let _ = Durability::from_str(text);
        let _ = ClusterSecret::parse(text);
        if let Ok(id) = text.parse::<ChunkId>() {
            let _ = id.born_at_ms();
        }
    }
    failure(bytes);
}

fn body<T: DeserializeOwned + Serialize + Debug>(bytes: &[u8]) {
    if let Ok(body) = serde_json::from_slice::<T>(bytes) {
        let text = serde_json::to_vec(&body).expect("what was read can be written");
        let again: T = serde_json::from_slice(&text).expect("what was written can be read");
        assert_eq!(format!("{again:?}"), format!("{body:?}"));
    }
}

fn word<T: FromStr + Display>(text: &str) {
    if let Ok(word) = text.parse::<T>() {
        let shown = word.to_string();
        let again = shown.parse::<T>().ok().map(|again| again.to_string());
        assert_eq!(again, Some(shown));
    }
}

/// An error's answer: a status, then its body.
fn failure(bytes: &[u8]) {
    let Some((status, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let Ok(status) = StatusCode::from_u16(u16::from_le_bytes(*status)) else {
        return;
    };
    let chunk = ChunkId::from_bytes([7; 16]);
    let error = error_from_wire(chunk, status, serde_json::from_slice(rest).ok());
    let (status, body) = error_to_wire(&error);
    let again = error_from_wire(chunk, status, Some(body));
    assert_eq!(again.to_string(), error.to_string());
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn every_kept_input_of_the_fuzzers_is_survived() {
        super::replay::replay(super::TARGETS);
    }
}
