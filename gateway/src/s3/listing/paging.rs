//! What the listings share: how many entries a page has, and how names stand in it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{CommonPrefix, EncodingType};
use s3s::{S3Result, s3_error};

use crate::s3::edge::xml_text::xml_text;

/// Most entries in one page.
pub const ENTRIES_MAX: i32 = 1000;

/// What `encoding-type=url` leaves as it is.
const URL_SAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b'*');

/// Encodes names in an answer the way that the client asked for.
#[derive(Clone, Copy)]
pub struct NameEncoding {
    url: bool,
}

impl NameEncoding {
    /// Reads `encoding-type`; only `url` is defined.
    ///
    /// # Errors
    /// `InvalidArgument` for any other.
    pub fn parse(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None | Some("") => Ok(Self { url: false }),
            Some(EncodingType::URL) => Ok(Self { url: true }),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "Invalid Encoding Method specified in Request"
            )),
        }
    }

    /// The name as it stands in the answer.
    pub fn encode(self, name: &str) -> String {
        if self.url {
            utf8_percent_encode(name, URL_SAFE).to_string()
        } else {
            xml_text(name.to_owned())
        }
    }
}

/// The number of entries that a client may have, out of what it asks for by this parameter.
///
/// # Errors
/// `InvalidArgument` for a negative number.
pub fn page_limit(parameter: &str, requested: Option<i32>, most: i32) -> S3Result<i32> {
    match requested {
        None => Ok(most),
        Some(requested) if requested < 0 => Err(s3_error!(
            InvalidArgument,
            "Argument {parameter} must be an integer between 0 and 2147483647"
        )),
        Some(requested) => Ok(requested.min(most)),
    }
}

/// An empty parameter counts as absent.
pub fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A common prefix as S3's documents show it.
pub fn common_prefix(prefix: &str, encoding: NameEncoding) -> CommonPrefix {
    CommonPrefix {
        prefix: Some(encoding.encode(prefix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_encoding_hides_what_xml_cannot_carry() {
        let url = NameEncoding { url: true };
        assert_eq!(url.encode("a b+c/\u{1}é"), "a%20b%2Bc/%01%C3%A9");
    }

    #[test]
    fn page_limits_are_capped_and_never_negative() {
        let limit = |requested| page_limit("max-parts", requested, 1000);
        assert_eq!(limit(None).unwrap(), 1000);
        assert_eq!(limit(Some(5000)).unwrap(), 1000);
        assert_eq!(limit(Some(0)).unwrap(), 0);
        let refused = limit(Some(-1)).unwrap_err();
        assert!(refused.message().unwrap().contains("max-parts"));
    }
}
