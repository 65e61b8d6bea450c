//! Patterns of policies: `*` stands for any text, `?` for one character.

use std::collections::HashMap;

/// Longest pattern, and longest value of a condition. Source: an ARN of the longest key has 1,101 bytes.
pub const PATTERN_MAX_BYTES: usize = 2048;

/// Whether `text` fits `pattern`. The pattern is cut at its stars, and each piece is taken where it
/// fits first: that leaves the most text for the pieces behind it. Takes time in proportion to the
/// text, and where a piece holds `?`, to the text times the piece's length in words of 64 bits.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = behind(first, text) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(end) = end_of_first(piece, rest) else {
            return false;
        };
        rest = &rest[end..];
    }
    ends_with(rest, last)
}

fn is_met(wanted: char, given: char) -> bool {
    wanted == '?' || wanted == given
}

/// What stands behind `piece`, if the text begins with it.
fn behind<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    let mut given = text.chars();
    for wanted in piece.chars() {
        given.next().filter(|given| is_met(wanted, *given))?;
    }
    Some(given.as_str())
}

fn ends_with(text: &str, piece: &str) -> bool {
    let mut given = text.chars().rev();
    let mut wanted = piece.chars().rev();
    wanted.all(|wanted| given.next().is_some_and(|given| is_met(wanted, given)))
}

/// Where the first place ends in which `piece` fits.
fn end_of_first(piece: &str, text: &str) -> Option<usize> {
    if !piece.contains('?') {
        return text.find(piece).map(|at| at + piece.len());
    }
    // One bit for each beginning of the piece that fits up to here (the Shift-And method of
    // Baeza-Yates and Gonnet).
    let wanted: Vec<char> = piece.chars().collect();
    let words = wanted.len().div_ceil(64);
    let mut anything = vec![0u64; words];
    let mut places: HashMap<char, Vec<u64>> = HashMap::new();
    for (at, &wanted) in wanted.iter().enumerate() {
        match wanted {
            '?' => anything[at / 64] |= 1 << (at % 64),
            _ => places.entry(wanted).or_insert_with(|| vec![0; words])[at / 64] |= 1 << (at % 64),
        }
    }
    let nowhere = vec![0u64; words];
    let mut fitting = vec![0u64; words];
    for (at, given) in text.char_indices() {
        let places = places.get(&given).unwrap_or(&nowhere);
        let mut carry = 1;
        for word in 0..words {
            let shifted = (fitting[word] << 1) | carry;
            carry = fitting[word] >> 63;
            fitting[word] = shifted & (places[word] | anything[word]);
        }
        let last = wanted.len() - 1;
        if fitting[last / 64] >> (last % 64) & 1 == 1 {
            return Some(at + given.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by the words of the definition.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
            Some(('?', rest)) => !text.is_empty() && naive(rest, &text[1..]),
            Some((one, rest)) => text.first() == Some(one) && naive(rest, &text[1..]),
        }
    }

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn patterns_fit_as_defined(pattern in "[aé*?]{0,8}", text in "[aéb]{0,8}") {
            prop_assert_eq!(fits(&pattern, &text), naive(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn long_pieces_fit_as_defined(piece in "[ab?]{60,140}", before in "[ab]{0,9}", behind in "[ab]{0,9}") {
            let pattern = format!("*{piece}*");
            let text = format!("{before}{}{behind}", piece.replace('?', "b"));
            prop_assert!(fits(&pattern, &text));
            let longer = piece.len() + before.len() + behind.len() + 1;
            let pattern = format!("*{}{piece}*", "?".repeat(longer - piece.len()));
            prop_assert!(!fits(&pattern, &text));
        }
    }

    #[test]
    fn a_hostile_pattern_ends() {
        assert!(!fits(&"*a".repeat(500), &"a".repeat(499)));
        let text = "a".repeat(64 * 1024);
        for pattern in [
            format!("*{}b*", "a".repeat(1000)),
            format!("*{}?b*", "a".repeat(1000)),
            format!("*{}b", "a?".repeat(500)),
        ] {
            for _ in 0..10 {
                assert!(!fits(&pattern, &text));
            }
        }
    }
}
