//! Accounts. A user whose canonical id is `account$name` belongs to an account; any other belongs to none.
//! A request may put its owner's account before a bucket's name, `account:bucket`, or nothing,
//! `:bucket`, as clients of Ceph's RGW do. Names are unique over all accounts, so that an account only
//! confirms whose bucket is meant.

use std::fmt;

use s3s::validation::{AwsNameValidation, NameValidation};

/// Longest name of an account.
const ACCOUNT_MAX_BYTES: usize = 64;

/// The account of the user with this canonical id; empty for users without one.
pub fn account_of(id: &str) -> &str {
    id.split_once('$').map_or("", |(account, _)| account)
}

/// The name of the user with this canonical id as IAM writes it.
pub fn arn_of(id: &str) -> String {
    let (account, name) = id.split_once('$').unwrap_or(("", id));
    format!("arn:aws:iam::{account}:user/{name}")
}

/// A bucket as a request addresses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketAddress<'a> {
    /// The account before it, which may be empty; none where no colon stands there.
    pub account: Option<&'a str>,
    /// The bucket's name.
    pub name: &'a str,
}

impl<'a> BucketAddress<'a> {
    /// Takes an address apart.
    pub fn of(address: &'a str) -> Self {
        match address.split_once(':') {
            None => Self {
                account: None,
                name: address,
            },
            Some((account, name)) => Self {
                account: Some(account),
                name,
            },
        }
    }

    /// Whether the bucket of the user with this canonical id can be meant.
    pub fn is_of(&self, owner: &str) -> bool {
        self.account
            .is_none_or(|account| account == account_of(owner))
    }
}

impl fmt::Display for BucketAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(account) = self.account {
            write!(f, "{account}:")?;
        }
        f.write_str(self.name)
    }
}

/// Lets s3s take such addresses for names.
#[derive(Debug, Clone, Copy)]
pub struct BucketAddresses;

impl NameValidation for BucketAddresses {
    fn validate_bucket_name(&self, address: &str) -> bool {
        let BucketAddress { account, name } = BucketAddress::of(address);
        let account = account.unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        account.len() <= ACCOUNT_MAX_BYTES
            && account.bytes().all(is_plain)
            && AwsNameValidation::new().validate_bucket_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_confirms_whose_bucket_is_meant() {
        for (address, owner, expected) in [
            ("photos", "acme$alice", true),
            ("photos", "bob", true),
            ("acme:photos", "acme$alice", true),
            ("acme:photos", "bob", false),
            ("acme:photos", "acme", false),
            ("acme:photos", "other$alice", false),
            (":photos", "bob", true),
            (":photos", "acme$alice", false),
        ] {
            let address = BucketAddress::of(address);
            assert_eq!(address.name, "photos");
            assert_eq!(address.is_of(owner), expected, "{address:?} {owner}");
        }
    }

    #[test]
    fn what_stands_before_and_behind_the_colon_keeps_the_rules() {
        for (address, expected) in [
            ("photos", true),
            (":photos", true),
            ("a_c-m3:photos", true),
            ("acme:Photos", false),
            ("acme:", false),
            (":", false),
            ("acme:other:photos", false),
            ("ac$me:photos", false),
            ("a/b:photos", false),
        ] {
            let taken = BucketAddresses.validate_bucket_name(address);
            assert_eq!(taken, expected, "{address}");
        }
        let long = format!("{}:photos", "a".repeat(ACCOUNT_MAX_BYTES + 1));
        assert!(!BucketAddresses.validate_bucket_name(&long));
    }
}
