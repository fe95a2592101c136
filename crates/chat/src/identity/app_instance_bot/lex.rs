//! The Lex configuration of a bot, and which messages call it.
//!
//! Invariant: a configuration says in one way at most what calls the bot: by InvokedBy, or by
//! RespondsTo, its deprecated form. What the model can say of a configuration was checked before.

use serde::{Deserialize, Serialize};
use wire::identity::{
    Configuration, InvokedBy, LexConfiguration, RespondsTo, StandardMessages, TargetedMessages,
};

use crate::error::{Error, Result};
use crate::limits::LOCALE_ID_CHARS_MAX;

/// What a bot is configured with; what was not given is not there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Lex {
    bot_alias_arn: String,
    locale_id: String,
    welcome_intent: Option<String>,
    responds_to: Option<RespondsTo>,
    invoked_by: Option<(StandardMessages, TargetedMessages)>,
}

impl Lex {
    /// Returns a configuration as it is kept.
    ///
    /// # Errors
    /// BadRequest for a locale that is none, and for two ways of saying what calls the bot.
    pub(super) fn checked(given: &LexConfiguration) -> Result<Self> {
        if given.responds_to.is_some() && given.invoked_by.is_some() {
            return Err(Error::bad_request("RespondsTo and InvokedBy exclude each other"));
        }
        let is_locale =
            |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        let locale_id = &given.locale_id;
        if !(1..=LOCALE_ID_CHARS_MAX).contains(&locale_id.len())
            || !locale_id.chars().all(is_locale)
        {
            return Err(Error::bad_request("The LocaleId is not one of a locale"));
        }
        let invoked_by = given.invoked_by.as_ref();
        Ok(Self {
            bot_alias_arn: given.lex_bot_alias_arn.clone(),
            locale_id: locale_id.clone(),
            welcome_intent: given.welcome_intent.clone(),
            responds_to: given.responds_to,
            invoked_by: invoked_by.map(|by| (by.standard_messages, by.targeted_messages)),
        })
    }

    /// Returns the configuration as it was given.
    pub(super) fn described(&self) -> Configuration {
        let invoked_by = self.invoked_by;
        Configuration {
            lex: LexConfiguration {
                responds_to: self.responds_to,
                invoked_by: invoked_by.map(|(standard_messages, targeted_messages)| InvokedBy {
                    standard_messages,
                    targeted_messages,
                }),
                lex_bot_alias_arn: self.bot_alias_arn.clone(),
                locale_id: self.locale_id.clone(),
                welcome_intent: self.welcome_intent.clone(),
            },
        }
    }

    /// Whether a STANDARD message to everybody that mentions the bot calls it.
    pub(super) fn hears_mentions(&self) -> bool {
        self.invokers().0 != StandardMessages::None
    }

    /// Whether a STANDARD message that is for the bot alone calls it.
    pub(super) fn hears_targeted(&self) -> bool {
        self.invokers().1 == TargetedMessages::All
    }

    /// What calls the bot. RespondsTo knows standard messages alone; undocumented where nothing
    /// was given: AUTO and ALL.
    fn invokers(&self) -> (StandardMessages, TargetedMessages) {
        match (self.invoked_by, self.responds_to) {
            (Some(invoked_by), _) => invoked_by,
            (None, Some(RespondsTo::StandardMessages)) => {
                (StandardMessages::All, TargetedMessages::None)
            }
            (None, None) => (StandardMessages::Auto, TargetedMessages::All),
        }
    }
}
