//! The shape of the source: layers, sizes, and who may do what.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use testkit::vectors::workspace;

/// Lines of a file at most, without its tests.
const FILE_LINES_MAX: usize = 400;

/// Lines of a function at most.
const FUNCTION_LINES_MAX: usize = 70;

/// A source file.
struct Source {
    /// Below the workspace.
    path: PathBuf,
    text: String,
}

impl Source {
    fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The text before the tests at the end of the file.
    fn without_tests(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap()
    }

    /// The same without comments and strings, whose braces and names mean nothing.
    fn code(&self) -> String {
        code(self.without_tests())
    }

    fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

/// `text` without comments and without what stands in quotes. Lines stay.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |end| end + 2),
            '"' => string_len(rest),
            '\'' => char_len(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            rest = &rest[skipped..];
        }
    }
    code
}

/// Bytes of the string literal that `text` begins with.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// Bytes of the character literal that `text` begins with; 1 if it is a lifetime.
fn char_len(text: &str) -> usize {
    let inner = text.chars().nth(1).map_or(0, char::len_utf8);
    match text.get(1..) {
        Some(escape) if escape.starts_with('\\') => {
            escape.char_indices().skip(2).find(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 2)
        }
        _ if text.get(1 + inner..).is_some_and(|end| end.starts_with('\'')) => 2 + inner,
        _ => 1,
    }
}

/// Every source file of the workspace.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in
        ["engine/src", "engine/parquet", "server/src", "tests/kit", "tests/it", "benches", "fuzz"]
    {
        collect(&workspace().join(folder), &mut found);
    }
    assert!(found.len() > 100, "{} sources found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(&*name, "target" | "corpus" | "artifacts" | "peers") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(workspace()).unwrap();
            found.push(Source::new(below, &fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The modules of the engine in the order of their layers, and the module of each name that its
/// root exports.
fn layers() -> (Vec<String>, BTreeMap<String, String>) {
    let path = workspace().join("engine/src/lib.rs");
    let root = code(&fs::read_to_string(path).unwrap());
    let modules: Vec<String> = root
        .lines()
        .map(|line| line.strip_prefix("pub ").unwrap_or(line))
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    let mut exports = BTreeMap::new();
    for (module, names) in modules.iter().flat_map(|module| exported(&root, module)) {
        exports.insert(names, module);
    }
    (modules, exports)
}

/// Each name that `pub use` exports from `module`.
fn exported(root: &str, module: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in root.match_indices(&format!("{module}::")) {
        let list = &root[at + module.len() + 2..];
        let names = match list.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or(list),
            None => list.split(|c: char| !is_name(c)).next().unwrap_or(list),
        };
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        found.extend(names.map(|name| (module.to_owned(), name.to_owned())));
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The names behind every `crate::` of `code`, those in braces too.
fn crate_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        if code[..at].ends_with(|c| is_name(c) || c == '$') {
            continue;
        }
        let rest = &code[at + path.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.extend(rest.split(|c| !is_name(c)).next().map(str::to_owned));
            continue;
        };
        let mut depth = 0;
        let mut name = String::new();
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => names.push(std::mem::take(&mut name)),
                _ if depth == 0 => name.push(c),
                _ => {}
            }
        }
        names.push(name);
    }
    let first = |name: &str| name.trim().split("::").next().unwrap_or_default().to_owned();
    names.iter().map(|name| first(name)).filter(|name| !name.is_empty()).collect()
}

/// What of `names` a module may not use, given the order of the layers.
fn too_high(
    module: &str,
    names: &[String],
    modules: &[String],
    exports: &BTreeMap<String, String>,
) -> Vec<String> {
    let layer = |name: &str| modules.iter().position(|module| module == name);
    let own = layer(module).unwrap();
    let used = |name: &String| {
        let name = exports.get(name).unwrap_or(name);
        layer(name).unwrap_or_else(|| panic!("{module} uses crate::{name}, which is no module"))
    };
    names.iter().filter(|name| used(name) > own).cloned().collect()
}

#[test]
fn a_module_of_the_engine_uses_only_those_before_it() {
    let (modules, exports) = layers();
    assert!(modules.len() >= 10, "{modules:?}");
    let mut checked = 0;
    for source in sources().iter().filter(|source| source.is_below("engine/src")) {
        let below = source.path.strip_prefix("engine/src").unwrap();
        let module = below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let names = crate_names(&source.code());
        checked += names.len();
        let wrong = too_high(module, &names, &modules, &exports);
        assert!(wrong.is_empty(), "{}: {module} uses {wrong:?}", source.path.display());
    }
    assert!(checked > 50, "only {checked} uses found");
}

#[test]
fn no_file_is_long_without_its_tests() {
    for source in sources().iter().filter(|source| !source.is_below("tests/it")) {
        let lines = source.without_tests().lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", source.path.display());
    }
}

#[test]
fn no_function_is_long() {
    let mut found = 0;
    for source in sources() {
        for (name, lines) in functions(&code(&source.text)) {
            found += 1;
            let path = source.path.display();
            assert!(lines <= FUNCTION_LINES_MAX, "{path}: fn {name} has {lines} lines");
        }
    }
    assert!(found > 500, "only {found} functions found");
}

/// Name and number of lines of each function of `code`.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut functions = Vec::new();
    for (at, keyword) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| !c.is_whitespace()) {
            continue;
        }
        let rest = &code[at + keyword.len()..];
        let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
        // A semicolon in brackets is that of an array's type.
        let mut depth = 0_usize;
        let body = rest.char_indices().find(|(_, c)| {
            match c {
                '[' | '(' => depth += 1,
                ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(c, '{' | ';')
        });
        if let Some((start, '{')) = body {
            let len = block_len(&rest[start..]);
            functions.push((name, rest[..start + len].lines().count()));
        }
    }
    functions
}

