//! What a policy's conditions may look at: the request's headers and query, the object's tags.

use http::{HeaderMap, Uri};

use super::caller::Caller;
use crate::http::{SignatureFacts, query_pairs};

/// Keys in the family `s3:` that requests here have.
const S3_KEYS: [&str; 13] = [
    "authtype",
    "delimiter",
    "if-match",
    "if-none-match",
    "max-keys",
    "object-lock-legal-hold",
    "object-lock-mode",
    "object-lock-retain-until-date",
    "prefix",
    "requestobjecttagkeys",
    "signatureage",
    "signatureversion",
    "versionid",
];
/// The same in the family `aws:`.
const GLOBAL_KEYS: [&str; 11] = [
    "currenttime",
    "epochtime",
    "principalarn",
    "principalisawsservice",
    "referer",
    "securetransport",
    "sourceip",
    "useragent",
    "userid",
    "username",
    "viaawsservice",
];
/// Keys that no request here has, because there are no organizations, no private clouds, no
/// temporary credentials and no services that call for others.
const ABSENT_KEYS: [&str; 15] = [
    "calledvia",
    "calledviafirst",
    "calledvialast",
    "multifactorauthage",
    "multifactorauthpresent",
    "principalorgid",
    "principalorgpaths",
    "sourceaccount",
    "sourcearn",
    "sourceorgid",
    "sourceowner",
    "sourcevpc",
    "sourcevpce",
    "tokenissuetime",
    "vpcsourceip",
];

/// Whether conditions may name this key: it has values here, or never has any.
pub fn is_known(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    match key.split_once(':') {
        Some(("s3", name)) => match name.split_once('/') {
            Some((kind, _)) => ["existingobjecttag", "requestobjecttag"].contains(&kind),
            None => {
                S3_KEYS.contains(&name)
                    || name.starts_with("x-amz-")
                    || name.starts_with("dataaccesspoint")
            }
        },
        Some(("aws", name)) => {
            GLOBAL_KEYS.contains(&name)
                || ABSENT_KEYS.contains(&name)
                || name.starts_with("principaltag/")
        }
        _ => false,
    }
}

/// The values that conditions are held against.
pub struct RequestContext<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Its address, whose query counts.
    pub uri: &'a Uri,
    /// Who signed it.
    pub caller: &'a Caller,
    /// Address of the client, where it is known.
    pub source_ip: Option<std::net::IpAddr>,
    /// Whether it came over TLS.
    pub secure: bool,
    /// How it was signed, where that is known.
    pub signature: Option<SignatureFacts>,
    /// Tags of the object that is there, if they were looked up.
    pub existing_tags: &'a [(String, String)],
    /// The present moment, in milliseconds since 1970.
    pub now_ms: u64,
    /// The prefix of a listing that the request stands for, in place of its query's.
    pub prefix: Option<&'a str>,
}

impl RequestContext<'_> {
    /// The values under a condition key, which is compared without case; empty where it is absent.
    pub fn values(&self, key: &str) -> Vec<String> {
        let (family, name) = key.split_once(':').unwrap_or(("", key));
        match family.to_ascii_lowercase().as_str() {
            "s3" => self.s3_values(name),
            "aws" => self.global_values(&name.to_ascii_lowercase()),
            _ => Vec::new(),
        }
    }

    fn s3_values(&self, name: &str) -> Vec<String> {
        if let Some((kind, tag)) = name.split_once('/') {
            return match kind.to_ascii_lowercase().as_str() {
                "existingobjecttag" => values_of(self.existing_tags, tag),
                "requestobjecttag" => values_of(&self.request_tags(), tag),
                _ => Vec::new(),
            };
        }
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "requestobjecttagkeys" => {
                let tags = self.request_tags();
                tags.into_iter().map(|(key, _)| key).collect()
            }
            "prefix" if self.prefix.is_some() => {
                self.prefix.map(str::to_owned).into_iter().collect()
            }
            "prefix" | "delimiter" | "max-keys" => self.query(&name),
            "versionid" => self.query("versionId"),
            "if-match" | "if-none-match" => self.header(&name),
            "authtype" => self.signed(|signature| signature.auth_type.map(str::to_owned)),
            "signatureversion" => self.signed(|signature| signature.version.map(str::to_owned)),
            "signatureage" => self.signed(|signature| {
                let age_ms = self.now_ms.checked_sub(signature.signed_at_ms?);
                age_ms.map(|age_ms| age_ms.to_string())
            }),
            _ if name.starts_with("x-amz-") => self.header(&name),
            _ if name.starts_with("object-lock-") => self.header(&format!("x-amz-{name}")),
            _ => Vec::new(),
        }
    }

    fn global_values(&self, name: &str) -> Vec<String> {
        match name {
            "sourceip" => self.source_ip.iter().map(ToString::to_string).collect(),
            "securetransport" => vec![self.secure.to_string()],
            "currenttime" | "epochtime" => vec![(self.now_ms / 1000).to_string()],
            "useragent" => self.header("user-agent"),
            "referer" => self.header("referer"),
            "principalarn" => {
                let arn = |id| format!("arn:aws:iam:::user/{id}");
                self.caller.id().map(arn).into_iter().collect()
            }
            "principalisawsservice" | "viaawsservice" => vec!["false".to_owned()],
            "userid" | "username" => self.caller.id().map(str::to_owned).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The values of a header. Empty ones count as absent.
    fn header(&self, name: &str) -> Vec<String> {
        let all = self.headers.get_all(name).iter();
        all.filter(|value| !value.is_empty())
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    fn signed(&self, fact: impl Fn(&SignatureFacts) -> Option<String>) -> Vec<String> {
        let signature = self.signature.as_ref();
        signature.and_then(fact).into_iter().collect()
    }

    fn query(&self, name: &str) -> Vec<String> {
        query_pairs(self.uri.query())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    fn request_tags(&self) -> Vec<(String, String)> {
        let header = self.header("x-amz-tagging");
        // The header is written like a query.
        let pairs = header.iter().flat_map(|tags| query_pairs(Some(tags)));
        pairs
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect()
    }
}

fn values_of(tags: &[(String, String)], wanted: &str) -> Vec<String> {
    let found = tags.iter().filter(|(key, _)| key == wanted);
    found.map(|(_, value)| value.clone()).collect()
}
