//! A vector of rows in pages that are shared until one side writes.
//!
//! A fork costs one reference count. The first write after it to a page copies that page, the node above it and the root:
//! 32 rows, 64 and some hundred references. `docs/adr/0001-imbl.md` has the measurement beside `imbl::Vector`.

use std::sync::Arc;

/// Rows in a page.
const PAGE: usize = 32;
/// Pages in a node.
const NODE: usize = 64;

type Page<T> = Arc<Vec<T>>;
type Node<T> = Arc<Vec<Page<T>>>;

/// A vector that forks at constant cost.
#[derive(Debug)]
pub(super) struct Pages<T> {
    root: Arc<Vec<Node<T>>>,
    len: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { root: Arc::default(), len: 0 }
    }
}

impl<T> Clone for Pages<T> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), len: self.len }
    }
}

/// The places of an item in the root, in its node and in its page.
fn places(index: usize) -> (usize, usize, usize) {
    (index / (PAGE * NODE), index / PAGE % NODE, index % PAGE)
}

impl<T: Clone> Pages<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (node, page, place) = places(index);
        self.root.get(node)?.get(page)?.get(place)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let (node, page, place) = places(index);
        let node = Arc::make_mut(Arc::make_mut(&mut self.root).get_mut(node)?);
        Arc::make_mut(node.get_mut(page)?).get_mut(place)
    }

    pub(super) fn push(&mut self, item: T) {
        let (node, page, place) = places(self.len);
        let root = Arc::make_mut(&mut self.root);
        if node == root.len() {
            root.push(Arc::new(Vec::with_capacity(NODE)));
        }
        let node = Arc::make_mut(&mut root[node]);
        if page == node.len() {
            node.push(Arc::new(Vec::with_capacity(PAGE)));
        }
        debug_assert_eq!(node[page].len(), place, "pages are filled one after the other");
        Arc::make_mut(&mut node[page]).push(item);
        self.len += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.root.iter().flat_map(|node| node.iter().flat_map(|page| page.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_vector_across_pages_and_nodes() {
        let mut pages = Pages::default();
        let count = PAGE * NODE * 2 + PAGE + 3;
        for item in 0..count {
            assert_eq!(pages.len(), item);
            pages.push(item);
        }
        assert!((0..count).all(|item| pages.get(item) == Some(&item)));
        assert!(pages.get(count).is_none());
        *pages.get_mut(PAGE * NODE + 1).unwrap() = 7;
        assert_eq!(pages.iter().filter(|item| **item == 7).count(), 2);
        assert_eq!(pages.iter().count(), count);
    }

    #[test]
    fn a_fork_keeps_what_it_saw_and_shares_what_was_not_written() {
        let mut pages = Pages::default();
        for item in 0..PAGE * NODE + 10 {
            pages.push(item);
        }
        let fork = pages.clone();
        *pages.get_mut(3).unwrap() = 99;
        pages.push(1);
        assert_eq!((fork.get(3), fork.len()), (Some(&3), PAGE * NODE + 10));
        assert!(Arc::ptr_eq(&fork.root[0][1], &pages.root[0][1]), "an untouched page is shared");
        assert!(!Arc::ptr_eq(&fork.root[0][0], &pages.root[0][0]));
    }
}
