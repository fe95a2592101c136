//! Which function of `wire::constraint::pattern` stands for which pattern of the model.
//!
//! Invariant: a pattern that is not listed here makes `gen` fail, so that a new one is read by a
//! person before it refuses anybody's request.

use anyhow::{Result, bail};

/// (pattern of the model, constant in `wire::constraint::pattern`; `None` demands nothing).
const PATTERNS: [(&str, Option<&str>); 10] = [
    // Metadata and tokens may hold line breaks, which a literal reading would refuse.
    (".*", None),
    (r"[\s\S]*", None),
    (
        r"arn:[a-z0-9-\.]{1,63}:[a-z0-9-\.]{0,63}:[a-z0-9-\.]{0,63}:[a-z0-9-\.]{0,63}:[^/].{0,1023}",
        Some("ARN"),
    ),
    ("[-_a-zA-Z0-9]*", Some("TOKEN")),
    (
        r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]*",
        Some("PRINTABLE"),
    ),
    (r".*\S.*", Some("NOT_BLANK")),
    (r"[A-Za-z0-9]([A-Za-z0-9\:\-\_\.\@]{0,62}[A-Za-z0-9])?", Some("CHOSEN_ID")),
    (
        r"arn:aws:lex:[a-z]{2}-[a-z]+-\d{1}:\d{12}:bot-alias/[A-Z0-9]{10}/[A-Z0-9]{10}",
        Some("LEX_BOT_ALIAS_ARN"),
    ),
    ("^([A-Za-z]_?)+$", Some("LEX_INTENT_NAME")),
    (
        r"arn:aws:lambda:[a-z]{2}-[a-z]+-\d{1}:\d{12}:function:[a-zA-Z0-9\-_\.]+(:(\$LATEST|[a-zA-Z0-9\-_]+))?",
        Some("LAMBDA_FUNCTION_ARN"),
    ),
];

/// Returns the constant for a pattern.
pub(crate) fn constant(pattern: &str) -> Result<Option<&'static str>> {
    for (known, constant) in PATTERNS {
        if known == pattern {
            return Ok(constant);
        }
    }
    bail!(
        "the pattern `{pattern}` is unknown: add a function for it, or say that it demands nothing"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_pattern_is_refused() {
        assert!(constant("[0-9]{3}").is_err());
    }

    #[test]
    fn any_text_needs_no_function() {
        assert_eq!(constant(".*").expect("known"), None);
    }

    #[test]
    fn every_constant_shows_the_pattern_that_it_stands_for() {
        let path = crate::paths::wire_source().join("constraint/pattern.rs");
        let source = std::fs::read_to_string(path).expect("the patterns of wire are readable");
        for (pattern, constant) in PATTERNS {
            let Some(constant) = constant else { continue };
            let (_, declared) =
                source.split_once(&format!("const {constant}: Pattern")).expect(constant);
            let (declared, _) = declared.split_once("};").expect(constant);
            assert!(declared.contains(&format!("\"{pattern}\"")), "{constant} is another pattern");
        }
    }
}
