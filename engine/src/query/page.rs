use super::Cursor;

/// A part of a result, and where the rest begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The blocks of this page.
    pub items: T,
    /// The cursor of the next page. `None` at the end of a branch, and behind an empty page; an
    /// ascending page that reached the end has `Exclusive`, as the chain is taken to grow.
    pub next: Option<Cursor>,
}
