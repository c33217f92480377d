//! The file of rules of retention, which `storage.maintenance.retention.rules` names.

use super::{
    problem::Problem,
    units,
    value::{Content, Map, Origin, Value},
    yaml,
};
use registry_core::maintenance::retention::{Keep, RepositoryPattern, Rule, Rules, TagPattern};
use std::{num::NonZeroUsize, path::Path, time::Duration};

/// Reads rules of retention; `path` is the file for messages. The first problem ends it.
pub(crate) fn retention_rules(text: &str, path: &Path) -> Result<Rules, Problem> {
    let at = |line: u64| Origin::File {
        path: path.into(),
        line,
    };
    let (root, duplicates) = yaml::parse_file(text, path)
        .map_err(|error| Problem::new(at(error.line.unwrap_or(1)), "", error.message))?;
    if let Some(double) = duplicates.first() {
        let message = format!("duplicate key `{}`", double.key);
        return Err(Problem::new(at(double.line), "", message));
    }
    let section = Section::of(&root, String::new(), &["rules"])?;
    let rules = match section.get("rules").map(|rules| &rules.content) {
        Some(Content::List(rules)) if !rules.is_empty() => rules,
        _ => return Err(section.problem("rules", "must be a list of rules, with at least one")),
    };
    let rules = rules.iter().enumerate();
    let rules = rules.map(|(index, value)| rule(value, format!("rules[{index}]")));
    Ok(Rules::new(rules.collect::<Result<Vec<_>, _>>()?))
}

fn rule(value: &Value, place: String) -> Result<Rule, Problem> {
    let section = Section::of(value, place, &["repository", "tags", "keep", "expire"])?;
    let repositories = section.each("repository", |text| {
        RepositoryPattern::parse(text).map_err(|error| error.to_string())
    })?;
    if repositories.is_empty() {
        return Err(section.problem("repository", "a pattern is required, such as `team/**`"));
    }
    let tags = section.each("tags", |text| {
        TagPattern::parse(text).map_err(|error| error.to_string())
    })?;
    // An empty list would mean every tag.
    if tags.is_empty() && section.get("tags").is_some() {
        return Err(section.problem("tags", "the list is empty; name a pattern, or remove the key"));
    }
    let expires = section.scalar("expire", units::switch)?.unwrap_or(false);
    let rule = Rule::new(repositories, keep(&section)?)
        .tags(tags)
        .at(value.origin.to_string());
    Ok(if expires { rule.expire_immutable() } else { rule })
}

/// Reads `keep`: `always`, or the conditions under which a tag is kept.
fn keep(section: &Section<'_>) -> Result<Keep, Problem> {
    const FORMS: &str = "must be `always`, or a section with `newest`, `younger` or both";
    let Some(value) = section.get("keep") else {
        return Err(section.problem("keep", FORMS));
    };
    match &value.content {
        Content::Scalar(text) if text == "always" => return Ok(Keep::Always),
        Content::Map(_) => {}
        _ => return Err(section.problem("keep", FORMS)),
    }
    let keep = Section::of(value, section.at("keep"), &["newest", "younger", "both"])?;
    let newest = keep.scalar("newest", |text| {
        let number: Option<NonZeroUsize> = text.parse().ok();
        number.ok_or_else(|| "must be a number, at least 1".to_owned())
    })?;
    let younger = keep.scalar("younger", age)?;
    let both = keep.scalar("both", units::switch)?;
    match (newest, younger, both) {
        (Some(newest), Some(younger), Some(true)) => Ok(Keep::Both(newest, younger)),
        (Some(newest), Some(younger), _) => Ok(Keep::Either(newest, younger)),
        (None, _, Some(true)) | (_, None, Some(true)) => {
            Err(keep.problem("both", "needs `newest` and `younger`"))
        }
        (Some(newest), None, _) => Ok(Keep::Newest(newest)),
        (None, Some(younger), _) => Ok(Keep::Younger(younger)),
        (None, None, _) => Err(section.problem("keep", FORMS)),
    }
}

/// Parses an age: days (`30d`), or a duration as elsewhere in the configuration (`12h`).
fn age(text: &str) -> Result<Duration, String> {
    const DAY: u64 = 24 * 60 * 60;
    let malformed = || "must be an age such as `30d` or `12h`, at least `1s`".to_owned();
    let age = match text.strip_suffix('d') {
        Some(days) => {
            let days: Option<u64> = days.parse().ok();
            days.and_then(|days| days.checked_mul(DAY))
                .map(Duration::from_secs)
        }
        // A number without a unit would count nanoseconds.
        None if text.parse::<f64>().is_ok() => None,
        None => units::duration(text).ok(),
    };
    age.filter(|age| *age >= Duration::from_secs(1))
        .ok_or_else(malformed)
}

/// A section of the file, whose keys are known.
struct Section<'a> {
    map: &'a Map,
    origin: &'a Origin,
    place: String,
}

