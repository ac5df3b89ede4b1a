//! A list: a chain of nodes of up to 8 KiB, each holding its elements packed, so that a million short elements cost
//! little more than their bytes, and both ends and every index are quick to reach.
//!
//! An element is its length, its bytes and its length again, so that a node is read from either end. A length takes
//! one byte, or four and a 255 (outermost). A node may begin with a gap: popping in front moves the gap's end, and
//! pushing in front uses it up.

use crate::blob::allocation;
use std::collections::VecDeque;

/// Bytes of a node before another is begun; one longer element may have a node of its own.
const NODE: usize = 8192;

#[derive(Debug, Clone, Default)]
struct Node {
    bytes: Vec<u8>,
    /// Where the first element begins.
    gap: usize,
    length: usize,
}

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    nodes: VecDeque<Node>,
    length: usize,
    /// Bytes allocated by the nodes.
    memory: usize,
}

fn overhead(length: usize) -> usize {
    if length < 255 { 2 } else { 10 }
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 255 {
        out.push(text.len() as u8);
        out.extend_from_slice(text);
        out.push(text.len() as u8);
    } else {
        let length = (text.len() as u32).to_le_bytes();
        out.push(255);
        out.extend_from_slice(&length);
        out.extend_from_slice(text);
        out.extend_from_slice(&length);
        out.push(255);
    }
}

fn four(bytes: &[u8]) -> usize {
    bytes.try_into().map_or(0, u32::from_le_bytes) as usize
}

impl Node {
    fn size(&self) -> usize {
        self.bytes.len() - self.gap
    }

    fn allocated(&self) -> usize {
        allocation(self.bytes.capacity())
    }

    /// The element that begins at `at` and where the next begins.
    fn forward(&self, at: usize) -> (&[u8], usize) {
        match self.bytes[at] {
            255 => {
                let length = four(&self.bytes[at + 1..at + 5]);
                (&self.bytes[at + 5..at + 5 + length], at + length + 10)
            }
            length => {
                let length = usize::from(length);
                (&self.bytes[at + 1..at + 1 + length], at + length + 2)
            }
        }
    }

    /// Where the element begins that ends at `end`.
    fn backward(&self, end: usize) -> usize {
        match self.bytes[end - 1] {
            255 => end - 10 - four(&self.bytes[end - 5..end - 1]),
            length => end - 2 - usize::from(length),
        }
    }

    /// Where the element `index` begins; the end for `index == length`.
    fn offset(&self, index: usize) -> usize {
        if index <= self.length / 2 {
            let mut at = self.gap;
            for _ in 0..index {
                at = self.forward(at).1;
            }
            at
        } else {
            let mut at = self.bytes.len();
            for _ in index..self.length {
                at = self.backward(at);
            }
            at
        }
    }

    fn push_back(&mut self, text: &[u8]) {
        put(&mut self.bytes, text);
        self.length += 1;
    }

    fn push_front(&mut self, text: &[u8]) {
        let size = text.len() + overhead(text.len());
        if self.gap < size {
            // Room for as much again, so that a run of pushes moves each byte a constant number of times.
            let more = size.max(self.size().min(NODE / 2));
            let mut grown = Vec::with_capacity(more + self.size());
            grown.resize(more, 0);
            grown.extend_from_slice(&self.bytes[self.gap..]);
            self.bytes = grown;
            self.gap = more;
        }
        self.gap -= size;
        let element = &mut self.bytes[self.gap..self.gap + size];
        if text.len() < 255 {
            element[0] = text.len() as u8;
            element[1..=text.len()].copy_from_slice(text);
            element[size - 1] = text.len() as u8;
        } else {
            let length = (text.len() as u32).to_le_bytes();
            element[0] = 255;
            element[1..5].copy_from_slice(&length);
            element[5..size - 5].copy_from_slice(text);
            element[size - 5..size - 1].copy_from_slice(&length);
            element[size - 1] = 255;
        }
        self.length += 1;
    }

    fn insert(&mut self, index: usize, text: &[u8]) {
        let at = self.offset(index);
        let mut element = Vec::with_capacity(text.len() + 10);
        put(&mut element, text);
        self.bytes.splice(at..at, element);
        self.length += 1;
    }

