//! What a policy's conditions may look at: the request's headers and query, the object's tags.

use std::cell::OnceCell;

use http::{HeaderMap, Method, Uri};

use super::account::{account_of, arn_of};
use super::caller::Caller;
use crate::http::{TlsVersion, query_pairs};
use crate::s3::edge::signature::Signature;
use crate::s3::edge::sub_resource::creates_object;

/// Keys in the family `s3:` that requests here have.
const S3_KEYS: [&str; 16] = [
    "authtype",
    "delimiter",
    "if-match",
    "if-none-match",
    "max-keys",
    "object-lock-legal-hold",
    "object-lock-mode",
    "object-lock-retain-until-date",
    "objectcreationoperation",
    "prefix",
    "requestobjecttagkeys",
    "resourceaccount",
    "signatureage",
    "signatureversion",
    "tlsversion",
    "versionid",
];
/// The same in the family `aws:`.
const GLOBAL_KEYS: [&str; 14] = [
    "currenttime",
    "epochtime",
    "principalaccount",
    "principalarn",
    "principalisawsservice",
    "principaltype",
    "referer",
    "resourceaccount",
    "securetransport",
    "sourceip",
    "useragent",
    "userid",
    "username",
    "viaawsservice",
];
/// Keys that no request here has, because there are no organizations, no private clouds, no
/// temporary credentials and no services that call for others.
const ABSENT_KEYS: [&str; 29] = [
    "assumedroot",
    "calledvia",
    "calledviafirst",
    "calledvialast",
    "ec2instancesourceprivateipv4",
    "ec2instancesourcevpc",
    "federatedprovider",
    "multifactorauthage",
    "multifactorauthpresent",
    "principalorgid",
    "principalorgpaths",
    "principalservicename",
    "principalservicenameslist",
    "resourceorgid",
    "resourceorgpaths",
    "sourceaccount",
    "sourcearn",
    "sourceidentity",
    "sourceorgid",
    "sourceorgpaths",
    "sourceowner",
    "sourcevpc",
    "sourcevpcarn",
    "sourcevpce",
    "tokenissuetime",
    "vpceaccount",
    "vpceorgid",
    "vpceorgpaths",
    "vpcsourceip",
];
/// The same in the family `s3:`: there are no access points and no access grants, and a bucket has a
/// policy only after it was created in its region.
const ABSENT_S3_KEYS: [&str; 3] = [
    "accessgrantsinstancearn",
    "accesspointnetworkorigin",
    "locationconstraint",
];
/// Whether conditions may name this key: it has values here, or never has any.
pub fn is_known(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    match key.split_once(':') {
        Some(("s3", name)) => match name.split_once('/') {
            Some((kind, _)) => ["existingobjecttag", "requestobjecttag"].contains(&kind),
            None => {
                S3_KEYS.contains(&name)
                    || ABSENT_S3_KEYS.contains(&name)
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
    /// The request's method.
    pub method: &'a Method,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Its address, whose query counts.
    pub uri: &'a Uri,
    /// Who signed it.
    pub caller: &'a Caller,
    /// Address of the client, where it is known.
    pub source_ip: Option<std::net::IpAddr>,
    /// The version of TLS that it came over.
    pub tls: Option<TlsVersion>,
    /// Canonical id of who owns the bucket.
    pub bucket_owner: &'a str,
    /// How it was signed, if it was.
    pub signature: Option<Signature>,
    /// Tags of the object that is there, if they were looked up.
    pub existing_tags: &'a [(String, String)],
    /// The present moment, in milliseconds since 1970.
    pub now_ms: u64,
    /// The prefix of a listing that the request stands for, in place of its query's.
    pub prefix: Option<&'a str>,
    /// What was read of the request already.
    pub read: Read,
}

/// Parts of a request that many conditions may look at, read once.
#[derive(Default)]
pub struct Read {
    query: OnceCell<Pairs>,
    tags: OnceCell<Pairs>,
}

type Pairs = Vec<(String, String)>;

/// More tags than any object may have: a request with so many is refused in any case.
const TAGS_READ_MAX: usize = 64;

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
                "requestobjecttag" => values_of(self.request_tags(), tag),
                _ => Vec::new(),
            };
        }
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "requestobjecttagkeys" => {
                let tags = self.request_tags().iter();
                tags.map(|(key, _)| key.clone()).collect()
            }
            "prefix" if self.prefix.is_some() => {
                self.prefix.map(str::to_owned).into_iter().collect()
            }
            "prefix" | "delimiter" | "max-keys" => self.query(&name),
            "versionid" => self.query("versionId"),
            "if-match" | "if-none-match" => self.header(&name),
            // Source: S3 user guide, "Enforce conditional writes on Amazon S3 buckets".
            "objectcreationoperation" => {
                let creates = creates_object(self.method, self.uri.query());
                vec![creates.to_string()]
            }
            "resourceaccount" => account(Some(self.bucket_owner)),
            "tlsversion" => {
                let number = self.tls.map(TlsVersion::number);
                number.map(str::to_owned).into_iter().collect()
            }
            "authtype" => self.signed(|signature| Some(signature.auth_type().to_owned())),
            "signatureversion" => {
                self.signed(|signature| signature.version_name().map(str::to_owned))
            }
            "signatureage" => self.signed(|signature| {
                let signed_at_ms = signature.signed_at_ms(self.headers, self.uri.query())?;
                let age_ms = self.now_ms.checked_sub(signed_at_ms)?;
                Some(age_ms.to_string())
            }),
            _ if name.starts_with("x-amz-") => self.header(&name),
            _ if name.starts_with("object-lock-") => self.header(&format!("x-amz-{name}")),
            _ => Vec::new(),
        }
    }

    fn global_values(&self, name: &str) -> Vec<String> {
        match name {
            "sourceip" => self.source_ip.iter().map(ToString::to_string).collect(),
            "securetransport" => vec![self.tls.is_some().to_string()],
            "currenttime" | "epochtime" => vec![(self.now_ms / 1000).to_string()],
            "useragent" => self.header("user-agent"),
            "referer" => self.header("referer"),
            "principalaccount" => account(self.caller.id()),
            "principaltype" => vec![
                match self.caller {
                    Caller::Anonymous => "Anonymous",
                    Caller::Root => "Account",
                    Caller::User(_) => "User",
                }
                .to_owned(),
            ],
            "resourceaccount" => account(Some(self.bucket_owner)),
            "principalarn" => self.caller.id().map(arn_of).into_iter().collect(),
            "principalisawsservice" | "viaawsservice" => vec!["false".to_owned()],
            "userid" | "username" => self.caller.id().map(str::to_owned).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The values of a header. Empty ones count as absent.
    fn header(&self, name: &str) -> Vec<String> {
        let all = self.headers.get_all(name).iter();
        // What is no text is not absent, or a denial could be got round by a byte.
        all.filter(|value| !value.is_empty())
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    fn signed(&self, fact: impl Fn(Signature) -> Option<String>) -> Vec<String> {
        self.signature.and_then(fact).into_iter().collect()
    }

    fn query(&self, name: &str) -> Vec<String> {
        let query = || pairs(self.uri.query()).collect();
        values_of(self.read.query.get_or_init(query), name)
    }

    fn request_tags(&self) -> &[(String, String)] {
        self.read.tags.get_or_init(|| {
            let header = self.header("x-amz-tagging");
            // The header is written like a query.
            let tags = header.iter().flat_map(|tags| pairs(Some(tags)));
            tags.take(TAGS_READ_MAX).collect()
        })
    }
}

/// Whether a condition key looks at a tag of what is there.
pub fn is_existing_tag(key: &str) -> bool {
    let kind = key.split_once('/').map_or(key, |(kind, _)| kind);
    kind.eq_ignore_ascii_case("s3:ExistingObjectTag")
}

/// The account of the user with this canonical id, where it is of one.
fn account(id: Option<&str>) -> Vec<String> {
    let account = id.map(account_of).filter(|account| !account.is_empty());
    account.map(str::to_owned).into_iter().collect()
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (String, String)> {
    query_pairs(query).map(|(key, value)| (key.into_owned(), value.into_owned()))
}

fn values_of(tags: &[(String, String)], wanted: &str) -> Vec<String> {
    let found = tags.iter().filter(|(key, _)| key == wanted);
    found.map(|(_, value)| value.clone()).collect()
}
