//! Rules in YAML. The YAML library is named only here and in [`not_yaml`](crate::not_yaml).
//!
//! Probable mistakes are errors that name the line: unknown keys and actions, empty lists, patterns that no repository
//! can match, groups that have the name of a user.

use crate::{
    not_yaml::explained,
    pattern::{InvalidPattern, Pattern},
    rule::{Effect, InvalidRule, Origin, Rule},
    rules::Rules,
    who::{InvalidWho, Who},
};
use registry_core::Action;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Error in a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", .line.map(|line| format!(":{line}")).unwrap_or_default())]
#[non_exhaustive]
pub struct InvalidRules {
    /// Name of the file, as it was given.
    pub file: Arc<str>,
    /// Line number, counted from 1, if it is known.
    pub line: Option<u64>,
    /// The fault.
    pub problem: Problem,
}

/// Fault of a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text is not YAML, or does not have the form of rules.
    #[error("{message}")]
    #[non_exhaustive]
    Form {
        /// Description for people who write rules.
        message: String,
    },
    /// A second document follows the rules.
    #[error("a second document begins above, after `---`; rules must be one document")]
    SecondDocument,
    /// There are no rules, so every request would be refused.
    #[error("there are no rules: begin with `rules:` and a list")]
    Empty,
    /// The rule does not have exactly one of `allow`, `deny` and `hide`.
    #[error("a rule must have exactly one of `allow`, `deny` and `hide`, but this one has {0}")]
    Effects(usize),
    /// The action is unknown.
    #[error("`{0}` is not an action; the actions are `pull`, `push`, `overwrite`, `delete` and `all`")]
    Action(String),
    /// A pattern is malformed.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// A text names no user, group or keyword.
    #[error(transparent)]
    Who(#[from] InvalidWho),
    /// A group is named without `group:`.
    #[error("`{0}` is a group here: write `group:{0}`, or `user:{0}` for the user of that name")]
    GroupOrUser(Arc<str>),
    /// A group has the name of a keyword.
    #[error("a group cannot be named `{0}`")]
    GroupName(Arc<str>),
    /// A member is not the name of a user.
    #[error("`{0}` cannot be a member of a group: members are users, by name")]
    Member(String),
    /// A part of the rule is missing.
    #[error(transparent)]
    Rule(#[from] InvalidRule),
}

impl Rules {
    /// Reads rules from YAML; `file` is the name for messages.
    ///
    /// ```
    /// use registry_auth_rules::Rules;
    ///
    /// let rules = Rules::parse(
    ///     "groups:
    ///   ops: [ann, bob]
    /// rules:
    ///   - repository: public/**
    ///     who: everyone
    ///     allow: pull
    ///   - repository: '**'
    ///     who: group:ops
    ///     allow: all
    /// ",
    ///     "rules.yml",
    /// )?;
    /// assert_eq!(rules.rules().len(), 2);
    /// # Ok::<(), registry_auth_rules::InvalidRules>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidRules`] names the fault and its line.
    pub fn parse(yaml: &str, file: &str) -> Result<Self, InvalidRules> {
        let file: Arc<str> = file.into();
        let wrong = |at: At<Problem>| InvalidRules {
            file: Arc::clone(&file),
            line: at.line,
            problem: at.value,
        };
        let document = read(yaml).map_err(wrong)?;
        let Document { groups, rules } = document.unwrap_or_default();
        let Some(rules) = rules.filter(|rules| !rules.is_empty()) else {
            return Err(wrong(At::nowhere(Problem::Empty)));
        };
        let origin = |line: Option<u64>| Origin {
            file: Arc::clone(&file),
            line: line.unwrap_or_default(),
        };
        let mut builder = Self::builder();
        for (name, members) in groups.unwrap_or_default() {
            let name: Arc<str> = name.into();
            let members = group(&name, members).map_err(wrong)?;
            builder = builder.group(Arc::clone(&name), members.value);
            builder = builder.defined_at(name, origin(members.line));
        }
        for written in rules {
            let written = At::from(written);
            let rule = rule(written.value, written.line, &|name| builder.defines(name)).map_err(wrong)?;
            builder = builder.rule(rule.at(origin(written.line)));
        }
        Ok(builder.build())
    }
}

/// The file in its written form.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    groups: Option<BTreeMap<String, Texts>>,
    rules: Option<Vec<Spanned<Written>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    repository: Texts,
    who: Texts,
    allow: Option<Texts>,
    deny: Option<Texts>,
    hide: Option<Texts>,
}

