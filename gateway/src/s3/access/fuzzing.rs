//! Fuzz targets for policies and lists of grants.

use std::sync::Arc;

use futures::executor::block_on;
use http::{HeaderMap, Uri};
use metastore::{Acl, BucketSettings, Grant, Grantee, MemoryMetastore, Permission};
use s3s::dto::AccessControlPolicy;
use serde_json::Value;

use super::acl::AclRequest;
use super::caller::{Caller, Directory};
use super::context::{Read, RequestContext};
use super::decide::{Facts, ObjectFacts, decide};
use super::glob::fits;
use super::policy::Policy;
use crate::keys::RootKeys;
use crate::s3::fuzzing::{document, headers_of};
use crate::sealing::KeyRing;
use crate::users::Secrets;

/// A policy, a statement, an action, a resource, an address and headers, each but the last ended by
/// a line of its own with a full stop. Whatever the statement is, once it denies, nobody may do
/// more than before; and the order of statements does not matter.
pub fn policy(text: &str) {
    let mut parts = text.splitn(6, "\n.\n");
    let mut next = || parts.next().unwrap_or_default();
    let (first, added) = (next(), next());
    let (action, resource, uri, headers) = (next(), next(), next(), next());
    let Ok(policy) = Policy::parse(first, "b") else {
        return;
    };
    let denying = with_denial(first, added);
    let denying = denying.and_then(|text| Policy::parse(&text, "b").ok());
    let mut reversed = policy.clone();
    reversed.statements.reverse();
    let asked = (headers_of(headers), uri.parse().unwrap_or_default());
    for caller in [
        Caller::Anonymous,
        Caller::User("owner".into()),
        Caller::User("bob".into()),
        Caller::Root,
    ] {
        let allowed =
            |policy: Option<&Policy>| is_allowed(policy, &caller, action, resource, &asked);
        let before = allowed(Some(&policy));
        assert_eq!(before, allowed(Some(&reversed)), "{caller:?}");
        if let Some(denying) = &denying {
            assert!(before || !allowed(Some(denying)), "{caller:?}");
        }
        let denies_only = policy
            .statements
            .iter()
            .all(|statement| statement.effect == crate::s3::access::statement::Effect::Deny);
        assert!(!denies_only || allowed(None) || !before, "{caller:?}");
    }
    assert!(!denying.is_some_and(|denying| denying.is_public() && !policy.is_public()));
}

/// The policy with one statement more, which denies.
fn with_denial(policy: &str, statement: &str) -> Option<String> {
    let mut policy: Value = serde_json::from_str(policy).ok()?;
    let mut statement: Value = serde_json::from_str(statement).ok()?;
    let fields = statement.as_object_mut()?;
    fields.insert("Effect".into(), "Deny".into());
    let statements = policy.as_object_mut()?.get_mut("Statement")?;
    match statements {
        Value::Array(all) => all.push(statement),
        one => *one = Value::Array(vec![one.take(), statement]),
    }
    Some(policy.to_string())
}

fn is_allowed(
    policy: Option<&Policy>,
    caller: &Caller,
    action: &str,
    resource: &str,
    (headers, uri): &(HeaderMap, Uri),
) -> bool {
    let grant = Grant {
        grantee: Grantee::User("bob".into()),
        permission: Permission::Read,
    };
    let acl = Acl {
        grants: vec![grant],
    };
    let facts = Facts {
        caller,
        bucket_owner: "owner",
        settings: &BucketSettings::default(),
        policy,
        object: Some(ObjectFacts {
            owner: "writer",
            acl: Some(&acl),
        }),
    };
    let context = RequestContext {
        method: &http::Method::PUT,
        headers,
        uri,
        caller,
        source_ip: Some([10, 0, 0, 1].into()),
        tls: Some(crate::http::TlsVersion::V1_3),
        bucket_owner: "owner",
        signature: None,
        existing_tags: &[("colour".into(), "blue".into())],
        now_ms: 1_800_000_000_000,
        prefix: None,
        read: Read::default(),
    };
    decide(&facts, action, resource, &context)
}

/// A pattern and a text: a star more never fits less, and every text fits itself.
pub fn pattern(text: &str) {
    let (pattern, text) = text.split_once('\n').unwrap_or((text, ""));
    let found = fits(pattern, text);
    if found {
        assert!(fits(&format!("{pattern}*"), text));
        assert!(fits(&format!("*{pattern}"), text));
        assert!(fits(&format!("{pattern}*"), &format!("{text}more")));
    }
    assert!(fits(text, text) && fits("*", text));
    if !pattern.contains(['*', '?']) {
        assert_eq!(found, pattern == text);
    }
}

/// Grants in headers and in a document.
pub fn grants(bytes: &[u8]) {
    let directory = Directory::new(
        Arc::new(MemoryMetastore::new()),
        RootKeys {
            access_key: "root".into(),
            secret_key: String::new(),
        },
        Secrets::new(Arc::new(KeyRing::new([0; 32], [].into()))),
    );
    let request = AclRequest {
        directory: &directory,
        owner: super::ROOT_CANONICAL_ID,
        bucket_owner: "owner",
    };
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = block_on(request.in_headers(&headers_of(text)));
    }
    if let Some(policy) = document::<AccessControlPolicy>(bytes) {
        let _ = block_on(request.in_document(policy));
    }
}
