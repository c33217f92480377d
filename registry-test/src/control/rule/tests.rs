//! Tests of rules in JSON.

use super::NewRule;
use crate::fault::{Gate, Rule};
use serde_json::{Value, json};

fn read(rule: Value) -> Result<String, String> {
    let Value::Object(object) = rule else {
        panic!("a rule is an object")
    };
    let rule = NewRule::read(object, |_| Gate::new()).map_err(|error| error.to_string())?;
    Ok(Rule::from((rule.on, rule.fault)).to_string())
}

#[test]
fn a_rule_in_json_is_a_call_in_rust() {
    for (rule, call) in [
        (
            json!({ "on": "PUT manifest", "repository": "team/app", "tag": "v1", "first": 2, "status": 429, "retry_after": 1 }),
            r#"fault(on(PUT).manifest().repository("team/app").tag("v1").first(2), status(429).retry_after(1))"#,
        ),
        (
            json!({ "on": "GET blob", "each_first": true, "cut": "response", "after": 1000, "reset": true }),
            "fault(on(GET).blob().each_first(), cut(Response).after(1000).reset())",
        ),
        (
            json!({ "on": "upload", "nth": 2, "stall": "request" }),
            "fault(on_any().upload().nth(2), stall(Request))",
        ),
        (
            json!({ "always": true, "optional": true, "slow": 9 }),
            "fault(on_any().always().optional(), slow(9))",
        ),
        (
            json!({ "on": "*", "lost_answer": true }),
            "fault(on_any(), lost_answer())",
        ),
        (
            json!({ "on": "ping", "refuse": true }),
            "fault(on_any().ping(), refuse())",
        ),
        (json!({ "wrong_length": -3 }), "fault(on_any(), wrong_length(-3))"),
        (
            json!({ "drop_header": "Range" }),
            r#"fault(on_any(), drop_header("range"))"#,
        ),
        (
            json!({ "set_header": { "a": "b" } }),
            r#"fault(on_any(), set_header("a", "b"))"#,
        ),
        (
            json!({ "location": "with_query" }),
            "fault(on_any(), location(WithQuery))",
        ),
        (json!({ "redirect": "loop" }), "fault(on_any(), redirect(Loop))"),
        (
            json!({ "redirect": { "other_host": { "refuse_authorization": true, "expires": 2 } } }),
            "fault(on_any(), redirect(OtherHost { refuse_authorization: true, expires: Some(2) }))",
        ),
        (
            json!({ "redirect": { "other_host": { "expires": 0 } } }),
            "fault(on_any(), redirect(OtherHost { refuse_authorization: false, expires: Some(0) }))",
        ),
        (json!({ "token": "expire" }), "fault(on_any(), token(Expire))"),
        (
            json!({ "token": { "fails": 503 } }),
            "fault(on_any(), token(Fails(503)))",
        ),
    ] {
        assert_eq!(read(rule.clone()).as_deref(), Ok(call), "{rule}");
    }
}

#[test]
fn an_error_names_the_field() {
    for (rule, part) in [
        (json!({}), "there is no fault: one of status, cut"),
        (
            json!({ "status": 500, "refuse": true }),
            "`status` and `refuse` are two faults",
        ),
        (json!({ "statuses": 500 }), "unknown field `statuses`"),
        (json!({ "status": 500, "reset": true }), "unknown field `reset`"),
        (json!({ "status": 100 }), "`status`"),
        (json!({ "status": -1 }), "`status`"),
        (json!({ "status": 500, "retry_after": "1" }), "`retry_after`"),
        (json!({ "status": 500, "retry_at": "\n" }), "`retry_at`"),
        (json!({ "status": 500, "headers": [] }), "`headers`"),
        (json!({ "status": 500, "headers": { " ": "" } }), "`headers`"),
        (json!({ "on": "PUSH manifest", "refuse": true }), "`on`: \"PUSH\""),
        (
            json!({ "on": "PUT manifest blob", "refuse": true }),
            "`on`: \"blob\"",
        ),
        (json!({ "nth": 0, "refuse": true }), "`nth`"),
        (json!({ "nth": 1, "first": 1, "refuse": true }), "one of `nth`"),
        (json!({ "repository": "A", "refuse": true }), "`repository`"),
        (json!({ "digest": "sha256:1", "refuse": true }), "`digest`"),
        (json!({ "tag": "/", "refuse": true }), "`tag`"),
        (json!({ "refuse": false }), "`refuse`: must be true"),
        (
            json!({ "cut": "answer" }),
            "`cut`: must be one of request, response",
        ),
        (json!({ "stall": "request", "gate": "a b" }), "`gate`"),
        (json!({ "stall": "request", "gate": "" }), "`gate`"),
        (json!({ "slow": 0 }), "`slow`"),
        (json!({ "wrong_length": 0 }), "`wrong_length`"),
        (json!({ "drop_header": "a b" }), "`drop_header`"),
        (json!({ "set_header": {} }), "`set_header`"),
        (json!({ "set_header": { "a": 1 } }), "`set_header`"),
        (json!({ "location": 1 }), "`location`"),
        (json!({ "redirect": { "other_host": 1 } }), "`redirect`"),
        (json!({ "redirect": { "expires": 1 } }), "unknown field `expires`"),
        (json!({ "token": { "fails": 1 } }), "`fails`"),
        (json!({ "token": { "fails": 600 } }), "`fails`"),
    ] {
        let error = read(rule.clone()).expect_err("the rule is wrong");
        assert!(error.contains(part), "{rule}: {error}");
    }
}
