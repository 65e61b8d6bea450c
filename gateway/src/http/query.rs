//! The query of a request, decoded as s3s decodes it. Whatever decides by a query key decides by
//! these pairs: a key that is told apart by its raw text (`version%49d`) is another one here than in
//! the operation that runs.

use std::borrow::Cow;

/// Names and values, decoded, in the order of the query.
pub fn query_pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

/// Whether the query has this key, with any value.
#[must_use]
pub fn has_query_key(query: Option<&str>, name: &str) -> bool {
    query_pairs(query).any(|(key, _)| key == name)
}

/// The value under this key; the first of several.
#[must_use]
pub fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = query_pairs(query);
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_like_values() {
        let query = Some("version%49d=%61&&prefix=a+b%2Bc&acl");
        assert_eq!(query_value(query, "versionId").as_deref(), Some("a"));
        assert_eq!(query_value(query, "prefix").as_deref(), Some("a b+c"));
        assert!(has_query_key(query, "acl"));
        assert!(!has_query_key(query, "version%49d"));
        assert!(!has_query_key(None, "acl"));
    }
}