    fn remove(&mut self, index: usize, count: usize) {
        let start = self.offset(index);
        let mut end = start;
        for _ in 0..count {
            end = self.forward(end).1;
        }
        if start == self.gap {
            self.gap = end;
        } else {
            self.bytes.drain(start..end);
        }
        self.length -= count;
    }

    fn split_off(&mut self, index: usize) -> Self {
        let at = self.offset(index);
        let tail = Self { bytes: self.bytes.split_off(at), gap: 0, length: self.length - index };
        self.length = index;
        tail
    }
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn memory(&self) -> usize {
        self.memory + allocation(self.nodes.capacity() * size_of::<Node>())
    }

    /// Changes the node at `index` and keeps the account of memory.
    fn with<R>(&mut self, index: usize, change: impl FnOnce(&mut Node) -> R) -> R {
        let node = &mut self.nodes[index];
        let before = node.allocated();
        let result = change(node);
        self.memory = self.memory + node.allocated() - before;
        result
    }

    fn drop_if_empty(&mut self, index: usize) {
        if self.nodes[index].length == 0
            && let Some(node) = self.nodes.remove(index)
        {
            self.memory -= node.allocated();
        }
    }

    fn fits(&self, node: Option<&Node>, text: &[u8]) -> bool {
        node.is_some_and(|node| node.size() + text.len() + overhead(text.len()) <= NODE)
    }

    pub(crate) fn push_back(&mut self, text: &[u8]) {
        if !self.fits(self.nodes.back(), text) {
            self.nodes.push_back(Node::default());
        }
        let last = self.nodes.len() - 1;
        self.with(last, |node| node.push_back(text));
        self.length += 1;
    }

    pub(crate) fn push_front(&mut self, text: &[u8]) {
        if !self.fits(self.nodes.front(), text) {
            self.nodes.push_front(Node::default());
        }
        self.with(0, |node| node.push_front(text));
        self.length += 1;
    }

    pub(crate) fn pop_front(&mut self) -> Option<Vec<u8>> {
        let node = self.nodes.front_mut()?;
        let (text, next) = node.forward(node.gap);
        let text = text.to_vec();
        node.gap = next;
        node.length -= 1;
        self.length -= 1;
        self.drop_if_empty(0);
        Some(text)
    }

    pub(crate) fn pop_back(&mut self) -> Option<Vec<u8>> {
        let node = self.nodes.back_mut()?;
        let start = node.backward(node.bytes.len());
        let text = node.forward(start).0.to_vec();
        node.bytes.truncate(start);
        node.length -= 1;
        self.length -= 1;
        let last = self.nodes.len() - 1;
        self.drop_if_empty(last);
        Some(text)
    }

