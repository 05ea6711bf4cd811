//! Real data: headers of the public chain, and a database of a real node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use plait_engine::header::{merkle, text};
use plait_engine::verify::{Backend, Failure, Hasher, Level, Verifier, pow_hash};
use plait_engine::{
    BlockHash, BranchQuery, ChainId, ChainwebVersion, Engine, Header, HeaderRef, Micros,
    RangeQuery, RawHeader, Reader, Target, View,
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256, Sha512_256};
use testkit::process::run;
use testkit::say;
use testkit::vectors::{copy, files, folder, user_docs, workspace};

/// The time by which blocks are verified: after all of them.
const NOW: Micros = Micros::new(i64::MAX);

/// One line of a file of vectors.
struct Vector {
    members: BTreeMap<String, Box<RawValue>>,
}

impl Vector {
    fn text(&self, member: &str) -> &str {
        self.members[member].get()
    }

    fn string(&self, member: &str) -> String {
        serde_json::from_str(self.text(member)).unwrap()
    }

    fn is(&self, member: &str) -> bool {
        self.text(member) == "true"
    }

    fn version(&self) -> ChainwebVersion {
        ChainwebVersion::from_name(&self.string("version")).unwrap()
    }

    fn header(&self) -> Header {
        text::from_string(&self.string("b64")).unwrap()
    }
}

/// The vectors of a file, if it is here; at least one.
fn vectors(file: &str) -> Option<Vec<Vector>> {
    let lines = fs::read_to_string(folder()?.join(file)).unwrap();
    let vector = |line| Vector { members: serde_json::from_str(line).unwrap() };
    let vectors: Vec<Vector> = lines.lines().map(vector).collect();
    assert!(!vectors.is_empty());
    Some(vectors)
}

fn object(header: HeaderRef<'_>, version: ChainwebVersion) -> String {
    let mut out = Vec::new();
    text::push_object(&mut out, header, version);
    String::from_utf8(out).unwrap()
}

#[test]
fn real_headers_have_one_form_as_bytes_as_string_and_as_object() {
    let Some(vectors) = vectors("headers.jsonl") else { return };
    for vector in &vectors {
        let header = vector.header();
        let view = header.view();
        let mut string = Vec::new();
        text::push_string(&mut string, view);
        assert_eq!(str::from_utf8(&string).unwrap(), vector.text("b64"));
        assert_eq!(object(view, vector.version()), vector.text("object"));
        assert_eq!(text::from_object(vector.text("object")).unwrap(), header);
        assert_eq!(HeaderRef::parse(view.as_bytes()).unwrap(), view);
        assert_eq!(view.chain().to_string(), vector.text("chain"));
        assert_eq!(view.height().to_string(), vector.text("height"));
        assert_eq!(view.version_code(), vector.version().code());
    }
    say(&format!("{} headers decoded and encoded in every form", vectors.len()));
}

#[test]
fn real_headers_have_the_hash_and_the_work_that_they_claim() {
    let Some(vectors) = vectors("headers.jsonl") else { return };
    for vector in &vectors {
        let header = vector.header();
        let view = header.view();
        assert_eq!(merkle::block_hash(view) == view.hash(), vector.is("hash_ok"), "{view:?}");
        let mut work = *pow_hash(view).as_bytes();
        work.reverse();
        assert_eq!(Target::from_le(work) <= view.target(), vector.is("pow_ok"), "{view:?}");
    }
    say(&format!("{} block hashes and proofs of work", vectors.len()));
}

#[test]
fn real_headers_are_hashed_in_a_batch_as_one_by_one() {
    let (Some(valid), Some(altered)) = (vectors("headers.jsonl"), vectors("headers_mutated.jsonl"))
    else {
        return;
    };
    let headers: Vec<Header> = valid.iter().chain(&altered).map(Vector::header).collect();
    let records: Vec<RawHeader> = headers.iter().map(|header| *header.view().raw()).collect();
    for backend in Backend::available() {
        let (mut hasher, mut blocks, mut works) = (Hasher::new(backend), Vec::new(), Vec::new());
        hasher.block_hashes(&records, &mut blocks);
        hasher.pow_hashes(&records, &mut works);
        let one_by_one = |hash: fn(HeaderRef<'_>) -> BlockHash| -> Vec<BlockHash> {
            headers.iter().map(|header| hash(header.view())).collect()
        };
        assert_eq!(blocks, one_by_one(merkle::block_hash), "{}", backend.name());
        assert_eq!(works, one_by_one(pow_hash), "{}", backend.name());
        for level in Level::ALL {
            let verifier = Verifier::new(ChainwebVersion::Mainnet01, level, NOW);
            let mut checked = Vec::new();
            verifier.check_many(&mut hasher, &records, &mut checked);
            assert_eq!(checked.len(), headers.len());
            for (header, checked) in headers.iter().zip(checked) {
                let expected = verifier.check(header.view());
                let found = checked.unwrap();
                assert_eq!(found.header(), header.view());
                assert_eq!(found.failures(), expected.failures(), "{:?}", header.view());
            }
        }
        say(&format!("{} headers in a batch of {}", headers.len(), backend.name()));
    }
}

