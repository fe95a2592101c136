//! The patterns of the model as functions.
//!
//! Each is a handful of character classes in a row, read by hand: no regular expression engine runs
//! over what strangers send. Invariant: a pattern speaks of the whole text, and each is linear.

/// A pattern: as the model spells it, and as a function.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) text: &'static str,
    pub(crate) is_match: fn(&str) -> bool,
}

/// Any ARN.
pub(crate) const ARN: Pattern = Pattern {
    text: r"arn:[a-z0-9-\.]{1,63}:[a-z0-9-\.]{0,63}:[a-z0-9-\.]{0,63}:[a-z0-9-\.]{0,63}:[^/].{0,1023}",
    is_match: is_arn,
};
/// Tokens and message ids.
pub(crate) const TOKEN: Pattern = Pattern { text: "[-_a-zA-Z0-9]*", is_match: is_token };
/// Names of resources: printable text, TAB, LF and CR.
pub(crate) const PRINTABLE: Pattern = Pattern {
    text: r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]*",
    is_match: is_printable,
};
/// Names of users: something beside white space.
pub(crate) const NOT_BLANK: Pattern = Pattern { text: r".*\S.*", is_match: is_not_blank };
/// Ids that callers choose.
pub(crate) const CHOSEN_ID: Pattern = Pattern {
    text: r"[A-Za-z0-9]([A-Za-z0-9\:\-\_\.\@]{0,62}[A-Za-z0-9])?",
    is_match: is_chosen_id,
};
/// The alias of a Lex bot.
pub(crate) const LEX_BOT_ALIAS_ARN: Pattern = Pattern {
    text: r"arn:aws:lex:[a-z]{2}-[a-z]+-\d{1}:\d{12}:bot-alias/[A-Z0-9]{10}/[A-Z0-9]{10}",
    is_match: is_lex_bot_alias_arn,
};
/// The name of a Lex intent.
pub(crate) const LEX_INTENT_NAME: Pattern =
    Pattern { text: "^([A-Za-z]_?)+$", is_match: is_lex_intent_name };
/// A Lambda function, with or without an alias.
pub(crate) const LAMBDA_FUNCTION_ARN: Pattern = Pattern {
    text: r"arn:aws:lambda:[a-z]{2}-[a-z]+-\d{1}:\d{12}:function:[a-zA-Z0-9\-_\.]+(:(\$LATEST|[a-zA-Z0-9\-_]+))?",
    is_match: is_lambda_function_arn,
};

/// Longest field of an ARN between two colons.
const ARN_FIELD_CHARS_MAX: usize = 63;
/// Longest resource of an ARN.
const ARN_RESOURCE_CHARS_MAX: usize = 1024;
/// Longest id that a caller may choose.
const CHOSEN_ID_CHARS_MAX: usize = 64;

fn is_arn(text: &str) -> bool {
    let mut fields = text.splitn(6, ':');
    let mut field = || fields.next();
    field() == Some("arn")
        && field().is_some_and(|partition| !partition.is_empty() && is_arn_field(partition))
        && field().is_some_and(is_arn_field)
        && field().is_some_and(is_arn_field)
        && field().is_some_and(is_arn_field)
        && field().is_some_and(is_arn_resource)
}

fn is_arn_field(field: &str) -> bool {
    field.len() <= ARN_FIELD_CHARS_MAX
        && field.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}

/// The first character is anything but a slash; those behind it are on the same line.
fn is_arn_resource(resource: &str) -> bool {
    if resource.is_ascii() {
        // As nearly all of them are; what follows says the same of any text.
        let bytes = resource.as_bytes();
        return bytes.first().is_some_and(|first| *first != b'/')
            && !bytes[1..].iter().any(|byte| matches!(byte, b'\n' | b'\r'))
            && bytes.len() <= ARN_RESOURCE_CHARS_MAX;
    }
    let mut letters = resource.chars();
    letters.next().is_some_and(|first| first != '/')
        && !letters.as_str().contains(is_line_end)
        && resource.chars().count() <= ARN_RESOURCE_CHARS_MAX
}

