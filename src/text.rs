//! Making text from outside safe to show: engines, containers and hosts may send anything.

use std::fmt::Write;

/// Replaces control characters (escape sequences among them) by visible escapes such as `\x1b` or `\u{202e}`; tabs
/// become a space. The result is one line that a terminal prints as it is.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => escaped.push(' '),
            character if character.is_ascii_control() => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\x{:02x}", u32::from(character));
            }
            character if character.is_control() || is_format(character) => {
                escaped.extend(character.escape_unicode());
            }
            character => escaped.push(character),
        }
    }
    escaped
}

/// Characters that are invisible or change the direction of what follows (Unicode's "format" characters that are known
/// to mislead readers of terminals).
fn is_format(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_plain_text_alone() {
        assert_eq!(escape("Grüße, 世界 🚀"), "Grüße, 世界 🚀");
    }

    #[test]
    fn shows_what_would_steer_a_terminal() {
        assert_eq!(
            escape("a\u{1b}[31mred\r\n\tb\u{7}\u{9b}\u{202e}c"),
            "a\\x1b[31mred\\x0d\\x0a b\\x07\\u{9b}\\u{202e}c"
        );
    }
}
