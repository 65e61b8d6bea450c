//! Access control lists: who was granted what on a bucket or an object. The owner stands in the
//! row itself, not here. Rows keep these types, so the order of variants is a disk format.

use serde::{Deserialize, Serialize};

/// The grants on a bucket or an object. A row without a list grants its owner everything and
/// nobody else anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// The grants, in the order in which they were given.
    pub grants: Vec<Grant>,
}

/// One permission of one grantee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// Whom a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// One user, by canonical id.
    User(String),
    /// Everyone, without a signature too.
    AllUsers,
    /// Everyone whose request is signed.
    AuthenticatedUsers,
    /// The writer of access logs. Kept and shown; nobody here signs as it.
    LogDelivery,
}

/// What a grant allows. What it means on a bucket and on an object: S3 user guide, "Access control
/// list (ACL) overview".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// Read the object; list the bucket.
    Read,
    /// Create and delete the bucket's objects.
    Write,
    /// Read the list itself.
    ReadAcp,
    /// Write the list itself.
    WriteAcp,
    /// All of these.
    FullControl,
}
