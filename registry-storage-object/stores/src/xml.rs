//! The little XML that object stores speak: elements without attributes of interest, by their names.

/// Returns the content of each element of this name, in order.
pub(crate) fn contents<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = document;
    while let Some((_, after)) = rest.split_once(&open) {
        let Some((content, after)) = after.split_once(&close) else {
            break;
        };
        found.push(content);
        rest = after;
    }
    found
}

/// Removes the elements of this name whose content `removed` selects.
pub(crate) fn without(document: &str, name: &str, removed: impl Fn(&str) -> bool) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut kept = String::with_capacity(document.len());
    let mut rest = document;
    while let Some((before, after)) = rest.split_once(&open) {
        let Some((content, after)) = after.split_once(&close) else {
            break;
        };
        kept.push_str(before);
        if !removed(content) {
            kept.extend([&open, content, &close]);
        }
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Escapes text of an element.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Reads text of an element.
pub(crate) fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_and_removed_by_their_content() {
        let document = "<L><K>a&amp;b</K><P/><K>c</K></L>";

        assert_eq!(contents(document, "K"), ["a&amp;b", "c"]);
        assert_eq!(unescape(contents(document, "K")[0]), "a&b");
        assert_eq!(
            without(document, "K", |key| key == "c"),
            "<L><K>a&amp;b</K><P/></L>"
        );
    }
}
