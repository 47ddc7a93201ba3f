//! Colours with a meaning, and text measured in terminal columns.
//!
//! Whether there is colour is decided once, by [`super::choose`], and told to a [`Paint`]; nothing here looks at the
//! environment. Text given to these functions is expected to be escaped.

use ::console::Style;

/// Puts text into colour, or leaves it as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Paint {
    /// Whether there is colour at all.
    pub(super) colour: bool,
}

impl Paint {
    /// Success.
    pub(super) fn good(self, text: &str) -> String {
        self.apply(Style::new().green(), text)
    }

    /// Failure.
    pub(super) fn bad(self, text: &str) -> String {
        self.apply(Style::new().red().bold(), text)
    }

    /// What asks for attention.
    pub(super) fn caution(self, text: &str) -> String {
        self.apply(Style::new().yellow(), text)
    }

    /// What is going on, or worth knowing.
    pub(super) fn notice(self, text: &str) -> String {
        self.apply(Style::new().cyan(), text)
    }

    /// What the rest of a line is about.
    pub(super) fn strong(self, text: &str) -> String {
        self.apply(Style::new().bold(), text)
    }

    /// What can be skipped in reading.
    pub(super) fn faint(self, text: &str) -> String {
        self.apply(Style::new().dim(), text)
    }

    fn apply(self, style: Style, text: &str) -> String {
        style.force_styling(self.colour).apply_to(text).to_string()
    }
}

/// The number of columns that a text takes, colours not counted.
pub(super) fn columns(text: &str) -> usize {
    ::console::measure_text_width(text)
}

/// The text if it fits into the given number of columns, else as much of it as does, with an ellipsis. Colours stay
/// intact.
pub(super) fn truncate(text: &str, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    ::console::truncate_str(text, width, "…").into_owned()
}

/// The text with spaces to the right up to the given number of columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_if_wanted() {
        assert_eq!(Paint { colour: false }.good("ok"), "ok");
        assert_eq!(Paint { colour: true }.good("ok"), "\u{1b}[32mok\u{1b}[0m");
    }

    #[test]
    fn measures_columns_not_characters() {
        assert_eq!(columns("\u{1b}[1mweb\u{1b}[0m 世界"), 8);
        assert_eq!(pad("世界", 6), "世界  ");
        assert_eq!(pad("too long", 3), "too long");
        assert_eq!(truncate("世界世界", 5), "世界…");
        assert_eq!(truncate("fits", 4), "fits");
        assert_eq!(truncate("", 0), "");
        assert_eq!(truncate("x", 0), "");
    }

    #[test]
    fn truncated_colours_end() {
        let red = Paint { colour: true }.bad("abcdef");
        assert_eq!(truncate(&red, 4), "\u{1b}[31m\u{1b}[1mabc…\u{1b}[0m");
    }
}