impl<'a> Section<'a> {
    fn of(value: &'a Value, place: String, keys: &[&str]) -> Result<Self, Problem> {
        let Content::Map(map) = &value.content else {
            let what = format!("must be a section, but is {}", value.kind());
            return Err(Problem::new(value.origin.clone(), place, what));
        };
        let section = Self {
            map,
            origin: &value.origin,
            place,
        };
        match map.iter().find(|(key, _)| !keys.contains(key)) {
            Some((key, _)) => {
                let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                let what = format!("unknown key; the keys here are {}", keys.join(", "));
                Err(section.problem(key, &what))
            }
            None => Ok(section),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key)
    }

    fn at(&self, key: &str) -> String {
        if self.place.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.place)
        }
    }

    fn problem(&self, key: &str, what: &str) -> Problem {
        let origin = self.get(key).map_or(self.origin, |value| &value.origin);
        Problem::new(origin.clone(), self.at(key), what)
    }

    /// Reads a scalar; `None` if the key is missing.
    fn scalar<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        self.parsed(key, value, parse).map(Some)
    }

    /// Reads a list of scalars. A single scalar is a list of one; a missing key is an empty list.
    fn each<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Problem> {
        let items = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(value) => match &value.content {
                Content::List(items) => items.iter().collect(),
                _ => vec![value],
            },
        };
        items
            .into_iter()
            .map(|item| self.parsed(key, item, &parse))
            .collect()
    }

    fn parsed<T>(
        &self,
        key: &str,
        value: &Value,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Problem> {
        let parsed = match &value.content {
            Content::Scalar(text) => parse(text).map_err(|why| format!("`{text}`: {why}")),
            _ => Err(format!("must be a single value, but is {}", value.kind())),
        };
        parsed.map_err(|what| Problem::new(value.origin.clone(), self.at(key), what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Rules, String> {
        retention_rules(text, Path::new("keep.yml")).map_err(|problem| problem.to_string())
    }

    #[test]
    fn every_form_of_a_rule_is_read() {
        let rules = parse(
            "rules:
  - {repository: '**', tags: [latest, stable], keep: always}
  - {repository: [team/*, a/b], tags: v*, keep: {newest: 10, younger: 30d}, expire: true}
  - {repository: '**', keep: {newest: 3, younger: 36h, both: true}}
  - {repository: '**', keep: {newest: 3}}
  - {repository: '**', keep: {younger: 90s}}
",
        )
        .unwrap();

        let texts: Vec<String> = rules.rules().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "keep always, of latest, stable in **",
                "keep the newest 10 or younger than 30d, of v* in team/*, a/b, immutable ones included",
                "keep the newest 3 and younger than 36h, of all tags in **",
                "keep the newest 3, of all tags in **",
                "keep younger than 90s, of all tags in **",
            ]
        );
        assert_eq!(rules.rules()[1].origin(), Some("keep.yml:3"));
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_key() {
        for (text, told) in [
            ("", "keep.yml:1: must be a section, but is nothing"),
            (
                "rules: []",
                "keep.yml:1: rules: must be a list of rules, with at least one",
            ),
            ("a: [", "keep.yml:1: "),
            (
                "rules:\n- x",
                "keep.yml:2: rules[0]: must be a section, but is a single value",
            ),
            (
                "rules:\n- {keep: always}",
                "keep.yml:2: rules[0].repository: a pattern is required",
            ),
            (
                "rules:\n- {repository: A, keep: always}",
                "keep.yml:2: rules[0].repository: `A`: no repository matches",
            ),
            (
                "rules:\n- repository: a\n  tags: a b\n  keep: always",
                "keep.yml:3: rules[0].tags: `a b`: no tag matches",
            ),
            (
                "rules:\n- repository: a\n  tags: []\n  keep: always",
                "keep.yml:3: rules[0].tags: the list is empty",
            ),
            (
                "rules:\n- repository: a",
                "keep.yml:2: rules[0].keep: must be `always`",
            ),
            (
                "rules:\n- repository: a\n  keep: {}",
                "keep.yml:3: rules[0].keep: must be `always`",
            ),
            (
                "rules:\n- repository: a\n  keep: {newest: 0}",
                "keep.yml:3: rules[0].keep.newest: `0`: must be a number, at least 1",
            ),
            (
                "rules:\n- repository: a\n  keep: {younger: 30}",
                "keep.yml:3: rules[0].keep.younger: `30`: must be an age",
            ),
            (
                "rules:\n- repository: a\n  keep: {younger: 0s}",
                "keep.yml:3: rules[0].keep.younger: `0s`: must be an age",
            ),
            (
                "rules:\n- repository: a\n  keep: {newest: 1, both: true}",
                "keep.yml:3: rules[0].keep.both: needs",
            ),
            (
                "rules:\n- repository: a\n  keep: {oldest: 1}",
                "keep.yml:3: rules[0].keep.oldest: unknown key; the keys here are `newest`",
            ),
            (
                "rules:\n- repository: a\n  keep: always\n  keep: always",
                "keep.yml:4: duplicate key `keep`",
            ),
            (
                "rules:\n- repository: a\n  keep: always\n  expire: maybe",
                "keep.yml:4: rules[0].expire: `maybe`: must be `true` or `false`",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(told), "{text}\n{error}");
        }
    }
}
