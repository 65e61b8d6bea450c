//! Renames, and the tokens by which clients ask for them.

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader};
use super::tables::{CHUNKS, CURRENT, PART_SETS, RENAME_TIMES, RENAMES};
use crate::rename::{RENAME_TOKENS_FORGOTTEN, RenameRow, tokens_end};
use crate::{
    BucketId, ChunkOwner, ClientToken, MetaError, MetaResult, ObjectData, ObjectKey, ObjectVersion,
    PartSet, RenameObject, Renamed, StoredVersion, Timestamp, VersionId, Versioning,
};

/// What a rename comes to.
enum Renaming {
    /// This is to be committed.
    Commit(Batch, VersionId),
    /// It was committed before.
    Before,
}

impl Engine {
    pub(super) async fn rename_object(&self, rename: RenameObject) -> MetaResult<Renamed> {
        let bucket = rename.bucket;
        let mut held = vec![self.locks.bucket_stays(bucket).await];
        if let Some(token) = &rename.token {
            held.push(self.locks.token(bucket, &token.name).await);
        }
        let keys = [&rename.source, &rename.destination];
        held.extend(self.locks.two_keys(bucket, keys).await);
        match self.look(move |reader| reader.renaming(&rename)).await? {
            Renaming::Commit(batch, version) => {
                self.commit(batch, held).await?;
                Ok(Renamed::Now(version))
            }
            Renaming::Before => Ok(Renamed::Before),
        }
    }

    pub(super) async fn was_renamed(
        &self,
        bucket: BucketId,
        token: &ClientToken,
    ) -> MetaResult<bool> {
        let row = self.get(RENAMES, keys::rename(bucket, &token.name)).await?;
        let Some(row) = row else {
            return Ok(false);
        };
        row.expect(token).map(|()| true)
    }
}

impl Reader<'_> {
    fn renaming(&self, rename: &RenameObject) -> Looked<Renaming> {
        let (bucket, source, destination) = (rename.bucket, &rename.source, &rename.destination);
        if let Some(token) = &rename.token
            && let Some(row) = self.get(RENAMES, &keys::rename(bucket, &token.name))?
        {
            row.expect(token)?;
            return Ok(Renaming::Before);
        }
        let mut leaving = self.displacement(bucket, source)?;
        let moved = leaving.current.take();
        let mut moved = moved.ok_or_else(|| MetaError::NoSuchKey(source.clone()))?;
        if moved.sequence != rename.seen {
            return Err(MetaError::Conflict.into());
        }
        let arriving = self.displacement(bucket, destination)?;
        rename
            .condition
            .check(destination, arriving.current.as_ref())?;
        moved.sequence = rename.sequence;
        (moved.version, moved.order) = (arriving.entry.version, arriving.entry.order);

        let mut batch = Batch::default();
        batch.delete(CURRENT, keys::object(bucket, source.as_str().as_bytes()));
        let (versioning, entry) = (leaving.versioning, leaving.entry);
        let owner = leaving.bucket_owner.clone();
        batch.carry_out(bucket, source, leaving, None, rename.now);
        if versioning != Versioning::Off {
            let marker = StoredVersion::marker(&entry, rename.now, owner);
            batch.put_noncurrent(bucket, source, marker, rename.now);
        }
        batch.name_bytes(bucket, destination, &moved);
        if let Some(set) = self.part_set_of(&moved)? {
            batch.name_part_set(set, &moved, destination);
        }
        batch.put(
            CURRENT,
            keys::object(bucket, destination.as_str().as_bytes()),
            &moved,
        );
        batch.carry_out(bucket, destination, arriving, Some(&moved), rename.now);
        if let Some(token) = &rename.token {
            self.remember(&mut batch, bucket, token, rename.now)?;
        }
        Ok(Renaming::Commit(batch, moved.version))
    }

    fn part_set_of(&self, object: &ObjectVersion) -> Looked<Option<PartSet>> {
        match &object.data {
            ObjectData::Parts(upload) => self.get(PART_SETS, &keys::id(upload.0)),
            ObjectData::Chunks(_) | ObjectData::Inline(_) => Ok(None),
        }
    }

    /// Notes that a token's request is carried out, and forgets some that are old.
    fn remember(
        &self,
        batch: &mut Batch,
        bucket: BucketId,
        token: &ClientToken,
        now: Timestamp,
    ) -> Looked<()> {
        let end = tokens_end(now).0.to_be_bytes().to_vec();
        let old = self.first(RENAME_TIMES, Vec::new(), end, RENAME_TOKENS_FORGOTTEN)?;
        for (key, ()) in old {
            batch.delete(RENAMES, keys::rename_of_time(&key));
            batch.delete(RENAME_TIMES, key);
        }
        let key = keys::rename(bucket, &token.name);
        let row = RenameRow {
            at: now,
            asked: token.asked,
        };
        batch.put(RENAME_TIMES, keys::rename_time(now, &key), &());
        batch.put(RENAMES, key, &row);
        Ok(())
    }
}

impl Batch {
    /// Points the chunks' owner rows at the new key; all else is keyed by chunk id and stays.
    fn name_bytes(&mut self, bucket: BucketId, key: &ObjectKey, object: &ObjectVersion) {
        let owner = ChunkOwner::Object {
            bucket,
            key: key.clone(),
            version: object.version,
        };
        for chunk in object.chunks() {
            self.put(CHUNKS, keys::chunk(chunk.id), &owner);
        }
    }

    /// Writes the part set of a multipart object as that key's.
    fn name_part_set(&mut self, set: PartSet, object: &ObjectVersion, key: &ObjectKey) {
        if let ObjectData::Parts(upload) = &object.data {
            let key = key.clone();
            self.put(PART_SETS, keys::id(upload.0), &PartSet { key, ..set });
        }
    }
}
