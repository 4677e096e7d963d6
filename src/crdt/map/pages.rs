//! A vector in pages that are shared until one side writes.
//!
//! A fork costs one reference count. The first write after it to a page copies that page, the node above it and the root: 64
//! references and some hundred. `docs/adr/0001-imbl.md` has the measurement beside `imbl::Vector`.
//!
//! The references are `triomphe`'s: whether one is unique costs it a load, where the standard library's, which also count weak
//! ones, take a locked instruction. Three of those in a write cost more than the write.

use std::slice;

use triomphe::Arc;

/// Items in a page: what the first write after a fork copies.
const PAGE: usize = 32;
/// Pages in a node.
const NODE: usize = 64;

type Page<T> = Arc<[Option<T>; PAGE]>;
type Node<T> = Arc<[Option<Page<T>>; NODE]>;

/// Places for items. It forks at constant cost.
#[derive(Debug)]
pub(super) struct Pages<T> {
    root: Arc<Vec<Node<T>>>,
    /// No item was ever put at this place or beyond.
    end: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { root: Arc::new(Vec::new()), end: 0 }
    }
}

impl<T> Clone for Pages<T> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), end: self.end }
    }
}

/// What is referred to, to be written: copied first if it is shared.
///
/// `Arc::make_mut` does the same, with room for a page on the stack of each write.
#[inline]
fn unshared<T: Clone>(shared: &mut Arc<T>) -> &mut T {
    if !shared.is_unique() {
        unshare(shared);
    }
    Arc::get_mut(shared).expect("a reference that is not shared is unique")
}

#[cold]
#[inline(never)]
fn unshare<T: Clone>(shared: &mut Arc<T>) {
    *shared = Arc::new(T::clone(shared));
}

impl<T: Clone> Pages<T> {
    /// The places of an item in the root, in its node and in its page.
    fn places(index: usize) -> (usize, usize, usize) {
        (index / (PAGE * NODE), index / PAGE % NODE, index % PAGE)
    }

    /// No item was ever put at this place or beyond.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (node, page, place) = Self::places(index);
        self.root.get(node)?.get(page)?.as_ref()?.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slot(index)?.as_mut()
    }

    pub(super) fn take(&mut self, index: usize) -> Option<T> {
        self.slot(index)?.take()
    }

    fn slot(&mut self, index: usize) -> Option<&mut Option<T>> {
        let (node, page, place) = Self::places(index);
        let node = unshared(unshared(&mut self.root).get_mut(node)?);
        unshared(node.get_mut(page)?.as_mut()?).get_mut(place)
    }

    /// The place for an item, to be filled at once; it need not have been reached before.
    pub(super) fn place(&mut self, index: usize) -> &mut Option<T> {
        let (node, page, place) = Self::places(index);
        let root = unshared(&mut self.root);
        while root.len() <= node {
            root.push(Arc::new([const { None }; NODE]));
        }
        let page = unshared(&mut root[node])[page].get_or_insert_with(|| Arc::new([const { None }; PAGE]));
        let page = unshared(page);
        self.end = self.end.max(index + 1);
        &mut page[place]
    }

    pub(super) fn iter(&self) -> Iter<'_, T> {
        Iter { nodes: self.root.iter(), pages: [].iter(), items: [].iter() }
    }
}

/// The items, in the order of their places.
#[derive(Debug)]
pub(super) struct Iter<'a, T> {
    nodes: slice::Iter<'a, Node<T>>,
    pages: slice::Iter<'a, Option<Page<T>>>,
    items: slice::Iter<'a, Option<T>>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = self.items.find_map(Option::as_ref) {
                return Some(item);
            }
            match self.pages.find_map(Option::as_ref) {
                Some(page) => self.items = page.iter(),
                None => self.pages = self.nodes.next()?.iter(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize) -> Pages<usize> {
        let mut pages = Pages::default();
        (0..count).for_each(|item| *pages.place(item) = Some(item));
        pages
    }

    #[test]
    fn it_is_a_vector_across_pages_and_nodes() {
        let count = PAGE * NODE * 2 + PAGE + 3;
        let mut pages = filled(count);
        assert_eq!(pages.end(), count);
        assert!((0..count).all(|item| pages.get(item) == Some(&item)));
        assert!(pages.get(count).is_none());
        *pages.get_mut(PAGE * NODE + 1).unwrap() = 7;
        assert_eq!(pages.iter().filter(|item| **item == 7).count(), 2);
        assert_eq!(pages.take(7), Some(7));
        assert!(pages.get(7).is_none() && pages.get_mut(7).is_none() && pages.take(7).is_none());
        assert_eq!((pages.iter().count(), pages.end()), (count - 1, count));
    }

    #[test]
    fn a_fork_keeps_what_it_saw_and_shares_what_was_not_written() {
        let mut pages = filled(PAGE * NODE + 10);
        let fork = pages.clone();
        *pages.get_mut(3).unwrap() = 99;
        *pages.place(PAGE * NODE + 10) = Some(1);
        assert_eq!((fork.get(3), fork.end()), (Some(&3), PAGE * NODE + 10));
        let page = |pages: &Pages<usize>, page: usize| pages.root[0][page].clone().unwrap();
        assert!(Arc::ptr_eq(&page(&fork, 1), &page(&pages, 1)), "an untouched page is shared");
        assert!(!Arc::ptr_eq(&page(&fork, 0), &page(&pages, 0)));
    }
}
