//! [`Group`]: a queue in which groups, and the smaller groups in each, take turns.

use std::{collections::VecDeque, net::IpAddr};

/// A queue, divided into the groups that the paths name. All paths are of one length.
#[derive(Debug)]
pub(crate) struct Group<T> {
    waiting: usize,
    /// Groups in this one; the first is next. Empty at the end of the paths.
    groups: VecDeque<(Option<IpAddr>, Self)>,
    /// Entries that wait at the end of the paths.
    members: VecDeque<Waiting<T>>,
}

/// An entry that waits.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) number: u64,
    pub(crate) turn: T,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self {
            waiting: 0,
            groups: VecDeque::new(),
            members: VecDeque::new(),
        }
    }
}

impl<T> Group<T> {
    /// Returns the number of entries that wait.
    pub(crate) const fn len(&self) -> usize {
        self.waiting
    }

    /// Adds an entry at the end.
    pub(crate) fn enter(&mut self, path: &[Option<IpAddr>], waiting: Waiting<T>) {
        self.waiting += 1;
        let Some((name, rest)) = path.split_first() else {
            self.members.push_back(waiting);
            return;
        };
        match self.groups.iter_mut().find(|(known, _)| known == name) {
            Some((_, group)) => group.enter(rest, waiting),
            None => {
                let mut group = Self::default();
                group.enter(rest, waiting);
                self.groups.push_back((*name, group));
            }
        }
    }

    /// Takes the first entry of the group whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Waiting<T>> {
        let next = match self.groups.pop_front() {
            Some((name, mut group)) => {
                let next = group.next();
                if group.waiting > 0 {
                    self.groups.push_back((name, group));
                }
                next
            }
            None => self.members.pop_front(),
        };
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// Removes an entry to make room for another at the end of `path`. It comes from the first group on the path with a
    /// larger sibling, even when the new entry is counted. Returns false if there is none.
    pub(crate) fn make_room(&mut self, path: &[Option<IpAddr>]) -> bool {
        let Some((name, rest)) = path.split_first() else {
            return false;
        };
        let own = self.groups.iter().position(|(known, _)| known == name);
        let own_len = own
            .and_then(|index| self.groups.get(index))
            .map_or(0, |(_, group)| group.waiting);
        match (self.largest(), own) {
            (Some((index, most)), _) if most > own_len + 1 => self.at(index, Self::send_away),
            (_, Some(index)) => self.at(index, |group| group.make_room(rest)),
            (_, None) => false,
        }
    }

    /// Removes the entry with that number.
    pub(crate) fn leave(&mut self, path: &[Option<IpAddr>], number: u64) -> bool {
        let Some((name, rest)) = path.split_first() else {
            let before = self.members.len();
            self.members.retain(|waiting| waiting.number != number);
            let left = self.members.len() < before;
            self.waiting -= usize::from(left);
            return left;
        };
        match self.groups.iter().position(|(known, _)| known == name) {
            Some(index) => self.at(index, |group| group.leave(rest, number)),
            None => false,
        }
    }

    /// Removes the last entry of the largest group.
    fn send_away(&mut self) -> bool {
        if let Some((index, _)) = self.largest() {
            return self.at(index, Self::send_away);
        }
        let gone = self.members.pop_back().is_some();
        self.waiting -= usize::from(gone);
        gone
    }

    /// Returns the index of the largest group and its length.
    fn largest(&self) -> Option<(usize, usize)> {
        let lengths = self.groups.iter().map(|(_, group)| group.waiting).enumerate();
        lengths.max_by_key(|(_, length)| *length)
    }

    /// Calls `take`, which removes at most one entry, on a group. Returns true if it removed one.
    fn at(&mut self, index: usize, take: impl FnOnce(&mut Self) -> bool) -> bool {
        let Some((_, group)) = self.groups.get_mut(index) else {
            return false;
        };
        let taken = take(group);
        if group.waiting == 0 {
            self.groups.remove(index);
        }
        self.waiting -= usize::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a path of two groups.
    fn path(large: u8, small: u8) -> [Option<IpAddr>; 2] {
        [large, small].map(|end| Some(IpAddr::from([192, 0, 2, end])))
    }

    /// Makes a queue with these paths, numbered from 0.
    fn queue(paths: &[(u8, u8)]) -> Group<()> {
        let mut queue = Group::default();
        for (number, (large, small)) in (0..).zip(paths) {
            queue.enter(&path(*large, *small), Waiting { number, turn: () });
        }
        queue
    }

    fn order(mut queue: Group<()>) -> Vec<u64> {
        std::iter::from_fn(|| queue.next())
            .map(|waiting| waiting.number)
            .collect()
    }

    #[test]
    fn groups_take_turns_and_in_each_of_them_smaller_ones() {
        let queue = queue(&[(1, 1), (1, 1), (1, 2), (1, 3), (2, 1), (2, 1)]);
        assert_eq!(order(queue), [0, 4, 2, 5, 3, 1]);
    }

    #[test]
    fn a_large_group_makes_room_however_many_small_ones_it_consists_of() {
        let many: Vec<_> = (0..128).map(|small| (1, small)).collect();
        let mut queue = queue(&many);

        assert!(queue.make_room(&path(2, 0)));
        assert_eq!(queue.len(), 127);
        assert!(
            !queue.make_room(&path(1, 200)),
            "it has its share, and no small group has more than one"
        );
    }

    #[test]
    fn small_groups_make_room_for_each_other() {
        let mut queue = queue(&[(1, 1), (1, 1), (2, 1), (2, 1)]);

        // Both large groups have the same number of entries, the small groups do not.
        assert!(queue.make_room(&path(1, 2)));

        queue.enter(&path(1, 2), Waiting { number: 9, turn: () });
        assert_eq!(order(queue), [0, 2, 9, 3]);
    }

    #[test]
    fn who_leaves_leaves_no_group_behind() {
        let mut queue = queue(&[(1, 1), (1, 2)]);
        assert!(!queue.leave(&path(1, 1), 1));
        assert!(queue.leave(&path(1, 1), 0) && queue.leave(&path(1, 2), 1));
        assert_eq!((queue.len(), queue.groups.len()), (0, 0));
    }
}
