//! What a policy's conditions may look at: the request's headers and query, the object's tags.

use std::cell::OnceCell;

use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use super::caller::Caller;

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
            "userid" | "username" => self.caller.id().map(str::to_owned).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn header(&self, name: &str) -> Vec<String> {
        let all = self.headers.get_all(name).iter();
        // What is no text is not absent, or a denial could be got round by a byte.
        all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    fn query(&self, name: &str) -> Vec<String> {
        let query = self.uri.query().unwrap_or_default();
        values_of(self.read.query.get_or_init(|| pairs(query).collect()), name)
    }

    fn request_tags(&self) -> &[(String, String)] {
        self.read.tags.get_or_init(|| {
            let header = self.header("x-amz-tagging");
            let tags = header.iter().flat_map(|tags| pairs(tags));
            tags.take(TAGS_READ_MAX).collect()
        })
    }
}

/// Whether a condition key looks at a tag of what is there.
pub fn is_existing_tag(key: &str) -> bool {
    let kind = key.split_once('/').map_or(key, |(kind, _)| kind);
    kind.eq_ignore_ascii_case("s3:ExistingObjectTag")
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
}

fn values_of(tags: &[(String, String)], wanted: &str) -> Vec<String> {
    let found = tags.iter().filter(|(key, _)| key == wanted);
    found.map(|(_, value)| value.clone()).collect()
}