#[test]
fn real_headers_pass_verification_alone() {
    let Some(vectors) = vectors("headers.jsonl") else { return };
    let mut refused = Vec::new();
    for vector in &vectors {
        let header = vector.header();
        let verifier = Verifier::new(vector.version(), Level::Hash, NOW);
        assert_eq!(verifier.is_genesis(header.view()), vector.is("genesis"));
        let checked = verifier.check(header.view());
        if !checked.failures().is_empty() {
            let rules: Vec<&str> = checked.failures().iter().map(Failure::name).collect();
            refused.push((vector.version(), header.view().height().get(), rules));
        }
    }
    // A header that the reference's source cites: from when this network had ten chains for longer.
    let old = (ChainwebVersion::RecapDevelopment, 200, vec!["AdjacentChainMismatch"]);
    assert_eq!(refused, [old]);
}

#[test]
fn altered_headers_are_refused() {
    let Some(vectors) = vectors("headers_mutated.jsonl") else { return };
    for vector in &vectors {
        let header = vector.header();
        let verifier = Verifier::new(vector.version(), Level::Hash, NOW);
        let checked = verifier.check(header.view());
        let rules: Vec<&str> = checked.failures().iter().map(Failure::name).collect();
        assert!(rules.contains(&"IncorrectHash"), "{rules:?}");
        assert_eq!(rules.contains(&"IncorrectPow"), !vector.is("pow_ok"), "{rules:?}");
    }
    say(&format!("{} altered headers refused", vectors.len()));
}

#[test]
fn genesis_blocks_are_those_of_the_networks() {
    let Some(vectors) = vectors("headers.jsonl") else { return };
    let genesis = vectors.iter().filter(|vector| vector.is("genesis"));
    let real: BTreeMap<_, _> = genesis
        .map(|vector| ((vector.version(), vector.header().view().chain()), vector.header()))
        .collect();
    let mut built = BTreeMap::new();
    for version in ChainwebVersion::ALL {
        for header in version.genesis_headers() {
            built.insert((version, header.view().chain()), header);
        }
    }
    assert_eq!(built, real);
    say(&format!("{} genesis blocks", real.len()));
}

/// The real node's database.
struct NodeDb {
    database: tempfile::TempDir,
    /// What it holds, by chain and then in the order of the vectors.
    headers: BTreeMap<ChainId, Vec<Header>>,
}

impl NodeDb {
    /// Replays it with the real command, if it is here.
    fn replay() -> Option<Self> {
        let vectors = vectors("headers.jsonl")?;
        let node_db = folder()?.join("node-db");
        let mut headers: BTreeMap<_, Vec<Header>> = BTreeMap::new();
        let is_from_it = |vector: &&Vector| vector.string("source").contains("chainweb-db.js");
        for header in vectors.iter().filter(is_from_it).map(Vector::header) {
            headers.entry(header.view().chain()).or_default().push(header);
        }
        assert_eq!(headers.len(), 20);
        let database = tempfile::tempdir().unwrap();
        let outcome = replay_node(database.path(), &node_db);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert!(outcome.err.contains("stored 1000,"), "{}", outcome.err);
        Some(Self { database, headers })
    }

    fn reader(&self) -> Reader {
        Engine::open_read_only(self.database.path()).unwrap()
    }
}

fn replay_node(database: &Path, node_db: &Path) -> testkit::process::Outcome {
    let (database, node_db) = (database.to_str().unwrap(), node_db.to_str().unwrap());
    let rest = ["--network", "mainnet01", "--format", "node", "--allow-partial", node_db];
    run([&["replay", "--db", database][..], &rest].concat())
}

fn everything(view: &View, chain: ChainId) -> Vec<Header> {
    let query = RangeQuery { limit: usize::MAX, ..RangeQuery::default() };
    let page = view.range_headers(chain, &query).unwrap();
    page.items.iter().map(HeaderRef::to_owned).collect()
}

fn branch(view: &View, chain: ChainId, upper: &[BlockHash]) -> Vec<BlockHash> {
    let mut query = BranchQuery { limit: usize::MAX, ..BranchQuery::default() };
    query.bounds.upper = upper.to_vec();
    view.branch_hashes(chain, &query).unwrap().items
}

