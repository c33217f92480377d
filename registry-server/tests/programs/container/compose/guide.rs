//! The guide's commands and files: its named code blocks, as in ```` ```sh NAME ````.

use std::{cell::RefCell, collections::BTreeMap, fs, path::Path};

pub(super) struct Guide {
    /// Each block, and true if it was used.
    blocks: RefCell<BTreeMap<String, (String, bool)>>,
}

impl Guide {
    pub(super) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploying.md");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut blocks = BTreeMap::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(fence) = line.strip_prefix("```") else {
                continue;
            };
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if let Some((_, name)) = fence.split_once(' ') {
                let twice = blocks.insert(name.to_owned(), (content.join("\n"), false));
                assert!(twice.is_none(), "the guide has two blocks called {name}");
            }
        }
        Self {
            blocks: RefCell::new(blocks),
        }
    }

    /// Returns the content of a block, and marks it as used.
    pub(super) fn block(&self, name: &str) -> String {
        let mut blocks = self.blocks.borrow_mut();
        let (content, used) = blocks
            .get_mut(name)
            .unwrap_or_else(|| panic!("the guide has no block called {name}"));
        *used = true;
        content.clone()
    }

    /// Asserts that every block was used: an untested one may be wrong.
    pub(super) fn assert_all_was_run(&self) {
        let blocks = self.blocks.borrow();
        let unused: Vec<_> = blocks.iter().filter(|(_, (_, used))| !used).collect();
        assert!(unused.is_empty(), "the guide's blocks {unused:?} are not tested");
    }
}
