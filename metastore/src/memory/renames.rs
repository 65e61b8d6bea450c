//! Renames, and the tokens by which clients ask for them.

use super::state::State;
use crate::rename::{RenameRow, tokens_end};
use crate::{
    BucketId, ChunkOwner, ClientToken, MetaError, MetaResult, ObjectData, RenameObject, Renamed,
    StoredVersion, Versioning,
};

impl State {
    pub(super) fn rename_object(&mut self, rename: RenameObject) -> MetaResult<Renamed> {
        let (bucket, source, destination) = (rename.bucket, rename.source, rename.destination);
        if let Some(token) = &rename.token
            && self.was_renamed(bucket, token)?
        {
            return Ok(Renamed::Before);
        }
        let (leaving, row) = self.entry(bucket, &source)?;
        let mut moved = self.object(bucket, &source)?;
        if moved.sequence != rename.seen {
            return Err(MetaError::Conflict);
        }
        let (arriving, _) = self.entry(bucket, &destination)?;
        let current = self.current.get(&(bucket, destination.clone()));
        rename.condition.check(&destination, current)?;
        moved.sequence = rename.sequence;
        (moved.version, moved.order) = (arriving.version, arriving.order);

        self.current.remove(&(bucket, source.clone()));
        self.carry_out(bucket, &source, &leaving, None, rename.now);
        if row.settings.versioning != Versioning::Off {
            let marker = StoredVersion::marker(&leaving, rename.now, row.owner);
            self.put_noncurrent(bucket, &source, marker, rename.now);
        }
        for chunk in moved.chunks() {
            let owner = ChunkOwner::Object {
                bucket,
                key: destination.clone(),
                version: moved.version,
            };
            self.chunks.insert(chunk.id, owner);
        }
        if let ObjectData::Parts(upload) = &moved.data
            && let Some(set) = self.part_sets.get_mut(upload)
        {
            set.key = destination.clone();
        }
        self.carry_out(bucket, &destination, &arriving, Some(&moved), rename.now);
        self.current.insert((bucket, destination), moved);
        if let Some(token) = rename.token {
            let end = tokens_end(rename.now);
            self.renames.retain(|_, row| row.at >= end);
            let row = RenameRow {
                at: rename.now,
                asked: token.asked,
            };
            self.renames.insert((bucket, token.name), row);
        }
        Ok(Renamed::Now(arriving.version))
    }

    pub(super) fn was_renamed(&self, bucket: BucketId, token: &ClientToken) -> MetaResult<bool> {
        match self.renames.get(&(bucket, token.name.clone())) {
            Some(row) => row.expect(token).map(|()| true),
            None => Ok(false),
        }
    }
}
