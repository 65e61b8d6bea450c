//! An enabled lifecycle rule: whom it is for and what it does.

use metastore::{ObjectVersion, Timestamp};

/// A rule that is enabled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// For what it is.
    pub filter: Filter,
    /// When current versions go.
    pub expiration: Option<When>,
    /// Whether delete markers go that hide nothing.
    pub expired_markers: bool,
    /// When noncurrent versions go.
    pub noncurrent_expiration: Option<NoncurrentExpiration>,
    /// When current versions change their storage class.
    pub transitions: Vec<Transition>,
    /// When noncurrent versions do.
    pub noncurrent_transitions: Vec<NoncurrentTransition>,
    /// Days after which an upload that was not completed is aborted.
    pub abort_uploads_after: Option<u32>,
}

/// For what a rule is: everything that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// How keys begin.
    pub prefix: String,
    /// Tags that an object has, and others may be there.
    pub tags: Vec<(String, String)>,
    /// Objects are longer than this.
    pub longer_than_bytes: Option<u64>,
    /// Objects are shorter than this.
    pub shorter_than_bytes: Option<u64>,
}

/// When something happens to a current version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So many days after it was written.
    Days(u32),
    /// From this moment on.
    Date(Timestamp),
}

/// When noncurrent versions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoncurrentExpiration {
    /// So many days after another version took their place.
    pub days: u32,
    /// So many of the newest noncurrent versions stay.
    pub newer_kept: u32,
}

/// A change of a current version's storage class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub when: When,
    /// To which class.
    pub class: String,
}

/// A change of a noncurrent version's storage class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoncurrentTransition {
    /// When, and which stay.
    pub when: NoncurrentExpiration,
    /// To which class.
    pub class: String,
}

impl Filter {
    /// Whether a version is meant.
    #[must_use]
    pub fn takes(&self, key: &str, object: &ObjectVersion) -> bool {
        let size = object.size_bytes;
        key.starts_with(&self.prefix)
            && self.longer_than_bytes.is_none_or(|bound| size > bound)
            && self.shorter_than_bytes.is_none_or(|bound| size < bound)
            && self
                .tags
                .iter()
                .all(|tag| object.attributes.tags.contains(tag))
    }

    /// Whether something without tags and size is meant: an upload, a delete marker.
    #[must_use]
    pub fn takes_bare(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && self.tags.is_empty()
            && self.longer_than_bytes.is_none()
            && self.shorter_than_bytes.is_none()
    }
}
