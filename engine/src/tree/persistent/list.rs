use std::sync::Arc;

/// Bits of an index that one level of the tree uses.
const BITS: u32 = 5;

const WIDTH: usize = 1 << BITS;

/// A sequence with reads, replacements and appends.
///
/// # Cost
///
/// A read takes one step for every five bits of the greatest index. A change copies 32 elements, and 32
/// pointers for each other step, unless no clone holds them.
#[derive(Clone, Debug)]
pub(in crate::tree) struct List<T> {
    root: Option<Branch<T>>,
    /// Number of index bits below those that choose a child of the root.
    shift: u32,
    len: usize,
}

/// Elements and branches beyond the end repeat another one, or are absent.
#[derive(Clone, Debug)]
enum Branch<T> {
    Leaf(Arc<[T; WIDTH]>),
    Inner(Arc<[Option<Branch<T>>; WIDTH]>),
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { root: None, shift: 0, len: 0 }
    }
}

impl<T: Copy> List<T> {
    pub(in crate::tree) const fn len(&self) -> usize {
        self.len
    }

    pub(in crate::tree) fn get(&self, index: usize) -> Option<&T> {
        let (mut branch, mut shift) = (self.root.as_ref()?, self.shift);
        if index >= self.len {
            return None;
        }
        loop {
            match branch {
                Branch::Leaf(elements) => return elements.get(index % WIDTH),
                Branch::Inner(children) => {
                    branch = children.get((index >> shift) % WIDTH)?.as_ref()?;
                    shift = shift.saturating_sub(BITS);
                }
            }
        }
    }

    pub(in crate::tree) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        if index >= self.len {
            return None;
        }
        let (mut branch, mut shift) = (self.root.as_mut()?, self.shift);
        loop {
            match branch {
                Branch::Leaf(elements) => return Arc::make_mut(elements).get_mut(index % WIDTH),
                Branch::Inner(children) => {
                    let child = (index >> shift) % WIDTH;
                    branch = Arc::make_mut(children).get_mut(child)?.as_mut()?;
                    shift = shift.saturating_sub(BITS);
                }
            }
        }
    }

    pub(in crate::tree) fn push(&mut self, element: T) {
        let index = self.len;
        self.len = index.saturating_add(1);
        let is_full = (index >> self.shift) >= WIDTH;
        if is_full && let Some(root) = self.root.take() {
            let mut children = [const { None }; WIDTH];
            children[0] = Some(root);
            self.root = Some(Branch::Inner(Arc::new(children)));
            self.shift = self.shift.saturating_add(BITS);
        }
        let (mut branch, mut shift) = (&mut self.root, self.shift);
        while shift > 0 {
            let inner =
                branch.get_or_insert_with(|| Branch::Inner(Arc::new([const { None }; WIDTH])));
            let Branch::Inner(children) = inner else { return };
            let child = (index >> shift) % WIDTH;
            let Some(next) = Arc::make_mut(children).get_mut(child) else { return };
            (branch, shift) = (next, shift.saturating_sub(BITS));
        }
        let leaf = branch.get_or_insert_with(|| Branch::Leaf(Arc::new([element; WIDTH])));
        if let Branch::Leaf(elements) = leaf
            && let Some(slot) = Arc::make_mut(elements).get_mut(index % WIDTH)
        {
            *slot = element;
        }
    }
}

#[cfg(test)]
impl<T> List<T> {
    /// The number of arrays that the other list does not share.
    pub(in crate::tree) fn own_arrays(&self, other: &Self) -> usize {
        fn own<T>(branch: Option<&Branch<T>>, other: Option<&Branch<T>>) -> usize {
            match (branch, other) {
                (None, _) => 0,
                (Some(Branch::Leaf(a)), Some(Branch::Leaf(b))) if Arc::ptr_eq(a, b) => 0,
                (Some(Branch::Inner(a)), Some(Branch::Inner(b))) if Arc::ptr_eq(a, b) => 0,
                (Some(Branch::Leaf(_)), _) => 1,
                (Some(Branch::Inner(children)), Some(Branch::Inner(others))) => {
                    let pairs = children.iter().zip(others.iter());
                    let own = pairs.map(|(child, other)| own(child.as_ref(), other.as_ref()));
                    1 + own.sum::<usize>()
                }
                (Some(Branch::Inner(children)), _) => {
                    1 + children.iter().map(|child| own(child.as_ref(), None)).sum::<usize>()
                }
            }
        }
        own(self.root.as_ref(), other.root.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_vector_whose_clones_stay_as_they_are() {
        let (mut list, mut expected, mut kept) = (List::default(), Vec::new(), Vec::new());
        for number in 0..70_000_usize {
            list.push(number);
            expected.push(number);
            if number.is_multiple_of(7) {
                let changed = number * 31 % expected.len();
                *list.get_mut(changed).unwrap() += 1;
                expected[changed] += 1;
            }
            if number.is_multiple_of(9_001) {
                kept.push((list.clone(), expected.clone()));
            }
        }
        kept.push((list, expected));
        for (list, expected) in kept {
            assert_eq!(list.len(), expected.len());
            assert!((0..list.len()).all(|index| list.get(index) == expected.get(index)));
            assert_eq!(list.get(expected.len()), None);
        }
    }
}
