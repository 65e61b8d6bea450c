//! Tags of objects and buckets: how they are written in headers, documents and forms, and what they may
//! say.

use percent_encoding::percent_decode_str;
use s3s::dto::Tagging;
use s3s::{S3Error, S3Result, s3_error};

use crate::s3::edge::xml_text::is_xml_text;

/// Longest keys and values of tags, in characters. Source: S3 user guide, "Categorizing your storage
/// using tags".
const TAG_KEY_MAX_CHARS: usize = 128;
const TAG_VALUE_MAX_CHARS: usize = 256;

/// What has tags.
#[derive(Debug, Clone, Copy)]
pub enum Tagged {
    /// An object.
    Object,
    /// A bucket.
    Bucket,
}

impl Tagged {
    /// Most tags on one. Source: S3 user guide, "Categorizing your storage using tags" and "Using cost
    /// allocation S3 bucket tags".
    pub const fn tags_max(self) -> usize {
        match self {
            Self::Object => 10,
            Self::Bucket => 50,
        }
    }

    fn too_many(self) -> S3Error {
        let most = self.tags_max();
        match self {
            Self::Object => s3_error!(InvalidTag, "Object tags cannot be greater than {most}"),
            Self::Bucket => s3_error!(InvalidTag, "Bucket tag count cannot be greater than {most}"),
        }
    }
}

/// Reads tags as the header and the form field carry them.
///
/// # Errors
/// `InvalidArgument` for what is not encoded as a query; `InvalidTag`, also for too many.
pub fn parse_tags(text: &str) -> S3Result<Vec<(String, String)>> {
    let invalid = || {
        s3_error!(
            InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
        )
    };
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().ok();
        decoded
            .filter(|_| has_whole_escapes(part))
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(invalid)
    };
    let mut tags = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        tags.push((decode(key)?, decode(value)?));
    }
    check_tags(&tags, Tagged::Object)?;
    check_tag_text(&tags)?;
    Ok(tags)
}

/// The tags of a document, checked.
///
/// # Errors
/// `InvalidTag`, also for too many; `MalformedXML` for a tag without key or value.
pub fn tags_of(tagging: &Tagging, on: Tagged) -> S3Result<Vec<(String, String)>> {
    let mut tags = Vec::with_capacity(tagging.tag_set.len());
    for tag in &tagging.tag_set {
        let key = tag.key.clone().ok_or_else(|| s3_error!(MalformedXML))?;
        let value = tag.value.clone().ok_or_else(|| s3_error!(MalformedXML))?;
        tags.push((key, value));
    }
    check_tags(&tags, on)?;
    check_tag_text(&tags)?;
    Ok(tags)
}

/// The tags of a document that stands in a form's field.
///
/// # Errors
/// As [`tags_of`]; `MalformedXML`.
pub fn parse_tagging(text: &str) -> S3Result<Vec<(String, String)>> {
    // s3s drops such sections, and with them a part of what the text says.
    if text.contains("<![CDATA[") {
        return Err(s3_error!(MalformedXML));
    }
    let mut reader = s3s::xml::Deserializer::new(text.as_bytes());
    let tagging = <Tagging as s3s::xml::Deserialize>::deserialize(&mut reader)
        .map_err(|_| s3_error!(MalformedXML))?;
    tags_of(&tagging, Tagged::Object)
}

/// Checks the number, the lengths and the difference of tags, and that answers can carry them.
///
/// # Errors
/// `InvalidTag`, also for too many.
pub fn check_tags(tags: &[(String, String)], on: Tagged) -> S3Result<()> {
    if tags.len() > on.tags_max() {
        return Err(on.too_many());
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        let fits = (1..=TAG_KEY_MAX_CHARS).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_MAX_CHARS
            && is_xml_text(key)
            && is_xml_text(value);
        if !fits {
            return Err(s3_error!(InvalidTag));
        }
        if tags[..at].iter().any(|(earlier, _)| earlier == key) {
            return Err(s3_error!(
                InvalidTag,
                "Cannot provide multiple Tags with the same key"
            ));
        }
    }
    Ok(())
}

/// Checks what new tags say. Source: S3 user guide, "Categorizing your objects using tags": letters,
/// digits, spaces and `+ - = . _ : / @`; what begins with `aws:` is S3's own.
///
/// # Errors
/// `InvalidTag`.
pub fn check_tag_text(tags: &[(String, String)]) -> S3Result<()> {
    let is_allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c);
    for (key, value) in tags {
        let is_ours = key
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
        if is_ours {
            return Err(s3_error!(
                InvalidTag,
                "System tags cannot be added/updated by requester"
            ));
        }
        if !key.chars().all(is_allowed) {
            return Err(s3_error!(
                InvalidTag,
                "The TagKey you have provided is invalid"
            ));
        }
        if !value.chars().all(is_allowed) {
            return Err(s3_error!(
                InvalidTag,
                "The TagValue you have provided is invalid"
            ));
        }
    }
    Ok(())
}

/// Whether behind each percent sign two hexadecimal digits stand.
fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_hold_what_s3_lets_them_hold() {
        let code = |text: &str| {
            let refused = parse_tags(text).err();
            refused.map(|error| error.code().as_str().to_owned())
        };
        for (text, expected) in [
            ("a=b&c", None),
            ("a+b=%2B-%3D._%3A%2F%40+%C3%A9", None),
            ("aws%3Aa=b", Some("InvalidTag")),
            ("AWS%3Aa=b", Some("InvalidTag")),
            ("a=aws%3Ab", None),
            ("a=b%3B", Some("InvalidTag")),
            ("a%26=b", Some("InvalidTag")),
            ("a=%zz", Some("InvalidArgument")),
            ("a=%2", Some("InvalidArgument")),
            ("a=%FF", Some("InvalidArgument")),
        ] {
            assert_eq!(code(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn too_many_tags_are_told_by_what_they_are_on() {
        let tags: Vec<_> = (0..51).map(|n| (n.to_string(), String::new())).collect();
        assert!(check_tags(&tags[..10], Tagged::Object).is_ok());
        assert!(check_tags(&tags[..50], Tagged::Bucket).is_ok());
        for (on, start) in [(Tagged::Object, "Object"), (Tagged::Bucket, "Bucket")] {
            let refused = check_tags(&tags, on).unwrap_err();
            assert!(refused.message().unwrap().starts_with(start));
        }
    }
}
