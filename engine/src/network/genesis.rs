use base64::Engine as _;
use ruint::aliases::U256;
use ruint::uint;
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use crate::header::{AdjacentRecord, Header, RawHeader, merkle};
use crate::types::{BASE64URL, BlockHash, ChainId, ChainwebVersion, PayloadHash, Target, Weight};

uint! {
    const MAINNET01_TARGET_10_19: U256 =
        0x000000000000cb73de4be95ba21db5b9178dd85974c194e3ee05717dd8afa830_U256;
    const TESTNET04_TARGET_10_19: U256 =
        0x000000001b9bf15be43824bae4c4f17722572883f7b53ed2e8c6ba9596249235_U256;
    const RECAP_TARGET_10_19: U256 =
        0x0000088f99632cadf39b0db7655be62cb7dbc84ebbd9a90e5b5756d3e7d9196c_U256;
}

/// 2^256 − 1 divided by 100,000: an easy target for development networks.
#[cfg_attr(not(test), expect(clippy::arithmetic_side_effects, reason = "100,000 is not zero"))]
fn development_target() -> U256 {
    U256::MAX / U256::from(100_000)
}

const MAINNET01_PAYLOADS: [&str; 10] = [
    "k1H3DsInAPvJ0W_zPxnrpkeSNdPUT0S9U8bqDLG739o",
    "kClp_Tw7keCLXMfaCyjH-gToAGmLvRQqiNRmhWUCbxs",
    "4DVp1dkSLYkFD0zbFF7e5Ba0ezKmnZhEVzlc5ZqqAT0",
    "fCHKOS9SF9G3Gy5iGZnOmQxjGYf32yM8PklrcBD_dmQ",
    "cTZ_29TkjXDlG_GlW8iB-va3mofpt_UjthLcOoqtlaQ",
    "MS_wu92H4GVPCziB6g8rOAc3x2uyegXH4Yl_0TfpI7U",
    "DVs3k9omI_WHMOJ8tUZ1Bt9Q1DdNmqC3V51iZDGmWwM",
    "Faa4TQZGFkFumLfHnMIJBAu_PSmGY4F-YraLVFrxr7Y",
    "YWgbJ4K5VET4WnG3H0Y0HPgzZ_qSnTgqxyB1kpMLJTQ",
    "w_6Spsw-jdCi9hBTlM6v0C1P7XoglU_AqNG9rcOwAZ0",
];

impl ChainwebVersion {
    /// The first block of `chain`, rebuilt from the network's parameters; `None` if the network
    /// never has the chain.
    ///
    /// # Source
    ///
    /// `Chainweb.BlockHeader.Genesis` and `Chainweb.Version.*`. The payload of `development` has
    /// changed from release to release; this is that of 2.32.
    #[must_use]
    pub fn genesis_header(self, chain: ChainId) -> Option<Header> {
        let height = self.genesis_height(chain)?;
        let adjacents = self.graph_at(height).adjacent(chain)?;
        let adjacents = adjacents.map(|id| (id, merkle::genesis_parent_hash(self, id)));
        let mut raw = RawHeader {
            feature_flags: U64::ZERO,
            creation_time: I64::new(self.genesis_time()),
            parent: merkle::genesis_parent_hash(self, chain),
            adjacents: AdjacentRecord::new(adjacents),
            target: self.genesis_target(chain).to_le(),
            payload_hash: self.genesis_payload(chain)?,
            chain: U32::new(chain.get()),
            weight: Weight::new(U256::ZERO).to_le(),
            height: U64::new(height.get()),
            version: U32::new(self.code()),
            epoch_start: I64::new(self.genesis_time()),
            nonce: U64::ZERO,
            hash: BlockHash::new([0; 32]),
        };
        raw.hash = merkle::hash_of(&raw);
        Header::new(raw).ok()
    }

    /// The first blocks of all chains, by ascending chain.
    pub fn genesis_headers(self) -> impl Iterator<Item = Header> {
        self.chain_ids().filter_map(move |chain| self.genesis_header(chain))
    }

