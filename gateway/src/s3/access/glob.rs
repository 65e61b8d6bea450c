//! Patterns of policies: `*` stands for any text, `?` for one character.

/// Longest pattern, and longest value of a condition. Source: an ARN of the longest key has 1,101 bytes.
pub const PATTERN_MAX_BYTES: usize = 2048;

/// A set of states in a pattern, as bits.
type StateSet = Vec<u64>;

/// Whether `text` fits `pattern`. Follows all ways to read the text at once, 64 states of the pattern
/// in a step, so that no pattern is worse than another: a policy of 20 KiB and a header of 60 KiB
/// take some milliseconds.
pub fn fits(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
    let automaton = GlobAutomaton::of(pattern);
    let mut states: StateSet = vec![0; automaton.loops.len()];
    states[0] = 1;
    for &byte in text.as_bytes() {
        if automaton.advance(&mut states, byte) {
            return false;
        }
    }
    states[automaton.end / 64] >> (automaton.end % 64) & 1 == 1
}

/// How bytes lead through a pattern, whose state n is behind its first n characters that are no star.
struct GlobAutomaton {
    /// States that each byte leads on from.
    by_byte: Vec<Option<StateSet>>,
    /// States that each other first byte of a character leads on from: those before a `?`.
    any: StateSet,
    /// States before a star, where every byte may be taken.
    loops: StateSet,
    /// States behind a `?`, where the rest of its character is taken.
    rest: StateSet,
    /// The state behind the pattern.
    end: usize,
}

impl GlobAutomaton {
    fn of(pattern: &str) -> Self {
        let words = pattern.len() / 64 + 1;
        let none = || vec![0; words];
        let mut automaton = Self {
            by_byte: vec![None; 256],
            any: none(),
            loops: none(),
            rest: none(),
            end: 0,
        };
        for &byte in pattern.as_bytes() {
            let (word, bit) = (automaton.end / 64, 1 << (automaton.end % 64));
            match byte {
                b'*' => automaton.loops[word] |= bit,
                b'?' => {
                    automaton.any[word] |= bit;
                    automaton.end += 1;
                    automaton.rest[automaton.end / 64] |= 1 << (automaton.end % 64);
                }
                _ => {
                    automaton.by_byte[usize::from(byte)].get_or_insert_with(none)[word] |= bit;
                    automaton.end += 1;
                }
            }
        }
        automaton
    }

    /// Goes on from all states by one byte; whether there are none left.
    fn advance(&self, states: &mut StateSet, byte: u8) -> bool {
        let begins = byte & 0b1100_0000 != 0b1000_0000;
        let by_byte = self.by_byte[usize::from(byte)].as_deref();
        let (mut carried, mut left) = (0, 0);
        for (at, state) in states.iter_mut().enumerate() {
            let by_byte = by_byte.map_or(0, |by_byte| by_byte[at]);
            let (any, rest) = if begins {
                (self.any[at], 0)
            } else {
                (0, self.rest[at])
            };
            let on = *state & (by_byte | any);
            let loop_states = *state & (self.loops[at] | rest);
            *state = on << 1 | carried | loop_states;
            carried = on >> 63;
            left |= *state;
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
