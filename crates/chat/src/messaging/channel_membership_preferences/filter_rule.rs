//! Filter rules: which message attributes a member wants to be notified of.
//!
//! A rule is a JSON object of attribute names, each with the values of which one must be there, or,
//! in `anything-but`, none may be; `$or` holds alternatives. Invariant: what passes here is short
//! and simple enough to be judged for each message.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::limits;

const OR: &str = "$or";
const ANYTHING_BUT: &str = "anything-but";

/// Refuses a rule that cannot be applied.
///
/// # Errors
/// BadRequest that says what is wrong, without the rule's own words.
pub(super) fn check(rule: &str) -> Result<()> {
    if rule.len() > limits::FILTER_RULE_BYTES_MAX {
        return Err(Error::bad_request("FilterRule size limit exceeded"));
    }
    let Ok(Value::Object(rule)) = serde_json::from_str(rule) else {
        return Err(Error::bad_request("FilterRule is not a JSON object"));
    };
    let mut complexity = attributes(&rule)?;
    match rule.get(OR) {
        None => {}
        Some(Value::Array(branches)) if !branches.is_empty() => {
            if branches.len() > limits::FILTER_RULE_BRANCHES_MAX {
                return Err(Error::bad_request("FilterRule has too many $or branches"));
            }
            for branch in branches {
                complexity += attributes(branch_of(branch)?)?;
            }
        }
        Some(_) => return Err(Error::bad_request("FilterRule: $or is not a list of rules")),
    }
    if complexity == 0 {
        return Err(Error::bad_request("FilterRule names no attribute"));
    }
    if complexity > limits::FILTER_RULE_COMPLEXITY_MAX {
        return Err(Error::bad_request("FilterRule is too complex"));
    }
    Ok(())
}

fn branch_of(branch: &Value) -> Result<&Map<String, Value>> {
    match branch {
        Value::Object(branch) if branch.contains_key(OR) => {
            Err(Error::bad_request("FilterRule: $or cannot stand within $or"))
        }
        Value::Object(branch) if !branch.is_empty() => Ok(branch),
        _ => Err(Error::bad_request("FilterRule: a branch of $or names no attribute")),
    }
}

/// Counts the attribute names and their values, which is what makes a rule complex.
fn attributes(rule: &Map<String, Value>) -> Result<usize> {
    let mut complexity = 0;
    for (_, conditions) in rule.iter().filter(|(name, _)| *name != OR) {
        let conditions = list(conditions)?;
        complexity += 1;
        for condition in conditions {
            complexity += values(condition)?;
        }
    }
    Ok(complexity)
}

/// Counts the values of one condition: a text, or the texts that may not be there.
fn values(condition: &Value) -> Result<usize> {
    let excluded = match condition {
        Value::String(_) => return Ok(1),
        Value::Object(operator) if operator.len() == 1 => operator.get(ANYTHING_BUT),
        _ => None,
    };
    let excluded = list(excluded.ok_or_else(unknown_condition)?)?;
    if excluded.iter().all(Value::is_string) {
        Ok(excluded.len())
    } else {
        Err(unknown_condition())
    }
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    let list = value.as_array().filter(|list| !list.is_empty());
    list.ok_or_else(|| Error::bad_request("FilterRule: an attribute has no list of values"))
}

fn unknown_condition() -> Error {
    Error::bad_request("FilterRule compares texts, by equality or anything-but alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(rule: &str) -> Option<String> {
        check(rule).err().map(|error| error.to_string())
    }

    /// A rule of one attribute with this many values.
    fn with_values(count: usize) -> String {
        let values: Vec<String> = (0..count).map(|index| format!("\"v{index}\"")).collect();
        format!("{{\"a\":[{}]}}", values.join(","))
    }

    fn with_branches(count: usize) -> String {
        format!("{{\"$or\":[{}]}}", vec![r#"{"a":["b"]}"#; count].join(","))
    }

    #[test]
    fn rules_of_the_two_comparisons_are_accepted() {
        for rule in [
            r#"{"mention":["Bob"]}"#,
            r#"{"mention":["Bob","Ann"],"type":[{"anything-but":["Room","Hall"]}]}"#,
            r#"{"mention":["Bob",{"anything-but":["Ann"]}]}"#,
            r#"{"$or":[{"mention":["Bob"]},{"type":[{"anything-but":["Room"]}]}]}"#,
            r#"{"lang":["de"],"$or":[{"mention":["Bob"]}]}"#,
            "\n { \"mention\" : [ \"Bj\\u00f6rn 🎉\" , \"\" ] } ",
        ] {
            assert_eq!(refusal(rule), None, "{rule}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for rule in [
            "",
            "x",
            "{",
            "null",
            "[]",
            "\"a\"",
            "{}",
            r#"{"a":["b"]} x"#,
            r#"{"a":"b"}"#,
            r#"{"a":[]}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[null]}"#,
            r#"{"a":[true]}"#,
            r#"{"a":[["b"]]}"#,
            r#"{"a":{"b":["c"]}}"#,
            r#"{"a":[{}]}"#,
            r#"{"a":[{"prefix":"b"}]}"#,
            r#"{"a":[{"exists":true}]}"#,
            r#"{"a":[{"numeric":[">",1]}]}"#,
            r#"{"a":[{"anything-but":[]}]}"#,
            r#"{"a":[{"anything-but":[1]}]}"#,
            r#"{"a":[{"anything-but":"b"}]}"#,
            r#"{"a":[{"anything-but":{"prefix":"b"}}]}"#,
            r#"{"a":[{"anything-but":["b"],"prefix":"c"}]}"#,
            r#"{"$or":[]}"#,
            r#"{"$or":{}}"#,
            r#"{"$or":[{}]}"#,
            r#"{"$or":["a"]}"#,
            r#"{"$or":[{"$or":[{"a":["b"]}]}]}"#,
            r#"{"a":["b"],"$or":[]}"#,
        ] {
            assert!(refusal(rule).is_some(), "{rule}");
        }
    }

    #[test]
    fn complexity_is_the_sum_of_names_and_values() {
        assert_eq!(refusal(&with_values(19)), None);
        assert!(refusal(&with_values(20)).is_some());
        let excluding = with_values(19).replace('[', r#"[{"anything-but":["#).replace(']', "]}]");
        assert_eq!(refusal(&excluding), None);
        let beside = r#"{"x":["y"],"#.to_owned() + &with_values(19)[1..];
        assert!(refusal(&beside).is_some());
        let branches = format!("{{\"$or\":[{},{}]}}", with_values(9), with_values(9));
        assert_eq!(refusal(&branches), None);
        let branches = format!("{{\"$or\":[{},{}]}}", with_values(9), with_values(10));
        assert!(refusal(&branches).is_some());
    }

    #[test]
    fn rule_has_five_branches_and_two_kilobytes_at_most() {
        assert_eq!(refusal(&with_branches(5)), None);
        assert!(refusal(&with_branches(6)).is_some());
        let padded = |bytes: usize| format!("{:bytes$}", r#"{"a":["b"]}"#);
        assert_eq!(refusal(&padded(2_048)), None);
        assert!(refusal(&padded(2_049)).is_some());
        let of_two_bytes = format!("{{\"a\":[\"{}\"]}}", "ü".repeat(1_024));
        assert!(refusal(&of_two_bytes).is_some(), "bytes count, not characters");
    }

    #[test]
    fn refusal_does_not_repeat_the_rule() {
        let message = refusal(r#"{"secret":[{"prefix":"secret"}]}"#).expect("is refused");
        assert!(!message.contains("secret"), "{message}");
    }
}