    const fn genesis_time(self) -> i64 {
        match self {
            Self::Mainnet01 => 1_572_393_660_000_000,
            Self::Testnet04 | Self::RecapDevelopment | Self::Development => 1_563_388_117_613_832,
        }
    }

    /// The target of the first block of `chain`.
    #[must_use]
    pub fn genesis_target(self, chain: ChainId) -> Target {
        let first_ten = chain.get() < 10;
        Target::new(match self {
            Self::Mainnet01 | Self::Testnet04 if first_ten => U256::MAX,
            Self::Mainnet01 => MAINNET01_TARGET_10_19,
            Self::Testnet04 => TESTNET04_TARGET_10_19,
            Self::RecapDevelopment if !first_ten => RECAP_TARGET_10_19,
            Self::RecapDevelopment | Self::Development => development_target(),
        })
    }

    fn genesis_payload(self, chain: ChainId) -> Option<PayloadHash> {
        let text = match (self, chain.get()) {
            (Self::Mainnet01, 0..10) => MAINNET01_PAYLOADS.get(chain.index())?,
            (Self::Mainnet01, _) => "i-MN4AoxsaPds4M_MzwNSUygAkGnPZoCDvahfckowt4",
            (Self::Testnet04, 0) => "nfYm3e_fk2ICws0Uowos6OMuqfFg5Nrl_zqXVx9v_ZQ",
            (Self::Testnet04, _) => "HU-ZhdfsQCiTrfxjtbkr5MHmjoukOt6INqB2vuYiF3g",
            (Self::Development, 0) => "GB8YsdVgd50IaJ_shYGN3pnzOohPi-gE3YaP2pvhw0w",
            (Self::Development, _) => "tL8Um8Zql3uKtYX5yo9-YoW_cKGf_BFBONzVD5JDd5k",
            (Self::RecapDevelopment, 0) => "5TWTF5R6Vc85vWHqcklTY91ljkV6mJ1wYfDJShooTCw",
            (Self::RecapDevelopment, 1..10) => "yZ6Syxl34TTrGGKxVHInV0S29BH8v-C8VZTbJr2eK2k",
            (Self::RecapDevelopment, _) => "OXFBWONFKY7fTY4MH3GaOOELd_cPCMn9GpIOPBYMsvM",
        };
        let bytes = BASE64URL.decode(text).ok()?;
        Some(PayloadHash::new(bytes.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Block hashes from chainweb-node's golden files.
    const MAINNET01: [&str; 20] = [
        "SNAMXHBvZtAbeS19x12bZV2p5d1E4BaxrggceNdUxbw",
        "aVFFqF8PbGu-MZkUhb1Ok4XijgxWUYxBxigBQgZmDFI",
        "Isgjp62lHk0uXgQfu_HZoeuP3udIiwkBlq1hHvXqXCM",
        "tMyy7k6lrQOsGg2oXh20kOC3zudjwsaL9F5Ogx0XNBo",
        "yeWKDE27xM45-LgdwpnVMM6E4pAoYryRrJJFgRiaKgQ",
        "GmCgnnxUtn08N8WtL8Gpn3Hg6AKyP4q0W0u3NLZn0Zo",
        "OXehM2W5YuiV0iWlDGIPMdaRv721zMUbj3caJqZJNBU",
        "CAfkqtRJpdf3rNSKx0SRwgaJlSUBLXwF1OMjn2-eBps",
        "09qk9ulwtq854ogJwlDZKN7NC_Q3lqiy1jdD0_YvWMI",
        "5cwptPDy7u6aMS221qsCr93g6ifDr0WUyvoKhi59-PA",
        "IQyS92QncmVLSPGiwn2taPayS42F5c3EjjL0DUr7keA",
        "G0NiGwj1bY2jYnpJ8aL4IJnsNeOLeb-7HD7AhFnrG_k",
        "OOKvNXgjfmcNzIlcIxAWKZuwEwjLS3Vod-mkhlCRCBY",
        "9PWw97t5czKEiK92LGFK9LkBToPB8A0AvPpoMmXLEoM",
        "55Z7RjqtyrZEoxUaZoB4aJIoA0j8ltkwcuAyprdXCng",
        "gd0FXTl4xqWjybxo4iWcBSZVJ53jV0noteLVwqIh6jA",
        "ZEulY-ffmUaS4JevaWy113CRTch_-Iu2LVDB2nN2xTM",
        "7Dop3iLs0VfejT2a8z3OkTfmGeT-_Soxr33TGr-bGMI",
        "nxSSt7WSfUaxQMmYIjdaoU-EgUHxYUtF449T3K2_Iw0",
        "y76dr78dPJlFDMPzCc-aEz97iRyimv5Ij3psdVlC64c",
    ];
    const TESTNET04: [&str; 20] = [
        "r21zg8E011awAbEghzNBOI4RtKUZ-wHLkUwio-5dKpE",
        "V1eZWhoceIl7vmfn5h3U4HvpGSs9Nd66ISgKNMLmi_0",
        "FMsDXwQ2OS0NYmDwQsXR4rPyKA9oxJR2XK2OppSCD8E",
        "tqjIgeqKe6q-BM4PeNmjHFgKHIWAziJxcgnrOuYInoc",
        "9oYwQo4x9xiCzlUzrmG0LOQW_rS3zRB4MtiOgpZmoMQ",
        "wXSuR_3WBkrdEV4proOm1YS4pBiX4uZI_KrNQfr24ls",
        "87afzutvMr9I2oZowgQbWBG8VJsN5rWtDB8SU19YaTA",
        "0fnoDkGf2KaY1SBwhrBD_2eXEUlrytKOXTWY0wNZ534",
        "hfRjRAhE8Fn8WJNz0R8Ku-W72RdzgQVXJDvzz5hIi_Q",
        "sM9OUZFlk4GHkBaW3dYG4LsU4TQslPzG6FkO0gr6Kro",
        "lTpiG_9bLbyKp7hmWq8M3jwkCtRUREhWW3nyU1YJAV4",
        "UQ2pi14AbFoY2uRN6a_LLgFQR-o0NpYAEMBlv-6wYys",
        "dRH0yn5kXKnt7gGqJIzQipsIbqkxNDs2RreNYNfknTU",
        "rF1wm-g3QbhPRmsEZZncHxAq0BHsGveN3Tc2gJvi2Ag",
        "zz3XKGns0zhrn3sUo9hul3JA9E_rwYJbDhs54ClQsJ0",
        "Xg5YrIrW8i2Bw2yaK0Hw5qFBNQv5NA5v78Zj5bhXDeI",
        "z8gMvZAtnm4ejpgtkiB5KuMgGs9XtrysVJprGdoHbUQ",
        "tOerMVBv5NcJjh4c40W22FZ89poibtBlz-yQl4NM7lw",
        "VsDfA3fyhpKdPR-KWzBARmh5htuBLnQe7ZXcLIphSaw",
        "ScaDZyeTNseqh6bdbG0bu_2BT83afeMrR9pxf68T8rw",
    ];

    #[test]
    fn genesis_hashes_are_the_golden_ones() {
        for (version, golden) in
            [(ChainwebVersion::Mainnet01, MAINNET01), (ChainwebVersion::Testnet04, TESTNET04)]
        {
            let hashes: Vec<String> =
                version.genesis_headers().map(|header| header.view().hash().to_string()).collect();
            assert_eq!(hashes, golden, "{version}");
        }
    }

    #[test]
    fn every_chain_of_every_network_has_a_genesis_block() {
        for version in ChainwebVersion::ALL {
            assert_eq!(version.genesis_headers().count(), 20);
            assert_eq!(version.genesis_header(ChainId::new(20)), None);
        }
    }
}