#[test]
fn a_real_node_database_is_stored_byte_for_byte_with_its_orphans() {
    let Some(node) = NodeDb::replay() else { return };
    let reader = node.reader();
    let mut stored = 0;
    for (chain, headers) in &node.headers {
        let mut expected = headers.clone();
        expected.sort_by_key(|header| header.view().rank());
        assert_eq!(everything(&reader.view(), *chain), expected);
        stored += expected.len();
        for header in headers {
            let found = reader.view().header(*chain, &header.view().hash()).unwrap();
            assert_eq!(found.as_ref(), Some(header));
        }
    }
    assert_eq!(stored, 1000);
    say(&format!("{stored} headers of a real node's database"));
}

#[test]
fn branches_of_a_real_history_leave_the_orphans_out() {
    let Some(node) = NodeDb::replay() else { return };
    let reader = node.reader();
    let view = reader.view();
    let mut orphans = 0;
    for (chain, headers) in &node.headers {
        let heaviest = headers.iter().max_by_key(|header| header.view().weight()).unwrap();
        let tip = heaviest.view().hash();
        assert_eq!(view.tip(*chain).unwrap().hash, tip);
        let parents: BTreeMap<_, _> =
            headers.iter().map(|header| (header.view().hash(), header.view().parent())).collect();
        let mut lineage = Vec::new();
        let mut at = tip;
        while let Some(parent) = parents.get(&at) {
            lineage.push(at);
            at = *parent;
        }
        assert_eq!(branch(&view, *chain, &[tip]), lineage);
        orphans += headers.len() - lineage.len();
    }
    assert!(orphans > 0, "this database is known to have orphans");
    say(&format!("{orphans} orphans left out of the branches of 20 tips"));
}

#[test]
fn branches_of_real_siblings_have_both_and_what_is_below_them_once() {
    let Some(node) = NodeDb::replay() else { return };
    let reader = node.reader();
    let view = reader.view();
    let mut pairs = 0;
    for (chain, headers) in &node.headers {
        let mut ranked = headers.clone();
        ranked.sort_by_key(|header| header.view().rank());
        for pair in ranked.windows(2) {
            let [one, other] = pair else { continue };
            if one.view().height() != other.view().height() {
                continue;
            }
            let siblings = [one.view().hash(), other.view().hash()];
            let below = branch(&view, *chain, &[one.view().parent()]);
            let expected: Vec<_> = siblings.into_iter().chain(below).collect();
            if one.view().parent() == other.view().parent() {
                pairs += 1;
                assert_eq!(branch(&view, *chain, &siblings), expected);
            }
        }
    }
    assert!(pairs > 0, "this database is known to have siblings");
    say(&format!("{pairs} pairs of siblings"));
}

#[test]
fn a_replay_leaves_a_node_database_as_it_is() {
    let Some(vectors) = folder() else { return };
    let original = vectors.join("node-db");
    let (copied, first, second) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(&original, copied.path());
    for (node_db, database) in [(original.as_path(), first), (copied.path(), second)] {
        let before = files(node_db);
        assert_eq!(replay_node(database.path(), node_db).status, Some(0));
        assert!(files(node_db) == before, "{} has changed", node_db.display());
    }
}

#[test]
fn cut_of_a_real_history_has_the_tips_their_sums_and_its_id() {
    let Some(node) = NodeDb::replay() else { return };
    let reader = node.reader();
    let view = reader.view();
    let cut = view.cut(None).unwrap();
    let members: Vec<_> = cut.blocks().collect();
    assert_eq!(members.len(), 20);
    let headers = members.iter().map(|(chain, height, hash)| {
        let header = view.header(*chain, hash).unwrap().unwrap();
        assert_eq!(header.view().height(), *height);
        header
    });
    let headers: Vec<Header> = headers.collect();
    let (first, others) = headers.split_first().unwrap();
    let mut weight = first.view().weight().get();
    for header in others {
        weight = weight.wrapping_add(header.view().weight().get());
    }
    assert_eq!(cut.weight().get(), weight);
    assert_eq!(cut.height(), members.iter().map(|(_, height, _)| height.get()).sum::<u64>());
    let hashes: Vec<_> = members.iter().map(|(chain, _, hash)| (*chain, *hash)).collect();
    assert_eq!(cut.id(), cut_id(&hashes));
}

/// The id of the cut with these blocks, in any order.
fn cut_id(blocks: &[(ChainId, BlockHash)]) -> BlockHash {
    // As hash maps of chainweb-node 2.32 order twenty chains.
    const ORDER: [u32; 20] = [16, 9, 0, 6, 4, 1, 2, 18, 14, 10, 3, 12, 5, 17, 11, 8, 7, 15, 13, 19];
    let mut hasher = Sha512_256::new();
    for chain in ORDER {
        for (_, hash) in blocks.iter().filter(|(id, _)| id.get() == chain) {
            hasher.update(hash.as_bytes());
        }
    }
    BlockHash::new(hasher.finalize().into())
}