fn read(yaml: &str) -> Result<Option<Document>, At<Problem>> {
    // Far more than rules need, and far less than what would exhaust memory.
    let budget = serde_saphyr::budget! {
        max_nodes: 500_000,
        max_events: 1_000_000,
        max_depth: 16,
        enforce_alias_anchor_ratio: false,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        // An unknown tag would be dropped silently, together with its value.
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let wrong = |error: serde_saphyr::Error| At {
        line: error.location().and_then(line),
        value: Problem::Form {
            message: explained(&error),
        },
    };
    let yaml = yaml.strip_prefix('\u{feff}').unwrap_or(yaml);
    // Empty documents are skipped: a `---` may end a file. The content of a second one does not matter.
    let documents: Vec<Spanned<IgnoredAny>> =
        serde_saphyr::from_multiple_with_options(yaml, options.clone()).map_err(wrong)?;
    if let Some(second) = documents.get(1) {
        return Err(At {
            line: line(second.referenced),
            value: Problem::SecondDocument,
        });
    }
    let documents = serde_saphyr::from_multiple_with_options(yaml, options).map_err(wrong)?;
    Ok(documents.into_iter().next())
}

fn group(name: &Arc<str>, members: Texts) -> Result<At<Vec<String>>, At<Problem>> {
    let line = members.line();
    let plain = |text: &str| matches!(text.parse(), Ok(Who::User(user)) if *user == *text);
    if !plain(name) {
        return Err(At {
            line,
            value: Problem::GroupName(Arc::clone(name)),
        });
    }
    let members = members.each(|member| {
        if plain(&member) {
            Ok(member)
        } else {
            Err(Problem::Member(member))
        }
    })?;
    Ok(At { line, value: members })
}

fn rule(written: Written, line: Option<u64>, is_group: &dyn Fn(&str) -> bool) -> Result<Rule, At<Problem>> {
    let Written {
        repository,
        who,
        allow,
        deny,
        hide,
    } = written;
    let effects = [(Effect::Allow, allow), (Effect::Deny, deny), (Effect::Hide, hide)];
    let mut effects: Vec<_> = effects
        .into_iter()
        .filter_map(|(effect, actions)| Some((effect, actions?)))
        .collect();
    let (Some((effect, actions)), true) = (effects.pop(), effects.is_empty()) else {
        let count = effects.len() + 1;
        let count = if count == 1 { 0 } else { count };
        return Err(At {
            line,
            value: Problem::Effects(count),
        });
    };
    let actions: Vec<Action> = actions.each(action)?.into_iter().flatten().collect();
    let repositories = repository.each(|text| Ok(Pattern::parse(&text)?))?;
    let who = who.each(|text| match text.parse()? {
        Who::User(name) if *name == *text && is_group(&name) => Err(Problem::GroupOrUser(name)),
        who => Ok(who),
    })?;
    Rule::new(effect, &actions, who, repositories).map_err(|invalid| At {
        line,
        value: invalid.into(),
    })
}

fn action(name: String) -> Result<Vec<Action>, Problem> {
    if name == "all" {
        return Ok(Rule::ALL.to_vec());
    }
    let action = Rule::ALL.into_iter().find(|action| action.as_str() == name);
    action.map(|action| vec![action]).ok_or(Problem::Action(name))
}

/// A single text or a list of texts.
struct Texts {
    texts: Vec<At<String>>,
    line: Option<u64>,
}

impl Texts {
    const fn line(&self) -> Option<u64> {
        self.line
    }

    fn each<T>(self, read: impl Fn(String) -> Result<T, Problem>) -> Result<Vec<T>, At<Problem>> {
        let texts = self.texts.into_iter();
        texts
            .map(|text| {
                read(text.value).map_err(|value| At {
                    line: text.line,
                    value,
                })
            })
            .collect()
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned {
            value, referenced, ..
        } = Spanned::<OneOrMany>::deserialize(deserializer)?;
        let line = line(referenced);
        let texts = match value {
            OneOrMany::One(value) => vec![At { line, value }],
            OneOrMany::Many(values) => values.into_iter().map(At::from).collect(),
        };
        Ok(Self { texts, line })
    }
}

enum OneOrMany {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany::Many(texts))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A value and the line where it begins.
struct At<T> {
    line: Option<u64>,
    value: T,
}

impl<T> At<T> {
    const fn nowhere(value: T) -> Self {
        Self { line: None, value }
    }
}

impl<T> From<Spanned<T>> for At<T> {
    fn from(spanned: Spanned<T>) -> Self {
        Self {
            line: line(spanned.referenced),
            value: spanned.value,
        }
    }
}

fn line(location: Location) -> Option<u64> {
    Some(location.line()).filter(|line| *line > 0)
}
