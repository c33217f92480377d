//! Named code blocks of the guides, as in ```` ```sh NAME ````.

/// Returns a block of a page, without its indentation.
pub(crate) fn block(page: &str, name: &str) -> String {
    let (_, rest) = page
        .split_once(&format!(" {name}\n"))
        .unwrap_or_else(|| panic!("the page has no block {name}"));
    let (block, _) = rest.split_once("```").expect("the block ends");
    let indent = block.len() - block.trim_start().len();
    let lines = block.lines().map(|line| line.get(indent..).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}
