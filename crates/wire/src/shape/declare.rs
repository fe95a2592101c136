//! The macros that the generated files are written in.
//!
//! `shape!` makes a structure from lines `field: Type = member`, `enumeration!` an enum from lines
//! `Variant = "WIRE_TEXT"`. Invariant: the value of a sensitive member never reaches a `Debug` text.

/// Makes structures and their view of themselves as members and fields.
macro_rules! shape {
    ($($name:ident { $($field:ident: $type:ty = $member:expr,)* })*) => {$(
        #[derive(Clone, Default, PartialEq)]
        pub struct $name {
            $(pub $field: $type,)*
        }

        impl $name {
            const MEMBERS: &'static [$crate::shape::Member] = &[$($member),*];
        }

        const _: () = assert!($name::MEMBERS.len() <= $crate::shape::MEMBERS_MAX);

        impl $crate::shape::Shape for $name {
            fn members(&self) -> &'static [$crate::shape::Member] {
                Self::MEMBERS
            }

            fn field_mut(&mut self, index: usize) -> Option<&mut dyn $crate::shape::Field> {
                [$(&mut self.$field as &mut dyn $crate::shape::Field),*].into_iter().nth(index)
            }

            fn each(
                &self,
                visit: &mut dyn FnMut(&'static $crate::shape::Member, &dyn $crate::shape::Field),
            ) {
                let fields: &[&dyn $crate::shape::Field] = &[$(&self.$field),*];
                for (member, field) in Self::MEMBERS.iter().zip(fields) {
                    visit(member, *field);
                }
            }
        }

        impl $crate::shape::Value for $name {
            fn slot(&mut self) -> $crate::shape::Slot<'_> {
                $crate::shape::Slot::Structure(self)
            }

            fn view(&self) -> $crate::shape::View<'_> {
                $crate::shape::View::Structure(self)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let values: &[&dyn std::fmt::Debug] = &[$(&self.$field),*];
                $crate::shape::debug(self, stringify!($name), values, f)
            }
        }
    )*};
}

/// Makes enums; the first value is the default, and none of them means anything by it. Where a value
/// is stored it has the spelling of the wire, so that adding or moving one changes no stored row.
macro_rules! enumeration {
    ($($name:ident { $first:ident = $first_text:literal, $($variant:ident = $text:literal,)* })*) => {$(
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            #[default]
            $first,
            $($variant,)*
        }

        impl $name {
            /// All values, in the order of the model.
            pub const ALL: &'static [Self] = &[Self::$first, $(Self::$variant),*];
            const TEXTS: &'static [&'static str] = &[$first_text, $($text),*];

            /// Returns the value as it is spelt in requests and answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::shape::UnknownValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $first_text => Ok(Self::$first),
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::shape::UnknownValue),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl $crate::shape::Enumeration for $name {
            fn values(&self) -> &'static [&'static str] {
                Self::TEXTS
            }

            fn set(&mut self, text: &str) -> bool {
                text.parse().map(|value| *self = value).is_ok()
            }
        }

        impl $crate::shape::Value for $name {
            fn slot(&mut self) -> $crate::shape::Slot<'_> {
                $crate::shape::Slot::Enumeration(self)
            }

            fn view(&self) -> $crate::shape::View<'_> {
                $crate::shape::View::Text(self.as_str())
            }
        }
    )*};
}

pub(crate) use {enumeration, shape};
