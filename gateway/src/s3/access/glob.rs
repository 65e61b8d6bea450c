//! Patterns of policies: `*` stands for any text, `?` for one character.

/// Longest pattern, and longest value of a condition. Source: an ARN of the longest key has 1,101 bytes.
pub const PATTERN_MAX_BYTES: usize = 2048;

/// A set of places in a pattern, as bits.
type Places = Vec<u64>;

/// Whether `text` fits `pattern`. Follows all ways to read the text at once, 64 places of the pattern
/// in a step, so that no pattern is worse than another: a policy of 20 KiB and a header of 60 KiB
/// take some milliseconds.
pub fn fits(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
    let ways = Ways::of(pattern);
    let mut places: Places = vec![0; ways.stays.len()];
    places[0] = 1;
    for &byte in text.as_bytes() {
        if ways.advance(&mut places, byte) {
            return false;
        }
    }
    places[ways.end / 64] >> (ways.end % 64) & 1 == 1
}

/// How bytes lead through a pattern, whose place n is behind its first n characters that are no star.
struct Ways {
    /// Places that each byte leads on from.
    leaves: Vec<Option<Places>>,
    /// Places that each other first byte of a character leads on from: those before a `?`.
    any: Places,
    /// Places before a star, where every byte may be taken.
    stays: Places,
    /// Places behind a `?`, where the rest of its character is taken.
    rest: Places,
    /// The place behind the pattern.
    end: usize,
}

impl Ways {
    fn of(pattern: &str) -> Self {
        let words = pattern.len() / 64 + 1;
        let none = || vec![0; words];
        let mut ways = Self {
            leaves: vec![None; 256],
            any: none(),
            stays: none(),
            rest: none(),
            end: 0,
        };
        for &byte in pattern.as_bytes() {
            let (word, bit) = (ways.end / 64, 1 << (ways.end % 64));
            match byte {
                b'*' => ways.stays[word] |= bit,
                b'?' => {
                    ways.any[word] |= bit;
                    ways.end += 1;
                    ways.rest[ways.end / 64] |= 1 << (ways.end % 64);
                }
                _ => {
                    ways.leaves[usize::from(byte)].get_or_insert_with(none)[word] |= bit;
                    ways.end += 1;
                }
            }
        }
        ways
    }

    /// Goes on from all places by one byte; whether there are none left.
    fn advance(&self, places: &mut Places, byte: u8) -> bool {
        let begins = byte & 0b1100_0000 != 0b1000_0000;
        let leaves = self.leaves[usize::from(byte)].as_deref();
        let (mut carried, mut left) = (0, 0);
        for (at, place) in places.iter_mut().enumerate() {
            let leaves = leaves.map_or(0, |leaves| leaves[at]);
            let (any, rest) = if begins {
                (self.any[at], 0)
            } else {
                (0, self.rest[at])
            };
            let on = *place & (leaves | any);
            let stay = *place & (self.stays[at] | rest);
            *place = on << 1 | carried | stay;
            carried = on >> 63;
            left |= *place;
        }
        left == 0
    }
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
            Some((character, rest)) => text.first() == Some(character) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_as_defined(
            pattern in "[aé*?]{0,8}", text in "[aé\u{10ffff}]{0,8}", before in 0usize..130,
        ) {
            let [p, t] = [&pattern, &text].map(|it| it.chars().collect::<Vec<_>>());
            let expected = naive(&p, &t);
            prop_assert_eq!(fits(&pattern, &text), expected);
            // Across the edges of words too.
            let long = |it| format!("{}{it}", "x".repeat(before));
            prop_assert_eq!(fits(&long(&pattern), &long(&text)), expected);
        }
    }

    #[test]
    fn hostile_patterns_end() {
        assert!(!fits(&"*a".repeat(500), &"a".repeat(499)));
        let (policy, header) = ("a".repeat(10_000), "a".repeat(60_000));
        assert!(!fits(&format!("*?{policy}b"), &header));
        assert!(fits(&format!("*?{policy}*a"), &header));
    }
}
