//! How names of the model are spelt in Rust.

/// Words that a member may be called and a field may not without a mark.
const KEYWORDS: [&str; 6] = ["type", "match", "mod", "ref", "move", "use"];

/// Returns the words of `AppInstanceUserArn`, `ResourceARN`, `NON_PERSISTENT`, in lower case.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = vec![String::new()];
    for (index, &letter) in letters.iter().enumerate() {
        if matches!(letter, '_' | '-') {
            words.push(String::new());
            continue;
        }
        let after_lower = index > 0 && !letters[index - 1].is_uppercase();
        let before_lower = letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && index > 0 && (after_lower || before_lower) {
            words.push(String::new());
        }
        words.last_mut().expect("there is always a word").push(letter.to_ascii_lowercase());
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the name of a field: `channel_arn`, `r#type`.
pub(super) fn field(name: &str) -> String {
    let field = words(name).join("_");
    if KEYWORDS.contains(&field.as_str()) { format!("r#{field}") } else { field }
}

/// Returns the name of a constant: `CHIME_ARN`.
pub(super) fn constant(name: &str) -> String {
    words(name).join("_").to_ascii_uppercase()
}

/// Returns the name of a variant: `NonPersistent`.
pub(super) fn variant(name: &str) -> String {
    words(name).iter().map(|word| capitalize(word)).collect()
}

/// Returns the word with a capital first letter: `Get`.
pub(super) fn capitalize(word: &str) -> String {
    let mut letters = word.chars();
    match letters.next() {
        Some(first) => format!("{}{}", first.to_ascii_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_snake_case() {
        assert_eq!(field("AppInstanceUserArn"), "app_instance_user_arn");
        assert_eq!(field("ResourceARN"), "resource_arn");
        assert_eq!(field("Type"), "r#type");
    }

    #[test]
    fn variants_are_in_camel_case() {
        assert_eq!(variant("NON_PERSISTENT"), "NonPersistent");
        assert_eq!(variant("ChannelMessage"), "ChannelMessage");
        assert_eq!(variant("IPV4_ONLY"), "Ipv4Only");
    }

    #[test]
    fn constants_are_in_upper_case() {
        assert_eq!(constant("String64"), "STRING64");
        assert_eq!(constant("NonEmptySensitiveString1600"), "NON_EMPTY_SENSITIVE_STRING1600");
    }
}
