//! Passwords, in the one form in which they are hashed: the OpaqueString profile of PRECIS
//! (RFC 8265, section 4.2).
//!
//! Keyboards compose letters differently and type spaces of several kinds; the owner sees the
//! same. So spaces become plain ones and letters are composed (NFC), and nothing else changes: no
//! case, no trimming, no compatibility forms.
//!
//! Always true: only a [`Password`] is hashed or verified, so no place can leave this out.

use conclave_core::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN};
use unicode_normalization::UnicodeNormalization as _;

use crate::{
    Fault, Refused, character::is_space, hidden::is_hidden, line::is_assigned, shown::code_point,
};

/// A password as it is hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes a password that an account is to have.
    ///
    /// # Errors
    /// [`Refused`] as [`Fault::PasswordTooShort`], [`Fault::PasswordTooLong`], or
    /// [`Fault::PasswordCharacter`] for characters that other keyboards do not type: those that
    /// cannot be seen, and those that Unicode does not know (yet).
    pub fn new(typed: &str) -> Result<Self, Refused> {
        let password = Self::typed(typed)?;
        let hidden = password.0.chars().find(|character| is_hidden(*character));
        if let Some(hidden) = hidden {
            let code = code_point(hidden);
            let sentence = format!("the password contains {code}, which cannot be seen");
            return Err(Refused::new(Fault::PasswordCharacter, sentence));
        }
        if !password.0.chars().all(is_assigned) {
            let sentence = "the password contains what is no character of Unicode";
            return Err(Refused::new(Fault::PasswordCharacter, sentence));
        }
        Ok(password)
    }

    /// Takes a password that is to be verified. It is not refused for its characters: a node that
    /// knows an older Unicode must still let an account in.
    ///
    /// # Errors
    /// [`Refused`] as [`Fault::PasswordTooShort`] or [`Fault::PasswordTooLong`]: no account has
    /// such a one.
    pub fn typed(typed: &str) -> Result<Self, Refused> {
        let too_long = || {
            let sentence = format!("the password is longer than {PASSWORD_BYTES_MAX} bytes");
            Refused::new(Fault::PasswordTooLong, sentence)
        };
        // Work is bounded before anything is normalised: taken apart, a letter that has 2 bytes
        // has 6 at most.
        if typed.len() > 3 * PASSWORD_BYTES_MAX {
            return Err(too_long());
        }
        let plain = typed.chars().map(|c| if is_space(c) { ' ' } else { c });
        let password: String = plain.nfc().collect();
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(too_long());
        }
        if password.chars().count() < PASSWORD_CHARACTERS_MIN {
            let sentence =
                format!("the password is shorter than {PASSWORD_CHARACTERS_MIN} characters");
            return Err(Refused::new(Fault::PasswordTooShort, sentence));
        }
        Ok(Self(password))
    }

    /// Returns the bytes to hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(typed: &str) -> Fault {
        Password::new(typed).unwrap_err().fault
    }

    #[test]
    fn equivalent_spellings_of_a_password_are_equal() {
        let pairs = [
            ("pässwörter", "pa\u{308}sswo\u{308}rter"),
            ("correct horse", "correct\u{a0}horse"),
            ("correct horse", "correct\u{3000}horse"),
            ("김치찌개 두 그릇", "\u{1100}\u{1175}\u{11b7}치찌개 두 그릇"),
            ("ångström!", "\u{212b}ngström!".to_lowercase().as_str()),
        ]
        .map(|(one, other)| (one.to_owned(), other.to_owned()));
        for (one, other) in pairs {
            assert_eq!(Password::new(&one), Password::typed(&other), "{other:?}");
            assert_eq!(Password::new(&one), Password::new(&other), "{other:?}");
        }
    }

    #[test]
    fn other_differences_between_passwords_matter() {
        let different = [
            ("Password1", "password1"),
            ("password1", " password1"),
            ("two  spaces", "two spaces"),
            ("ﬁrework", "firework"),
            ("ｐａｓｓword", "password"),
        ];
        for (one, other) in different {
            assert_ne!(Password::new(one), Password::new(other), "{one:?}");
        }
        let emoji = "staple 🔋🐎🤔";
        assert_eq!(Password::new(emoji).unwrap().as_bytes(), emoji.as_bytes());
    }

    #[test]
    fn a_password_is_counted_in_characters_and_bounded_in_bytes() {
        assert_eq!(reason(""), Fault::PasswordTooShort);
        assert_eq!(reason("1234567"), Fault::PasswordTooShort);
        assert_eq!(reason("яяяя"), Fault::PasswordTooShort);
        assert_eq!(
            reason("e\u{301}e\u{301}e\u{301}e\u{301}"),
            Fault::PasswordTooShort
        );
        assert!(Password::new("яяяяяяяя").is_ok());
        assert!(Password::new(&"p".repeat(256)).is_ok());
        assert_eq!(reason(&"p".repeat(257)), Fault::PasswordTooLong);
        assert_eq!(reason(&"p".repeat(1_000_000)), Fault::PasswordTooLong);
        assert!(
            Password::new(&"a\u{308}".repeat(128)).is_ok(),
            "256 bytes when composed"
        );
    }

    #[test]
    fn untypable_characters_are_refused_in_a_new_password() {
        for hidden in [
            '\0', '\t', '\u{7f}', '\u{200b}', '\u{202e}', '\u{fe0f}', '\u{3164}',
        ] {
            let password = format!("password{hidden}1");
            assert_eq!(reason(&password), Fault::PasswordCharacter, "{hidden:?}");
            assert!(Password::typed(&password).is_ok(), "it is merely wrong");
        }
        assert_eq!(reason("password\u{378}"), Fault::PasswordCharacter);
        assert_eq!(
            format!("{:?}", Password::typed("password1")),
            "Ok(Password)"
        );
    }
}
