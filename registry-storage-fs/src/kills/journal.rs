//! The journal of a victim: each line is one write, which survives the process.

use crate::pauses::Point;
use registry_core::UploadId;
use std::{fs::File, io::Write as _, path::Path, sync::Arc};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A step has begun.
    Begun(usize),
    /// A step was acknowledged.
    Done(usize),
    /// A client has begun a round, or its image was acknowledged.
    LoadBegun(usize, usize),
    LoadDone(usize, usize),
    /// An upload session was acknowledged, with its bytes.
    Upload(UploadId),
    /// The process dies while at least two operations run.
    Killed,
    /// The work has come so often to a point.
    Passed(Point, usize),
}

impl Entry {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().unwrap();
        match words[0] {
            "begun" => Self::Begun(number(1)),
            "done" => Self::Done(number(1)),
            "load-begun" => Self::LoadBegun(number(1), number(2)),
            "load-done" => Self::LoadDone(number(1), number(2)),
            "upload" => Self::Upload(UploadId::parse(words[1]).unwrap()),
            "killed" => Self::Killed,
            "passed" => Self::Passed(point(words[1]), number(2)),
            other => panic!("{other} is nothing that a victim writes"),
        }
    }

    fn line(self) -> String {
        match self {
            Self::Begun(step) => format!("begun {step}\n"),
            Self::Done(step) => format!("done {step}\n"),
            Self::LoadBegun(worker, round) => format!("load-begun {worker} {round}\n"),
            Self::LoadDone(worker, round) => format!("load-done {worker} {round}\n"),
            Self::Upload(id) => format!("upload {id}\n"),
            Self::Killed => "killed\n".to_owned(),
            Self::Passed(point, passes) => format!("passed {point:?} {passes}\n"),
        }
    }
}

/// Returns the point of a name.
pub(super) fn point(name: &str) -> Point {
    let mut all = Point::ALL.iter();
    *all.find(|point| format!("{point:?}") == name).unwrap()
}

#[derive(Clone)]
pub(super) struct Journal(Arc<File>);

impl Journal {
    pub(super) fn create(path: &Path) -> Self {
        let file = File::options().create(true).append(true).open(path);
        Self(Arc::new(file.unwrap()))
    }

    pub(super) fn write(&self, entry: Entry) {
        (&*self.0).write_all(entry.line().as_bytes()).unwrap();
    }

    pub(super) fn read(path: &Path) -> Vec<Entry> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(Entry::parse).collect()
    }
}
