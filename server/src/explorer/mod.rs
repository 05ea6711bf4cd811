//! The page for people: files that are a part of the program.
//!
//! Enters: a name. Leaves: a file and its type. They ask this server for blocks, and nobody else for
//! anything.

use plait_engine::archive::Checksum;

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(File { name: $name, bytes: include_bytes!($name) }),*]
    };
}

/// All of them.
const FILES: [File; 33] = files![
    "about.js",
    "api.js",
    "blake2s.js",
    "blocks.js",
    "braid.js",
    "canonical.js",
    "canvas.js",
    "checks.js",
    "decode.js",
    "dom.js",
    "explorer.css",
    "feed.js",
    "fields.js",
    "header.js",
    "index.html",
    "layout.js",
    "links.js",
    "live.js",
    "main.js",
    "merkle.js",
    "network.js",
    "pages.js",
    "plot.js",
    "record.js",
    "relay.js",
    "search.js",
    "sha512_256.js",
    "state.js",
    "stats.js",
    "stored.js",
    "stream.js",
    "text.js",
    "worker.js",
];

impl File {
    /// The file of this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        FILES.into_iter().find(|file| file.name == name)
    }

    /// What is in it.
    pub(crate) const fn bytes(self) -> &'static [u8] {
        self.bytes
    }

    /// Its type, by its name.
    pub(crate) fn content_type(self) -> &'static str {
        match self.name.rsplit_once('.').map(|(_, end)| end) {
            Some("html") => "text/html;charset=utf-8",
            Some("css") => "text/css;charset=utf-8",
            Some("js") => "text/javascript;charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }

    /// Its entity tag.
    pub(crate) fn tag(self) -> String {
        format!("\"{}\"", Checksum::of(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Bytes of all files together, at most.
    const BYTES_MAX: usize = 150_000;

    #[test]
    fn every_file_is_served_and_all_are_small() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explorer");
        let mut there: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "mod.rs")
            .collect();
        there.sort();
        let served: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        assert_eq!(there, served);
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
        assert!(FILES.iter().all(|file| file.content_type() != "application/octet-stream"));
    }

    #[test]
    fn files_ask_nobody_else() {
        for file in FILES {
            let text = std::str::from_utf8(file.bytes).unwrap();
            // The name of a vocabulary, which nobody fetches.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for start in ["http://", "https://", "ws://", "wss://", "\"//", "'//", "url(//"] {
                assert!(!text.contains(start), "{}: {start}", file.name);
            }
        }
    }
}
