//! Comparison of the rules with a plain reference, which expands the meaning of a pattern one step at a time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
    sample::{select, subsequence},
};
use registry_auth_rules::{Effect, Pattern, Rule, Rules, Who};
use registry_core::{
    Action, Authorizer as _, Identity, RepositoryName,
    auth::{Access, Authorize, Decision},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Returns true if a pattern's text matches a name: character by character, trying every length of each star.
fn stands_for(pattern: &[u8], name: &[u8], user: Option<&str>) -> bool {
    if let Some(rest) = pattern.strip_prefix(b"**/") {
        // No component, or one followed by any number.
        let one = name.iter().position(|byte| *byte == b'/');
        return stands_for(rest, name, user)
            || one.is_some_and(|end| stands_for(pattern, &name[end + 1..], user));
    }
    match pattern {
        [] => name.is_empty(),
        b"**" => true,
        // `a/**` is also `a`.
        b"/**" => name.is_empty() || name[0] == b'/',
        // In the middle: `/x`, or one component followed by any number.
        [b'/', b'*', b'*', rest @ ..] => {
            let deeper = name.strip_prefix(b"/").map(|name| {
                let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
                &name[end..]
            });
            stands_for(rest, name, user) || deeper.is_some_and(|name| stands_for(pattern, name, user))
        }
        [b'*', rest @ ..] => {
            let longest = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
            (0..=longest).any(|length| stands_for(rest, &name[length..], user))
        }
        [b'{', ..] => {
            let rest = &pattern["{user}".len()..];
            user.filter(|user| !user.is_empty() && !user.contains('/'))
                .is_some_and(|user| {
                    name.strip_prefix(user.as_bytes()).is_some_and(|behind| {
                        matches!(behind.first(), None | Some(b'/')) && stands_for(rest, behind, Some(user))
                    })
                })
        }
        [byte, rest @ ..] => name.first() == Some(byte) && stands_for(rest, &name[1..], user),
    }
}

/// A rule as plain data.
#[derive(Clone, Debug)]
struct Plain {
    effect: Effect,
    actions: Vec<Action>,
    who: Vec<Who>,
    repositories: Vec<String>,
}

type Groups = BTreeMap<String, BTreeSet<String>>;

fn reference(
    rules: &[Plain],
    groups: &Groups,
    user: Option<&str>,
    login: &[Arc<str>],
    action: Action,
    name: &str,
) -> (Decision, Option<usize>) {
    for (index, rule) in rules.iter().enumerate() {
        let mut about = false;
        for who in &rule.who {
            about |= match (who, user) {
                (Who::Everyone, _) | (Who::Anonymous, None) | (Who::Authenticated, Some(_)) => true,
                (Who::User(name), Some(user)) => **name == *user,
                (Who::Group(group), Some(user)) => {
                    login.contains(group)
                        || groups.get(&**group).is_some_and(|members| members.contains(user))
                }
                _ => false,
            };
        }
        let here = rule
            .repositories
            .iter()
            .any(|pattern| stands_for(pattern.as_bytes(), name.as_bytes(), user));
        if about && here && rule.actions.contains(&action) {
            let decision = match rule.effect {
                Effect::Allow => Decision::Allow,
                Effect::Deny => Decision::Deny,
                _ => Decision::DenyHidden,
            };
            return (decision, Some(index + 1));
        }
    }
    (Decision::Deny, None)
}

const USERS: [&str; 6] = ["ann", "bob", "a", "Ann", "a/b", "**"];
const GROUPS: [&str; 3] = ["ops", "team", "a"];

fn component() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "ab", "ba", "ann", "bob", "aab", "a-b", "b.a"])
}

fn name() -> impl Strategy<Value = String> {
    vec(component(), 1..6).prop_map(|components| components.join("/"))
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => component(),
        2 => Just("**"),
        2 => Just("*"),
        1 => Just("{user}"),
        3 => select(vec!["a*", "*b", "a*b", "*a*", "*a*b*", "*-*"]),
    ];
    vec(part, 1..6).prop_map(|parts| parts.join("/"))
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        Just(Who::Everyone),
        Just(Who::Anonymous),
        Just(Who::Authenticated),
        select(USERS.to_vec()).prop_map(Who::user),
        select(GROUPS.to_vec()).prop_map(Who::group),
    ]
}

