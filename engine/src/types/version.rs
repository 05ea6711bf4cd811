use std::fmt;

/// A network: what the protocol calls the version of a chainweb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainwebVersion {
    /// The main network, 2019-10-30 to 2025-11-15.
    Mainnet01,
    /// The public test network.
    Testnet04,
    /// A development network that runs through the main network's upgrades. Until February 2024
    /// it was called `development`.
    RecapDevelopment,
    /// A development network without proof of work. Until February 2024 it was called
    /// `fast-development`.
    Development,
}

impl ChainwebVersion {
    /// Every network.
    pub const ALL: [Self; 4] =
        [Self::Mainnet01, Self::Testnet04, Self::RecapDevelopment, Self::Development];

    /// The name, as it stands in paths and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet01 => "mainnet01",
            Self::Testnet04 => "testnet04",
            Self::RecapDevelopment => "recap-development",
            Self::Development => "development",
        }
    }

    /// The code, as it stands in binary headers.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Mainnet01 => 5,
            Self::Testnet04 => 7,
            Self::RecapDevelopment => 1,
            Self::Development => 2,
        }
    }

    /// The network with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }

    /// The network with this name or the old name `fast-development`, if there is one. Until
    /// February 2024 `development` was the name of what is [`Self::RecapDevelopment`] now: a name
    /// alone does not tell which of the two it is, and this takes it for the present one.
    #[must_use]
    pub fn from_any_name(name: &str) -> Option<Self> {
        if name == "fast-development" { Some(Self::Development) } else { Self::from_name(name) }
    }

    /// The network with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.code() == code)
    }
}

impl fmt::Display for ChainwebVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
