//! Writes that were not synced, and the choices of those that a loss of power spares.

use super::disks::Image;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    path::Path,
    sync::Arc,
};

/// Number of arbitrary choices at each point.
const SEEDS: u64 = 20;

/// Directories of what is derived. Their writes are lost or spared together, except in arbitrary choices.
const DERIVED: [&str; 3] = ["_history", "_index", "_sessions"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) is_directory: bool,
}

/// Files and directories by inode.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: HashMap<Inode, Arc<[u8]>>,
    pub(super) directories: HashMap<Inode, BTreeMap<OsString, Inode>>,
}

/// A change that a loss of power may undo by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Write {
    /// The entry of a directory is there, is not there, or is another one.
    Entry(Inode, OsString),
    /// The content of a file.
    Content(Inode),
}

/// A write, and the name of what it belongs to.
pub(super) struct Unsynced {
    write: Write,
    what: String,
    /// A write that is lost or kept together with this one. For the old name of something that was renamed, it is the
    /// new name. For the content of a directory that lost its name before, it is the loss of the name.
    follows: Option<Write>,
}

impl Tree {
    fn entry(&self, directory: Inode, name: &OsString) -> Option<Inode> {
        self.directories.get(&directory)?.get(name).copied()
    }

    /// Returns the names in a directory of either tree.
    fn names<'a>(&'a self, other: &'a Self, directory: Inode) -> BTreeSet<&'a OsString> {
        let of = [self, other].map(|tree| tree.directories.get(&directory));
        of.into_iter().flatten().flat_map(BTreeMap::keys).collect()
    }

    fn content(&self, file: Inode) -> Arc<[u8]> {
        self.files.get(&file).cloned().unwrap_or_default()
    }

    /// Returns everything below a directory that differs from what was synced.
    pub(super) fn writes_since(&self, synced: &Self, root: Inode) -> Vec<Unsynced> {
        let mut found = BTreeMap::new();
        self.find_writes(synced, root, Path::new(""), None, &mut found);
        let is_at = |inode: Inode, tree: &Self, write: &Write| match write {
            Write::Entry(directory, name) => tree.entry(*directory, name) == Some(inode),
            Write::Content(_) => false,
        };
        let new_name = |write: &Write| {
            let Write::Entry(directory, name) = write else {
                return None;
            };
            let moved = synced.entry(*directory, name)?;
            found.keys().find(|other| is_at(moved, self, other)).cloned()
        };
        let unsynced = found.iter().map(|(write, (what, loss))| Unsynced {
            write: write.clone(),
            what: what.clone(),
            follows: loss.clone().or_else(|| new_name(write)),
        });
        unsynced.collect()
    }

    /// Finds the writes in a directory, each with what it belongs to, and with the loss of the name of a directory
    /// above it.
    fn find_writes(
        &self,
        synced: &Self,
        directory: Inode,
        path: &Path,
        loss: Option<&Write>,
        found: &mut BTreeMap<Write, (String, Option<Write>)>,
    ) {
        for name in self.names(synced, directory) {
            let path = path.join(name);
            let (now, before) = (self.entry(directory, name), synced.entry(directory, name));
            let write = Write::Entry(directory, name.clone());
            if now != before {
                found.insert(write.clone(), (path.display().to_string(), loss.cloned()));
            }
            for inode in [now, before].into_iter().flatten().collect::<BTreeSet<_>>() {
                if inode.is_directory {
                    let has_gone = !self.directories.contains_key(&inode);
                    let loss = loss.or_else(|| has_gone.then_some(&write));
                    self.find_writes(synced, inode, &path, loss, found);
                } else if self.content(inode) != synced.content(inode) {
                    let what = format!("the content of {}", path.display());
                    found.insert(Write::Content(inode), (what, loss.cloned()));
                }
            }
        }
    }

