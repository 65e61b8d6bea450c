//! Whether a write's condition holds, decided the same way in every implementation. The caller
//! holds whatever keeps the key's current version from changing until the commit (I5).

use crate::{Expected, MetaError, MetaResult, ObjectKey, ObjectVersion, Timestamp, WriteCondition};

impl WriteCondition {
    /// Whether a write of `key`, whose current version is `current`, may go ahead.
    ///
    /// # Errors
    /// `PreconditionFailed`; `NoSuchKey` where an ETag is asked for and there is no version;
    /// `Conflict` for a revision that is not current.
    pub fn check(&self, key: &ObjectKey, current: Option<&ObjectVersion>) -> MetaResult<()> {
        let missing = || MetaError::NoSuchKey(key.clone());
        match self {
            Self::Always => Ok(()),
            Self::Absent if current.is_some() => Err(MetaError::PreconditionFailed),
            Self::Absent => Ok(()),
            Self::Present => current.map(|_| ()).ok_or_else(missing),
            Self::Etag(etag) if current.ok_or_else(missing)?.etag == *etag => Ok(()),
            Self::Etag(_) => Err(MetaError::PreconditionFailed),
            Self::OneOf(etags) if etags.contains(&current.ok_or_else(missing)?.etag) => Ok(()),
            Self::OneOf(_) => Err(MetaError::PreconditionFailed),
            Self::Unlike(etag) if current.is_some_and(|row| row.etag == *etag) => {
                Err(MetaError::PreconditionFailed)
            }
            Self::Unlike(_) => Ok(()),
            Self::Both(both) => both
                .0
                .check(key, current)
                .and_then(|()| both.1.check(key, current)),
            // What is not there has neither size nor age that could be another.
            Self::Matching(wanted) if current.is_none() && wanted.etag.is_none() => Ok(()),
            Self::Matching(wanted) => wanted.check(current.ok_or_else(missing)?),
            Self::Revision(wanted) if current.map(|row| row.sequence) == Some(*wanted) => Ok(()),
            Self::Revision(_) => Err(MetaError::Conflict),
        }
    }
}

impl Expected {
    fn check(&self, current: &ObjectVersion) -> MetaResult<()> {
        // Clients see whole seconds.
        let seconds = |moment: Timestamp| moment.0 / 1000;
        let etag = self.etag.as_ref().is_none_or(|etag| *etag == current.etag);
        let size = self
            .size_bytes
            .is_none_or(|size| size == current.size_bytes);
        let time = self
            .modified_at
            .is_none_or(|moment| seconds(moment) == seconds(current.modified_at));
        match etag && size && time {
            true => Ok(()),
            false => Err(MetaError::PreconditionFailed),
        }
    }
}
