//! Status codes as values of keys.

use serde_json::{Value, json};

use super::{Codec, Item, View, distinct, items, list_schema, no_such_name, wrong_type};
use crate::{
    settings::{
        problem::Problem,
        toml_writer::{list, string},
    },
    status::Code,
};

fn any_code(item: &Item<'_>) -> Result<Code, Problem> {
    let View::Text(text) = View::new(item) else {
        return wrong_type(item, "the name of a gRPC status code, such as \"UNAVAILABLE\"");
    };
    // OK is a code, and a mistake wherever a file can name one, so it is not suggested.
    let names: Vec<_> = Code::names().filter(|name| *name != Code::Ok.name()).collect();
    text.parse().map_err(|_| no_such_name(item.span(), text, "a gRPC status code", &names))
}

/// A status code of a failure: any but OK.
impl Codec for Code {
    type Target = Self;
    type Limits = ();

    fn type_name() -> String {
        "gRPC status code".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Self, Problem> {
        match any_code(item)? {
            Self::Ok => {
                let message = "`OK` is no failure; name another status, such as \"UNAVAILABLE\"";
                Err(Problem::at(item.span(), message))
            }
            code => Ok(code),
        }
    }

    fn written(value: &Self) -> Option<String> {
        Some(string(value.name()))
    }

    fn schema((): &()) -> Value {
        let names: Vec<_> = Self::names().filter(|name| *name != Self::Ok.name()).collect();
        json!({ "enum": names })
    }
}

/// Codes without OK, which ends a call. gRPC A6 refuses an empty list, too.
impl Codec for Vec<Code> {
    type Target = Self;
    type Limits = &'static str;

    fn type_name() -> String {
        "list of gRPC status codes".into()
    }

    fn read(item: &Item<'_>, instead: &&'static str) -> Result<Self, Problem> {
        distinct(item, instead, failure_code, |code| code.name())
    }

    fn written(value: &Self) -> Option<String> {
        Some(list(value))
    }

    fn schema(_: &&'static str) -> Value {
        list_schema(Code::schema(&()))
    }
}

/// Codes without OK, or none.
pub(crate) struct CodesOrNone;

impl Codec for CodesOrNone {
    type Target = Vec<Code>;
    type Limits = ();

    fn type_name() -> String {
        Vec::<Code>::type_name()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Vec<Code>, Problem> {
        if items(item)?.is_empty() { Ok(Vec::new()) } else { Vec::<Code>::read(item, &"") }
    }

    fn written(value: &Vec<Code>) -> Option<String> {
        Some(list(value))
    }

    fn schema((): &()) -> Value {
        json!({ "type": "array", "items": Code::schema(&()), "uniqueItems": true })
    }
}

fn failure_code(item: &Item<'_>) -> Result<Code, Problem> {
    match any_code(item)? {
        Code::Ok => Err(Problem::at(item.span(), "`OK` cannot be retried; leave it out")),
        code => Ok(code),
    }
}
