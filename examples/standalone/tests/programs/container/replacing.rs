//! Taking registry:2's place on its own volume, and giving it back.

use std::fs;

use libtest_mimic::Trial;

use super::{PROGRAMS, Yard};
use crate::program::{Workbench, argument};

pub(super) fn trials() -> Vec<Trial> {
    trials!(PROGRAMS;
        takes_over_a_directory_and_gives_it_back,
        takes_over_the_volume_that_nobody_named,
    )
}

fn takes_over_a_directory_and_gives_it_back() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);
    yard.make_old_registry();
    let data = bench.path("registry-data");
    fs::create_dir(&data).unwrap();
    let volume = format!("{}:/var/lib/registry", argument(&data));

    yard.changes_hands(&["-v", &volume], &["-v", &volume]);
}

/// No `-v` was given: the data lies in a volume that only the old container knows.
fn takes_over_the_volume_that_nobody_named() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);
    yard.make_old_registry();

    yard.changes_hands(&[], &["--volumes-from", "registry-old"]);
}

impl Yard<'_> {
    /// registry:2 keeps an image, then this one keeps another, then registry:2 has both.
    fn changes_hands(&self, before: &[&str], after: &[&str]) {
        let run = |name: &str, options: &[&str], image: &str| {
            let run = ["run", "-d", "-p", "5000:5000", "--name", name];
            self.docker.run(&[&run[..], options, &[image]].concat());
            assert_eq!(self.answer("http://localhost:5000/v2/"), "{}");
        };
        let [first, second] = [
            "localhost:5000/team/first:latest",
            "localhost:5000/team/second:latest",
        ];

        run("registry-old", before, "registry:old");
        let one = self.push(1, first);
        self.docker.run(&["stop", "registry-old"]);

        run("registry", after, "registry:2");
        self.assert_pulls(first, &one);
        let two = self.push(2, second);
        self.docker.run(&["stop", "registry"]);

        self.docker.run(&["start", "registry-old"]);
        assert_eq!(self.answer("http://localhost:5000/v2/"), "{}");
        self.assert_pulls(first, &one);
        self.assert_pulls(second, &two);
    }
}
