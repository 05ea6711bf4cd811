use std::fmt;

use ruint::aliases::U256;

use super::hash::BASE64URL;
use super::{HashError, decode_32};
use base64::Engine as _;

macro_rules! word {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// An unsigned number of 256 bits. The text form is base64url of the 32 bytes, little
        /// endian.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(U256);

        impl $name {
            /// The value of this number.
            #[must_use]
            pub const fn new(value: U256) -> Self {
                Self(value)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> U256 {
                self.0
            }

            /// The number that these bytes write, least significant first.
            #[must_use]
            pub const fn from_le(bytes: [u8; 32]) -> Self {
                Self(U256::from_le_bytes(bytes))
            }

            /// The bytes that write the number, least significant first.
            #[must_use]
            pub const fn to_le(self) -> [u8; 32] {
                self.0.to_le_bytes()
            }

            /// The number with this text form.
            ///
            /// # Errors
            ///
            /// [`HashError`] if the text is not the base64url form of 32 bytes.
            pub fn from_base64url(text: &str) -> Result<Self, HashError> {
                decode_32(text).map(Self::from_le)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&BASE64URL.encode(self.to_le()))
            }
        }
    };
}

word! {
    /// What the proof-of-work hash of a block must not exceed.
    Target
}

word! {
    /// The work behind a block: the sum of the difficulties from genesis, modulo 2^256.
    Weight
}