    /// The node that holds element `index`, and its index there.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.length {
            return None;
        }
        if index < self.length / 2 {
            let mut rest = index;
            for (number, node) in self.nodes.iter().enumerate() {
                if rest < node.length {
                    return Some((number, rest));
                }
                rest -= node.length;
            }
        } else {
            let mut rest = self.length - 1 - index;
            for (number, node) in self.nodes.iter().enumerate().rev() {
                if rest < node.length {
                    return Some((number, node.length - 1 - rest));
                }
                rest -= node.length;
            }
        }
        None
    }

    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let (node, inner) = self.locate(index)?;
        let node = &self.nodes[node];
        Some(node.forward(node.offset(inner)).0)
    }

    pub(crate) fn set(&mut self, index: usize, text: &[u8]) {
        self.remove(index, 1);
        self.insert(index, text);
    }

    /// Puts `text` in front of element `index`, or at the end.
    pub(crate) fn insert(&mut self, index: usize, text: &[u8]) {
        if index == 0 {
            return self.push_front(text);
        }
        let Some((number, inner)) = self.locate(index) else { return self.push_back(text) };
        if inner > 0 && !self.fits(self.nodes.get(number), text) {
            let tail = self.with(number, |node| node.split_off(inner));
            self.memory += tail.allocated();
            self.nodes.insert(number + 1, tail);
            if self.fits(self.nodes.get(number), text) {
                self.with(number, |node| node.push_back(text));
            } else {
                self.nodes.insert(number + 1, Node::default());
                self.with(number + 1, |node| node.push_back(text));
            }
        } else if inner == 0 && !self.fits(self.nodes.get(number), text) {
            self.nodes.insert(number, Node::default());
            self.with(number, |node| node.push_back(text));
        } else {
            self.with(number, |node| node.insert(inner, text));
        }
        self.length += 1;
    }

    /// Removes `count` elements from `index` on; all must be there.
    pub(crate) fn remove(&mut self, index: usize, mut count: usize) {
        let Some((number, mut inner)) = self.locate(index) else { return };
        self.length -= count;
        let mut number = number;
        while count > 0 {
            let here = count.min(self.nodes[number].length - inner);
            self.with(number, |node| node.remove(inner, here));
            count -= here;
            let before = self.nodes.len();
            self.drop_if_empty(number);
            if self.nodes.len() == before {
                number += 1;
            }
            inner = 0;
        }
    }

    /// Elements from `index` on.
    pub(crate) fn iter_from(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let (mut number, inner) = self.locate(index).unwrap_or((self.nodes.len(), 0));
        let mut at = self.nodes.get(number).map_or(0, |node| node.offset(inner));
        std::iter::from_fn(move || {
            let mut node = self.nodes.get(number)?;
            if at >= node.bytes.len() {
                number += 1;
                node = self.nodes.get(number)?;
                at = node.gap;
            }
            let (text, next) = node.forward(at);
            at = next;
            Some(text)
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.iter_from(0)
    }

    /// Elements from the last to the first.
    pub(crate) fn iter_back(&self) -> impl Iterator<Item = &[u8]> {
        let mut number = self.nodes.len().wrapping_sub(1);
        let mut end = self.nodes.back().map_or(0, |node| node.bytes.len());
        std::iter::from_fn(move || {
            let mut node = self.nodes.get(number)?;
            if end <= node.gap {
                number = number.wrapping_sub(1);
                node = self.nodes.get(number)?;
                end = node.bytes.len();
            }
            end = node.backward(end);
            Some(node.forward(end).0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::List;
    use crate::random::Random;
    use std::collections::VecDeque;

    #[test]
    fn agrees_with_a_model_under_random_change() {
        for seed in 1..40 {
            let mut random = Random::new(seed);
            let (mut list, mut model) = (List::default(), VecDeque::<Vec<u8>>::new());
            for step in 0..800 {
                let size = [3, 10, 300, 3000, 9000][random.below(if seed % 3 == 0 { 5 } else { 3 })];
                let text = vec![step as u8; random.below(size)];
                match random.below(9) {
                    0 | 1 => {
                        list.push_back(&text);
                        model.push_back(text);
                    }
                    2 | 3 => {
                        list.push_front(&text);
                        model.push_front(text);
                    }
                    4 => assert_eq!(list.pop_front(), model.pop_front()),
                    5 => assert_eq!(list.pop_back(), model.pop_back()),
                    6 => {
                        let at = random.below(model.len() + 1);
                        list.insert(at, &text);
                        model.insert(at, text);
                    }
                    7 if !model.is_empty() => {
                        let at = random.below(model.len());
                        let count = random.below((model.len() - at).min(6) + 1);
                        list.remove(at, count);
                        model.drain(at..at + count);
                    }
                    8 if !model.is_empty() => {
                        let at = random.below(model.len());
                        list.set(at, &text);
                        model[at] = text;
                    }
                    _ => {}
                }
                assert_eq!(list.len(), model.len(), "seed {seed}");
                if !model.is_empty() {
                    let at = random.below(model.len());
                    assert_eq!(list.get(at), Some(&model[at][..]), "seed {seed}");
                }
            }
            assert!(list.iter().eq(model.iter().map(|v| &v[..])), "seed {seed}");
            assert!(list.iter_back().eq(model.iter().rev().map(|v| &v[..])), "seed {seed}");
        }
    }
}