fn is_line_end(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_token(text: &str) -> bool {
    text.bytes().all(is_token_byte)
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')
}

/// The model's text, taken literally, would refuse every character beyond U+FFFD; clients name
/// things with emoji, so they are taken as meant.
fn is_printable(text: &str) -> bool {
    text.chars().all(
        |letter| matches!(letter, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..=char::MAX),
    )
}

fn is_not_blank(text: &str) -> bool {
    text.bytes().any(|b| !matches!(b, b' ' | b'\t'..=b'\r'))
}

fn is_chosen_id(text: &str) -> bool {
    let is_edge = |b: &u8| b.is_ascii_alphanumeric();
    let is_inner = |b: &u8| is_edge(b) || matches!(b, b':' | b'-' | b'_' | b'.' | b'@');
    let bytes = text.as_bytes();
    bytes.len() <= CHOSEN_ID_CHARS_MAX
        && bytes.first().is_some_and(is_edge)
        && bytes.last().is_some_and(is_edge)
        && bytes.iter().all(is_inner)
}

fn is_lex_bot_alias_arn(text: &str) -> bool {
    let is_id = |id: &str| {
        id.len() == 10 && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    let Some(rest) = after_account(text, "arn:aws:lex:") else { return false };
    rest.strip_prefix("bot-alias/")
        .and_then(|ids| ids.split_once('/'))
        .is_some_and(|(bot, alias)| is_id(bot) && is_id(alias))
}

/// Letters, each with at most one underscore behind it.
fn is_lex_intent_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
        && !text.contains("__")
}

fn is_lambda_function_arn(text: &str) -> bool {
    let is_name_byte = |b: u8| is_token_byte(b) || b == b'.';
    let Some(rest) = after_account(text, "arn:aws:lambda:") else { return false };
    let Some(function) = rest.strip_prefix("function:") else { return false };
    let (name, alias) = match function.split_once(':') {
        Some((name, alias)) => (name, Some(alias)),
        None => (function, None),
    };
    !name.is_empty()
        && name.bytes().all(is_name_byte)
        && alias.is_none_or(|alias| alias == "$LATEST" || !alias.is_empty() && is_token(alias))
}

/// Returns what follows `<prefix>us-east-1:111122223333:`.
fn after_account<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (region, rest) = text.strip_prefix(prefix)?.split_once(':')?;
    let (account, rest) = rest.split_once(':')?;
    let mut parts = region.splitn(3, '-');
    let (area, place, number) = (parts.next()?, parts.next()?, parts.next()?);
    let is_lower = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase());
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let is_region = area.len() == 2 && is_lower(area) && !place.is_empty() && is_lower(place);
    let is_number = number.len() == 1 && is_digits(number);
    let is_account = account.len() == 12 && is_digits(account);
    (is_region && is_number && is_account).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_matches(pattern: &Pattern, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!((pattern.is_match)(text), "{text} should match");
        }
        for text in bad {
            assert!(!(pattern.is_match)(text), "{text} should not match");
        }
    }

    #[test]
    fn arn_has_five_fields_and_a_resource() {
        let longest = format!("arn:aws:chime:::{}", "é".repeat(1024));
        let too_long = format!("{longest}é");
        let long_field = format!("arn:{}:::x:y", "a".repeat(64));
        assert_matches(
            &ARN,
            &[
                "arn:aws:chime:us-east-1:1:app-instance/a:b/c",
                "arn:a.b-c::::x",
                "arn:a:b:c:d:\n",
                &longest,
            ],
            &[
                "",
                "arn",
                "arn:::::x",
                "arn:a::::",
                "arn:a::::/x",
                "arn:A::::x",
                "arn:a::::x\n",
                " arn:a::::x",
                &too_long,
                &long_field,
            ],
        );
    }

    #[test]
    fn token_has_letters_digits_dash_and_underscore() {
        assert_matches(&TOKEN, &["", "a-Z_09"], &["a b", "é", "a.", "a\n"]);
    }

    #[test]
    fn name_takes_emoji_and_refuses_control_characters() {
        assert_matches(
            &PRINTABLE,
            &["", "a\tb\r\n", "~\u{85}\u{a0}é", "🔔", "\u{fffe}"],
            &["\0", "\u{b}", "\u{1b}[0m", "\u{7f}", "\u{80}", "\u{9f}"],
        );
    }

    #[test]
    fn user_name_is_not_blank() {
        assert_matches(&NOT_BLANK, &["a", " é ", "\n.\n"], &["", " ", "\t\n\r\u{b}\u{c} "]);
    }

    #[test]
    fn chosen_id_starts_and_ends_with_a_letter_or_digit() {
        let longest = "a".repeat(64);
        let too_long = "a".repeat(65);
        assert_matches(
            &CHOSEN_ID,
            &["a", "a1", "us-east-1:u@x.y_z", &longest],
            &["", "-a", "a-", "a b", "é", "a/b", "a\n", &too_long],
        );
    }

    #[test]
    fn lex_bot_alias_arn_names_bot_and_alias() {
        assert_matches(
            &LEX_BOT_ALIAS_ARN,
            &["arn:aws:lex:us-east-1:111122223333:bot-alias/ABCDEFGHI1/TSTALIASID"],
            &[
                "arn:aws:lex:us-east-1:111122223333:bot-alias/ABCDEFGHI1/TSTALIASI",
                "arn:aws:lex:us-east-1:111122223333:bot-alias/ABCDEFGHI1",
                "arn:aws:lex:us-east-12:111122223333:bot-alias/ABCDEFGHI1/TSTALIASID",
                "arn:aws:lex:usa-east-1:111122223333:bot-alias/ABCDEFGHI1/TSTALIASID",
                "arn:aws:lex:us-east-1:1111:bot-alias/ABCDEFGHI1/TSTALIASID",
            ],
        );
    }

    #[test]
    fn lex_intent_name_has_no_two_underscores_in_a_row() {
        assert_matches(
            &LEX_INTENT_NAME,
            &["a", "A_b_", "Welcome"],
            &["", "_a", "a__b", "a1", "a "],
        );
    }

    #[test]
    fn lambda_function_arn_may_have_an_alias() {
        let function = "arn:aws:lambda:eu-central-1:111122223333:function:f.1_-x";
        let [latest, alias] = ["$LATEST", "v1_-"].map(|alias| format!("{function}:{alias}"));
        let [empty, dotted] = ["", "v.1"].map(|alias| format!("{function}:{alias}"));
        assert_matches(
            &LAMBDA_FUNCTION_ARN,
            &[function, &latest, &alias],
            &[
                &empty,
                &dotted,
                "arn:aws:lambda:eu-central-1:111122223333:function:",
                "arn:aws:lambda:x",
            ],
        );
    }
}
