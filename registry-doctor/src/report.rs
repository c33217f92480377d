//! Report of the findings, as text and as JSON.

use super::{
    escape,
    finding::{Finding, Verdict},
};
use serde::Serialize;
use std::fmt::Write as _;

/// Indentation of the text after a verdict, in columns.
const INDENT: usize = 9;

/// All findings at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    url: String,
    findings: Vec<Finding>,
}

/// A report in JSON.
#[derive(Serialize)]
struct Document<'a> {
    url: &'a str,
    faults: usize,
    warnings: usize,
    checks: Vec<Entry<'a>>,
}

/// A finding in JSON.
#[derive(Serialize)]
struct Entry<'a> {
    check: &'static str,
    verdict: &'static str,
    seen: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            check: finding.check.name(),
            verdict: finding.verdict.name(),
            seen: &finding.seen,
            client: finding.client.as_deref(),
            server: finding.server.as_deref(),
        }
    }
}

impl Report {
    pub(super) const fn new(url: String, findings: Vec<Finding>) -> Self {
        Self { url, findings }
    }

    /// Returns the URL that was examined.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the findings, in the order of the checks.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the number of faults.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.count(Verdict::Fault)
    }

    /// Returns the number of warnings.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(Verdict::Warning)
    }

    fn count(&self, verdict: Verdict) -> usize {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.verdict == verdict).count()
    }

    /// Renders the report as JSON, with a line feed at the end. Invisible characters are escaped.
    #[must_use]
    pub fn json(&self) -> String {
        let document = Document {
            url: &self.url,
            faults: self.faults(),
            warnings: self.warnings(),
            checks: self.findings.iter().map(Entry::of).collect(),
        };
        let mut text = serde_json::to_string_pretty(&document).expect("texts and numbers are JSON");
        text.push('\n');
        escape::json(&text)
    }

    /// Renders the report in lines of at most `width` columns, in colours if `colours` is true. Invisible characters are
    /// escaped.
    #[must_use]
    pub fn text(&self, width: usize, colours: bool) -> String {
        let mut text = format!("{}\n\n", escape::Line(&self.url));
        for finding in &self.findings {
            add(&mut text, finding, width, colours);
        }
        let _ = writeln!(
            text,
            "\n{}, {}, {} ok, {} skipped",
            counted(self.faults(), "fault"),
            counted(self.warnings(), "warning"),
            self.count(Verdict::Ok),
            self.count(Verdict::Skipped),
        );
        text
    }
}

fn add(text: &mut String, finding: &Finding, width: usize, colours: bool) {
    let name = finding.verdict.name();
    let (on, off) = match finding.verdict {
        _ if !colours => ("", ""),
        Verdict::Ok => ("\x1b[32m", "\x1b[0m"),
        Verdict::Warning => ("\x1b[33m", "\x1b[0m"),
        Verdict::Fault => ("\x1b[1;31m", "\x1b[0m"),
        Verdict::Skipped => ("\x1b[2m", "\x1b[0m"),
    };
    let _ = write!(text, "{on}{name}{off}{}", " ".repeat(INDENT - name.len()));
    let title = finding.check.title();
    paragraph(text, &format!("{title}: {}", finding.seen), width, INDENT);
    let fixes = [("client: ", &finding.client), ("server: ", &finding.server)];
    for (whose, fix) in fixes {
        let nothing = "nothing to change".to_owned();
        let fix = match fix {
            // That there is nothing to do is worth saying where something is wrong.
            None if finding.verdict == Verdict::Fault => Some(&nothing),
            fix => fix.as_ref(),
        };
        if let Some(fix) = fix {
            let _ = write!(text, "{}{whose}", " ".repeat(INDENT));
            paragraph(text, fix, width, INDENT + whose.len());
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// Fills lines with words. The first line already begins at `indent`; the others are indented as far.
fn paragraph(text: &mut String, words: &str, width: usize, indent: usize) {
    let mut column = indent;
    let words = escape::Line(words).to_string();
    for word in unbroken(&words) {
        let length = word.chars().count();
        if column > indent && column + 1 + length > width {
            let _ = write!(text, "\n{}", " ".repeat(indent));
            column = indent;
        } else if column > indent {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

/// Splits a text into words. Text between backticks stays one word, so that it can be copied.
fn unbroken(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '`' => quoted = !quoted,
            ' ' if !quoted => {
                words.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    words.extend(text.get(start..));
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::finding::Check;

    const WIDTH: usize = 100;

    #[test]
    fn a_finding_is_a_verdict_what_was_seen_and_what_to_do() {
        let found = Finding::fault(Check::UploadLocation, "it leads to `http://registry:5000/v2/`")
            .server("nginx: `proxy_set_header X-Forwarded-Proto $scheme;` where the registry is");
        let report = Report::new("https://r.example".to_owned(), vec![found]);

        assert_eq!(
            report.text(60, false),
            "https://r.example\n\n\
             fault    Location of an upload: it leads to\n         \
                      `http://registry:5000/v2/`\n         \
                      client: nothing to change\n         \
                      server: nginx:\n                 \
                              `proxy_set_header X-Forwarded-Proto $scheme;`\n                 \
                              where the registry is\n\n\
             1 fault, no warning, 0 ok, 0 skipped\n"
        );
    }

    #[test]
    fn only_a_terminal_sees_colours() {
        let report = Report::new(String::new(), vec![Finding::ok(Check::Base, "fine")]);

        assert!(!report.text(WIDTH, false).contains('\x1b'));
        assert!(report.text(WIDTH, true).contains('\x1b'));
    }

    #[test]
    fn what_a_server_says_can_neither_begin_a_line_nor_turn_one_around() {
        let said = || Finding::ok(Check::Base, format!("it says a{}b", escape::UNSEEN));
        let report = Report::new("https://r.example".to_owned(), vec![said()]);

        for text in [report.text(WIDTH, false), report.json()] {
            assert!(text.chars().all(|c| escape::is_seen(c) || c == '\n'), "{text:?}");
            assert!(text.contains("202e"), "{text}");
        }
        let read: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(read["checks"][0]["seen"], said().seen);
    }

    #[test]
    fn a_machine_reads_what_people_do() {
        let found = Finding::warning(Check::Port80, "it answers").client("none");
        let report = Report::new("https://r.example".to_owned(), vec![found]);

        let read: serde_json::Value = serde_json::from_str(&report.json()).unwrap();

        assert_eq!(
            read,
            serde_json::json!({
                "url": "https://r.example", "faults": 0, "warnings": 1,
                "checks": [{"check": "port80", "verdict": "warning", "seen": "it answers", "client": "none"}],
            })
        );
    }
}
