//! Appends.

use super::state::State;
use crate::{AppendObject, ChunkOwner, MetaResult, ObjectData};

impl State {
    pub(super) fn append_object(&mut self, append: &AppendObject) -> MetaResult<()> {
        let (bucket, key) = (append.bucket, &append.key);
        let versioning = self.expect_bucket(bucket)?.settings.versioning;
        let standing = self.object(bucket, key)?;
        let set = match &standing.data {
            ObjectData::Parts(upload) => self.part_sets.get(upload).cloned(),
            ObjectData::Chunks(_) | ObjectData::Inline(_) => None,
        };
        let appended = append.onto(&standing, set, versioning)?;
        let upload = appended.upload;
        for part in appended.parts {
            let owner = ChunkOwner::Part {
                upload,
                number: part.number,
            };
            let since = appended.object.modified_at;
            self.link(&part.layout.chunks, &owner, append.replicas_wanted, since);
            self.parts.insert((upload, part.number), part);
        }
        if let ObjectData::Inline(body) = &standing.data {
            self.bodies.remove(body);
        }
        self.part_sets.insert(upload, appended.set);
        self.current.insert((bucket, key.clone()), appended.object);
        Ok(())
    }
}