fn rule() -> impl Strategy<Value = Plain> {
    let effect = select(vec![Effect::Allow, Effect::Allow, Effect::Deny, Effect::Hide]);
    let actions = subsequence(Rule::ALL.to_vec(), 1..=4);
    (effect, actions, vec(who(), 1..3), vec(pattern(), 1..3)).prop_map(
        |(effect, actions, who, repositories)| Plain {
            effect,
            actions,
            who,
            repositories,
        },
    )
}

fn groups() -> impl Strategy<Value = Groups> {
    let members = btree_set(select(USERS.to_vec()).prop_map(str::to_owned), 0..4);
    btree_map(select(GROUPS.to_vec()).prop_map(str::to_owned), members, 0..3)
}

fn build(rules: &[Plain], groups: &Groups) -> Rules {
    let mut builder = Rules::builder();
    for (name, members) in groups {
        builder = builder.group(name.as_str(), members.iter().map(String::as_str));
    }
    for rule in rules {
        let Plain {
            effect,
            actions,
            who,
            repositories,
        } = rule.clone();
        let repositories = repositories.iter().map(String::as_str);
        let made = match effect {
            Effect::Allow => Rule::allow(actions, who, repositories),
            Effect::Deny => Rule::deny(actions, who, repositories),
            _ => Rule::hide(actions, who, repositories),
        };
        builder = builder.rule(made.unwrap());
    }
    builder.build()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_pattern_matches_what_it_stands_for(pattern in pattern(), name in name(), user in select(USERS.to_vec())) {
        let parsed = Pattern::parse(&pattern).unwrap();
        let repository = RepositoryName::parse(&name).unwrap();
        for user in [Some(user), None] {
            let expected = stands_for(pattern.as_bytes(), name.as_bytes(), user);
            prop_assert_eq!(parsed.matches(&repository, user), expected, "{} {} {:?}", pattern, name, user);
        }
    }

    #[test]
    fn answers_and_explanations_are_the_references(
        rules in vec(rule(), 0..6),
        groups in groups(),
        user in select(USERS.to_vec()),
        login in subsequence(GROUPS.to_vec(), 0..=2),
        names in vec(name(), 1..5),
    ) {
        let built = build(&rules, &groups);
        let login: Vec<Arc<str>> = login.into_iter().map(Into::into).collect();
        let identity = Identity::new(user).in_groups(login.clone());
        for (user, who, login) in [(Some(user), Some(&identity), &*login), (None, None, &[][..])] {
            let mut visible = Vec::new();
            let repositories: Vec<_> = names.iter().map(|name| RepositoryName::parse(name).unwrap()).collect();
            for repository in &repositories {
                for action in Rule::ALL {
                    let (decision, number) = reference(&rules, &groups, user, login, action, repository.as_str());
                    let explained = built.explain(user, login, action, repository);
                    prop_assert_eq!(explained.decision, decision);
                    prop_assert_eq!(explained.rule.map(|(number, _)| number), number);
                    let answered = now(built.authorize(Authorize::new(who, &Access::to(repository, action)))).unwrap();
                    prop_assert_eq!(answered, decision);
                    // A rule that decided is not reported as one that never does.
                    let never = number.map(|number| format!("rule {number} never "));
                    let accused = never.is_some_and(|never| {
                        built.warnings().iter().any(|warning| warning.to_string().starts_with(&never))
                    });
                    prop_assert!(!accused, "{:?}", built.warnings());
                    if action == Action::Pull && decision == Decision::Allow {
                        visible.push(repository.clone());
                    }
                }
            }
            // The catalog is open to users to whom it shows something.
            let listing = Access::catalog();
            let catalog = now(built.authorize(Authorize::new(who, &listing))).unwrap();
            prop_assert!(visible.is_empty() || catalog == Decision::Allow);
            prop_assert_eq!(now(built.visible(Authorize::new(who, &listing), repositories)).unwrap(), visible);
        }
    }
}
