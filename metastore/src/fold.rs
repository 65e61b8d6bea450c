//! How keys fold into common prefixes, and where a listing may leap. Pure: knows keys and byte
//! bounds, no store. A bound is the least byte string that a scan may meet next; keys are UTF-8,
//! in which the byte 0xFF never occurs, so `prefix ‖ 0xFF` lies behind every key under `prefix`.

/// What a listing shows: keys under a prefix, folded at a delimiter, behind a cursor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fold<'q> {
    prefix: &'q str,
    delimiter: Option<&'q str>,
    after: Option<&'q str>,
}

impl<'q> Fold<'q> {
    /// The fold that a query asks for. An empty delimiter folds nothing.
    pub(crate) fn new(prefix: &'q str, delimiter: Option<&'q str>, after: Option<&'q str>) -> Self {
        Self {
            prefix,
            delimiter: delimiter.filter(|text| !text.is_empty()),
            after,
        }
    }

    /// The first bound. Everything from here up to [`end`](Self::end) is visible: a key that the
    /// cursor hides lies before it, and so does every key whose common prefix the cursor hides,
    /// because such a prefix can only be the cursor's own.
    pub(crate) fn start(&self) -> Vec<u8> {
        let Some(after) = self.after else {
            return self.prefix.into();
        };
        let behind_cursor = match self.common_prefix(after) {
            Some(hidden) => past(hidden),
            None => behind(after),
        };
        behind_cursor.max(self.prefix.into())
    }

    /// The bound at which the listing ends.
    pub(crate) fn end(&self) -> Vec<u8> {
        past(self.prefix)
    }

    /// The common prefix that `key` folds into, up to and with the first delimiter behind the
    /// prefix; `None` for a key that stands for itself or lies outside the prefix.
    pub(crate) fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let at = key.strip_prefix(self.prefix)?.find(delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }
}

/// The bound behind every key that begins with `prefix`.
pub(crate) fn past(prefix: &str) -> Vec<u8> {
    [prefix.as_bytes(), &[0xff]].concat()
}

/// The bound right behind `key`.
fn behind(key: &str) -> Vec<u8> {
    [key.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The visible entries by the words of the contract, one key at a time.
    fn naive(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, after: &str) -> Vec<String> {
        let mut shown = BTreeSet::new();
        for key in keys.iter().filter(|key| key.starts_with(prefix)) {
            let folded = match key[prefix.len()..].find(delimiter) {
                Some(at) => &key[..prefix.len() + at + delimiter.len()],
                None => key,
            };
            if folded > after {
                shown.insert(folded.to_owned());
            }
        }
        shown.into_iter().collect()
    }

    /// The visible entries by leaping from bound to bound.
    fn leaping(keys: &BTreeSet<String>, fold: Fold<'_>) -> Vec<String> {
        let (mut bound, mut shown) = (fold.start(), Vec::new());
        while let Some(key) = keys.iter().find(|key| key.as_bytes() >= bound.as_slice())
            && key.as_bytes() < fold.end().as_slice()
        {
            let folded = fold.common_prefix(key);
            bound = folded.map_or_else(|| behind(key), past);
            shown.push(folded.unwrap_or(key).to_owned());
        }
        shown
    }

    proptest! {
        #[test]
        fn leaping_shows_what_the_contract_says(
            keys in prop::collection::btree_set("[ab/\u{0}\u{10ffff}]{1,6}", 0..40),
            prefix in "[ab/]{0,3}",
            delimiter in "[/b]{1,2}",
            after in "[ab/\u{0}\u{10ffff}]{0,4}",
        ) {
            let fold = Fold::new(&prefix, Some(&delimiter), Some(&after));
            prop_assert_eq!(leaping(&keys, fold), naive(&keys, &prefix, &delimiter, &after));
        }
    }

    #[test]
    fn a_cursor_before_the_prefix_is_no_end() {
        assert_eq!(Fold::new("m/", Some("/"), Some("a")).start(), b"m/");
    }

    #[test]
    fn a_cursor_inside_a_common_prefix_skips_all_of_it() {
        assert_eq!(Fold::new("", Some("/"), Some("a/x")).start(), b"a/\xff");
        assert_eq!(Fold::new("", Some("/"), Some("a/")).start(), b"a/\xff");
    }

    #[test]
    fn an_empty_delimiter_folds_nothing() {
        assert_eq!(Fold::new("", Some(""), None).common_prefix("a/b"), None);
    }
}
