//! Configuration files of any text, addresses, nodes.
#![no_main]
#![expect(dead_code, unused_imports, reason = "only a part of the command's settings is used here")]

mod cli;

use libfuzzer_sys::fuzz_target;
use plait::{Listen, Upstream};

fuzz_target!(|data: &[u8]| {
    cli::check(data);
    if let Ok(text) = std::str::from_utf8(data) {
        addresses(text);
    }
});

fn addresses(text: &str) {
    if let Ok(listen) = text.parse::<Listen>() {
        assert_eq!(listen.to_string().parse(), Ok(listen.clone()));
        assert!(matches!(listen, Listen::Tcp(_)) || text.starts_with('/'));
    }
    if let Ok(upstream) = text.parse::<Upstream>() {
        let written = upstream.to_string();
        assert_eq!(written.parse(), Ok(upstream), "{written}");
        assert!(written.starts_with("http") && !written.contains(['?', '#']), "{written}");
    }
}
