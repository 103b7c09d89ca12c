//! What is varied: a setting and its values, as `--vary` takes them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Variants that one table has a line for each of.
const VARIANTS_MAX: usize = 10_000;

/// A setting of the scenario and the values it takes, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// Dotted, as `--set` has it.
    pub key: String,
    /// As `--set` has them.
    pub values: Vec<String>,
}

/// Why nothing can be varied like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AxisError {
    #[error("`--vary` needs a key and its values, such as --vary client.retry.max_attempts=1,2,3")]
    NoValues,
    #[error("`{key}` has an empty value in `{values}`; give one between commas, or leave the comma out")]
    EmptyValue { key: String, values: String },
    #[error("`{key}` has the value {value} twice; one of them is enough")]
    ValueTwice { key: String, value: String },
    #[error("`{key}` is varied twice; put all its values behind one --vary {key}=")]
    KeyTwice { key: String },
    #[error("the values make more than {VARIANTS_MAX} variants together; vary less at once")]
    TooMany,
    #[error("`{key}` has a bracket or quote in `{values}` that is not closed")]
    Unclosed { key: String, values: String },
}

impl FromStr for Axis {
    type Err = AxisError;

    fn from_str(text: &str) -> Result<Self, AxisError> {
        let (key, text) = text.split_once('=').ok_or(AxisError::NoValues)?;
        let (key, given) = (key.trim().to_owned(), text.trim().to_owned());
        if key.is_empty() || given.is_empty() {
            return Err(AxisError::NoValues);
        }
        let Some(values) = split(&given) else { return Err(AxisError::Unclosed { key, values: given }) };
        if values.iter().any(String::is_empty) {
            return Err(AxisError::EmptyValue { key, values: given });
        }
        let twice = values.iter().enumerate().find(|(index, value)| values[..*index].contains(value));
        if let Some((_, value)) = twice {
            return Err(AxisError::ValueTwice { key, value: value.clone() });
        }
        Ok(Self { key, values })
    }
}

/// Cuts at the commas that are not within brackets or quotes. `None` if one of those is left open.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut values, mut value) = (Vec::new(), String::new());
    let (mut depth, mut quote) = (0_usize, None);
    for char in text.chars() {
        match (quote, char) {
            (Some(open), _) if open == char => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                values.push(std::mem::take(&mut value).trim().to_owned());
                continue;
            }
            (None, _) => {}
        }
        value.push(char);
    }
    values.push(value.trim().to_owned());
    (depth == 0 && quote.is_none()).then_some(values)
}

/// The settings of every variant, each a `key=value` as `--set` takes it: the axes' values in every combination, the
/// last axis changing fastest. Without axes there is one variant without settings.
///
/// # Errors
/// A key is on two axes, or there are more than 10,000 variants.
pub fn grid(axes: &[Axis]) -> Result<Vec<Vec<String>>, AxisError> {
    let twice = axes.iter().enumerate().find(|(index, axis)| axes[..*index].iter().any(|other| other.key == axis.key));
    if let Some((_, axis)) = twice {
        return Err(AxisError::KeyTwice { key: axis.key.clone() });
    }
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()));
    if count.is_none_or(|count| count > VARIANTS_MAX) {
        return Err(AxisError::TooMany);
    }
    Ok(axes.iter().fold(vec![Vec::new()], |variants, axis| {
        let with = |variant: &Vec<String>, value: &String| {
            variant.iter().cloned().chain([format!("{}={value}", axis.key)]).collect()
        };
        variants.iter().flat_map(|variant| axis.values.iter().map(move |value| with(variant, value))).collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(text: &str) -> Axis {
        text.parse().unwrap()
    }

    #[test]
    fn values_are_cut_at_the_commas_between_them() {
        assert_eq!(axis("client.hedging=off, 50ms").values, ["off", "50ms"]);
        let lists = axis(r#"workload.sizes=["8x8","9x9"],["16x16"]"#);
        assert_eq!(lists.values, [r#"["8x8","9x9"]"#, r#"["16x16"]"#]);
        assert_eq!(axis(r#"question="one, or two?",'what [now'"#).values, [r#""one, or two?""#, "'what [now'"]);
    }

    #[test]
    fn a_grid_has_every_combination_in_the_order_given() {
        let variants = grid(&[axis("a=1,2"), axis("b=x,y")]).unwrap();
        assert_eq!(variants, [["a=1", "b=x"], ["a=1", "b=y"], ["a=2", "b=x"], ["a=2", "b=y"]]);
        assert_eq!(grid(&[]).unwrap(), [Vec::<String>::new()]);
    }

    #[test]
    fn mistakes_name_the_key_and_the_remedy() {
        let message = |text: &str| text.parse::<Axis>().unwrap_err().to_string();
        for text in ["load.rate", "load.rate=", "=1,2", ""] {
            assert!(message(text).contains("needs a key and its values"), "{text}");
        }
        assert!(message("a=1,,2").starts_with("`a` has an empty value in `1,,2`"));
        assert!(message("a=1,2,1").starts_with("`a` has the value 1 twice"));
        assert!(message("a=[1,2").ends_with("that is not closed"));
        assert!(message("a=1],2").ends_with("that is not closed"));
        let twice = grid(&[axis("a=1"), axis("a=2")]).unwrap_err().to_string();
        assert!(twice.starts_with("`a` is varied twice"));
        let many: Vec<_> = ["a", "b", "c", "d", "e"].map(|key| axis(&format!("{key}=1,2,3,4,5,6,7"))).into();
        assert_eq!(grid(&many), Err(AxisError::TooMany));
    }
}
