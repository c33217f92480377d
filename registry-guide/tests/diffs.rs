//! The diffs of `in_tests` end in the tests that run here.

/// Test files, each with the diff that ends in it.
const TESTS: [(&str, &str); 3] = [
    ("compose", include_str!("compose.rs")),
    ("container", include_str!("container.rs")),
    ("ignored", include_str!("ignored.rs")),
];

#[test]
fn each_diff_ends_in_a_test_that_runs() {
    let page = include_str!("../src/in_tests.rs");
    for (name, after) in TESTS {
        let diff = diff_of(page, name);
        let lines = diff
            .iter()
            .filter_map(|line| line.strip_prefix('+').or_else(|| line.strip_prefix(' ')));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            after.lines().collect::<Vec<_>>(),
            "{name}"
        );
        assert!(diff.iter().any(|line| line.starts_with('-')), "{name}");
    }
}

/// Returns the lines of the diff of `tests/NAME.rs`, each with its sign.
fn diff_of<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let lines = page.lines().map(|line| line.trim_start_matches("//!"));
    let head = format!(" +++ tests/{name}.rs");
    lines
        .skip_while(|line| *line != head)
        .skip(1)
        .take_while(|line| *line != " ```")
        .map(|line| match line.get(1..) {
            Some("") | None => " ",
            Some(text) => text,
        })
        .collect()
}
