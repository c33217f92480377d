//! The faults that were added by the control API, by number, and their gates, by name: [`Faults`].

use super::{
    fields::{BadField, Fields},
    preset,
    rule::NewRule,
};
use crate::{
    TestRegistry,
    fault::{Fault, Gate, Handle, Rule, Token},
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The faults of a registry.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    added: usize,
    rules: BTreeMap<usize, Handle>,
    gates: BTreeMap<String, NamedGate>,
}

impl State {
    /// Keeps a rule, and returns its number.
    fn number(&mut self, rule: Handle) -> usize {
        self.added += 1;
        self.rules.insert(self.added, rule);
        self.added
    }
}

/// A gate of the stalls that name it.
#[derive(Debug)]
struct NamedGate {
    gate: Gate,
    is_open: bool,
}

impl Faults {
    /// Adds a rule or those of a preset, and returns its `id` or their `ids`.
    pub(super) fn add(
        &self,
        registry: &TestRegistry,
        mut rule: Map<String, Value>,
    ) -> Result<Value, BadField> {
        let label = match rule.remove("label") {
            Some(Value::String(label)) => label,
            None | Some(Value::Null) => Value::from(rule.clone()).to_string(),
            Some(_) => return Err(BadField::in_field("label", "must be a text")),
        };
        if rule.contains_key("preset") {
            let rules = preset::read(Fields::new(rule))?;
            let rules = rules.into_iter().map(|rule| rule.labelled(&*label));
            let added: Vec<_> = registry.add_faults(rules);
            let mut state = self.state();
            let ids: Vec<_> = added.into_iter().map(|handle| state.number(handle)).collect();
            return Ok(json!({ "ids": ids }));
        }
        Ok(json!({ "id": self.add_rule(registry, rule, label)? }))
    }

    fn add_rule(
        &self,
        registry: &TestRegistry,
        rule: Map<String, Value>,
        label: String,
    ) -> Result<usize, BadField> {
        let mut state = self.state();
        // A stall that names an open gate is a new one, and waits until the gate is opened again.
        let closed = |name: &str| state.gates.get(name).filter(|gate| !gate.is_open);
        let NewRule { on, fault, gate } = NewRule::read(rule, |name| {
            closed(name).map_or_else(Gate::new, |gate| gate.gate.clone())
        })?;
        if matches!(fault, Fault::Token(Token::Expire)) && !registry.issues_tokens() {
            return Err(BadField::in_field(
                "token",
                "there are no tokens to expire: start the registry with --bearer",
            ));
        }
        let handle = registry.add_fault(Rule::from((on, fault)).labelled(label));
        if let Some(name) = gate {
            let gate = handle.gate().clone();
            state.gates.insert(name, NamedGate { gate, is_open: false });
        }
        Ok(state.number(handle))
    }

    /// Returns the rules as JSON.
    pub(super) fn list(&self) -> Value {
        let state = self.state();
        let rules = state.rules.iter().map(|(number, rule)| {
            json!({
                "id": number,
                "rule": rule.to_string(),
                "fired": rule.fired(),
                "complaint": rule.complaint(),
            })
        });
        json!({ "faults": rules.collect::<Vec<_>>() })
    }

    /// Ends all rules. The gates of requests that are held stay.
    pub(super) fn clear(&self, registry: &TestRegistry) {
        registry.clear_faults();
        self.state().rules.clear();
    }

    /// Opens all gates and forgets them.
    pub(super) fn open_all(&self) {
        for gate in std::mem::take(&mut self.state().gates).into_values() {
            gate.gate.open();
        }
    }

    /// Opens a gate, or returns false if there is none of that name. Stalls that are added later find it closed.
    pub(super) fn open(&self, name: &str) -> bool {
        let mut state = self.state();
        let gate = state.gates.get_mut(name);
        gate.map(|gate| {
            gate.gate.open();
            gate.is_open = true;
        })
        .is_some()
    }

    /// A panic while it is locked leaves it whole: each change is one insertion.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
