//! The fault of a rule in JSON.

use crate::{
    control::fields::{BadField, Fields},
    fault::{
        Fault, Gate, Location, Redirect, Side, Token, cut, drop_header, location, lost_answer, redirect,
        refuse, set_header, slow, stall, status, token, wrong_bytes, wrong_length,
    },
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

/// Statuses that end a request. Lower ones announce another answer.
const FIRST_FINAL: u16 = 200;

/// Reads the fault of this name, and the fields that belong to it.
pub(super) fn read_fault(fault: &str, fields: &mut Fields, gate: Option<Gate>) -> Result<Fault, BadField> {
    Ok(match fault {
        "status" => read_status(fields)?,
        "cut" => {
            let cut = cut(side(fault, fields)?).after(fields.number("after")?.unwrap_or(0));
            if fields.flag("reset")? {
                cut.reset().into()
            } else {
                cut.into()
            }
        }
        "stall" => {
            let stall = stall(side(fault, fields)?).after(fields.number("after")?.unwrap_or(0));
            match gate {
                Some(gate) => stall.until(&gate).into(),
                None => stall.into(),
            }
        }
        "slow" => match fields.number("slow")? {
            Some(bytes) if bytes > 0 => slow(bytes).into(),
            _ => {
                return Err(BadField::in_field(
                    "slow",
                    "must be a number of bytes per second, at least 1",
                ));
            }
        },
        "lost_answer" => set(fault, fields, lost_answer())?,
        "refuse" => set(fault, fields, refuse())?,
        "wrong_bytes" => set(fault, fields, wrong_bytes())?,
        "wrong_length" => match fields.integer("wrong_length")? {
            Some(by) if by != 0 => wrong_length(by),
            _ => return Err(BadField::in_field(fault, "must be a number other than 0")),
        },
        "drop_header" => {
            let name = fields.parsed(fault, |text| HeaderName::try_from(text))?;
            drop_header(
                name.ok_or_else(|| BadField::in_field(fault, "must be a name"))?
                    .as_str(),
            )
        }
        "set_header" => {
            let mut headers = headers(fault, fields)?.into_iter();
            match (headers.next(), headers.next()) {
                (Some((name, value)), None) => set_header(&name, &value),
                _ => return Err(BadField::in_field(fault, "must have one name and its value")),
            }
        }
        "location" => location(one_of(
            fault,
            fields,
            &[
                ("absolute", Location::Absolute),
                ("relative", Location::Relative),
                ("with_query", Location::WithQuery),
                ("other_host", Location::OtherHost),
            ],
        )?),
        "redirect" => redirect(read_redirect(fields)?),
        _ => token(read_token(fields)?),
    })
}

fn read_status(fields: &mut Fields) -> Result<Fault, BadField> {
    let code = fields.number("status")?.and_then(final_status);
    let code =
        code.ok_or_else(|| BadField::in_field("status", "must be the status of an answer, 200 to 999"))?;
    let mut answer = status(code);
    if let Some(seconds) = fields.number("retry_after")? {
        answer = answer.retry_after(seconds);
    }
    if let Some(date) = fields.parsed("retry_at", |text| {
        HeaderValue::try_from(text).map(|_| text.to_owned())
    })? {
        answer = answer.header("Retry-After", &date);
    }
    if let Some(code) = fields.text("code")? {
        answer = answer.code(code);
    }
    for (name, value) in headers("headers", fields)? {
        answer = answer.header(&name, &value);
    }
    if fields.flag("after_body")? {
        answer = answer.after_body();
    }
    Ok(answer.into())
}

fn final_status(number: u64) -> Option<u16> {
    let status = StatusCode::from_u16(u16::try_from(number).ok()?).ok()?.as_u16();
    (status >= FIRST_FINAL).then_some(status)
}

fn read_redirect(fields: &mut Fields) -> Result<Redirect, BadField> {
    let Some(mut object) = fields.object("redirect") else {
        return one_of(
            "redirect",
            fields,
            &[
                ("same_host", Redirect::SameHost),
                (
                    "other_host",
                    Redirect::OtherHost {
                        refuse_authorization: false,
                        expires: None,
                    },
                ),
                ("loop", Redirect::Loop),
            ],
        );
    };
    object.only(&["other_host"])?;
    let mut host = object
        .object("other_host")
        .ok_or_else(|| BadField::in_field("redirect", "must have `other_host` as an object"))?;
    host.only(&["refuse_authorization", "expires"])?;
    Ok(Redirect::OtherHost {
        refuse_authorization: host.flag("refuse_authorization")?,
        expires: host
            .number("expires")?
            .map(|served| usize::try_from(served).unwrap_or(usize::MAX)),
    })
}

fn read_token(fields: &mut Fields) -> Result<Token, BadField> {
    let Some(mut object) = fields.object("token") else {
        return one_of(
            "token",
            fields,
            &[
                ("expire", Token::Expire),
                ("no_expires_in", Token::NoExpiresIn),
                ("access_token_only", Token::AccessTokenOnly),
                ("other_realm", Token::OtherRealm),
            ],
        );
    };
    object.only(&["fails"])?;
    match object.number("fails")? {
        Some(status @ 400..=599) => Ok(Token::Fails(u16::try_from(status).expect("599 fits"))),
        _ => Err(BadField::in_field(
            "fails",
            "must be the status of a failure, 400 to 599",
        )),
    }
}

fn side(fault: &str, fields: &mut Fields) -> Result<Side, BadField> {
    one_of(
        fault,
        fields,
        &[("request", Side::Request), ("response", Side::Response)],
    )
}

/// Returns a fault whose value is `true`.
fn set(name: &str, fields: &mut Fields, fault: Fault) -> Result<Fault, BadField> {
    if fields.flag(name)? {
        Ok(fault)
    } else {
        Err(BadField::in_field(name, "must be true"))
    }
}

fn one_of<T: Clone>(name: &str, fields: &mut Fields, values: &[(&str, T)]) -> Result<T, BadField> {
    let text = fields.text(name)?.unwrap_or_default();
    let found = values.iter().find(|(value, _)| *value == text);
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let known: Vec<_> = values.iter().map(|(value, _)| *value).collect();
        BadField::in_field(name, &format!("must be one of {}", known.join(", ")))
    })
}

/// Reads names and values of headers.
fn headers(name: &str, fields: &mut Fields) -> Result<Vec<(String, String)>, BadField> {
    let Some(object) = fields.object(name) else {
        return if fields.has(name) {
            Err(BadField::in_field(name, "must be an object"))
        } else {
            Ok(Vec::new())
        };
    };
    let mut headers = Vec::new();
    for (header, value) in object.into_map() {
        let Value::String(value) = value else {
            return Err(BadField::in_field(
                name,
                &format!("the value of {header:?} must be a text"),
            ));
        };
        HeaderName::try_from(&header).map_err(|error| BadField::in_field(name, &error))?;
        HeaderValue::try_from(&value).map_err(|error| BadField::in_field(name, &error))?;
        headers.push((header, value));
    }
    Ok(headers)
}
