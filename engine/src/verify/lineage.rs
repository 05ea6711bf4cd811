use super::{Failure, Failures};
use crate::header::HeaderRef;

/// What stands below a header.
#[derive(Clone, Copy, Debug)]
pub enum Parent<'a> {
    /// The block that the header names as its parent.
    Block(HeaderRef<'a>),
    /// That block is not known. Only a genesis block may do without.
    Missing,
    /// That block is not known, and the operator says that this header begins a part of its own.
    Admitted,
}

/// The rules between a header and its parent, in the reference's order.
pub(super) fn check(header: HeaderRef<'_>, parent: HeaderRef<'_>, failures: &mut Failures) {
    if Some(header.height()) != parent.height().child() {
        failures.push(Failure::IncorrectHeight { got: header.height(), parent: parent.height() });
    }
    if header.version_code() != parent.version_code() {
        failures.push(Failure::VersionMismatch {
            got: header.version_code(),
            expected: parent.version_code(),
        });
    }
    if header.chain() != parent.chain() {
        failures.push(Failure::ChainMismatch { got: header.chain(), parent: parent.chain() });
    }
    if header.parent() != parent.hash() {
        failures.push(Failure::MissingParent { parent: header.parent() });
    }
}