/// Bytes of the block in braces that `code` begins with.
fn block_len(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

#[test]
fn only_the_store_names_rocksdb() {
    let names_it = |source: &&Source| source.code().contains("rocksdb");
    let all = sources();
    let (store, others): (Vec<_>, Vec<_>) =
        all.iter().filter(names_it).partition(|source| source.is_below("engine/src/store"));
    assert!(!store.is_empty());
    let shipped =
        |source: &&&Source| source.is_below("engine/src") || source.is_below("server/src");
    let others: Vec<_> = others.iter().filter(shipped).map(|source| &source.path).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn unsafe_code_is_in_two_files() {
    let words = |source: &Source| {
        let code = source.code();
        code.split(|c| !is_name(c)).any(|word| word == "unsafe")
    };
    let shipped = |source: &&Source| source.is_below("engine/src") || source.is_below("server/src");
    let mut found: Vec<PathBuf> =
        sources().iter().filter(shipped).filter(|s| words(s)).map(|s| s.path.clone()).collect();
    found.sort();
    let allowed = ["engine/src/replay/mapped.rs", "engine/src/verify/lanes.rs"];
    assert_eq!(found, allowed.map(Path::new));
}

#[test]
fn what_may_panic_in_shipped_code_is_on_a_list() {
    // Each of these says why it cannot fail, and of none does that depend on outside input.
    let allowed = [
        "engine/src/generate/history.rs",
        "engine/src/payload/record.rs",
        "engine/src/store/held.rs",
        "engine/src/store/mod.rs",
        "engine/src/tree/cut/links.rs",
        "engine/src/tree/cut/search.rs",
        "engine/src/tree/nodes.rs",
        "server/src/metrics/endpoint.rs",
        "server/src/openapi/mod.rs",
    ];
    let of_tests = |source: &&Source| {
        source.path.ends_with("drawn.rs")
            || source.path.ends_with("fuzzed.rs")
            || source.path.ends_with("documented.rs")
    };
    let shipped = |source: &&Source| source.is_below("engine/src") || source.is_below("server/src");
    let mut explained = Vec::new();
    for source in sources().iter().filter(shipped).filter(|source| !of_tests(source)) {
        let code = source.text.split("\n#[cfg(test)]\npub(super) mod tests {").next().unwrap();
        let code = code.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        if code.contains("clippy::expect_used") || code.contains("clippy::indexing_slicing") {
            explained.push(source.path.clone());
        }
        let code = self::code(code)
            .replace("const _: () = assert!(", "")
            .replace("const { assert!(", "")
            .replace("debug_assert!(", "");
        for word in [
            "panic!(",
            "unreachable!(",
            "todo!(",
            "unimplemented!(",
            ".unwrap()",
            "assert!(",
            "eprintln!(",
        ] {
            assert!(!code.contains(word), "{} has {word}", source.path.display());
        }
    }
    explained.sort();
    assert_eq!(explained, allowed.map(Path::new));
}

#[test]
fn values_from_outside_are_not_computed_with_unchecked() {
    // Heights, lengths, counts and offsets of inputs, requests and disks: a root stands for its crate.
    let lint = "\n#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]\n";
    for path in ["engine/src/lib.rs", "server/src/lib.rs", "server/src/main.rs"] {
        let text = fs::read_to_string(workspace().join(path)).unwrap();
        assert!(text.contains(lint), "{path} does not have the lint");
    }
}

#[test]
fn the_engine_knows_no_http_and_no_async() {
    for source in sources().iter().filter(|source| source.is_below("engine/src")) {
        let code = source.code();
        let words: Vec<&str> = code.split(|c| !is_name(c)).collect();
        for word in ["hyper", "http", "tokio", "async", "await"] {
            assert!(!words.contains(&word), "{} has {word}", source.path.display());
        }
    }
}

#[test]
fn tests_are_named_by_what_holds() {
    for source in sources() {
        for (name, _) in functions(&code(&source.text)) {
            assert!(!name.starts_with("test_"), "{}: {name}", source.path.display());
        }
    }
}

#[test]
fn this_reads_source_as_it_is_meant() {
    let text = "fn a() {\n  // } fn x() {\n  let s = \"} \\\" {\";\n  b('}', '\\'', '\\\\');\n}\n\
                fn b<'a>(x: [u8; 3]) -> &'a str { \"\" }\nfn c();\nlet f: fn (u8);\n";
    let found = functions(&code(text));
    assert_eq!(found, [("a".to_owned(), 5), ("b".to_owned(), 1)]);
    let uses = "use crate::{tree::Tree, store::{Store, Batch}, Header};\nuse crate::types;\n\
                let x = crate::query::Page; $crate::no; my_crate::no\n";
    assert_eq!(crate_names(uses), ["tree", "store", "Header", "types", "query"]);
    let root = "pub use header::{DecodeError, Header};\npub use {\n    tree::Tree,\n};";
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(exported(root, "header"), [pair("header", "DecodeError"), pair("header", "Header")]);
    assert_eq!(exported(root, "tree"), [pair("tree", "Tree")]);
    let modules = ["types", "header"].map(str::to_owned);
    let exports = BTreeMap::from([pair("Header", "header")]);
    let names = ["Header".to_owned(), "types".to_owned()];
    assert_eq!(too_high("types", &names, &modules, &exports), ["Header"]);
    assert!(too_high("header", &names, &modules, &exports).is_empty());
}