    /// Builds the disk with the spared writes.
    pub(super) fn image(
        &self,
        synced: &Self,
        directory: Inode,
        keeps: &dyn Fn(&Write) -> bool,
        path: &Path,
        image: &mut Image,
    ) {
        for name in self.names(synced, directory) {
            let tree = match keeps(&Write::Entry(directory, name.clone())) {
                true => self,
                false => synced,
            };
            // An entry that is no write is the same in both.
            let now = self.entry(directory, name);
            let inode = match now == synced.entry(directory, name) {
                true => now,
                false => tree.entry(directory, name),
            };
            let Some(inode) = inode else {
                continue;
            };
            let path = path.join(name);
            if inode.is_directory {
                image.insert(path.clone(), None);
                self.image(synced, inode, keeps, &path, image);
            } else {
                let content = match keeps(&Write::Content(inode)) {
                    true => self.content(inode),
                    false => synced.content(inode),
                };
                image.insert(path, Some(content));
            }
        }
    }
}

/// Extent of the losses at each point.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Losses {
    /// All and none of the writes, each one lost, each one kept, and arbitrary choices.
    #[default]
    Each,
    /// All and none of the writes, and all names without their content.
    Rough,
}

/// A choice of the writes that are kept.
pub(super) struct Choice {
    pub(super) how: String,
    /// True if no single write was chosen.
    pub(super) is_rough: bool,
    pub(super) kept: BTreeSet<Write>,
}

impl Losses {
    pub(super) fn of(self, writes: &[Unsynced]) -> Vec<Choice> {
        let choose = |keeps: &dyn Fn(&Unsynced) -> bool| -> BTreeSet<Write> {
            let kept = writes.iter().filter(|unsynced| keeps(unsynced));
            kept.map(|unsynced| unsynced.write.clone()).collect()
        };
        let choice = |how: String, is_rough, kept| Choice { how, is_rough, kept };
        let is_name = |unsynced: &Unsynced| matches!(unsynced.write, Write::Entry(..));
        let mut choices = vec![
            choice("nothing unsynced".to_owned(), true, choose(&|_| false)),
            choice("everything".to_owned(), true, choose(&|_| true)),
            choice("names and synced content".to_owned(), true, choose(&is_name)),
        ];
        if matches!(self, Self::Each) {
            self.add_each(writes, &mut choices);
        }
        for Choice { kept, .. } in &mut choices {
            for Unsynced { write, follows, .. } in writes {
                match follows {
                    Some(new_name) if kept.contains(new_name) => _ = kept.insert(write.clone()),
                    Some(_) => _ = kept.remove(write),
                    None => {}
                }
            }
        }
        choices
    }

    fn add_each(self, writes: &[Unsynced], choices: &mut Vec<Choice>) {
        let choose = |keeps: &mut dyn FnMut(&Unsynced) -> bool| -> BTreeSet<Write> {
            let kept = writes.iter().filter(|unsynced| keeps(unsynced));
            kept.map(|unsynced| unsynced.write.clone()).collect()
        };
        let mut add = |how, kept| {
            choices.push(Choice {
                how,
                is_rough: false,
                kept,
            });
        };
        let groups: BTreeSet<&str> = writes.iter().map(Unsynced::group).collect();
        for group in groups {
            let is_of_it = |unsynced: &Unsynced| unsynced.group() == group;
            add(
                format!("everything but {group}"),
                choose(&mut |one| !is_of_it(one)),
            );
            add(
                format!("nothing unsynced but {group}"),
                choose(&mut |one| is_of_it(one)),
            );
        }
        for seed in 0..SEEDS {
            // SplitMix64: the same choices in each run.
            let mut state = seed
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(writes.len() as u64);
            let kept = choose(&mut |_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 63) == 0
            });
            add(format!("an arbitrary half, {seed}"), kept);
        }
    }
}

impl Unsynced {
    /// Returns the name of what is lost or spared together.
    fn group(&self) -> &str {
        let derived = DERIVED.iter().find(|derived| self.what.starts_with(**derived));
        derived.copied().unwrap_or(&self.what)
    }
}