#[test]
fn cut_id_of_the_last_blocks_of_mainnet_is_the_published_one() {
    let published = LAST_CUT.split_whitespace().map(|hash| hash.parse().unwrap());
    let blocks: Vec<_> = (0..).map(ChainId::new).zip(published).collect();
    assert_eq!(cut_id(&blocks).to_string(), "PY1Vz7vpwsAzEnIr5Z_pOQGIRm-ZWuYv_u9_o1OLZ94");
    let mut sorted = blocks.clone();
    sorted.sort_by_key(|(chain, _)| text::hash_map_rank(*chain));
    let mut hasher = Sha512_256::new();
    for (_, hash) in sorted {
        hasher.update(hash.as_bytes());
    }
    assert_eq!(BlockHash::new(hasher.finalize().into()), cut_id(&blocks));
}

/// The last blocks of mainnet01, by chain: from the release notes of chainweb-node 2.32.
const LAST_CUT: &str = "
    CNHrpXbArOLo_cgVHt2uxR9MfNtp_1XFmeQEwM9T-_k iNNoM2Q9u4YmyK0b2pDHcnCHIkW23kbPQhCOT1zxQiA
    3Kzxjmlr3v_y-HXojOOZUf-vDd4DsX_egHMIm6eelmo uRdnAnLhZ4Qc3E_yD5XeSmh_tEU0Wo0wSZl01UAlji8
    Jvvh057gHVx4G_9yk0MysTdz7mMcW3ceFCByIy6s0js Bgn1kKV-ecYytVWzHvM-sqOjryfeznpbOX6DPw8zwdM
    _5_sGzH0zVUQA5ca5q2Gv3Oyx0YgwSLrz_pjXBDg-ME _Ls_T4m_cx69betxqwzWctKE4mB0eA893xVUjCMQRe0
    uaEJWHmeURrAN1NfQnbOn2kWOur_MdADLRzsJ7LXHbU zAuqJpSTj-ZRCfgv1ENnLaw4CVGlGmIHXWQUvoW3d9Q
    BdtBPGPtQwtNSmNhxcfhRkg7kveo6rT3vFBnLiVUZbo fbnLuG-dRWyBbJlT8d0o2oM5JNegZMiT7g0gjUpx3bo
    cUJMScJO6dzqsZA2zSmXGJM01vxBjqsdpZAIqQch-tM WNFyaTjQZ6c0_b67AQ5u3FsvPFvNt9YOhoBCIikjwp0
    gelSWQWTFe62OG3064wvLEB81hHB7oUeYm5u04Zyi64 6jaP_ipxnGKla0-2wuXRYjf2mzc2ZsrBP9Yv18zy4WE
    CJB2_VHPSQBBa50ki0lgE4HX4RUbL4h8wkxK9Z6CFUw kcahBEUEON_j7gYscOdayHd773JU_tzGBX_FJjmriGk
    S4jq2NbsLR57mdSXR3XLJ2_qLrVvGOsOqvlNEW-cnGc t8tjoZ-rfr0yUIpbLKqgOQjRO3hYFDEWOwgY5n9taXQ";

#[test]
fn documented_headers_are_stored_as_a_partial_history() {
    let database = tempfile::tempdir().unwrap();
    let (db, input) = (database.path().to_str().unwrap(), user_docs());
    let outcome = run(["replay", "--db", db, "--allow-partial", input.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let reader = Engine::open_read_only(database.path()).unwrap();
    let view = reader.view();
    let chains = [4, 6, 18].map(|chain| everything(&view, ChainId::new(chain)).len());
    assert_eq!(chains, [3, 1, 1]);
    let tip = view.tip(ChainId::new(4)).unwrap();
    let ancestors = branch(&view, ChainId::new(4), &[tip.hash]);
    let documented = [
        "tsFkxqNHy_WbdnDDTumV_2MFjMQTyJrzb8--dO3kjjM",
        "g-N8bZuyno0rkPyJZShFQzU5Den2rey1qlflnJuizzQ",
        "rDbG9rMf709Sk7V8JPjkdsPy5Tk2y7nUAAjS4PvlL3w",
    ];
    assert_eq!(ancestors, documented.map(|hash| hash.parse().unwrap()));
}

#[test]
fn committed_vectors_are_those_that_their_list_names() {
    let folder = workspace().join("tests/vectors");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    let data: BTreeSet<_> = files(&folder)
        .into_iter()
        .filter(|(path, _)| path.file_name().is_none_or(|name| name != "README.md"))
        .collect();
    assert!(!data.is_empty());
    for (path, bytes) in data {
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut digest = String::new();
        for byte in Sha256::digest(&bytes) {
            write!(digest, "{byte:02x}").unwrap();
        }
        let line = list.lines().find(|line| line.contains(&format!("`{name}`")));
        assert!(line.is_some_and(|line| line.contains(&digest)), "{name} has SHA-256 {digest}");
    }
}
