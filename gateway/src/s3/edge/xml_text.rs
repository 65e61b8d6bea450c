//! Text for S3's XML documents. Keys may hold characters that XML 1.0 has no way to carry, and s3s
//! fails an answer that has them.

/// `text` with every character that XML 1.0 forbids shown as U+FFFD. A client that must have such
/// keys exactly lists them with `encoding-type=url`.
pub fn xml_text(text: String) -> String {
    if is_xml_text(&text) {
        return text;
    }
    text.chars()
        .map(|c| {
            if is_allowed(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

/// Whether XML 1.0 can carry the text as it is.
pub fn is_xml_text(text: &str) -> bool {
    text.chars().all(is_allowed)
}

/// Source: XML 1.0, 2.2 "Characters".
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_xml_cannot_carry_is_replaced() {
        assert_eq!(xml_text("tab\t é 😀".into()), "tab\t é 😀");
        assert_eq!(
            xml_text("a\u{1}b\u{0}\u{FFFF}".into()),
            "a\u{FFFD}b\u{FFFD}\u{FFFD}"
        );
    }
}
